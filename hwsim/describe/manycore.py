"""Class manycore: many tiles with SRAM of their own that work in supersteps: sync, exchange, compute (IPU, MTIA)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hwsim.describe import accelerator, generation, software
from hwsim.describe.block import Block, Reference
from hwsim.describe.quantity import Bytes, BytesPerCycle, BytesPerSecond, Count, Cycles, Seconds, Share, refuse

Home = Literal["sram", "hbm"]


class Tensor(accelerator.Tensor):
    """Units that multiply matrices; one in every tile."""

    depth: Count = Field(description="inner dimension that a unit takes at once; shorter ones are padded")
    columns: Count = Field(description="columns of the result that a unit takes at once; fewer are padded")


class Units(accelerator.Units):
    """Arithmetic of the device."""

    tensor: Tensor


class Sram(accelerator.Sram):
    """Memory of a tile; its `port` is what the exchange brings."""

    read: BytesPerCycle = Field(description="bytes per cycle that ONE tile reads from its own")


class Shared(Block):
    """On-chip memory that all tiles share."""

    capacity: Bytes = Field(description="bytes of the device")
    rate: BytesPerSecond = Field(description="bytes per second to and from all tiles")


class Tiers(accelerator.Tiers):
    """Where bytes can be: in the tiles, in a memory they share, in memory behind the chip (`hbm`, of whatever kind)."""

    sram: Sram
    shared: Shared | None = Field(None, description="none: what is on the chip lies in its tiles")


class Superstep(Block):
    """How tiles work together."""

    sync: Cycles = Field(description="barrier of all tiles before they exchange")
    buffers: Count = Field(description="steps of operands a tile holds; 1: exchange and compute take turns")


class Generation(generation.Generation):
    """Shared numbers of the chips of one generation."""

    class_: Literal["manycore"] = Field("manycore", alias="class", description="class of the accelerators")
    superstep: Superstep


class Accelerator(accelerator.Accelerator):
    """One chip of tiles."""

    class_: Literal["manycore"] = Field(alias="class", description="which mapper writes its programs")
    generation: Annotated[Generation, Reference("generation")]
    units: Units
    tiers: Tiers
    weights: Home = Field(
        description="tier that holds models: their weights, keys and values; hbm: they stream from it"
    )

    @model_validator(mode="after")
    def _has_it(self) -> Accelerator:
        if self.weights == "hbm" and self.tiers.hbm is None:
            raise refuse("hbm", "sram", "describe tiers.hbm, or keep models in sram", at="weights")
        return self

    @property
    def charged(self) -> list[str]:
        """Tiers on the device whose bytes cost energy; `l2` is what the exchange brings."""
        return [*super().charged, "l2"]

    @property
    def home(self) -> Home:
        """Tier that holds a model's weights and its keys and values."""
        return self.weights

    @property
    def room(self) -> int:
        """Bytes of the device that programs can have of that tier."""
        if self.weights == "hbm" and self.tiers.hbm is not None:
            return int(self.tiers.hbm.capacity)
        return int(self.tiers.sram.room * self.units.tensor.count)


class Kernels(software.Kernels):
    """Kernels for the manycore accelerators of one generation."""

    class_: Literal["manycore"] = Field("manycore", alias="class", description="class of the accelerators")
    launch: Seconds = Field(description="start of an operator")
    superstep: Cycles = Field(description="code of a superstep beside its barrier, exchange and arithmetic")
    reads: Share = Field(description="share of a tile's read rate that loops over resident weights and keys reach")
    tensor: Share = Field(description="share of the units' sustained rate that products reach")
    workspace: Share = Field(
        description="share of a tile's SRAM for the operands of one operator, where a model lies beside them"
    )
    head: Literal["wide", "weights"] = Field(description="type of the output head: 16 bits, or that of the weights")
