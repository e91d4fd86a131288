"""What all chips of one generation share: physics of a unit and of starting work. Kernels are software's."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

from pydantic import Field

from hwsim.describe.block import Block, Description
from hwsim.describe.classes import DEFAULT_CLASS, OfClass
from hwsim.describe.quantity import Dtype, Seconds, Share


class TensorUnit(Block):
    """How a tensor unit behaves beside its peak."""

    efficiency: dict[Dtype, Share] = Field(description="share of the peak (highest clock) that kernels reach")


class Timing(Block):
    """Fixed times of a kernel."""

    launch: Seconds = Field(description="start and drain of a kernel")
    patience: Seconds = Field(Fraction(0), description="full load until the power limit lowers the clock")


class Generation(OfClass, Description):
    """Shared numbers of the chips of one generation: what all classes have."""

    kind: ClassVar[str] = "generation"

    class_: str = Field(DEFAULT_CLASS, alias="class", description="class of the accelerators")
    tensor: TensorUnit
    timing: Timing
