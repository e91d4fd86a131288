"""Attention of a mixed step: prefill chunks and decoding sequences together.

A library with one kernel for all (FlashAttention) gives a decoding sequence the query tile of a prefill: its items take
a full tile of matrix products per KV tile, which costs decodes up to 1.7 times what they take alone. Items follow in
the library's order: all sequences of a head and then the next head, so that both kinds run side by side; or sequence by
sequence, decodes first, so that on every slot one follows the other. A library with two kernels runs them in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hwsim._core.listsched import assign
from hwsim.memory.law import Pattern
from hwsim.operators.candidates import Candidates, Programs
from hwsim.operators.mapper.gpu import attention_decode, attention_prefill
from hwsim.operators.mapper.gpu.attention_batch import Chunks, Heads, Lengths, Worklist, sequence_items
from hwsim.operators.mapper.gpu.attention_decode import ACCUMULATOR
from hwsim.operators.mapper.gpu.attention_fold import GROUPS, Groups, fold
from hwsim.operators.mapper.gpu.attention_kernel import Items, Kernel, as_programs
from hwsim.operators.mapper.gpu.attention_library import GRAIN, Device, missing
from hwsim.operators.mapper.gpu.attention_prefill import Tiling, dispatch, tiling
from hwsim.operators.mapper.gpu.attention_splits import BLOCK, IN_EVERY_KERNEL, RULES, Grid
from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.mapper.refusals import attention, heads_divide, reasons
from hwsim.units import ceil_div, ceil_fraction

ALONE = True  # a graph replays it without copies: keys and values are one set
PATTERN: Pattern = "paged"


def programs_of(device: Device, heads: Heads, chunks: Chunks, lengths: Lengths, dtype: str) -> list[Programs]:
    """Programs of steps with any numbers of chunks and decodes, not both 0; those of a case run one after the other."""
    prefills, decodes = np.diff(chunks.first) > 0, np.diff(lengths.first) > 0
    together = prefills & decodes if device.library.mixed.kernels == "one" else np.zeros_like(prefills)
    parts = []
    if len(index := np.flatnonzero(together)):
        mixed = kernel(device, heads.take(index), chunks.take(index), lengths.take(index), dtype)
        parts.append(as_programs(mixed, index))
    if len(index := np.flatnonzero(prefills & ~together)):
        prefill = attention_prefill.kernel(device, heads.take(index), chunks.take(index), 0 * index, dtype)
        parts.append(as_programs(prefill, index))
    if len(index := np.flatnonzero(decodes & ~together)):
        decode = attention_decode.kernel(device, heads.take(index), lengths.take(index))
        parts.append(as_programs(decode, index))
    return parts


@dataclass(frozen=True)
class Rows:
    """Decoding sequences inside the kernel of a prefill, int64[N] each; `joined` bool[P], `widest` int64[P].

    parts : items of a head; depth, tiles : KV tiles of an item and of the sequence; heads : heads that have items
    """

    parts: np.ndarray
    depth: np.ndarray
    tiles: np.ndarray
    heads: np.ndarray
    joined: np.ndarray
    widest: np.ndarray


def rows_in_kernel(device: Device, heads: Heads, chunks: Chunks, lengths: Lengths, cut: Tiling) -> Rows:
    """Items of decoding sequences: one a head, or the parts of FlashAttention 3, which splits in every kernel."""
    library, case = device.library, lengths.case
    tiles = ceil_div(lengths.keys, library.prefill.keys)
    parts = np.ones_like(tiles)
    joined = np.zeros(len(cut.items), bool)
    if library.decode.splits.rule in IN_EVERY_KERNEL:
        rounds = ceil_div(chunks.tokens, cut.rows[chunks.case])
        longest = np.maximum(np.maximum.reduceat(chunks.cached + chunks.tokens, chunks.first[:-1]), lengths.longest())
        blocks = chunks.sum(rounds * ceil_div(chunks.cached + chunks.tokens, BLOCK))
        blocks += lengths.sum(ceil_div(lengths.keys, BLOCK))
        batch = chunks.sum(np.ones_like(rounds)) + lengths.sum(np.ones_like(tiles))
        widest = np.maximum.reduceat(rounds, chunks.first[:-1]) * cut.items
        rule = library.decode.splits
        splits = RULES[rule.rule](Grid(device.cores, batch, widest, longest, blocks * cut.items), rule)
        parts = np.maximum(np.minimum(splits.most[case], ceil_div(tiles, splits.least_blocks[case])), 1)
        joined = splits.most > 1 if rule.combine == "bound" else np.maximum.reduceat(parts, lengths.first[:-1]) > 1
    depth = ceil_div(tiles, parts)
    parts = ceil_div(tiles, depth)
    return Rows(parts, depth, tiles, cut.items[case], joined, np.maximum.reduceat(parts, lengths.first[:-1]))


def merge(device: Device, prefill: Worklist, decode: Worklist) -> tuple[Worklist, np.ndarray]:
    """Both lists in the kernel's order, and 1 for the items of decodes."""
    kind = np.repeat([1, 0], [len(decode.case), len(prefill.case)])
    columns = [np.concatenate([x, y]) for x, y in zip(vars(decode).values(), vars(prefill).values(), strict=True)]
    case, _, head, shortest = columns
    ways = {"heads": (head, case), "sequences": (case,), "longest": (-shortest, case)}
    order = np.lexsort(ways[device.library.mixed.order])
    return Worklist(*(column[order] for column in columns)), kind[order]


def kernel(device: Device, heads: Heads, chunks: Chunks, lengths: Lengths, dtype: str) -> Kernel:
    """Mixed steps as columns of the program of one kernel; every case has chunks and decodes."""
    library = device.library
    cut = tiling(device, heads, dtype)
    rows = rows_in_kernel(device, heads, chunks, lengths, cut)
    work, decodes = merge(
        device,
        dispatch(device, cut, chunks, 0 * cut.items),
        sequence_items(lengths, rows.heads, rows.parts, rows.depth, rows.tiles),
    )
    cases = len(cut.items)
    first = np.searchsorted(work.case, np.arange(cases + 1))
    tiles = [np.bincount(work.case, work.depth * which, cases).astype(np.int64) for which in (1 - decodes, decodes)]
    classes = classes_of(device, heads, chunks, lengths, cut, tiles, np.diff(first))
    tokens = chunks.sum(chunks.tokens) + lengths.sum(np.ones_like(lengths.keys))
    before, flush = attention_prefill.append(device, heads, tokens)
    combined = 2 * lengths.sum(rows.parts) * heads.heads * heads.head_dim * ACCUMULATOR
    zero = np.zeros(cases, np.int64)
    rates, one = attention_prefill.rates(device, dtype), library.decode
    groups = place(device, cut, work, decodes, first)
    if library.mixed.order == "heads":
        groups, classes = by_coldness(device, heads, lengths, groups, classes)
    else:
        groups, classes = groups.reversed(), classes[::-1]
    return Kernel(
        rates=rates, groups=groups, classes=classes,
        launch=zero + device.cycles(library.prefill.launch) + empty(device, heads, chunks, lengths, cut),
        before=before, flush=flush, hbm_after=zero, l2_after=np.where(rows.joined, combined, 0),
        combine=rows.joined * (ceil_fraction(one.combine) + ceil_fraction(one.combine_split) * rows.widest),
    )  # fmt: skip


def place(device: Device, cut: Tiling, work: Worklist, decodes: np.ndarray, first: np.ndarray) -> Groups:
    """Items on slots, by the cycles they take there: faster memory leaves the same items on the same slots."""
    weight = np.stack([1 - decodes, decodes, (1 - decodes) * work.depth, decodes * work.depth], axis=1)
    slots = np.full(len(cut.items), device.cores)
    cost = cut.once + work.depth * cut.tile[work.case]
    load, total = assign(first, cost, np.ascontiguousarray(weight), slots)
    return fold(load, total[:, :, :2], total[:, :, 2:], slots, cut.tile, GROUPS)


def classes_of(device: Device, heads: Heads, chunks: Chunks, lengths: Lengths, cut: Tiling, tiles: list[np.ndarray],
               items: np.ndarray) -> tuple[Items, Items]:  # fmt: skip
    """What the items of the chunks and of the decodes take."""
    library = device.library
    slow = attention_prefill.alone(library.prefill, items <= device.cores)
    once, rest = cut.once + slow * cut.once // GRAIN, cut.rest + slow * cut.tile // GRAIN
    tile_bytes = 2 * library.prefill.keys * heads.head_dim * heads.kv_width // 16
    moved = [attention_prefill.traffic(device, heads, chunks, tiles[0]),
             (cold_bytes(device, heads, lengths, cut), tiles[1] * tile_bytes)]  # fmt: skip
    first, second = (Items(once * 3 // 5, once - once * 3 // 5, cut.flop, rest, hbm, l2) for hbm, l2 in moved)
    return first, second


def cold_bytes(device: Device, heads: Heads, lengths: Lengths, cut: Tiling) -> np.ndarray:
    """Keys and values of decodes from HBM. Where every query head reads them, heads that run at once share a read."""
    kv = heads.cache(lengths.sum(lengths.keys))
    if device.library.prefill.packed:
        return kv
    group = heads.heads // heads.kv_heads
    batch = lengths.sum(np.ones_like(lengths.keys))
    lost = missing(kv // heads.kv_heads, device.kept)
    again = (group - 1) * kv * batch // np.maximum(device.cores, batch)  # heads in flight: cores / batch
    return kv + np.minimum(again, (group - 1) * kv) * lost // GRAIN


def empty(device: Device, heads: Heads, chunks: Chunks, lengths: Lengths, cut: Tiling) -> np.ndarray:
    """Cycles for items of the grid that find nothing to do: every sequence has as many as the longest chunk."""
    rounds = ceil_div(chunks.tokens, cut.rows[chunks.case])
    most = np.maximum.reduceat(rounds, chunks.first[:-1])
    sequences = chunks.sum(np.ones_like(rounds)) + lengths.sum(np.ones_like(lengths.keys))
    useful = chunks.sum(rounds) + lengths.sum(np.ones_like(lengths.keys))
    return (most * sequences - useful) * cut.items * ceil_fraction(device.library.mixed.empty) // device.cores


def by_coldness(device: Device, heads: Heads, lengths: Lengths, groups: Groups,
                classes: tuple[Items, Items]) -> tuple[Groups, tuple[Items, Items]]:  # fmt: skip
    """Items that wait for HBM, and those whose keys are in the L2 by then.

    Head after head, the first query head of a KV head reads cold keys and the others find them; as many heads as run at
    once read together. Both kinds take turns on every slot, so that times of the one do not hide those of the other.
    """
    chunk, decode = classes
    group = heads.heads // heads.kv_heads
    batch = lengths.sum(np.ones_like(lengths.keys))
    once = heads.cache(lengths.sum(lengths.keys))
    share = np.clip(device.cores * GRAIN // (batch * group), GRAIN // group, GRAIN)
    again = (decode.hbm - once) * GRAIN // np.maximum((group - 1) * once, 1)  # re-reads, of those that could be
    share = np.minimum(share + (GRAIN - share) * np.minimum(again, GRAIN) // GRAIN, GRAIN)[:, None]
    parts = []
    for part in (groups.items, groups.tiles, groups.number, groups.share):
        cold = ceil_div(part[:, :, 1] * share, GRAIN)
        parts.append(np.stack([cold, part.sum(axis=2) - cold], axis=2))
    bytes_cold = decode.l2 * share[:, 0] // GRAIN
    first = replace(decode, l2=bytes_cold)
    second = replace(chunk, hbm=chunk.hbm, l2=chunk.l2 + decode.l2 - bytes_cold)
    return Groups(groups.mult, *parts), (first, second)


def propose(machine: Machine, dims: Mapping[str, np.ndarray], dtype: str) -> Candidates:
    """One candidate a case: what the library runs."""
    return Candidates.one_each(dims)


def programs(machine: Machine, dims: Mapping[str, np.ndarray], dtype: str, chosen: Candidates) -> list[Programs]:
    """Programs of the columns of kind attention_mixed."""
    picked = {name: column[chosen.case] for name, column in dims.items()}
    chunk, decode = (np.flatnonzero(picked[name]) for name in ("prefill_chunk", "n_decode"))
    ends = np.arange(len(chosen.case) + 1)
    chunks = Chunks(
        np.searchsorted(chunk, ends), picked["prefill_chunk"][chunk], picked["kv_prefill"][chunk], 0 * chunk + 1
    )
    lengths = Lengths(np.searchsorted(decode, ends), picked["kv_decode"][decode], picked["n_decode"][decode])
    return programs_of(Device.of(machine), Heads.of(picked, dtype), chunks, lengths, dtype)


def refuse(machine: Machine, dims: Mapping[str, np.ndarray], dtype: str) -> list[str | None]:
    """Why a case cannot run, or None."""
    return reasons(heads_divide(dims), *attention("attention_mixed", dims))


def describe(chosen: Candidates, row: int) -> str:
    """A candidate in words."""
    return "the library's kernel for mixed batches"
