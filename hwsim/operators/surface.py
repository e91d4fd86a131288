"""Cost surfaces: simulated samples of an operator on a fixed grid, interpolated in integers.

Serving asks what an operator costs at any batch, millions of times. A surface answers from samples that are simulated
once, on grid points chosen beforehand: every integer where the function is a staircase, geometric steps beyond. The
answer depends on the question and the grid only, never on what was asked before, so results are equal bit by bit
whatever the order of questions.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hwsim._core.bounds import BOUND_CLASSES, TIERS
from hwsim.errors import bad
from hwsim.memo import Table
from hwsim.operators.simulate import OpResult
from hwsim.units import ceil_div

Ints = NDArray[np.int64]

# Columns of a sample.
LEADING = ("time_ps", "energy_pj", "active_pj", "flops", *(f"{tier}_bytes" for tier in TIERS))
COLUMNS = LEADING + tuple(f"bound_{name}_ps" for name in BOUND_CLASSES)
TIME = 0
BOUNDS = slice(len(LEADING), len(COLUMNS))
MISSING = -1


@lru_cache(maxsize=64)
def grid(first: int, exact_to: int, last: int, ratio: int = 32) -> Ints:
    """Every integer from `first` to `exact_to`, then points growing by 1/`ratio`, up to `last`.

    Examples
    --------
    >>> grid(1, 4, 16, ratio=2).tolist()
    [1, 2, 3, 4, 6, 9, 13, 16]
    """
    points = list(range(first, min(exact_to, last) + 1))
    while points[-1] < last:
        points.append(min(points[-1] + max(1, points[-1] // ratio), last))
    made = np.array(points, np.int64)
    made.setflags(write=False)  # all who ask share it
    return made


def stairs(first: int, step: int, exact_to: int, last: int, ratio: int = 32) -> Ints:
    """Both ends of every stair of `step` up to `exact_to` (a jump lies between two neighbours), then as `grid`.

    Examples
    --------
    >>> stairs(1, 16, 48, 100, ratio=4).tolist()
    [1, 16, 17, 32, 33, 48, 60, 75, 93, 100]
    """
    ends = np.arange(0, min(exact_to, last) + 1, step)
    near = np.unique(np.concatenate([[first], ends, ends + 1, [min(exact_to, last)]]))
    near = near[(near >= first) & (near <= min(exact_to, last))]
    return np.concatenate([near, grid(int(near[-1]), int(near[-1]), last, ratio)[1:]]).astype(np.int64)


@dataclass
class Surface:
    """Samples of one function of one or two integers on a fixed grid.

    Parameters
    ----------
    name : str
        What is sampled, for reports.
    axes : sequence of int64 arrays
        One or two increasing grids.
    sampler : callable
        Questions int64[n, axes] -> samples int64[n, len(COLUMNS)]; simulates. Never asked off the grid.
    memo : Table, optional
        Where samples are kept between runs.

    Attributes
    ----------
    samples : int64[points, len(COLUMNS)]
        Row-major over the axes; zeros where a row was not simulated yet.
    times : int64[len(axes[0]), ...]
        The times alone, in the shape of the axes: what a core reads; -1 where not simulated. The array stays the same
        for the surface's life.
    simulated : int
        Samples that were simulated here, not found in the memo.
    """

    name: str
    axes: Sequence[Ints]
    sampler: Callable[[Ints], Ints]
    memo: Table | None = None
    samples: Ints = field(init=False)
    times: Ints = field(init=False)
    simulated: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        shape = tuple(len(axis) for axis in self.axes)
        self.times = np.full(shape, MISSING, np.int64)
        self.samples = untouched((self.times.size, len(COLUMNS)))
        if self.memo is not None:
            self._recall(*self.memo.rows())

    def questions(self, points: Ints) -> Ints:
        """The grid coordinates of flat point indices: int64[n, axes]."""
        index = np.unravel_index(points, [len(axis) for axis in self.axes])
        return np.stack([axis[i] for axis, i in zip(self.axes, index)], axis=1)

    def fill(self, points: Ints) -> None:
        """Make sure that these grid points (flat indices) have samples: from the memo, else simulated in one batch."""
        points = np.unique(points)
        points = points[self.times.reshape(-1)[points] == MISSING]
        if not len(points):
            return
        questions = self.questions(points)
        found = np.zeros(len(points), bool)
        if self.memo is not None:
            found, samples = self.memo.get(questions)
            self._keep(points[found], samples[found])
        asked = questions[~found]
        if len(asked):
            fresh = self.sampler(asked)
            self._keep(points[~found], fresh)
            self.simulated += len(asked)
            if self.memo is not None:
                self.memo.put(asked, fresh)

    def _recall(self, questions: Ints, samples: Ints) -> None:
        """Take what the memo knows of the grid's points."""
        places = [np.minimum(np.searchsorted(axis, q), len(axis) - 1) for axis, q in zip(self.axes, questions.T)]
        on = np.logical_and.reduce([axis[i] == q for axis, i, q in zip(self.axes, places, questions.T)])
        self._keep(np.ravel_multi_index([i[on] for i in places], self.times.shape), samples[on])

    def _keep(self, points: Ints, samples: Ints) -> None:
        self.samples[points] = samples
        self.times.reshape(-1)[points] = samples[:, TIME]

    def corners(self, questions: Ints, den: Ints | None = None) -> tuple[Ints, Ints]:
        """Grid points around questions, and their integer weights.

        Parameters
        ----------
        questions : int64[n, axes]
        den : int64[n], optional
            Denominator of each question's last coordinate.

        Returns
        -------
        points : int64[n, corners]
            Flat indices, 2 corners an axis; a corner of weight 0 is the point itself, so nothing extra is simulated.
        weights : int64[n, corners]
        """
        points = np.zeros((len(questions), 1), np.int64)
        weights = np.ones((len(questions), 1), np.int64)
        ones = np.ones(len(questions), np.int64)
        for number, (axis, asked) in enumerate(zip(self.axes, questions.T)):
            part = den if den is not None and number == len(self.axes) - 1 else ones
            low = np.clip(np.searchsorted(axis, asked // part, side="right") - 1, 0, len(axis) - 1)
            above = asked - axis[low] * part
            high = np.minimum(low + (above > 0), len(axis) - 1)
            span = np.where(high > low, (axis[high] - axis[low]) * part, 1)
            above = np.where(high > low, above, 0)
            shape = len(asked), 2 << number
            points = (points[:, :, None] * len(axis) + np.stack([low, high], 1)[:, None, :]).reshape(shape)
            weights = (weights[:, :, None] * np.stack([span - above, above], 1)[:, None, :]).reshape(shape)
        return points, weights

    def ask(self, questions: Ints, den: Ints | None = None) -> Ints:
        """Samples at any questions, interpolated between the grid points around them and rounded up.

        Returns
        -------
        int64[n, len(COLUMNS)]
        """
        points, weights = self.corners(questions, den)
        self.fill(points.ravel())
        total = weights.sum(axis=1)[:, None]
        mixed = (self.samples[points] * weights[:, :, None]).sum(axis=1)
        return ceil_div(mixed, total)

    def spread(self, questions: Ints, den: Ints | None = None) -> tuple[Ints, Ints]:
        """The grid points that these questions use, and how much, in units of 2**-20 of a question.

        Sums over any split of the questions are equal, so totals of a run do not depend on how it was cut.

        Returns
        -------
        points, used : int64[m]
            Rising flat indices; a run meets few of a large grid's points.
        """
        points, weights = self.corners(questions, den)
        share = (weights << 20) // weights.sum(axis=1)[:, None]
        return summed(points.ravel(), share.ravel())

    def fill_blocks(self, points: Ints, block: Sequence[int]) -> None:
        """Fill the aligned blocks of `block` grid points (one number an axis) that hold these points.

        Simulating in batches costs much less a sample than one by one, and a replay asks next to what it asked before.
        """
        shape = self.times.shape
        corner = np.stack([index // size for index, size in zip(np.unravel_index(points, shape), block)], axis=1)
        wanted = []
        for start in np.unique(corner, axis=0) * np.array(block):
            ranges = [np.arange(low, min(low + size, end)) for low, size, end in zip(start, block, shape)]
            wanted.append(np.ravel_multi_index(np.meshgrid(*ranges, indexing="ij"), shape).ravel())
        self.fill(np.concatenate(wanted))

    @property
    def known(self) -> int:
        """Grid points that have samples."""
        return int(np.count_nonzero(self.times != MISSING))


def untouched(shape: tuple[int, ...]) -> Ints:
    """Zeros of a large table of which few are ever written: pages that take neither memory nor time until then.

    numpy's own zeros of some megabytes are cleared by hand in a process that has freed as many before.
    """
    pages = mmap.mmap(-1, 8 * math.prod(shape), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(pages, np.int64).reshape(shape)


def summed(points: Ints, amounts: Ints) -> tuple[Ints, Ints]:
    """Each point once, rising, with the sum of its amounts; points that come to nothing are left out."""
    each, place = np.unique(points, return_inverse=True)
    total = np.zeros(len(each), np.int64)
    np.add.at(total, place, amounts)
    return each[total > 0], total[total > 0]


def sample_rows(result: OpResult) -> Ints:
    """Rows of `COLUMNS` of simulated operators.

    Raises
    ------
    InputError
        An operator that cannot run on this machine; the reason is the mapper's.
    """
    for error in result.error:
        if error is not None:
            raise bad("operator", error, "an operator the accelerator and the software can run")
    rows = np.zeros((len(result.time_ps), len(COLUMNS)), np.int64)
    rows[:, TIME] = result.time_ps
    rows[:, COLUMNS.index("energy_pj")] = result.energy_pj
    rows[:, COLUMNS.index("active_pj")] = result.active_pj
    rows[:, COLUMNS.index("flops")] = result.flops
    for tier in TIERS:
        rows[:, COLUMNS.index(f"{tier}_bytes")] = result.bytes.get(tier, 0)
    rows[:, BOUNDS] = result.bound
    return rows
