"""ServiceLaw: what a tier or a link hands up to the operators: how long a stream of bytes takes.

    time(bytes) = latency + bytes / rate        (phase-averaged: refresh is inside the rate)

Programs ask once per operator and tier, for the whole stream. A law knows how it was come by: `measured` (fitted to or
measured on silicon), `derived` (simulated or computed from the tier's own description) or `assumed` (a data sheet's
figure, or a pattern that nobody measured). Today every law is made of the numbers an accelerator's description states;
refresh fields, range and error are then unknown (None), which a reader of a result must be told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from hwsim.describe import gpu
from hwsim.describe.accelerator import Accelerator
from hwsim.describe.link import Link
from hwsim.units import ceil_fraction

Pattern = Literal["sequential", "paged", "write"]
Status = Literal["measured", "derived", "assumed"]

PATTERNS: tuple[Pattern, ...] = ("sequential", "paged", "write")
TIERS = ("sram", "l2", "hbm", "link", "host")

# How far a description's own words can be trusted for the pattern they were measured with.
_STATUS: dict[str, Status] = {"measured": "measured", "calibrated": "measured", "derived": "derived"}
# The number of a description that decides how far a tier's law can be trusted.
_DECIDES = {
    "sram": ("tiers", "sram", "port"),
    "l2": ("tiers", "l2", "rate"),
    "hbm": ("tiers", "hbm", "efficiency"),
    "link": ("links", "scale_up", "link", "efficiency"),
    "host": ("links", "host", "link", "efficiency"),
}
# A rate per cycle keeps this many significant units (one part in 2^14), so that its work stays exact in int64.
_UNITS = 1 << 14


@dataclass(frozen=True)
class ServiceLaw:
    """Time of a stream on one tier or link of one device, for one access pattern.

    Attributes
    ----------
    tier : str
        sram (the port of ONE unit), l2, hbm, link (all scale-up links of the device, one direction) or host.
    pattern : str
        sequential, paged or write.
    rate : Fraction
        Sustained bytes per second, refresh included.
    latency : Fraction
        Seconds from the request to the first byte of an idle tier.
    status : str
        measured, derived or assumed.
    provenance : str
        Where the numbers come from.
    refresh_interval, refresh_stall : Fraction or None
        Seconds between two refreshes of a channel and seconds each takes; None when inside the rate and unknown.
    valid_from : int or None
        Bytes from which the law holds within `error`; None when nobody compared.
    error : Fraction or None
        Published mean relative error against the commands simulated; None when nobody compared.
    """

    tier: str
    pattern: Pattern
    rate: Fraction
    latency: Fraction
    status: Status
    provenance: str
    refresh_interval: Fraction | None = None
    refresh_stall: Fraction | None = None
    valid_from: int | None = None
    error: Fraction | None = None

    def per_cycle(self, clock: Fraction | int) -> tuple[int, int]:
        """The rate in bytes per cycle of `clock` (Hz) as (numerator, denominator).

        The denominator is a power of two, at least 16 (the engine's unit of work); the numerator is rounded down, so
        that a program is never faster than the law, by at most one part in 2^14.
        """
        exact = self.rate / Fraction(clock)
        denominator = 16
        while exact * denominator < _UNITS:
            denominator *= 2
        return exact.numerator * denominator // exact.denominator, denominator

    def latency_cycles(self, clock: Fraction | int) -> int:
        """The latency in whole cycles of `clock` (Hz), rounded up."""
        return ceil_fraction(self.latency * Fraction(clock))

    def flagged(self, size_bytes: int) -> bool:
        """Whether a stream of this size lies outside the range in which the law was compared with commands."""
        return self.valid_from is None or size_bytes < self.valid_from


def laws(accelerator: Accelerator, pattern: Pattern = "sequential") -> dict[str, ServiceLaw]:
    """Laws of all tiers and links of an accelerator, by tier.

    Tiers are sequential streams in the measurements that descriptions rest on; the same rate is `assumed` for the other
    patterns until a memory's commands are simulated.
    """
    clock, tiers, links = accelerator.clocks.core, accelerator.tiers, accelerator.links
    scale_up = links.scale_up
    units = accelerator.units.tensor.count
    out, up = link_law(scale_up.link, scale_up.count), link_law(links.host.link, 1)
    found = {
        "sram": (tiers.sram.port * clock, Fraction(0)),
        "hbm": (tiers.hbm.rate * tiers.hbm.efficiency, tiers.hbm.latency),
        "link": (out.rate, out.latency),
        "host": (up.rate, up.latency),
    }
    if isinstance(accelerator, gpu.Accelerator):
        found["l2"] = (accelerator.tiers.l2.rate * units * clock, accelerator.generation.timing.l2_latency)
    made = {
        tier: ServiceLaw(tier, "sequential", *found[tier], *_told(accelerator, *_DECIDES[tier]))
        for tier in TIERS
        if tier in found
    }
    if pattern == "sequential":
        return made
    note = f"; known for sequential streams, assumed for {pattern}"
    return {
        tier: replace(law, pattern=pattern, status="assumed", provenance=law.provenance + note)
        for tier, law in made.items()
    }


def link_law(link: Link, count: int) -> ServiceLaw:
    """Law of `count` links to one side, one direction, as the link's own description states it."""
    rate = link.rate * link.efficiency * count
    return ServiceLaw("link", "sequential", rate, link.latency, "assumed", f"{link.id}: {link.source}")


def _told(accelerator: Accelerator, *path: str) -> tuple[Status, str]:
    """Status and source that the description states for a number, in a law's words."""
    if accelerator._tree is None:
        return "assumed", f"{accelerator.id}: not read from a file"
    mark = accelerator.tree.mark(path)
    told = f"{accelerator.id} {'.'.join(path)}: {mark.source} ({mark.status})"
    return _STATUS.get(mark.status, "assumed"), told
