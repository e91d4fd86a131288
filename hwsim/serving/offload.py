"""Weights that lie behind a link: layers beyond a device's memory come over it in every step.

A device of the system has one such memory of its own, as its description says. Its layers stream in one after the
other while the device computes, into room for two of them: one that is computed, one that comes. Offloaded layers lie
evenly among the others, so that the stream never waits for room while the step lasts; a step ends when all has been
computed and all has come. What lands in the device's memory takes time of it that computing does not get.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from hwsim.describe.accelerator import Accelerator
from hwsim.describe.device import Device
from hwsim.describe.plan import Plan
from hwsim.errors import bad
from hwsim.memory.device_law import device_law
from hwsim.memory.law import laws
from hwsim.serving.layers import Span, weight_bytes
from hwsim.serving.plan import Question
from hwsim.units import ps_ceil

BUFFERED = 2  # layers
FETCH = "fetch"  # name and kind of the stream among a run's operators


@dataclass(frozen=True)
class Offload:
    """The memory behind each device of a replica.

    Attributes
    ----------
    device : Device
    rate, latency : Fraction
        Bytes per second and seconds of its service law.
    energy : Fraction
        Joules of a byte out of its media and over its link.
    landing, landing_energy : Fraction
        Bytes per second that the accelerator's own memory takes, joules of each.
    """

    device: Device
    rate: Fraction
    latency: Fraction
    energy: Fraction
    landing: Fraction
    landing_energy: Fraction

    @classmethod
    def of(cls, device: Device, accelerator: Accelerator) -> Offload:
        """By the service laws of both.

        Raises
        ------
        InputError
            A pool: what several hosts leave to one is not known here.
        """
        if device.switch is not None:
            cure = "choose an expander, a host's memory or a drive (hwsim list device)"
            raise bad("--plan", f"offload={device.id}, a pool behind a switch", "a device of one chip", cure)
        law, landing = device_law(device), laws(accelerator, "write")["hbm"]
        energy = device.media.memory.energy + device.link.energy
        return cls(device, law.rate, law.latency, energy, landing.rate, accelerator.energy_per_byte("hbm"))

    @property
    def bound(self) -> str:
        """Class of what a step waits for: of a host's memory the slower of itself and its link ("host" is software)."""
        device = self.device
        if device.tier != "host":
            return device.tier
        media = device.media.memory.law.rate * device.media.channels
        return "dram" if media <= device.link.rate else "link"

    def fetch_ps(self, span: Span) -> int:
        """Picoseconds until all offloaded weights of a stage have come."""
        return ps_ceil(self.latency + span.fetched / self.rate) if span.fetched else 0

    def landing_ps(self, span: Span) -> int:
        """Picoseconds in which the device's memory takes them."""
        return ps_ceil(span.fetched / self.landing)


def offloaded(question: Question, plan: Plan, span: Span, layers: int) -> Span:
    """A stage so many layers of which lie in the plan's device; those with experts before those without."""
    return replace(span, offloaded=layers, fetched=_bytes(question, plan, span, layers))


def resident_bytes(question: Question, plan: Plan, span: Span) -> int:
    """Bytes of weights in the memory of one device of a stage, room for the layers that pass included."""
    buffer = _bytes(question, plan, span, min(span.offloaded, BUFFERED))
    return weight_bytes(question.model, plan.tp, question.precision, span) - span.fetched + buffer


def _bytes(question: Question, plan: Plan, span: Span, layers: int) -> int:
    """Of so many of the layers that a stage offloads on one device."""
    dense = max(layers - (span.layers - span.without_experts), 0)
    return weight_bytes(question.model, plan.tp, question.precision, Span(layers, False, False, dense=dense))
