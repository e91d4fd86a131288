"""What all chips of one generation share: physics of a unit and of starting work. Kernels are software's."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

from pydantic import Field

from hwsim.describe.block import Block, Description
from hwsim.describe.quantity import Bytes, Count, Dtype, Natural, Ratio, Seconds


class TensorUnit(Block):
    """How a tensor unit behaves beside its peak."""

    efficiency: dict[Dtype, Ratio] = Field(description="share of the peak (highest clock) that kernels reach")
    sustained: Ratio = Field(Fraction(1), description="share of that left when the power limit has lowered the clock")
    alone: Ratio = Field(description="share of that a tile below 128 x 256 reaches when it is alone on its unit")
    pair: Count = Field(description="units that can work on one tile together")


class UnitLimits(Block):
    """What fits on one unit at a time."""

    accumulators: Natural = Field(description="32-bit accumulators of ONE unit")
    programs: Count = Field(description="most thread blocks of a matrix kernel on ONE unit")
    stage: Bytes = Field(description="bytes along k of one stage of a staged copy")


class Timing(Block):
    """Fixed times of a kernel."""

    launch: Seconds = Field(description="start and drain of a kernel")
    wave: Seconds = Field(description="fill and drain of a wave of tiles")
    split_barrier: Seconds = Field(description="barrier of a split along k")
    l2_latency: Seconds = Field(Fraction(0), description="time from a unit's request to its first byte out of the L2")
    patience: Seconds = Field(Fraction(0), description="full load until the power limit lowers the clock")
    finish_grain: Seconds = Field(Fraction(0), description="t: memory-bound units finish within sqrt(t x time)")
    epilogue_exposed: Ratio = Field(description="share of a tile's epilogue that the next tile's loads do not hide")


class Generation(Description):
    """Shared numbers of the chips of one generation."""

    kind: ClassVar[str] = "generation"

    tensor: TensorUnit
    limits: UnitLimits
    timing: Timing
    multicast: bool = Field(description="neighbour tiles share one read of an operand")
