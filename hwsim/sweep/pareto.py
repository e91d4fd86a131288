"""Pareto fronts and their hypervolume, exactly. Everything here is to be made small."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def front(values: Floats) -> NDArray[np.bool_]:
    """Which rows no other row beats: none is as small everywhere and smaller somewhere.

    Parameters
    ----------
    values : float64[n, objectives]
        A row with nan is on no front and beats nobody.

    Returns
    -------
    bool[n]
        Equal rows are on it together.
    """
    found = _known(values)
    for row in np.flatnonzero(found):
        others = values[found]
        beaten = (others <= values[row]).all(axis=1) & (others < values[row]).any(axis=1)
        found[row] = not beaten.any()
    return found


def _known(values: Floats) -> NDArray[np.bool_]:
    """Rows without nan."""
    return np.isfinite(values.sum(axis=1))


def hypervolume(values: Floats, reference: Floats) -> float:
    """Volume between points and a reference that is worse than they are: float64[n, objectives], float64[objectives].

    By slices along the last objective (While et al. 2006): exact, quick for the fronts of a few objectives.
    """
    inside = values[(values < reference).all(axis=1)] if len(values) else values
    if not len(inside):
        return 0.0
    if len(reference) == 1:
        return float(reference[0] - inside.min())
    inside = inside[np.argsort(inside[:, -1], kind="stable")]
    ends = np.append(inside[1:, -1], reference[-1])
    total = 0.0
    for count, (low, high) in enumerate(zip(inside[:, -1], ends), 1):
        if high > low:
            total += float(high - low) * hypervolume(inside[:count, :-1], reference[:-1])
    return total


def growth(values: Floats) -> Floats:
    """Hypervolume of the first 1, 2, ... rows, as a share of that of all; the worst of all rows is the reference.

    Rows with nan count for nothing.
    """
    known = _known(values)
    if not known.any():
        return np.zeros(len(values))
    worst, best = values[known].max(axis=0), values[known].min(axis=0)
    span = np.where(worst > best, worst - best, 1.0)
    scaled = (values - best) / span
    reference = np.full(values.shape[1], 1.0 + 1e-9)  # what is worst in one objective counts in the others
    volume, found, kept = 0.0, np.zeros(len(values)), np.zeros((0, values.shape[1]))
    for row in range(len(values)):
        if known[row] and not (kept <= scaled[row]).all(axis=1).any():
            kept = np.vstack([kept[~(scaled[row] <= kept).all(axis=1)], scaled[row]])
            volume = hypervolume(kept, reference)
        found[row] = volume
    return found / volume if volume else found
