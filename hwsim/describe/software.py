"""A software stack: the kernels it has per chip generation, its collectives, its scheduler, what it costs per step."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from hwsim.describe.block import Block, Description, Reference
from hwsim.describe.classes import DEFAULT_CLASS, OfClass
from hwsim.describe.collectives import Collectives
from hwsim.describe.generation import Generation
from hwsim.describe.quantity import Count, Seconds, Share, Whole, Width, refuse


class Kernels(OfClass):
    """Kernels for the chips of one generation; which there are depends on the class (`hwsim.describe.classes`)."""

    class_: str = Field(DEFAULT_CLASS, alias="class", description="class of the accelerators")


class Scheduler(Block):
    """How a server forms its steps."""

    kind: Literal["mixed", "prefill-first", "static"] = Field(description="mixed: chunks and decodes in one step")
    token_budget: Annotated[int, Whole(1, 2**17)] = Field(description="most tokens of a step")
    resident_budget: Annotated[int, Whole(1, 2**17)] | None = Field(
        None,
        description="the same where weights stay in SRAM: read again they cost nothing, and chunks of a prompt follow "
        "each other through the stages",
    )
    max_num_seqs: Width = Field(description="most running requests")
    block_tokens: Width = Field(16, description="tokens of a KV block")
    async_depth: Annotated[int, Whole(1, 2)] = Field(1, description="steps in flight")
    micro_batches: Literal["formed", "even"] = Field(
        "formed",
        description="decodes where batches pass several stages. formed: those that began in one batch stay in one; "
        "even: they are shared out evenly, as many batches as there are stages",
    )
    reserve: Literal["chunk", "prompt", "prompt+output"] = Field(description="KV that must be free to admit a request")
    memory_fraction: Share = Field(description="share of the memory the server may use")
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
    kernels: dict[str, Kernels] = Field(
        description="by chip generation; by class (`gpu`, `systolic`, ...) for chips of other generations"
    )
    collectives: Annotated[Collectives, Reference("collectives")]
    scheduler: Scheduler
    overheads: Overheads

    def kernels_for(self, generation: Generation) -> Kernels | None:
        """Kernels for the chips of a generation, or else for its class; None where it has none."""
        return self.kernels.get(generation.id) or self.kernels.get(generation.class_)

    @model_validator(mode="before")
    @classmethod
    def _has_its_generations_alone(cls, value: Any) -> Any:
        """Drops inherited kernels for generations that the stack does not list."""
        if not isinstance(value, dict):
            return value
        named, kernels = value.get("generations"), value.get("kernels")
        fields = {name for each in (cls, *Kernels.subclasses().values()) for name in each.model_fields}
        for name in kernels if isinstance(kernels, dict) else ():
            if name in fields:
                cure = "it is a field, further out or further in: check the indentation"
                raise refuse(f"'{name}' as a generation", "the name of a generation", cure, at=f"kernels.{name}")
        if not isinstance(named, list) or not isinstance(kernels, dict):
            return value
        for name in named:
            if name not in kernels:
                known = "a generation that `kernels` names: " + ", ".join(map(str, kernels))
                raise refuse(repr(name), known, at="generations")
        own = {name: block for name, block in kernels.items() if name in named or not isinstance(block, dict)}
        return {**value, "kernels": own}
