"""A closed form of the attention of a step in integers: how a simulated sample varies within its cell.

The launch, and the longest of: work of chunks and decodes on the slots, bytes from HBM, the longest item. It carries
samples of `step_surface.StepSurface` over a few percent; what it leaves out is the same for both. The core computes it
(hwsim/_core/steps.pyx); its constants come from here.
"""

from __future__ import annotations

import functools

import numpy as np

from hwsim._core.serve_types import Ints
from hwsim._core.step_tables import FINE, FORM_ROW, MOST_PARTS, TILE
from hwsim.operators.mapper.gpu.attention_batch import Heads
from hwsim.operators.mapper.gpu.attention_library import Device, rate
from hwsim.operators.mapper.gpu.attention_prefill import Tiling, tiling
from hwsim.operators.mapper.gpu.attention_splits import IN_EVERY_KERNEL, wave_efficient
from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.operator import DTYPES
from hwsim.operators.step import StepShape
from hwsim.units import ceil_div, ceil_fraction

CAPS = np.arange(MOST_PARTS + 1)  # blocks of the longest sequence


def closed_form(machine: Machine, of: StepShape) -> tuple[np.ndarray, Ints]:
    """Of a library on a chip, for one device's heads.

    Returns
    -------
    form : FORM_ROW[1]
        Constants, in 1/1024 ps of the whole device, and counts.
    parts : int64[rounds of query tiles + 1, MOST_PARTS + 1]
        Parts the rule allows beside a chunk of so many, by the blocks of the longest sequence.
    """
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
    constants = {
        "one_kernel": library.mixed.kernels == "one",
        "heads_first": library.mixed.order == "heads",
        **{name: int(cycles * scale) + 1 for name, cycles in work.items()},
        "group": of.heads // of.kv_heads,
        "kv_heads": of.kv_heads,
        "cores": device.cores,
        "rows": rows,
        "keys": library.prefill.keys,
        "items": items,
    }
    form = np.array([tuple(constants[name] for name in FORM_ROW.names or ())], FORM_ROW)
    return form, _parts(device, items, ceil_div(of.most_tokens, rows))


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
    """Parts for up to so many rounds of query tiles: see `closed_form`."""
    splits = device.library.decode.splits
    if splits.rule not in IN_EVERY_KERNEL or splits.rule == "best":
        blocks = np.tile(CAPS, (rounds + 1, 1))
        return np.maximum(blocks, 1) if splits.rule == "best" else np.ones_like(blocks)
    return _wave_parts(device.cores, items, rounds, splits.most)


@functools.lru_cache(maxsize=16)
def _wave_parts(cores: int, items: int, rounds: int, most: int) -> Ints:
    """By the rule of whole waves; equal for all clocks and rates of a chip."""
    few = min(rounds, 8 * cores // (10 * items))  # more fill the cores without parts
    grid, blocks = (axis.ravel() for axis in np.meshgrid(np.arange(few + 1), CAPS, indexing="ij"))
    found = wave_efficient(np.maximum(grid, 1) * items, cores, blocks, most, every=True)
    parts = np.ones((rounds + 1, len(CAPS)), np.int64)
    parts[: few + 1] = np.where(blocks <= 4, 1, found).reshape(few + 1, -1)
    return parts
