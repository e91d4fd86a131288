"""The grid over the sums of a step: which cell a step falls into, and the standard step of a cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwsim._core.serve_types import TILE_TOKENS as TILE
from hwsim._core.serve_types import Ints, StepSums
from hwsim.operators.mapper.gpu.step_form import StepForm, deepest
from hwsim.operators.mapper.gpu.step_standard import QUARTERS, chunk_sizes, standard_lengths
from hwsim.operators.step import Step, StepShape
from hwsim.units import ceil_div

ROUND = 16  # new tokens from one grid point to the next: the query tile of eight heads packed
SHARES = np.array([4, 5, 6, 8, 10, 12, 16])  # of QUARTERS; more are taken as the last
MEAN, SPREAD = 4, 16  # a mean context is counted in 1/4 tiles, longest / mean in 1/16


def geometric(first: int, last: int, parts: int, step: int = 1) -> Ints:
    """Integers from `first` to beyond `last`, `parts` to a doubling, each at least `step` more than the one before."""
    points = [first]
    while points[-1] < last:
        scaled = ceil_div(points[-1] * (parts + 1), parts)
        points.append(max(points[-1] + step, ceil_div(scaled, step) * step))
    return np.array(points, np.int64)


def nearest(grid: Ints, numerator: Ints, denominator: Ints | int = 1) -> Ints:
    """Index of the grid point nearest to numerator / denominator by ratio; the ends hold what lies beyond them."""
    low = np.clip(np.searchsorted(grid, numerator // denominator, side="right") - 1, 0, len(grid) - 1)
    high = np.minimum(low + 1, len(grid) - 1)
    middle = grid[low] * grid[high] * denominator * denominator
    return np.where((numerator >= grid[low] * denominator) & (numerator * numerator > middle), high, low)


@dataclass(frozen=True)
class StepGrid:
    """Seven rising axes over the sums of a step.

    Attributes
    ----------
    axes : seven int64 arrays
        New tokens over the widest chunk in 1/4, new tokens, keys behind the widest chunk, decodes, 1/4 tiles a decode,
        1/16 of longest / mean, 1/16 of mean square over squared mean. 0 tokens or decodes mean none.
    form : StepForm
        Knows which grid points are of a step's own kind.
    """

    axes: tuple[Ints, ...]
    form: StepForm

    @staticmethod
    def of(shape: StepShape, form: StepForm) -> StepGrid:
        """Axes up to the largest step of a deployment."""
        deepest = ceil_div(shape.longest, TILE)
        ratios = geometric(SPREAD, SPREAD * min(shape.most_decodes, deepest), 4)
        axes = (
            SHARES,
            np.arange(0, shape.most_tokens + ROUND, ROUND).clip(max=shape.most_tokens),
            np.append(0, geometric(128, shape.longest, 4, 128)),
            np.append(0, geometric(1, shape.most_decodes, 8)),
            geometric(MEAN, MEAN * deepest, 8),
            ratios,
            ratios,
        )
        return StepGrid(axes, form)

    @property
    def size(self) -> tuple[int, ...]:
        """Points of each axis."""
        return tuple(len(axis) for axis in self.axes)

    def cells(self, sums: StepSums[Ints]) -> Ints:
        """Flat indices of the cells that steps fall into."""
        several, tokens, cached, decodes, mean, spread, moment = self.axes
        chunks = np.where(sums.tokens > 0, nearest(several, QUARTERS * sums.tokens, np.maximum(sums.widest, 1)), 0)
        chunk = np.where(sums.tokens > 0, np.maximum(nearest(tokens, sums.tokens), 1), 0)
        chunk = np.where(
            sums.tokens > 0, self.form.same_class(tokens, chunk, sums.tokens, several[chunks], deepest(sums)), 0
        )
        some = np.maximum(sums.widest, 1)
        before = np.where(sums.behind < TILE // 2 * some, 0, np.maximum(nearest(cached, sums.behind // some), 1))
        number = np.where(sums.decodes > 0, np.maximum(nearest(decodes, sums.decodes), 1), 0)
        count, total = np.maximum(sums.decodes, 1), np.maximum(sums.tiles, 1)
        depth = np.where(sums.decodes > 0, nearest(mean, MEAN * sums.tiles, count), 0)
        ratio = np.where(sums.decodes > 0, nearest(spread, SPREAD * sums.longest * count, total), 0)
        middle = np.maximum(sums.keys // count, 1)
        square = np.where(sums.decodes > 0, nearest(moment, SPREAD * (sums.moment // count) // (middle * middle)), 0)
        return np.ravel_multi_index((chunks, chunk, before, number, depth, ratio, square), self.size)

    def step(self, cell: int) -> Step:
        """The standard step of a cell."""
        at = np.unravel_index(cell, self.size)
        grid = (int(axis[i]) for axis, i in zip(self.axes, at, strict=True))
        several, tokens, cached, decodes, mean, spread, moment = grid
        chunks = [(size, cached * (place == 0)) for place, size in enumerate(chunk_sizes(tokens, several))]
        if not decodes:
            return Step(chunks)
        tiles = max(decodes, (decodes * mean + MEAN // 2) // MEAN)
        longest = max(1, (mean * spread + MEAN * SPREAD // 2) // (MEAN * SPREAD))
        return Step(chunks, standard_lengths(decodes, tiles, longest, moment))
