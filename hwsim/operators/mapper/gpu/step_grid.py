"""The grid over the sums of a step, and the standard step of a cell; the core finds the cell that a step falls into."""

from __future__ import annotations

import numpy as np

from hwsim._core.serve_types import Ints
from hwsim._core.step_tables import MEAN, SPREAD, TILE
from hwsim.operators.mapper.gpu.step_standard import chunk_sizes, standard_lengths
from hwsim.operators.step import Step, StepShape
from hwsim.units import ceil_div

ROUND = 16  # new tokens from one grid point to the next: the query tile of eight heads packed
SHARES = np.array([4, 5, 6, 8, 10, 12, 16])  # of QUARTERS; more are taken as the last


def geometric(first: int, last: int, parts: int, step: int = 1) -> Ints:
    """Integers from `first` to beyond `last`, `parts` to a doubling, each at least `step` more than the one before."""
    points = [first]
    while points[-1] < last:
        scaled = ceil_div(points[-1] * (parts + 1), parts)
        points.append(max(points[-1] + step, ceil_div(scaled, step) * step))
    return np.array(points, np.int64)


def axes_of(shape: StepShape) -> tuple[Ints, ...]:
    """Seven rising axes up to the largest step of a deployment, as `hwsim._core.steps.Steps` takes them."""
    deepest = ceil_div(shape.longest, TILE)
    ratios = geometric(SPREAD, SPREAD * min(shape.most_decodes, deepest), 4)
    return (
        SHARES,
        np.arange(0, shape.most_tokens + ROUND, ROUND).clip(max=shape.most_tokens),
        np.append(0, geometric(128, shape.longest, 4, 128)),
        np.append(0, geometric(1, shape.most_decodes, 8)),
        geometric(MEAN, MEAN * deepest, 8),
        ratios,
        ratios,
    )


def standard_step(axes: tuple[Ints, ...], cell: int) -> Step:
    """The step that stands for a cell."""
    at = np.unravel_index(cell, [len(axis) for axis in axes])
    several, tokens, cached, decodes, mean, spread, moment = (int(axis[i]) for axis, i in zip(axes, at, strict=True))
    chunks = [(size, cached * (place == 0)) for place, size in enumerate(chunk_sizes(tokens, several))]
    if not decodes:
        return Step(chunks)
    tiles = max(decodes, (decodes * mean + MEAN // 2) // MEAN)
    longest = max(1, (mean * spread + MEAN * SPREAD // 2) // (MEAN * SPREAD))
    return Step(chunks, standard_lengths(decodes, tiles, longest, moment))
