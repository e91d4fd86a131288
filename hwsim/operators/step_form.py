"""A closed form of the attention of a step in integers: how a simulated sample varies within its cell.

Work of the chunks and of the decodes on the slots, bytes from HBM, the longest item, and what starting takes. It
carries samples of `compose.StepSurface` over a few percent; it is no time by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwsim.operators.mapper.gpu.attention_batch import Heads
from hwsim.operators.mapper.gpu.attention_library import Device, rate, whole
from hwsim.operators.mapper.gpu.attention_prefill import tiling
from hwsim.operators.mapper.gpu.attention_splits import IN_EVERY_KERNEL, wave_efficient
from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.operator import DTYPES

if TYPE_CHECKING:
    from hwsim.operators.compose import Sums

Ints = NDArray[np.int64]
TILE = 128
NANO = 1024  # work is counted in 1/1024 ns
MOST_WAVES = 4  # of query tiles that are told apart
CAPS = np.arange(129)  # blocks of the longest sequence; no rule allows more parts than 128


@dataclass(frozen=True)
class StepForm:
    """Constants of the closed form, in 1/1024 ns of the whole device, and counts.

    Attributes
    ----------
    one_kernel, heads_first, splits : bool
        Chunks and decodes in one kernel; all sequences of a head first; that kernel splits sequences.
    start_prefill, start_decode, token : of a call, and of a new token
    chunk_token, chunk_pair : work of a new token, and of a new token x key (both counted twice)
    chunk_item, chunk_key : longest item of a chunk: itself, and a key
    mixed_item, mixed_tile, mixed_once, mixed_step : work of a decode and of a tile, its longest item and a tile of it
    decode_item, decode_tile, decode_once, decode_step : the same in the decode kernel
    tile_bytes : time of a tile's bytes
    group, kv_heads, cores, rows, items : query heads of a KV head, ..., rows and items of a query tile
    parts : int64[rounds of query tiles x len(CAPS)], parts the rule allows beside a chunk of so many, by the blocks of
        the longest sequence
    """

    one_kernel: bool
    heads_first: bool
    splits: bool
    start_prefill: int
    start_decode: int
    token: int
    chunk_token: int
    chunk_pair: int
    chunk_item: int
    chunk_key: int
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
    items: int
    parts: Ints

    @staticmethod
    def of(
        machine: Machine, heads: int, kv_heads: int, head_dim: int, most_tokens: int, kv_dtype: str, dtype: str
    ) -> StepForm:
        """Of a library on a chip, for one device's heads."""
        device = Device.of(machine)
        prefill, decode = device.library.prefill, device.library.decode
        given = {
            "heads": heads,
            "kv_heads": kv_heads,
            "head_dim": head_dim,
            "kv_dtype": DTYPES.index(kv_dtype or dtype),
        }
        shape = Heads.of({name: np.array([value], np.int64) for name, value in given.items()}, dtype)
        cut = tiling(device, shape, dtype)
        items, rows, tile = int(cut.items[0]), int(cut.rows[0]), int(cut.tile[0])
        scale = NANO * 10**9 / device.clock  # floats here round equally everywhere: products and one floor

        def fine(cycles: float) -> int:
            return int(cycles * scale) + 1

        step = max(whole(decode.tile_time), device.hbm_latency // 2) * TILE / decode.tile
        slots = device.cores * decode.slots_per_unit
        tile_bytes = int(shape.cache(np.array([TILE], np.int64))[0])
        moved = 2 * kv_heads * head_dim * 2 + tile_bytes // TILE
        moved += 4 * heads * head_dim if prefill.rotary else 0
        combines = decode.splits.rule in IN_EVERY_KERNEL
        rounds = np.arange(-(-most_tokens // rows) + 1, dtype=np.int64)
        grid, blocks = (axis.ravel() for axis in np.meshgrid(np.maximum(rounds, 1) * items, CAPS, indexing="ij"))
        parts = wave_efficient(grid, device.cores, blocks, decode.splits.most, every=True)
        parts[blocks <= 4] = 1
        if decode.splits.rule == "best":
            parts = np.maximum(blocks, 1)
        return StepForm(
            one_kernel=device.library.mixed.kernels == "one",
            heads_first=device.library.mixed.order == "heads",
            splits=combines,
            start_prefill=fine(device.cycles(prefill.launch) + START * device.clock / 10**9),
            start_decode=fine(device.cycles(decode.launch) + START * device.clock / 10**9),
            token=fine(moved / float(rate(prefill.append * device.cores))),
            chunk_token=fine(items * (cut.once + tile / 2) / (rows * device.cores)),
            chunk_pair=fine(items * tile / (2 * rows * prefill.keys * device.cores)),
            chunk_item=fine(cut.once + tile / 2),
            chunk_key=fine(tile / prefill.keys),
            mixed_item=fine(items * cut.once / device.cores),
            mixed_tile=fine(items * tile * TILE / prefill.keys / device.cores),
            mixed_once=fine(cut.once),
            mixed_step=fine(tile * TILE / prefill.keys),
            decode_item=fine(kv_heads * whole(decode.item) / slots),
            decode_tile=fine(kv_heads * step / slots),
            decode_once=fine(whole(decode.item)),
            decode_step=fine(step),
            tile_bytes=fine(tile_bytes / float(rate(device.hbm))),
            group=heads // kv_heads,
            kv_heads=kv_heads,
            cores=device.cores,
            rows=rows,
            items=items,
            parts=parts if combines else np.ones_like(parts),
        )

    def constants(self) -> Ints:
        """All but `parts` in the order of the fields, as the core reads them."""
        return np.array([int(getattr(self, entry.name)) for entry in fields(self) if entry.name != "parts"], np.int64)

    def allowed(self, widest: Ints, longest: Ints) -> Ints:
        """Parts the rule allows decodes beside a chunk of `widest` tokens, by the blocks of the longest sequence."""
        last = len(self.parts) // len(CAPS) - 1
        return self.parts[np.minimum(-(-widest // self.rows), last) * len(CAPS) + np.minimum(longest, len(CAPS) - 1)]

    def same_class(self, grid: Ints, index: Ints, tokens: Ints, chunks: Ints, longest: Ints) -> Ints:
        """Grid points moved to a neighbour, so that query tiles make as many waves and leave decodes as many parts."""

        def kind(asked: Ints) -> Ints:
            widest = np.maximum(-(-4 * asked // chunks), 1)
            rounds = asked // widest * -(-widest // self.rows) + -(-(asked % widest) // self.rows)
            waves = np.minimum(-(-rounds * self.items // self.cores), MOST_WAVES)
            return waves * 1000 + self.allowed(widest, longest)

        wanted = kind(tokens)
        for shift in (1, -1, 2, -2, 3, -3):
            other = np.clip(index + shift, 1, len(grid) - 1)
            better = (kind(grid[index]) != wanted) & (kind(grid[other]) == wanted)
            index = np.where(better, other, index)
        return index

    def ask(self, sums: Sums) -> Ints:
        """The closed form of steps, int64[n] in 1/1024 ns."""
        chunk, pairs = sums.tokens > 0, 2 * sums.behind + sums.squares
        work = self.chunk_token * sums.tokens + self.chunk_pair * pairs
        path = np.where(chunk, self.chunk_item + self.chunk_key * sums.reach, 0)
        memory = self.tile_bytes * sums.tiles
        mixed = chunk & (sums.decodes > 0) & self.one_kernel
        alone = self._decodes(sums, memory)
        start = np.where(chunk, self.start_prefill, 0) + np.where(chunk | mixed, self.token * sums.tokens, 0)
        apart = start + _longer(work, path) + np.where(sums.decodes > 0, self.start_decode + alone, 0)
        return np.where(mixed, start + self.token * sums.decodes + self._mixed(sums, work, path, memory), apart)

    def _decodes(self, sums: Sums, memory: Ints) -> Ints:
        parts = np.maximum(self.cores // np.maximum(sums.decodes * self.kv_heads, 1), 1)
        path = self.decode_once + self.decode_step * sums.longest // parts
        return _longer(np.maximum(self.decode_item * sums.decodes + self.decode_tile * sums.tiles, memory), path)

    def _mixed(self, sums: Sums, work: Ints, path: Ints, memory: Ints) -> Ints:
        decodes = self.mixed_item * sums.decodes + self.mixed_tile * sums.tiles
        blocks = (sums.behind + sums.squares) // (self.rows * TILE) + sums.tiles
        each = np.maximum(-(-11 * blocks * self.items // (10 * self.cores)), 1)
        parts = np.minimum(self.allowed(sums.widest, deepest(sums)), -(-sums.longest // each))
        longest = self.mixed_once + self.mixed_step * -(-sums.longest // np.maximum(parts, 1))
        if self.heads_first:  # the first query head of a KV head waits for HBM, the others find its keys in the L2
            total = work + np.maximum(decodes // self.group, memory) + decodes - decodes // self.group
        else:
            total = work + np.maximum(decodes, memory)
        return _longer(total, np.maximum(path, longest))


START = 3000  # ns beside the launch until the first item is under way and after the last


def deepest(sums: Sums) -> Ints:
    """Blocks of the longest sequence of a step, decoding or not."""
    return np.maximum(sums.longest, -(-sums.reach // TILE))


def _longer(a: Any, b: Any) -> Any:
    """The larger, and a quarter of the smaller: they hide each other but for their ends."""
    return np.maximum(a, b) + np.minimum(a, b) // 4
