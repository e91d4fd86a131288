"""Exact percentiles of integers: the smallest value that at least the asked share of all does not exceed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.units import ceil_div

Ints = NDArray[np.int64]
PERCENTS = (50, 90, 99)


@dataclass(frozen=True)
class Spread:
    """Percentiles (values that occurred) and mean of `count` times; all None where there are none."""

    p50: int | None
    p90: int | None
    p99: int | None
    mean: float | None
    count: int

    def in_ms(self) -> dict[str, float | None]:
        """Picoseconds as milliseconds: {"p50", "p90", "p99", "mean"}."""
        values = {"p50": self.p50, "p90": self.p90, "p99": self.p99, "mean": self.mean}
        return {name: None if value is None else value / 1e9 for name, value in values.items()}


def spread(values: Ints, weights: Ints | None = None) -> Spread:
    """Spread of int64[n], each value counted `weights` times (once by default).

    Percentile p is the nearest-rank one: element ceil(p/100 * count) of the sorted values, counted from 1.
    """
    if weights is not None:
        values, weights = values[weights > 0], weights[weights > 0]
    if not len(values):
        return Spread(None, None, None, None, 0)
    count = len(values) if weights is None else int(weights.sum())
    ranks = np.array([ceil_div(percent * count, 100) for percent in PERCENTS])
    if weights is None:
        at = np.partition(values, ranks - 1)[ranks - 1]
        mean = _mean(values, count)
    else:
        order = np.argsort(values)
        at = values[order][np.searchsorted(np.cumsum(weights[order]), ranks)]
        mean = _mean(values, count, weights)
    return Spread(int(at[0]), int(at[1]), int(at[2]), mean, count)


def _mean(values: Ints, count: int, weights: Ints | None = None) -> float:
    """Mean of integers; the sum is split in two so that it cannot overflow."""
    high, low = values >> 20, values & (2**20 - 1)
    if weights is not None:
        high, low = high * weights, low * weights
    return ((int(high.sum()) << 20) + int(low.sum())) / count
