"""Split rules of attention libraries: into how many parts the keys of one sequence are cut.

A decode kernel has one item per sequence and KV head, too few for a GPU at small batches, so every library cuts the
keys too (split-KV, "flash decoding") and combines the parts afterwards. How many parts is host code of the library;
each rule here is that code in vectorised integers, its constants come from the software profile. All rules answer with
two bounds: a sequence of b blocks is cut into min(most, ceil(b / least_blocks)) parts.

Sources: FlashAttention `num_splits_heuristic` (FA2) and `prepare_varlen_num_blocks` (FA3), TensorRT-LLM XQA
`computeMultiBlockCount`, trtllm-gen as far as its timings show it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from hwsim.describe.gpu_kernels import Splits as Rule
from hwsim.units import ceil_div

BLOCK = 128  # keys of a block, in which all of these libraries count


class Grid(NamedTuple):
    """What a rule looks at; int64[P] each, `cores` of the device.

    batch: sequences; tiles: independent items per sequence without a split (KV heads x query tiles); longest: keys of
    the longest sequence; blocks: blocks of all items together, unsplit.
    """

    cores: int
    batch: np.ndarray
    tiles: np.ndarray
    longest: np.ndarray
    blocks: np.ndarray


class Splits(NamedTuple):
    """Bounds of a split, int64[P]: parts <= most, and at least `least_blocks` blocks a part."""

    most: np.ndarray
    least_blocks: np.ndarray

    def parts(self, blocks: np.ndarray) -> np.ndarray:
        """Parts of a sequence with `blocks` blocks (broadcast against the bounds)."""
        return np.maximum(np.minimum(self.most, ceil_div(blocks, self.least_blocks)), 1)


def wave_efficient(
    items: np.ndarray, slots: int, blocks: np.ndarray, max_splits: int, every: bool = False
) -> np.ndarray:
    """Smallest split whose waves are at least 85 % as full as those of the best split; 1 if 80 % of slots are full.

    FlashAttention's rule. Waves of split s are items s / (slots waves) full; compared as exact integer products.
    Version 2 looks at splits whose parts are shorter than those of the split before, version 3 at `every` one.
    """
    split = np.arange(1, max_splits + 1)
    waves = ceil_div(items[:, None] * split, slots)
    cap = np.minimum(np.minimum(blocks, slots), max_splits)[:, None]
    useful = ceil_div(blocks[:, None], split) != ceil_div(blocks[:, None], np.maximum(split - 1, 1))
    useful = (split <= cap) & (useful | (split == 1) | every)
    best = np.where(useful, split / waves, 0.0).argmax(axis=1)
    good = useful & (100 * split * waves[np.arange(len(items)), best][:, None] >= 85 * split[best][:, None] * waves)
    return np.where(items * 10 >= 8 * slots, 1, good.argmax(axis=1) + 1)


def _none(grid: Grid, _: Rule) -> Splits:
    one = np.ones_like(grid.batch)
    return Splits(one, one)


def _best(grid: Grid, rule: Rule) -> Splits:
    """Parts of equal length, one for each core: what no library does better without looking at times."""
    return Splits(np.full_like(grid.batch, rule.most), np.maximum(ceil_div(grid.blocks, grid.cores), 1))


def _fa2(grid: Grid, rule: Rule) -> Splits:
    blocks = ceil_div(grid.longest, BLOCK)
    most = wave_efficient(grid.batch * grid.tiles, grid.cores * rule.slots_per_unit, blocks, rule.most)
    return Splits(most, np.ones_like(most))


def _fa3(grid: Grid, rule: Rule) -> Splits:
    """A static bound as if for one sequence, then on the device at most so many parts that 1.1 of a wave is filled."""
    blocks = ceil_div(grid.longest, BLOCK)
    static = wave_efficient(grid.tiles, grid.cores * rule.slots_per_unit, blocks, rule.most, every=True)
    static = np.where((blocks <= 4) | (grid.batch > 992), 1, static)
    return Splits(static, np.maximum(ceil_div(grid.blocks * 11, grid.cores * 10), 1))


def _xqa(grid: Grid, rule: Rule) -> Splits:
    blocks = grid.longest // BLOCK
    root = np.rint(np.sqrt(8.0 * blocks)).astype(np.int64)  # exact: no 8 b is a half-integer squared
    cap = rule.slots_per_unit * grid.cores // (grid.batch * grid.tiles)
    most = np.minimum(np.minimum(blocks, root), np.minimum(cap, rule.most))
    return Splits(np.maximum(most, 1), np.ones_like(blocks))


def _trtllm_gen(grid: Grid, rule: Rule) -> Splits:
    spare = np.maximum(grid.cores // (grid.batch * grid.tiles), 1)
    return Splits(np.minimum(spare, rule.most), np.full_like(spare, 2))


RULES: Mapping[str, Callable[[Grid, Rule], Splits]] = {
    "none": _none,
    "best": _best,
    "fa2": _fa2,
    "fa3": _fa3,
    "xqa": _xqa,
    "trtllm-gen": _trtllm_gen,
}

IN_EVERY_KERNEL = ("best", "fa3")  # rules that also split the decodes of a kernel that does prefills
