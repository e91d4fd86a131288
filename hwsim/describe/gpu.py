"""Class gpu: equal units with their own memory, a cache that all share, memory behind it; kernels of a library."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field

from hwsim.describe import accelerator, generation, software
from hwsim.describe.block import Block, Reference
from hwsim.describe.gpu_kernels import Attention, Elementwise, Experts, Gemm
from hwsim.describe.quantity import BytesPerCycle, Count, Ratio, Seconds, Share, SomeBytes, Whole


class TensorUnit(generation.TensorUnit):
    """How a tensor unit behaves beside its peak."""

    streams: Share = Field(Fraction(1), description="share of what the memory sustains that operands reach")
    alone: Share = Field(description="share of that a tile below 128 x 256 reaches when it is alone on its unit")
    pair: Count = Field(description="units that can work on one tile together")


class UnitLimits(Block):
    """What fits on one unit at a time."""

    accumulators: Count = Field(description="32-bit accumulators of ONE unit")
    programs: Count = Field(description="most thread blocks of a matrix kernel on ONE unit")
    stage: SomeBytes = Field(description="bytes along k of one stage of a staged copy")
    in_flight: SomeBytes = Field(
        Fraction(64 << 10), description="bytes that ONE vector unit keeps on their way from memory"
    )


class Timing(generation.Timing):
    """Fixed times of a kernel."""

    wave: Seconds = Field(description="fill and drain of a wave of tiles")
    split_barrier: Seconds = Field(description="barrier of a split along k")
    l2_latency: Seconds = Field(Fraction(0), description="time from a unit's request to its first byte out of the L2")
    finish_grain: Seconds = Field(Fraction(0), description="t: memory-bound units finish within sqrt(t x time)")
    epilogue_exposed: Ratio = Field(description="share of a tile's epilogue that the next tile's loads do not hide")


class Generation(generation.Generation):
    """Shared numbers of the chips of one generation."""

    class_: Literal["gpu"] = Field("gpu", alias="class", description="class of the accelerators")
    tensor: TensorUnit
    limits: UnitLimits
    timing: Timing
    multicast: bool = Field(description="neighbour tiles share one read of an operand")


class L2(Block):
    """Cache of the device in front of its memory."""

    capacity: SomeBytes = Field(description="bytes of the device")
    usable: Share = Field(
        description="share of the capacity one copy of the data can fill (partitions duplicate lines)"
    )
    rate: BytesPerCycle = Field(description="bytes per cycle the cache can give, PER unit (times the number of units)")


class Tensor(accelerator.Tensor):
    """Tensor units; a program holds a row for each, so there may not be any number of them."""

    count: Annotated[int, Whole(1, 2**14)] = Field(description="units of the device (SMs)")


class Units(accelerator.Units):
    """Arithmetic of the device."""

    tensor: Tensor


class Tiers(accelerator.Tiers):
    """Where bytes can be: the units' own memory, the L2, the device's memory."""

    l2: L2
    hbm: accelerator.Hbm


class Accelerator(accelerator.Accelerator):
    """One GPU."""

    class_: Literal["gpu"] = Field(alias="class", description="which mapper writes its programs")
    generation: Annotated[Generation, Reference("generation")]
    units: Units
    tiers: Tiers

    def capacities(self) -> dict[str, int]:
        """Bytes of the device by tier."""
        return {**super().capacities(), "l2": int(self.tiers.l2.capacity)}

    def tier_rates(self) -> dict[str, tuple[Fraction, Fraction]]:
        """Bytes per second and latency in seconds; the L2 gives its rate to every unit."""
        rate = self.tiers.l2.rate * self.units.tensor.count * self.clocks.core
        return {**super().tier_rates(), "l2": (rate, self.generation.timing.l2_latency)}


class Kernels(software.Kernels):
    """Kernels for the GPUs of one generation."""

    class_: Literal["gpu"] = Field("gpu", alias="class", description="class of the accelerators")
    gemm: Gemm
    attention: Attention
    elementwise: Elementwise
    moe: Experts
