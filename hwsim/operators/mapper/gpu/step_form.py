"""A closed form of the attention of a step in integers: how a simulated sample varies within its cell.

The launch, and the longest of: work of chunks and decodes on the slots, bytes from HBM, the longest item. It carries
samples of `step_surface.StepSurface` over a few percent; what it leaves out is the same for both.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields

import numpy as np

from hwsim._core.serve_types import TILE_TOKENS as TILE
from hwsim._core.serve_types import Ints, StepSums
from hwsim.operators.mapper.gpu.attention_batch import Heads
from hwsim.operators.mapper.gpu.attention_library import Device, rate
from hwsim.operators.mapper.gpu.attention_prefill import Tiling, tiling
from hwsim.operators.mapper.gpu.attention_splits import IN_EVERY_KERNEL, wave_efficient
from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.operator import DTYPES
from hwsim.operators.step import StepShape
from hwsim.units import ceil_div, ceil_fraction

FINE = 10  # work is counted in 1/1024 ps
MOST_WAVES = 4  # of query tiles that are told apart
CAPS = np.arange(129)  # blocks of the longest sequence; no rule allows more parts than 128


@dataclass(frozen=True)
class StepForm:
    """Constants of the closed form, in 1/1024 ps of the whole device, and counts.

    Attributes
    ----------
    one_kernel, heads_first : bool
        Chunks and decodes in one kernel; all sequences of a head first.
    start_prefill, start_decode, token : of a call, and of a new token
    chunk_token, chunk_pair : work of a new token, and of a new token x key (both counted twice)
    chunk_once, chunk_step : longest item of a chunk: itself, and a tile of its keys
    mixed_item, mixed_tile, mixed_once, mixed_step : work of a decode and of a tile, its longest item and a tile of it
    decode_item, decode_tile, decode_once, decode_step : the same in the decode kernel
    tile_bytes : time of a tile's bytes
    group, kv_heads, cores, rows, keys, items : query heads of a KV head, ..., rows, keys and items of a query tile
    parts : int64[rounds of query tiles x len(CAPS)], parts the rule allows beside a chunk of so many, by the blocks of
        the longest sequence
    """

    one_kernel: bool
    heads_first: bool
    start_prefill: int
    start_decode: int
    token: int
    chunk_token: int
    chunk_pair: int
    chunk_once: int
    chunk_step: int
    mixed_item: int
    mixed_tile: int
    mixed_once: int
    mixed_step: int
    decode_item: int
    decode_tile: int
    decode_once: int
    decode_step: int
    tile_bytes: int
    group: int
    kv_heads: int
    cores: int
    rows: int
    keys: int
    items: int
    parts: Ints

    @staticmethod
    def of(machine: Machine, of: StepShape) -> StepForm:
        """Of a library on a chip, for one device's heads."""
        device = Device.of(machine)
        columns = {"heads": of.heads, "kv_heads": of.kv_heads, "head_dim": of.head_dim}
        columns["kv_dtype"] = DTYPES.index(of.kv_dtype or of.dtype)
        heads = Heads.of({name: np.array([value], np.int64) for name, value in columns.items()}, of.dtype)
        cut = tiling(device, heads, of.dtype)
        library, items, rows = device.library, int(cut.items[0]), int(cut.rows[0])
        tile_bytes = int(heads.cache(np.array([TILE], np.int64))[0])
        scale = (10**12 << FINE) / device.clock  # floats here round equally everywhere: products and one floor
        work = _chunk_work(device, cut) | _decode_work(device, of.kv_heads) | _start(device, of, tile_bytes)
        work["tile_bytes"] = tile_bytes / float(rate(device.hbm))
        return StepForm(
            one_kernel=library.mixed.kernels == "one",
            heads_first=library.mixed.order == "heads",
            **{name: int(cycles * scale) + 1 for name, cycles in work.items()},
            group=of.heads // of.kv_heads,
            kv_heads=of.kv_heads,
            cores=device.cores,
            rows=rows,
            keys=library.prefill.keys,
            items=items,
            parts=_parts(device, items, ceil_div(of.most_tokens, rows)),
        )

    def constants(self) -> Ints:
        """All but `parts` in the order of the fields, as the core reads them."""
        return np.array([int(getattr(self, entry.name)) for entry in fields(self) if entry.name != "parts"], np.int64)

    def allowed(self, widest: Ints, longest: Ints) -> Ints:
        """Parts the rule allows decodes beside a chunk of `widest` tokens, by the blocks of the longest sequence."""
        last = len(self.parts) // len(CAPS) - 1
        return self.parts[
            np.minimum(ceil_div(widest, self.rows), last) * len(CAPS) + np.minimum(longest, len(CAPS) - 1)
        ]

    def same_class(self, grid: Ints, index: Ints, tokens: Ints, chunks: Ints, longest: Ints) -> Ints:
        """Grid points moved to a neighbour, so that query tiles make as many waves and leave decodes as many parts."""

        def kind(asked: Ints) -> Ints:
            widest = np.maximum(ceil_div(4 * asked, chunks), 1)
            rounds = asked // widest * ceil_div(widest, self.rows) + ceil_div(asked % widest, self.rows)
            waves = np.minimum(ceil_div(rounds * self.items, self.cores), MOST_WAVES)
            return waves * 1000 + self.allowed(widest, longest)

        wanted = kind(tokens)
        for shift in (1, -1, 2, -2, 3, -3):
            other = np.clip(index + shift, 1, len(grid) - 1)
            better = (kind(grid[index]) != wanted) & (kind(grid[other]) == wanted)
            index = np.where(better, other, index)
        return index

    def ask(self, sums: StepSums[Ints]) -> Ints:
        """The closed form of steps, int64[n] in ps, rounded up."""
        chunk, pairs = sums.tokens > 0, 2 * sums.behind + sums.squares
        work = self.chunk_token * sums.tokens + self.chunk_pair * pairs
        path = np.where(chunk, self.chunk_once + self.chunk_step * ceil_div(sums.reach, self.keys), 0)
        memory = self.tile_bytes * sums.tiles
        mixed = chunk & (sums.decodes > 0) & self.one_kernel
        alone = self._decodes(sums, memory)
        start = np.where(chunk, self.start_prefill, 0) + np.where(chunk | mixed, self.token * sums.tokens, 0)
        apart = start + np.maximum(work, path) + np.where(sums.decodes > 0, self.start_decode + alone, 0)
        total = np.where(mixed, start + self.token * sums.decodes + self._mixed(sums, work, path, memory), apart)
        return ceil_div(total, 1 << FINE)

    def _decodes(self, sums: StepSums[Ints], memory: Ints) -> Ints:
        parts = np.maximum(self.cores // np.maximum(sums.decodes * self.kv_heads, 1), 1)
        path = self.decode_once + self.decode_step * sums.longest // parts
        work = self.decode_item * sums.decodes + self.decode_tile * sums.tiles
        return np.maximum(np.maximum(work, memory), path)

    def _mixed(self, sums: StepSums[Ints], work: Ints, path: Ints, memory: Ints) -> Ints:
        decodes = self.mixed_item * sums.decodes + self.mixed_tile * sums.tiles
        blocks = (sums.behind + sums.squares) // (self.rows * TILE) + sums.tiles
        each = np.maximum(ceil_div(11 * blocks * self.items, 10 * self.cores), 1)
        parts = np.minimum(self.allowed(sums.widest, deepest(sums)), ceil_div(sums.longest, each))
        longest = self.mixed_once + self.mixed_step * ceil_div(sums.longest, np.maximum(parts, 1))
        longest = np.maximum(path, longest)
        if not self.heads_first:
            return np.maximum(work + np.maximum(decodes, memory), longest)
        # The first query head of a KV head waits for HBM, the others find its keys in the L2; heads follow each other,
        # so that the longest item of one is partly hidden behind the work of the next.
        total = work + np.maximum(decodes // self.group, memory) + decodes - decodes // self.group
        return np.maximum(total, longest) + np.minimum(total, longest) // 4


def _start(device: Device, of: StepShape, tile_bytes: int) -> dict[str, float]:
    """Cycles until the first item works, and of the kernel that appends a new token."""
    prefill, decode = device.library.prefill, device.library.decode
    moved = 4 * of.kv_heads * of.head_dim + tile_bytes // TILE
    moved += 4 * of.heads * of.head_dim if prefill.rotary else 0
    return {
        "start_prefill": device.cycles(prefill.launch),
        "start_decode": device.cycles(decode.launch),
        "token": moved / float(rate(prefill.append * device.cores)),
    }


def _chunk_work(device: Device, cut: Tiling) -> dict[str, float]:
    """Cycles of the kernel of chunks: of the whole device, and of one item."""
    keys, cores, once = device.library.prefill.keys, device.cores, cut.once
    items, rows, tile = int(cut.items[0]), int(cut.rows[0]), int(cut.tile[0])
    return {
        "chunk_token": items * (once + tile / 2) / (rows * cores),
        "chunk_pair": items * tile / (2 * rows * keys * cores),
        "chunk_once": once,
        "chunk_step": tile,
        "mixed_item": items * once / cores,
        "mixed_tile": items * tile * TILE / keys / cores,
        "mixed_once": once,
        "mixed_step": tile * TILE / keys,
    }


def _decode_work(device: Device, kv_heads: int) -> dict[str, float]:
    """The same of the kernel of decodes alone."""
    decode = device.library.decode
    step = max(ceil_fraction(decode.tile_time), device.hbm_latency // 2) * TILE / decode.tile
    once, slots = ceil_fraction(decode.item), device.cores * decode.slots_per_unit
    return {
        "decode_item": kv_heads * once / slots,
        "decode_tile": kv_heads * step / slots,
        "decode_once": once,
        "decode_step": step,
    }


def _parts(device: Device, items: int, rounds: int) -> Ints:
    """`StepForm.parts` for up to so many rounds of query tiles."""
    splits = device.library.decode.splits
    if splits.rule not in IN_EVERY_KERNEL or splits.rule == "best":
        blocks = np.tile(CAPS, rounds + 1)
        return np.maximum(blocks, 1) if splits.rule == "best" else np.ones_like(blocks)
    return _wave_parts(device.cores, items, rounds, splits.most)


@functools.lru_cache(maxsize=16)
def _wave_parts(cores: int, items: int, rounds: int, most: int) -> Ints:
    """By the rule of whole waves; equal for all clocks and rates of a chip."""
    few = min(rounds, 8 * cores // (10 * items))  # more fill the cores without parts
    grid, blocks = (axis.ravel() for axis in np.meshgrid(np.arange(few + 1), CAPS, indexing="ij"))
    parts = wave_efficient(np.maximum(grid, 1) * items, cores, blocks, most, every=True)
    return np.append(np.where(blocks <= 4, 1, parts), np.ones((rounds - few) * len(CAPS), np.int64))


def deepest(sums: StepSums[Ints]) -> Ints:
    """Blocks of the longest sequence of a step, decoding or not."""
    return np.maximum(sums.longest, ceil_div(sums.reach, TILE))
