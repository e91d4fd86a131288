"""How much of a column's variance each axis explains: Sobol' indices of a grid, or of a saltelli design."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.errors import bad
from hwsim.sweep.samplers import problem
from hwsim.sweep.space import Space


@dataclass(frozen=True)
class Sensitivity:
    """Indices of one column, one an axis.

    Attributes
    ----------
    axes : tuple of str
    first : float64[axes]
        Share of the variance that an axis explains alone.
    total : float64[axes]
        The same with all that it does together with others.
    error : float64[axes]
        95 % interval of `total`, half its width; 0 for a grid, which is exact.
    """

    axes: tuple[str, ...]
    first: NDArray[np.float64]
    total: NDArray[np.float64]
    error: NDArray[np.float64]


def sensitivity(space: Space, values: NDArray[np.float64]) -> Sensitivity:
    """Indices of a column.

    Parameters
    ----------
    values : float64[points]
        In the order of the study; every point must have a value.

    Raises
    ------
    InputError
        A point without a value, or samples of another design than saltelli.
    """
    missing = int(np.count_nonzero(np.isnan(values)))
    if missing:
        raise bad("sensitivity", f"{missing} points without a value", "a value for every point", "look at `status`")
    sampler = space.study.sampler
    if sampler is None:
        return _of_grid(space, values.reshape(space.shape))
    if sampler.method != "saltelli":
        cure = "sampler: {method: saltelli, points: 64}, or a grid"
        raise bad("sensitivity", f"samples of {sampler.method}", "a design that has indices", cure)
    return _of_saltelli(space, values)


def _of_grid(space: Space, values: NDArray[np.float64]) -> Sensitivity:
    """Variance decomposition of a full factorial: exact, each position of an axis counting the same."""
    variance = float(values.var())
    first, total = np.zeros(values.ndim), np.zeros(values.ndim)
    for axis in range(values.ndim) if variance else ():
        others = tuple(other for other in range(values.ndim) if other != axis)
        first[axis] = values.mean(axis=others).var() / variance
        total[axis] = 1 - values.mean(axis=axis).var() / variance
    return Sensitivity(tuple(axis.name for axis in space.axes), first, total, np.zeros(values.ndim))


def _of_saltelli(space: Space, values: NDArray[np.float64]) -> Sensitivity:
    from SALib.analyze import sobol

    names = tuple(space.study.axes)
    if not values.var():
        return Sensitivity(names, *(np.zeros(len(names)) for _ in range(3)))
    found = sobol.analyze(problem(len(names)), values, calc_second_order=False, seed=0)
    return Sensitivity(names, *(np.asarray(found[key], float) for key in ("S1", "ST", "ST_conf")))
