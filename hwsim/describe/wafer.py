"""Class wafer: a mesh of many small cores, each with its own SRAM; a model lives on it, nothing stands behind it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hwsim.describe import accelerator, generation, software
from hwsim.describe.block import Block, Reference
from hwsim.describe.quantity import BytesPerCycle, Count, Cycles, FlopPerCycle


class Generation(generation.Generation):
    """Shared numbers of the chips of one generation."""

    class_: Literal["wafer"] = Field("wafer", alias="class", description="class of the accelerators")


class Vector(accelerator.Vector):
    """Arithmetic of a core beside its matrix products: the same data path."""

    half: FlopPerCycle = Field(description="16-bit operations of ONE core per cycle; a FMA is two")


class Units(accelerator.Units):
    """Arithmetic of the wafer; a unit is a core."""

    vector: Vector


class Fabric(Block):
    """Routers between neighbouring cores, a square mesh."""

    rate: BytesPerCycle = Field(description="bytes per cycle between a core and its router, and between two routers")
    hop: Cycles = Field(description="cycles from one router to the next")


class Accelerator(accelerator.Accelerator):
    """One wafer; its `sram` is the memory of a core."""

    class_: Literal["wafer"] = Field(alias="class", description="which mapper writes its programs")
    generation: Annotated[Generation, Reference("generation")]
    units: Units
    fabric: Fabric


class Kernels(software.Kernels):
    """Kernels for the wafers of one generation."""

    class_: Literal["wafer"] = Field("wafer", alias="class", description="class of the accelerators")
    step: Cycles = Field(description="receive, add and send on: what a message costs a core beside its words")
    levels: Literal[1, 2] = Field(description="levels of the tree of an all-reduce; 1 = a chain along the line")
    shift: Count = Field(description="hops of a cyclic shift; 2 interleaves a line so that its ends meet")
    whole_heads: bool = Field(description="keys and values are kept once for every query head, not for every KV head")
    squares: list[Count] = Field(
        [1], description="squares on a side that a region may be cut into, for as many heads of a prefill at a time"
    )
    sides: list[Count] = Field(
        description="regions to choose from where no plan names one, cores on a side; none = all"
    )
