"""Prefill attention: causal attention of chunks of new tokens over their cached and new keys.

A work item is a query tile of one head (or of one KV head with all its query heads, where the library packs them). Its
keys grow with its place in the chunk, so items are unequal: they are dispatched in the library's order, each to the
slot that is free first. A tile on the diagonal is counted whole, as it is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from hwsim._core.listsched import assign
from hwsim.describe.gpu_kernels import Prefill
from hwsim.memory.law import Pattern
from hwsim.operators.candidates import Candidates, Programs
from hwsim.operators.mapper.gpu.attention_batch import Chunks, Heads, Lengths, Worklist
from hwsim.operators.mapper.gpu.attention_decode import kernel as decode_kernel
from hwsim.operators.mapper.gpu.attention_fold import GROUPS, fold
from hwsim.operators.mapper.gpu.attention_kernel import Items, Kernel, Rates, as_programs
from hwsim.operators.mapper.gpu.attention_library import GRAIN, Device, missing, rate
from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.mapper.refusals import attention, heads_divide, reasons
from hwsim.units import ceil_div, ceil_fraction

PIECE = 1 << 20  # query tiles listed at a time
ALONE = True  # a graph replays it without copies: keys and values are one set
PATTERN: Pattern = "paged"


@dataclass(frozen=True)
class Tiling:
    """Query tiles of every chunk and what a KV tile of them costs.

    Attributes
    ----------
    rows : int64[P], new tokens of an item
    items : int64[P], items per query tile (heads, or KV heads if packed)
    flop : int64[P], FLOP of a tile
    rest : int64[P], cycles of a tile that matrix products do not hide
    tile : int64[P], cycles of a tile
    once : int, cycles of an item beside its tiles
    """

    rows: np.ndarray
    items: np.ndarray
    flop: np.ndarray
    rest: np.ndarray
    tile: np.ndarray
    once: int


def tiling(device: Device, heads: Heads, dtype: str) -> Tiling:
    prefill = device.library.prefill
    group = heads.heads // heads.kv_heads
    rows = np.maximum(prefill.queries // group, 1) if prefill.packed else np.full_like(group, prefill.queries)
    flop = 4 * prefill.queries * prefill.keys * heads.head_dim
    speed = rate(device.tensor[dtype])
    products = ceil_div(flop * speed.denominator, speed.numerator)
    elements = prefill.queries * prefill.keys
    rest = device.exposed(ceil_fraction(prefill.softmax * elements), elements, products)
    tile = products + rest
    return Tiling(
        rows, heads.kv_heads if prefill.packed else heads.heads, flop, rest, tile, ceil_fraction(prefill.item)
    )


@dataclass(frozen=True)
class QueryTiles:
    """Query tiles of all chunks in their order: int64[T] case, chunk, tiles of keys, and items that are equal to it."""

    chunk: np.ndarray
    depth: np.ndarray
    case: np.ndarray


def query_tiles(device: Device, cut: Tiling, chunks: Chunks, window: np.ndarray) -> QueryTiles:
    """One entry a query tile of a chunk, shortest first unless the library starts with the longest."""
    prefill = device.library.prefill
    case = chunks.case
    rows = cut.rows[case]
    count = ceil_div(chunks.tokens, rows)
    chunk = np.repeat(np.arange(len(case)), count)
    place = np.arange(len(chunk)) - np.repeat(np.cumsum(count) - count, count)
    if prefill.order != "short-first":
        place = count[chunk] - 1 - place
    cached, tokens, of = chunks.cached[chunk], chunks.tokens[chunk], case[chunk]
    last = cached + np.minimum((place + 1) * rows[chunk], tokens)
    reach = window[of]
    begin = np.where(reach > 0, np.maximum(cached + place * rows[chunk] - reach + 1, 0), 0)
    return QueryTiles(chunk, ceil_div(last, prefill.keys) - begin // prefill.keys, of)


def dispatch(device: Device, cut: Tiling, chunks: Chunks, window: np.ndarray) -> Worklist:
    """Items of every case: chunk by chunk and head by head, or the longest of all heads first."""
    tiles = query_tiles(device, cut, chunks, window)
    if device.library.prefill.order == "long-first-all":
        repeat = (chunks.count * cut.items[chunks.case])[tiles.chunk]
        order = np.lexsort((-tiles.depth, tiles.case))
        index = np.repeat(order, repeat[order])
        return Worklist(tiles.case[index], tiles.depth[index], np.zeros_like(index), tiles.depth[index])
    per_chunk = np.bincount(tiles.chunk, minlength=len(chunks.tokens))
    start = np.cumsum(per_chunk) - per_chunk
    repeat = chunks.count * cut.items[chunks.case]
    owner = np.repeat(np.arange(len(repeat)), repeat)
    copy = np.arange(len(owner)) - np.repeat(np.cumsum(repeat) - repeat, repeat)
    length = per_chunk[owner]
    index = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length) + np.repeat(start[owner], length)
    head = np.repeat(copy % cut.items[chunks.case][owner], length)
    shortest = np.minimum.reduceat(tiles.depth, start)[tiles.chunk[index]]
    work = Worklist(tiles.case[index], tiles.depth[index], head, shortest)
    return work.sorted() if device.library.mixed.order == "longest" else work


def kernel(device: Device, heads: Heads, chunks: Chunks, window: np.ndarray, dtype: str = "bf16") -> Kernel:
    """Prefill calls as columns of their program."""
    prefill = device.library.prefill
    cut = tiling(device, heads, dtype)
    work = dispatch(device, cut, chunks, window)
    case, depth = work.case, work.depth
    cases = len(chunks.first) - 1
    first = np.searchsorted(case, np.arange(cases + 1))
    slots = np.full(cases, device.cores)
    cost = cut.once + depth * cut.tile[case]
    load, total = assign(first, cost, np.stack([np.ones_like(depth), depth], axis=1), slots)
    slow = alone(prefill, np.diff(first) <= device.cores)
    rest = cut.rest + slow * (cut.tile) // GRAIN
    once = cut.once + slow * cut.once // GRAIN
    hbm, l2 = traffic(device, heads, chunks, np.bincount(case, depth, cases).astype(np.int64))
    before, flush = append(device, heads, chunks.sum(chunks.tokens))
    zero = np.zeros(cases, np.int64)
    return Kernel(
        rates=rates(device, dtype),
        groups=fold(load, total[:, :, :1], total[:, :, 1:], slots, cut.tile, GROUPS),
        classes=(Items(once * 3 // 5, once - once * 3 // 5, cut.flop, rest, hbm, l2),),
        launch=zero + device.cycles(prefill.launch),
        before=before, flush=flush, hbm_after=zero, l2_after=zero, combine=zero,
    )  # fmt: skip


def alone(prefill: Prefill, few: np.ndarray) -> np.ndarray:
    """1024ths by which tiles are slower when no SM has a second item to alternate with."""
    return np.where(few, int((prefill.alone - 1) * GRAIN), 0)


def rates(device: Device, dtype: str) -> Rates:
    """Rates of the kernel of chunks, and of the one that appends their tokens."""
    prefill = device.library.prefill
    return Rates(
        tensor=rate(device.tensor[dtype]),
        hbm=rate(device.hbm),
        l2=device.out_of_l2(prefill.l2_rate),
        small=rate(min(prefill.append, device.port) * device.cores),
        hbm_latency=device.hbm_latency,
        l2_latency=device.l2_latency,
    )


def traffic(device: Device, heads: Heads, chunks: Chunks, tiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bytes from HBM and through L2 of the main kernel.

    New keys, queries and outputs are in the L2 as far as they fit; cached keys come from HBM once unless a replay left
    them there. All query tiles of a head then read keys from L2.
    """
    prefill = device.library.prefill
    tokens = chunks.sum(chunks.tokens)
    moved = 2 * heads.query_output(tokens) + heads.cache(tokens)
    cached = heads.cache(chunks.sum(chunks.cached))
    hbm = moved * missing(moved + (cached if device.warm else 0), device.kept) // GRAIN
    hbm += cached * missing(moved + cached, device.kept) // GRAIN if device.warm else cached
    tile = 2 * prefill.keys * heads.head_dim * heads.kv_width // 16
    return hbm, tiles * tile + 2 * heads.query_output(tokens)


def append(device: Device, heads: Heads, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of the kernel that appends new tokens to the cache (and rotates queries), and what of them goes to HBM."""
    prefill = device.library.prefill
    fresh = 2 * tokens * heads.kv_heads * heads.head_dim * 2
    moved = fresh + heads.cache(tokens) + (2 * heads.query_output(tokens) if prefill.rotary else 0)
    return moved, np.where(moved > device.kept, moved, 0)


def propose(machine: Machine, dims: Mapping[str, np.ndarray], dtype: str) -> Candidates:
    """One candidate a case: what the library runs."""
    queries = machine.kernels.attention.prefill.queries
    return Candidates.one_each(dims, queries=np.full_like(dims["batch"], queries))


def programs(machine: Machine, dims: Mapping[str, np.ndarray], dtype: str, chosen: Candidates) -> list[Programs]:
    """Programs of the chosen candidates, in pieces of at most `PIECE` query tiles."""
    device = Device.of(machine)
    picked = {name: column[chosen.case] for name, column in dims.items()}
    prefill = device.library.prefill
    single = (picked["q_len"] == 1) & prefill.single_decodes
    parts = []
    if single.any():
        index = np.flatnonzero(single)
        decode = Lengths(np.arange(len(index) + 1), picked["kv_len"][index], picked["batch"][index])
        parts.append(as_programs(decode_kernel(device, Heads.of(take(picked, index), dtype), decode), index))
    items = picked["batch"] * picked["heads"] * ceil_div(picked["q_len"], prefill.queries)
    for index in pieces(np.flatnonzero(~single), items):
        part = take(picked, index)
        chunks = Chunks(np.arange(len(index) + 1), part["q_len"], part["kv_len"] - part["q_len"], part["batch"])
        parts.append(as_programs(kernel(device, Heads.of(part, dtype), chunks, part["window"], dtype), index))
    return parts


def refuse(machine: Machine, dims: Mapping[str, np.ndarray], dtype: str) -> list[str | None]:
    """Why a case cannot run, or None."""
    return reasons(heads_divide(dims), *attention("attention_prefill", dims))


def describe(chosen: Candidates, row: int) -> str:
    """A candidate in words."""
    return f"query tiles of {int(chosen.columns['queries'][row])} rows"


def take(dims: Mapping[str, np.ndarray], index: np.ndarray) -> dict[str, np.ndarray]:
    return {name: column[index] for name, column in dims.items()}


def pieces(index: np.ndarray, items: np.ndarray) -> Iterator[np.ndarray]:
    """`index` in pieces whose items together stay below PIECE, so that their columns fit in memory."""
    number = np.cumsum(items[index]) // PIECE
    for piece in np.unique(number):
        yield index[number == piece]
