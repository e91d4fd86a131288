"""Class pipeline: statically scheduled chips that stream operands out of their SRAM past the units (Groq LPU)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hwsim.describe import accelerator, generation, software
from hwsim.describe.block import Reference
from hwsim.describe.quantity import BytesPerCycle, Cycles, Dtype, Share, Width, refuse


class Tensor(accelerator.Tensor):
    """Planes of multipliers whose weights are installed out of the streams; a unit is a chip with all its planes."""

    planes: Width = Field(description="planes of ONE chip that each keep weights of one byte; two make one of 16 bits")
    rows: Width = Field(description="rows of a plane: the weights' inner dimension")
    cols: Width = Field(description="columns of a plane")
    streams: BytesPerCycle = Field(description="bytes per cycle that all streams of ONE chip carry past its units")

    @model_validator(mode="after")
    def _is_one(self) -> Tensor:
        if self.count != 1:
            raise refuse(self.count, "1: planes, rates and streams are those of the whole chip", at="count")
        return self

    @model_validator(mode="after")
    def _rates_fit_planes(self) -> Tensor:
        """The fastest type multiplies in all planes each cycle; another rate would make more planes a slower chip."""
        cells = self.planes * self.rows * self.cols
        accelerator.check_rate(self.per_cycle, max(self.per_cycle, key=self.per_cycle.__getitem__), cells, "planes")
        return self


class Units(accelerator.Units):
    """Arithmetic of the device; every vector unit takes one operation a cycle, a conversion of a weight is one."""

    tensor: Tensor


class ScaleUp(accelerator.ScaleUp):
    """Links to the other chips: one to each chip of the node, the others to other nodes."""

    node: Width = Field(description="chips of a node, each with a link to each other")
    between: Width = Field(description="links of ONE chip to other nodes")

    @model_validator(mode="after")
    def _has_so_many_links(self) -> ScaleUp:
        if self.node - 1 + self.between != self.count:
            wanted = f"{self.node - 1 + self.between}: one to each chip of a node, and those to others"
            raise refuse(self.count, wanted, at="count")
        return self


class Links(accelerator.Links):
    """Ways out of the device."""

    scale_up: ScaleUp


class Timing(generation.Timing):
    """Fixed times of an operator."""

    fill: Cycles = Field(description="from the first read of an operator to its first result: way through the slices")


class Generation(generation.Generation):
    """Shared numbers of the chips of one generation."""

    class_: Literal["pipeline"] = Field("pipeline", alias="class", description="class of the accelerators")
    timing: Timing


class Accelerator(accelerator.Accelerator):
    """One statically scheduled chip; its `sram` holds the model, `sram.port` is what all its banks give."""

    class_: Literal["pipeline"] = Field(alias="class", description="which mapper writes its programs")
    generation: Annotated[Generation, Reference("generation")]
    units: Units
    links: Links


class Kernels(software.Kernels):
    """What a compiler's schedule does on the chips of one generation."""

    class_: Literal["pipeline"] = Field("pipeline", alias="class", description="class of the accelerators")
    efficiency: Share = Field(description="share of the cycles in which a schedule keeps streams and units busy")
    convert: dict[Dtype, Dtype] = Field(
        {}, description="types that weights are stored in -> type the vector units convert them to on their way"
    )
