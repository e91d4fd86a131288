"""What a GPU offers to its mappers beside what every accelerator does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Any

from hwsim.memory.law import ServiceLaw
from hwsim.operators import machine
from hwsim.operators.machine import per_cycle
from hwsim.units import cycles_ceil

if TYPE_CHECKING:
    from hwsim.operators.step import StepSamples, StepShape


@dataclass(frozen=True, kw_only=True)
class Machine(machine.Machine):
    """One GPU.

    Attributes
    ----------
    l2 : int
        Usable bytes of the L2.
    stream_rate : Fraction
        Bytes per cycle of the memory that operands of matrix products reach.
    l2_rate : Fraction
        Sustained bytes per cycle out of the whole L2.
    l2_latency, wave, barrier, grain : int
        Cycles: first byte of the L2; fill and drain of a wave of tiles; barrier of a split; the grain of how
        memory-bound cores drift apart.
    exposed_1024 : int
        Share, in 1/1024, of a tile's epilogue that the next tile does not hide.
    alone_1024 : int
        Slow-down, in 1/1024, of a tile below 128 x 256 that is alone on its core.
    vectors, in_flight : int
        Vector units of the device; bytes that one keeps on their way to it.
    multicast : bool
        Neighbour tiles share one read of an operand.
    """

    l2: int
    stream_rate: Fraction
    l2_rate: Fraction
    l2_latency: int
    wave: int
    barrier: int
    grain: int
    exposed_1024: int
    alone_1024: int
    vectors: int
    in_flight: int
    multicast: bool

    @classmethod
    def own(cls, chip: Any, service: Mapping[str, ServiceLaw], clock: int) -> dict[str, Any]:
        """The L2 and the generation's times, in cycles."""
        timing, tensor = chip.generation.timing, chip.generation.tensor
        times = {
            "l2_latency": service["l2"].latency,
            "wave": timing.wave,
            "barrier": timing.split_barrier,
            "grain": timing.finish_grain,
        }
        return {
            "l2": floor(chip.tiers.l2.capacity * chip.tiers.l2.usable),
            "stream_rate": per_cycle(service["hbm"].rate * tensor.streams / clock),
            "l2_rate": per_cycle(service["l2"].rate / clock),
            "exposed_1024": floor(timing.epilogue_exposed * 1024),
            "alone_1024": floor(1024 / tensor.alone),
            "vectors": chip.units.vector.count,
            "in_flight": int(chip.generation.limits.in_flight),
            "multicast": chip.generation.multicast,
            **{name: cycles_ceil(seconds, Fraction(clock)) for name, seconds in times.items()},
        }

    whole_steps = True

    def step_surface(self, shape: StepShape) -> StepSamples:
        """Chunks and decodes of a step share the SMs, in one kernel or in two."""
        from hwsim.operators.mapper.gpu.step_surface import StepSurface

        return StepSurface.kept(self, shape)

    @classmethod
    def cache(cls, chip: Any) -> int:
        """Bytes of the L2."""
        return int(chip.tiers.l2.capacity)

    @property
    def prefill_keys(self) -> int:
        """Keys of a tile of prefill attention."""
        return int(self.kernels.attention.prefill.keys)
