"""Decode attention: one new token of each sequence over its paged keys and values.

A work item is a part of a sequence's keys for one KV head; all query heads of that head share it. Parts follow the
library's split rule (attention_splits.py), items go over the SM slots in the library's order, parts are joined by a
combine kernel.
Sequences of one length (the columns of the kind) and of different lengths (a real batch) take the same path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwsim._core.listsched import assign
from hwsim.describe.gpu_kernels import Decode, Short
from hwsim.memory.law import Pattern
from hwsim.operators.candidates import Candidates, Programs
from hwsim.operators.mapper.gpu.attention_batch import Heads, Lengths, sequence_items
from hwsim.operators.mapper.gpu.attention_fold import GROUPS, Groups, fold
from hwsim.operators.mapper.gpu.attention_kernel import Items, Kernel, Rates, as_programs, choose, estimate
from hwsim.operators.mapper.gpu.attention_library import GRAIN, Device, missing, rate
from hwsim.operators.mapper.gpu.attention_splits import BLOCK, RULES, Grid, Splits
from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.mapper.refusals import attention, heads_divide, reasons
from hwsim.units import ceil_div, ceil_fraction

ACCUMULATOR = 4  # bytes of a partial result (fp32)
SHORT_KEYS, SEVERAL_BLOCKS = 32, 256  # keys beyond which MMHA takes its longer loop, and several blocks a head
PARTS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128])  # of a sequence, where no rule says how many
QO_ROUND_TRIP = 3  # halves: writing outputs costs half again, the lines are read first
ALONE = True  # a graph replays it without copies: keys and values are one set
PATTERN: Pattern = "paged"


@dataclass(frozen=True)
class Parts:
    """How the sequences are cut: int64[N] each but `joined` bool[P] (a combine kernel runs) and `most` int64[P]."""

    items: np.ndarray
    depth: np.ndarray
    tiles: np.ndarray
    joined: np.ndarray
    most: np.ndarray


def cut(device: Device, heads: Heads, lengths: Lengths, forced: np.ndarray | None) -> Parts:
    """Parts of every sequence by the library's rule, or `forced` parts where an ideal library may choose."""
    decode = device.library.decode
    rule = decode.splits
    case = lengths.case
    batch = lengths.sum(np.ones_like(lengths.keys))
    blocks = ceil_div(lengths.keys, BLOCK)
    total = lengths.sum(blocks) * heads.kv_heads
    if forced is None:
        splits = RULES[rule.rule](Grid(device.cores, batch, heads.kv_heads, lengths.longest(), total), rule)
    else:
        splits = Splits(forced, np.ones_like(forced))
    parts = np.maximum(np.minimum(splits.most[case], ceil_div(blocks, splits.least_blocks[case])), 1)
    tiles = ceil_div(lengths.keys, decode.tile)
    depth = ceil_div(tiles, parts)
    items = parts if rule.strided else ceil_div(tiles, depth)
    widest = np.maximum.reduceat(items, lengths.first[:-1])
    joined = (splits.most if rule.combine == "bound" else widest) > 1
    return Parts(items, depth, tiles, joined, widest)


def kernel(device: Device, heads: Heads, lengths: Lengths, forced: np.ndarray | None = None) -> Kernel:
    """Decode calls as columns of their program."""
    decode = device.library.decode
    parts = cut(device, heads, lengths, forced)
    slots = device.cores * decode.slots_per_unit
    batch = lengths.sum(np.ones_like(lengths.keys))
    kv, one_way = heads.cache(lengths.sum(lengths.keys)), heads.query_output(batch)
    footprint = whole_share(kv, decode.distinct) + 2 * one_way
    lost = missing(footprint, device.kept) if device.warm else np.full_like(kv, GRAIN)
    hbm = whole_share(kv, decode.distinct if device.warm else None) * lost // GRAIN

    items = lengths.sum(parts.items) * heads.kv_heads
    once = np.full_like(kv, ceil_fraction(decode.item)) + walk_time(decode, slots, lengths, parts, heads, batch)
    tile, rest = tile_cycles(device, heads)
    groups = place(device, heads, lengths, parts, once, tile)
    flop = 4 * (heads.heads // heads.kv_heads) * decode.tile * heads.head_dim
    phase = Items(once * 3 // 5, once - once * 3 // 5, flop, rest, hbm, kv)
    spills = device.warm & (QO_ROUND_TRIP * one_way + footprint > device.kept)
    after = np.where(parts.joined, 2 * items * (heads.heads // heads.kv_heads) * heads.head_dim * ACCUMULATOR, 0)
    usual = Kernel(
        rates=rates(device, decode),
        groups=groups,
        classes=(phase,),
        launch=launch(device, decode, heads, batch),
        before=4 * one_way + copies(decode, heads, batch) * 4 * one_way,
        flush=np.zeros_like(kv),
        hbm_after=np.where(spills, QO_ROUND_TRIP * one_way, 0),
        l2_after=np.where(spills, 0, 2 * one_way) + after,
        combine=np.where(
            parts.joined, ceil_fraction(decode.combine) + ceil_fraction(decode.combine_split) * parts.most, 0
        ),
    )
    return usual if decode.short is None else without_tiles(device, decode.short, heads, lengths, usual)


def without_tiles(device: Device, short: Short, heads: Heads, lengths: Lengths, usual: Kernel) -> Kernel:
    """Where the batch is too small for the split rule: one item of one tile for every query head, nothing beside."""
    longest = lengths.longest()
    batch = lengths.sum(np.ones_like(lengths.keys))
    few = short.below * heads.kv_heads * lengths.sum(np.maximum(lengths.keys // BLOCK, 1)) < device.cores
    items = batch * heads.heads
    count = items[:, None] // device.cores + (np.arange(device.cores) < (items % device.cores)[:, None])
    once = ceil_fraction(short.item) + np.where(longest > SHORT_KEYS, ceil_fraction(short.longer), 0)
    one = np.ones_like(items)
    groups = fold(count, count[:, :, None], count[:, :, None], device.cores * one, one, usual.groups.mult.shape[1])
    zero = 0 * items
    flop = ceil_div(4 * heads.heads * heads.head_dim * lengths.sum(lengths.keys), np.maximum(items, 1))
    phase = Items(once, zero, flop, zero, *(getattr(usual.classes[0], n) for n in ("hbm", "l2")))
    several = np.where(longest > SEVERAL_BLOCKS, ceil_fraction(short.several), 0)
    start = device.cycles(device.library.decode.launch) + zero
    return choose(few, Kernel(usual.rates, groups, (phase,), start, zero, zero, zero, zero, several), usual)


def whole_share(amount: np.ndarray, share) -> np.ndarray:  # type: ignore[no-untyped-def]
    """ceil(amount * share); all of it without a share."""
    return amount if share is None else ceil_div(amount * share.numerator, share.denominator)


def tile_cycles(device: Device, heads: Heads) -> tuple[np.ndarray, np.ndarray]:
    """Cycles of a tile on a slot, and the part of them that its matrix products do not hide."""
    decode = device.library.decode
    group = heads.heads // heads.kv_heads
    speed = rate(device.tensor["bf16"] / decode.slots_per_unit)
    products = ceil_div(4 * group * decode.tile * heads.head_dim * speed.denominator, speed.numerator)
    rest = device.exposed(ceil_fraction(decode.tile_time), group * decode.tile * decode.slots_per_unit, products)
    return products + rest, rest


def rates(device: Device, decode: Decode) -> Rates:
    return Rates(
        tensor=rate(device.tensor["bf16"] / decode.slots_per_unit),
        hbm=rate(device.hbm),
        l2=device.out_of_l2(decode.l2_rate),
        small=rate(device.port * device.cores),
        hbm_latency=device.hbm_latency,
        l2_latency=device.hbm_latency,  # measured times do not tell keys in the L2 from others by a tile's latency
    )


def copies(decode: Decode, heads: Heads, batch: np.ndarray) -> np.ndarray:
    """1 where queries and outputs are transposed by kernels of their own."""
    apart = (batch > 1) & (heads.kv_heads > 1)
    return np.where(apart, 1, 0) if decode.transpose is not None else np.zeros_like(batch)


def launch(device: Device, decode: Decode, heads: Heads, batch: np.ndarray) -> np.ndarray:
    start = device.cycles(decode.launch)
    return start + copies(decode, heads, batch) * (2 * ceil_fraction(decode.transpose) if decode.transpose else 0)


def walk_time(
    decode: Decode, slots: int, lengths: Lengths, parts: Parts, heads: Heads, batch: np.ndarray
) -> np.ndarray:
    """Cycles a slot waits per item while the tile scheduler walks through the sequences that a wave spans."""
    if decode.walk is None:
        return np.zeros_like(batch)
    per_sequence = np.maximum(lengths.sum(parts.items) * heads.kv_heads // batch, 1)
    spanned = np.minimum(batch, np.maximum(slots // per_sequence, 1))
    rounds = ceil_div(spanned, decode.walk.sequences) - 1
    return np.where(batch <= decode.walk.most, rounds * ceil_fraction(decode.walk.time), 0)


def place(device: Device, heads: Heads, lengths: Lengths, parts: Parts, once: np.ndarray, tile: np.ndarray) -> Groups:
    """Items on slots. Equal sequences go round; others are dispatched in order by the cycles they take on a slot.

    Those do not know how busy the memory is: with faster memory the same items stay on the same slots.
    """
    items = lengths.sum(parts.items) * heads.kv_heads
    slots = device.cores * device.library.decode.slots_per_unit
    cases = len(lengths.first) - 1
    width = np.full(cases, slots)
    if (np.diff(lengths.first) == 1).all():
        index = np.arange(slots)
        count = items[:, None] // slots + (index < (items % slots)[:, None])
        depth = count * parts.depth[:, None]
        load = count * once[:, None] + depth * tile[:, None]
        return fold(load, count[:, :, None], depth[:, :, None], width, tile, GROUPS)
    work = sequence_items(lengths, heads.kv_heads[lengths.case], parts.items, parts.depth, parts.tiles)
    work = work.sorted() if device.library.mixed.order == "longest" else work
    first = np.searchsorted(work.case, np.arange(cases + 1))
    weight = np.stack([np.ones_like(work.depth), work.depth], axis=1)
    load, total = assign(first, once[work.case] + work.depth * tile[work.case], weight, width)
    return fold(load, total[:, :, :1], total[:, :, 1:2], width, tile, GROUPS)


def propose(machine: Machine, dims: Mapping[str, np.ndarray], dtype: str) -> Candidates:
    """One candidate a case, what the library runs; with rule `best` every sensible number of parts, ranked."""
    rule = machine.kernels.attention.decode.splits
    if rule.rule != "best":
        return Candidates.one_each(dims, parts=np.zeros_like(dims["batch"]))
    list_ = PARTS[rule.most >= PARTS]
    items = dims["batch"] * dims["kv_heads"]
    sensible = (list_ <= ceil_div(keys_of(dims), BLOCK)[:, None]) & (items[:, None] * list_ < 4 * machine.cores)
    row, which = np.nonzero(sensible | (list_ == 1))
    picked = {name: column[row] for name, column in dims.items()}
    return Candidates(row, estimate(of_columns(machine, picked, dtype, list_[which])), {"parts": list_[which]})


def programs(machine: Machine, dims: Mapping[str, np.ndarray], dtype: str, chosen: Candidates) -> list[Programs]:
    """Programs of the chosen candidates; one template serves them all."""
    picked = {name: column[chosen.case] for name, column in dims.items()}
    best = machine.kernels.attention.decode.splits.rule == "best"
    forced = chosen.columns["parts"] if best else None
    return [as_programs(of_columns(machine, picked, dtype, forced), np.arange(len(chosen.case)))]


def of_columns(machine: Machine, dims: Mapping[str, np.ndarray], dtype: str, forced: np.ndarray | None) -> Kernel:
    """The columns of kind attention_decode as calls of the kernel."""
    lengths = Lengths(np.arange(len(dims["batch"]) + 1), keys_of(dims), dims["batch"])
    return kernel(Device.of(machine), Heads.of(dims, dtype), lengths, forced)


def keys_of(dims: Mapping[str, np.ndarray]) -> np.ndarray:
    """Keys that a query sees."""
    return np.where(dims["window"] > 0, np.minimum(dims["kv_len"], dims["window"]), dims["kv_len"])


def refuse(machine: Machine, dims: Mapping[str, np.ndarray], dtype: str) -> list[str | None]:
    """Why a case cannot run, or None."""
    return reasons(heads_divide(dims), *attention("attention_decode", dims))


def describe(chosen: Candidates, row: int) -> str:
    """A candidate in words."""
    parts = int(chosen.columns["parts"][row])
    return f"{parts} parts a sequence" if parts else "parts by the library's rule"
