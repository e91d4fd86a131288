"""A software stack: the kernels it has per chip generation, its collectives, its scheduler, what it costs per step."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import core_schema

from hwsim.describe.block import Block, Description, Reference
from hwsim.describe.classes import OfClass
from hwsim.describe.collectives import Collectives
from hwsim.describe.quantity import Count, Dtype, Factor, Ratio, Seconds, Whole, Width, refuse


@dataclass(frozen=True)
class TileText:
    """A tile written "128x256": rows x columns of the output."""

    def validate(self, value: object) -> tuple[int, int]:
        """Rows and columns."""
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value) if isinstance(value, str) else None
        if match is None or "0" in match.groups():
            raise refuse(repr(value), "a tile such as 128x256")
        return int(match[1]), int(match[2])

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.validate,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda tile: f"{tile[0]}x{tile[1]}"),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "pattern": "^[0-9]+x[0-9]+$", "examples": ["128x256"]}


Tile = Annotated[tuple[int, int], TileText()]


class Quantize(Block):
    """Kernels that bring activations to a small type before a matrix multiplication."""

    kernels: Factor = Field(description="launches, as a multiple of one plain launch")
    launch: Seconds = Field(description="time of each beyond the launch of a plain kernel")
    rows: Seconds = Field(description="serial part at 256 rows or more (falls in proportion below)")
    columns: Seconds = Field(description="serial part at 8192 columns (in proportion)")
    bandwidth: Ratio = Field(description="share of what the memory sustains that the passes over the activations reach")


class Gemm(Block):
    """Matrix multiplications of a library."""

    tiles: list[Tile] = Field(description="output tiles of one unit")
    pair_tiles: list[Tile] = Field([], description="output tiles of two units together")
    splits: list[Width] = Field([1], description="ways to split k")
    split_k: Count = Field(256, description="least k of a split")
    stages: Width = Field(description="stages of the staged copy")
    untuned: dict[Dtype, Tile] = Field({}, description="types with one tile for every shape: no split, one a unit")
    quantize: dict[Literal["fp8", "nvfp4", "int8"], Quantize] = Field({}, description="kernels before it, by type")


class Elementwise(Block):
    """Norms, activations, rotary embedding, residual additions, sampling."""

    launch: Seconds = Field(description="start and drain of one kernel")
    efficiency: Ratio = Field(description="share of what the memory sustains that a long kernel reaches")
    sampler: Seconds | None = Field(None, description="start of all kernels of the sampler; none = as one kernel")


class Kernels(OfClass):
    """Kernels for the chips of one generation; which there are depends on the class (`hwsim.describe.classes`)."""

    class_: str = Field("gpu", alias="class", description="class of the accelerators")


class Scheduler(Block):
    """How a server forms its steps."""

    kind: Literal["mixed", "prefill-first", "static"] = Field(description="mixed: chunks and decodes in one step")
    token_budget: Annotated[int, Whole(1, 2**17)] = Field(description="most tokens of a step")
    max_num_seqs: Width = Field(description="most running requests")
    block_tokens: Width = Field(16, description="tokens of a KV block")
    async_depth: Annotated[int, Whole(1, 2)] = Field(1, description="steps in flight")
    reserve: Literal["chunk", "prompt", "prompt+output"] = Field(description="KV that must be free to admit a request")
    memory_fraction: Ratio = Field(description="share of the memory the server may use")
    prefix_cache: bool = Field(description="freed full blocks are found again")
    capture_sizes: list[Count] = Field([], description="token counts a captured graph pads to; none = no padding")


class Overheads(Block):
    """What a step costs beside its kernels."""

    step_gap: Seconds = Field(description="device idle per step")
    seq_gap: Seconds = Field(description="per scheduled request and step")
    layer_gap: Seconds = Field(description="per layer and step")
    mixed_gap: Seconds = Field(description="per layer of a step that no captured graph covers")
    frontend: Seconds = Field(description="arrival to the engine's queue")


class Software(Description):
    """One version of a software stack."""

    kind: ClassVar[str] = "software"

    version: str = Field("", description="the version it follows")
    serves: bool = Field(True, description="it is a server; false: kernels and collectives alone, for `hwsim op`")
    generations: list[str] | None = Field(None, description="those it has kernels for; unset: all that `kernels` names")
    kernels: dict[str, Kernels] = Field(description="by chip generation")
    collectives: Annotated[Collectives, Reference("collectives")]
    scheduler: Scheduler
    overheads: Overheads

    @model_validator(mode="before")
    @classmethod
    def _has_its_generations_alone(cls, value: Any) -> Any:
        """Drops inherited kernels for generations that the stack does not list."""
        if not isinstance(value, dict):
            return value
        named, kernels = value.get("generations"), value.get("kernels")
        if not isinstance(named, list) or not isinstance(kernels, dict):
            return value
        for name in named:
            if name not in kernels:
                known = "a generation that `kernels` names: " + ", ".join(map(str, kernels))
                raise refuse(repr(name), known, at="generations")
        return {**value, "kernels": {name: block for name, block in kernels.items() if name in named}}
