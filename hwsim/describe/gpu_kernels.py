"""Kernels of a software stack for GPUs: tiles of products, how attention cuts the work of a batch, what they cost.

Times of what runs on a unit are cycles (they follow the clock), times of starting kernels are seconds (they do not).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field

from hwsim.describe.block import Block
from hwsim.describe.quantity import (
    BytesPerCycle,
    Count,
    Cycles,
    Dtype,
    Factor,
    Ratio,
    Seconds,
    Share,
    Tile,
    Whole,
    Width,
)

Slots = Annotated[int, Whole(1, 64)]


class Quantize(Block):
    """Kernels that bring activations to a small type before a matrix multiplication."""

    kernels: Factor = Field(description="launches, as a multiple of one plain launch")
    launch: Seconds = Field(description="time of each beyond the launch of a plain kernel")
    rows: Seconds = Field(description="serial part at 256 rows or more (falls in proportion below)")
    columns: Seconds = Field(description="serial part at 8192 columns (in proportion)")
    bandwidth: Share = Field(description="share of what the memory sustains that the passes over the activations reach")
    served: Ratio = Field(
        description="products of a served model, whose scales are known, that one pass of their own quantises before"
    )


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
    efficiency: Share = Field(description="share of what the memory sustains that a long kernel reaches")
    sampler: Seconds | None = Field(None, description="start of all kernels of the sampler; none = as one kernel")


class Experts(Block):
    """A layer of experts: grouped matrix multiplications, and the kernels that move rows to and from them."""

    tiles: list[Tile] = Field(description="output tiles of one unit: rows of an expert x columns", min_length=1)
    pair_tiles: list[Tile] = Field([], description="output tiles of two units together")
    launch: Seconds = Field(description="start and drain of each kernel beside the matrix multiplications")
    row: Seconds = Field(description="one row in a kernel that moves rows: a thread block from first to last byte")
    rate: BytesPerCycle = Field(description="bytes in and out that those kernels move, per unit")
    expert: Seconds = Field(description="setting up the problem of one expert of the device")


class Splits(Block):
    """Rule that cuts the keys of one sequence over several work items (split-KV)."""

    rule: Literal["none", "best", "fa2", "fa3", "xqa", "trtllm-gen"] = Field(
        description="whose host code; best: the fastest of a list, as an ideal library would find"
    )
    slots_per_unit: Slots = Field(1, description="slots the rule counts for a unit")
    most: Count = Field(128, description="largest number of parts")
    strided: bool = Field(False, description="parts take tiles in turn, so that no part is left empty")
    combine: Literal["bound", "parts"] = Field(
        "parts", description="the combine kernel runs when the rule allows parts, or only when there are some"
    )


class Walk(Block):
    """Tile scheduler that looks through the sequences in rounds (FlashAttention 3)."""

    sequences: Count = Field(description="sequences of one round")
    most: Count = Field(description="largest batch that is scheduled so")
    time: Cycles = Field(description="one round beyond the first, per wave of items")


class Short(Block):
    """Kernel without tiles for batches too small for the split rule (TensorRT-LLM MMHA): one item per query head."""

    below: Count = Field(description="used when this many times sequences x KV heads x blocks is below the units")
    item: Cycles = Field(description="one item")
    longer: Cycles = Field(description="the same beyond 32 keys, added")
    several: Cycles = Field(description="once, beyond 256 keys (several blocks a head)")


class Decode(Block):
    """Attention of one new token per sequence over a paged cache."""

    splits: Splits
    tile: Count = Field(128, description="keys of one tile")
    slots_per_unit: Slots = Field(1, description="work items on a unit at once")
    launch: Seconds = Field(description="start of the kernels of one call, without a combine kernel")
    item: Cycles = Field(description="start and end of a work item: page table, queries, first bytes; rescale, output")
    tile_time: Cycles = Field(description="a tile beside its matrix products")
    l2_rate: BytesPerCycle | None = Field(None, description="out of the L2, per unit; none = what the chip gives")
    distinct: Share = Field(Fraction(1), description="share of keys and values that differ in timed replays")
    combine: Cycles = Field(description="the kernel that joins the parts")
    combine_split: Cycles = Field(description="the same per part")
    transpose: Cycles | None = Field(None, description="each of two copies that transpose queries and outputs (fa2)")
    walk: Walk | None = Field(None, description="tile scheduler that walks through the sequences")
    short: Short | None = Field(None, description="kernel for batches too small for the rule")


class Prefill(Block):
    """Attention of many new tokens per sequence."""

    queries: Count = Field(description="query rows of a work item")
    keys: Count = Field(description="keys of a tile")
    packed: bool = Field(False, description="the query heads of one KV head share a work item")
    order: Literal["long-first", "short-first", "long-first-all"] = Field(
        description="order of the work items: head by head, or the longest of all heads first"
    )
    launch: Seconds = Field(description="start of the kernels of one call")
    item: Cycles = Field(description="start and end of a work item")
    tensor: Share = Field(description="share of the tensor units' peak that its matrix products sustain")
    softmax: Factor = Field(description="cycles per element (query x key) that matrix products do not hide")
    l2_rate: BytesPerCycle | None = Field(
        None, description="keys and values out of the L2, per unit; none = what the chip gives"
    )
    append: BytesPerCycle = Field(description="kernel that appends to the cache, per unit")
    rotary: bool = Field(description="that kernel also rotates the queries (reads and writes them)")
    single_decodes: bool = Field(False, description="chunks of one token each go to the decode kernel")
    alone: Factor = Field(Fraction(1), description="how much slower tiles run when every unit has at most one item")


class Mixed(Block):
    """Prefill chunks and decoding sequences of one step."""

    kernels: Literal["one", "two"] = Field(description="one kernel for all, or prefill and decode one after the other")
    empty: Cycles = Field(Fraction(0), description="an item of the grid that has nothing to do")
    order: Literal["heads", "sequences", "longest"] = Field(
        "sequences",
        description="all sequences of a head, then the next head; sequence by sequence; or the longest first",
    )


class Attention(Block):
    """Attention kernels of a library."""

    decode: Decode
    prefill: Prefill
    mixed: Mixed
