"""The attention time of any step, composed from samples of steps of a standard shape.

A step is known to the serving core by a few sums: of its chunks and of the contexts it decodes. `StepSurface` keeps the
simulated time of one standard step per cell of a fixed grid over these sums; another step of the cell takes that time,
scaled by what a closed form says of the two. The closed form (`StepForm`) only carries a sample over the width of a
cell: every time comes from the engine, and depends on the question and the grid only.

The standard step of a cell has one chunk, and decodes whose lengths rise as a power of their place, so that their
number, sum and longest are those of the cell. All arithmetic is in integers, the same lines as in the core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwsim.errors import bad
from hwsim.memo import Table
from hwsim.operators.batch import Step, simulate_steps
from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.step_form import StepForm, deepest
from hwsim.operators.surface import COLUMNS, sample_rows

Ints = NDArray[np.int64]
CAPACITY_BITS = 18  # of the hash table: a replay of 20,000 requests meets some thousand cells
CAPACITY = 1 << CAPACITY_BITS
SAMPLE = len(COLUMNS) + 1  # columns of a sample, and its scale
SCALE = 16  # bits of a scale behind the point
BATCH = 512  # cells simulated at once: more would cost memory and save no time
TILE = 128  # keys of a tile, in which contexts are counted
ROUND = 16  # new tokens from one grid point to the next: the query tile of eight heads packed
QUARTERS = 4
SHARES = np.array(
    [4, 5, 6, 8, 10, 12, 16]
)  # new tokens over those of the widest chunk, in quarters; more are taken as 4
MEAN, SPREAD = 4, 16  # a mean context is counted in 1/4 tiles, longest / mean in 1/16


class Sums(NamedTuple):
    """What the core knows of steps, int64[n] each.

    tokens, squares, behind : sums over chunks of new tokens, their squares, new tokens x cached keys
    reach, widest : largest cached + new tokens, and most new tokens, of a chunk
    decodes, tiles, longest : decoding sequences; sum and largest of their contexts in tiles of 128 keys, rounded up
    keys, moment : sums of their contexts in keys, and of the squares of these
    """

    tokens: Ints
    squares: Ints
    behind: Ints
    reach: Ints
    widest: Ints
    decodes: Ints
    tiles: Ints
    longest: Ints
    keys: Ints
    moment: Ints

    @staticmethod
    def of(steps: list[Step]) -> Sums:
        """The sums of real steps."""
        rows = [(*_of_chunks(step), *_of_decodes(step)) for step in steps]
        return Sums(*np.array(rows, np.int64).reshape(-1, len(Sums._fields)).T.copy())

    def take(self, index: Ints) -> Sums:
        """The steps at `index`."""
        return Sums(*(column[index] for column in self))

    def part(self, chunks: bool) -> Sums:
        """The chunks alone, or the decodes alone."""
        return Sums(*(column if (place < 5) == chunks else 0 * column for place, column in enumerate(self)))


def _of_chunks(step: Step) -> tuple[int, ...]:
    new, cached = np.array(step.chunks, np.int64).reshape(-1, 2).T
    return new.sum(), (new * new).sum(), (new * cached).sum(), (cached + new).max(initial=0), new.max(initial=0)


def _of_decodes(step: Step) -> tuple[int, ...]:
    keys = np.array(step.contexts, np.int64)
    tiles = -(-keys // TILE)
    return len(keys), tiles.sum(), tiles.max(initial=0), keys.sum(), (keys * keys).sum()


def geometric(first: int, last: int, parts: int, step: int = 1) -> Ints:
    """Integers from `first` to beyond `last`, `parts` to a doubling, each at least `step` more than the one before."""
    points = [first]
    while points[-1] < last:
        scaled = -(-points[-1] * (parts + 1) // parts)
        points.append(max(points[-1] + step, -(-scaled // step) * step))
    return np.array(points, np.int64)


def nearest(grid: Ints, numerator: Ints, denominator: Ints | int = 1) -> Ints:
    """Index of the grid point nearest to numerator / denominator by ratio; the ends hold what lies beyond them."""
    low = np.clip(np.searchsorted(grid, numerator // denominator, side="right") - 1, 0, len(grid) - 1)
    high = np.minimum(low + 1, len(grid) - 1)
    middle = grid[low] * grid[high] * denominator * denominator
    return np.where((numerator >= grid[low] * denominator) & (numerator * numerator > middle), high, low)


def chunk_sizes(tokens: int, share: int) -> list[int]:
    """Chunks of a standard step: as wide as `share` quarters of them make up the tokens, and what is left."""
    widest = max(-(-QUARTERS * tokens // share), 1)
    return [widest] * (tokens // widest) + [tokens % widest] * (tokens % widest > 0)


def standard_lengths(decodes: int, tiles: int, longest: int, moment: int) -> list[int]:
    """Contexts with that number, sum, longest and second moment as far as possible, in a scattered order, in integers.

    The i-th of n rises as a mix of two neighbouring powers of i / n, cut off at the longest: the steeper, the larger
    the moment. A context ends in the middle of its last tile.

    Parameters
    ----------
    tiles, longest : int
        Of all together, and of the longest.
    moment : int
        Mean square over squared mean, in 1/16.
    """
    longest = max(min(longest, tiles - decodes + 1), -(-tiles // decodes))
    fine, top = (tiles - longest) * FINE, longest * FINE
    wanted = moment * tiles * tiles * FINE * FINE // (16 * decodes) - top * top
    place = (np.arange(1, decodes, dtype=np.int64) << BITS) // decodes
    curves = [_power(place, exponent) for exponent in POWERS]
    low, high = 0, (len(curves) - 1) * MIX
    while high - low > 1 and decodes > 1:
        middle = (low + high) // 2
        each = _cut_off(_mixed(curves, middle), fine, top)
        low, high = (middle, high) if int((each * each).sum()) <= wanted else (low, middle)
    each = _cut_off(_mixed(curves, low), fine, top)
    ends = (np.cumsum(each) + FINE // 2) // FINE
    whole = np.append(np.clip(np.diff(ends, prepend=0), 1, longest), longest)
    order = np.argsort(np.arange(decodes) * 0x9E3779B1 % (1 << 32), kind="stable")
    return (whole[order] * TILE - TILE // 2).tolist()


BITS = 20  # of a power of i / n behind the point
FINE = 64  # parts of a tile
MIX = 16  # steps from one power to the next
POWERS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55)


def _power(base: Ints, exponent: int) -> Ints:
    result = np.full_like(base, 1 << BITS)
    for _ in range(exponent):
        result = result * base >> BITS
    return result


def _mixed(curves: list[Ints], at: int) -> Ints:
    """Between two neighbouring powers, `at` in 1/MIX of a step; never 0."""
    number, part = divmod(at, MIX)
    steep = curves[min(number + 1, len(curves) - 1)]
    return (curves[number] * (MIX - part) + steep * part) // MIX + 1


def _cut_off(weights: Ints, total: int, top: int) -> Ints:
    """Weights scaled to a sum of about `total`, none above `top`: what is cut off goes to the others."""
    each = np.zeros_like(weights)
    free = np.ones(len(weights), bool)
    for _ in range(6):
        rest = total - int(each[~free].sum())
        each = np.where(free, weights * rest // max(int(weights[free].sum()), 1), each)
        over = free & (each > top)
        if not over.any():
            break
        each[over] = top
        free &= ~over
    return each


@dataclass
class StepSurface:
    """Samples of standard steps on a grid over the sums of a step, one layer.

    Parameters
    ----------
    machine : Machine
    heads, kv_heads, head_dim : int
        Of one device.
    most_tokens, most_decodes, longest : int
        Of a step: new tokens, decoding sequences, keys of a sequence.
    memo : Table, optional
        Where samples are kept between runs: questions of one column (the cell), samples of `SAMPLE` columns.

    Attributes
    ----------
    axes : seven int64 arrays
        New tokens over the widest chunk in 1/4, new tokens, keys behind the widest chunk, decodes, 1/4 tiles a decode,
        1/16 of longest / mean, 1/16 of mean square over squared mean. 0 tokens or decodes mean none.
    keys, scales : int64[CAPACITY]
        Hash table of the cells simulated so far: key cell + 1 at place `slot_of(cell)` or the next free one, 0 = empty;
        scale = time in ps over the closed form, in 1/65536. The arrays stay the same for the surface's life: the core
        reads them.
    rows : dict of int to int64[len(COLUMNS)]
        The whole sample of each cell simulated so far: time, energy, bytes and bounds of its standard step.
    """

    machine: Machine
    heads: int
    kv_heads: int
    head_dim: int
    most_tokens: int
    most_decodes: int
    longest: int
    kv_dtype: str = ""
    dtype: str = "bf16"
    memo: Table | None = None
    axes: tuple[Ints, ...] = field(init=False)
    form: StepForm = field(init=False)
    keys: Ints = field(init=False)
    scales: Ints = field(init=False)
    rows: dict[int, Ints] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        deepest = -(-self.longest // TILE)
        self.form = StepForm.of(
            self.machine, self.heads, self.kv_heads, self.head_dim, self.most_tokens, self.kv_dtype, self.dtype
        )
        self.axes = (
            SHARES,
            np.arange(0, self.most_tokens + ROUND, ROUND).clip(max=self.most_tokens),
            np.append(0, geometric(128, self.longest, 4, 128)),
            np.append(0, geometric(1, self.most_decodes, 8)),
            geometric(MEAN, MEAN * deepest, 8),
            geometric(SPREAD, SPREAD * min(self.most_decodes, deepest), 4),
            geometric(SPREAD, SPREAD * min(self.most_decodes, deepest), 4),
        )
        self.keys, self.scales = np.zeros(CAPACITY, np.int64), np.zeros(CAPACITY, np.int64)
        if self.memo is not None:
            known, rows = self.memo.rows()
            self._keep(known[:, 0], rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """Points of each axis."""
        return tuple(len(axis) for axis in self.axes)

    def cells(self, sums: Sums) -> Ints:
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
        return np.ravel_multi_index((chunks, chunk, before, number, depth, ratio, square), self.shape)

    def step(self, cell: int) -> Step:
        """The standard step of a cell."""
        at = np.unravel_index(cell, self.shape)
        grid = (int(axis[i]) for axis, i in zip(self.axes, at, strict=True))
        several, tokens, cached, decodes, mean, spread, moment = grid
        chunks = [(size, cached * (place == 0)) for place, size in enumerate(chunk_sizes(tokens, several))]
        if not decodes:
            return Step(chunks)
        tiles = max(decodes, (decodes * mean + MEAN // 2) // MEAN)
        longest = max(1, (mean * spread + MEAN * SPREAD // 2) // (MEAN * SPREAD))
        return Step(chunks, standard_lengths(decodes, tiles, longest, moment))

    def fill(self, cells: Ints) -> None:
        """Simulate the cells that have no sample yet, in one batch."""
        wanted = np.unique(cells)
        wanted = wanted[self.find(wanted) < 0]
        if not len(wanted):
            return
        self._keep(wanted, self._rows(wanted))

    def _keep(self, cells: Ints, rows: Ints) -> None:
        """Put samples and their scales where `find` and the core look for them."""
        for cell, row in zip(cells.tolist(), rows, strict=True):
            if cell in self.rows:
                continue
            place = slot_of(cell)
            while self.keys[place]:
                place = (place + 1) % CAPACITY
            self.keys[place], self.scales[place] = cell + 1, row[-1]
            self.rows[cell] = row[:-1]

    def _rows(self, cells: Ints) -> Ints:
        """Samples of cells and their scales, from the memo or simulated: int64[n, SAMPLE]."""
        rows = np.zeros((len(cells), SAMPLE), np.int64)
        found = np.zeros(len(cells), bool)
        if self.memo is not None:
            found, rows = self.memo.get(cells[:, None])
        if not found.all():
            rows[~found] = fresh = self._simulated(cells[~found])
            if self.memo is not None:
                self.memo.put(cells[~found][:, None], fresh)
        return rows

    def _simulated(self, cells: Ints) -> Ints:
        parts = [self._simulate(cells[start : start + BATCH]) for start in range(0, len(cells), BATCH)]
        return np.concatenate(parts)

    def _simulate(self, cells: Ints) -> Ints:
        steps = [self.step(int(cell)) for cell in cells]
        shape = self.heads, self.kv_heads, self.head_dim
        result = simulate_steps(self.machine, *shape, steps, self.kv_dtype, self.dtype)
        scales = -(-(result.time_ps << SCALE) // self.form.ask(Sums.of(steps)))
        return np.column_stack([sample_rows(result), scales])

    def find(self, cells: Ints) -> Ints:
        """Scales of cells, -1 where they have no sample."""
        found = np.full(len(cells), -1, np.int64)
        for index, cell in enumerate(cells.tolist()):
            place = slot_of(cell)
            while self.keys[place] and self.keys[place] != cell + 1:
                place = (place + 1) % CAPACITY
            if self.keys[place]:
                found[index] = self.scales[place]
        return found

    def cells_of(self, sums: Sums) -> Ints:
        """Cells that must have samples before `ask` can answer; several for a step of two kernels."""
        if self.form.one_kernel:
            return self.cells(sums)
        return np.concatenate([self.cells(part) for part, _ in self._parts(sums)])

    def ask(self, sums: Sums) -> Ints:
        """Time of steps, ps: the cell's sample scaled by the closed form, rounded up.

        Raises
        ------
        InputError
            A step with neither chunks nor decodes.
        """
        if ((sums.tokens == 0) & (sums.decodes == 0)).any():
            raise bad("step", "neither chunks nor decodes", "at least one of them")
        if self.form.one_kernel:
            return self._scaled(sums)
        time = np.zeros_like(sums.tokens)
        for part, index in self._parts(sums):
            time[index] += self._scaled(part)
        return time

    def time(self, sums: Sequence[int]) -> int:
        """Time of one step, ps, from its sums in the order of `Sums`."""
        return int(self.ask(Sums(*(np.array([value], np.int64) for value in sums)))[0])

    def cells_of_step(self, sums: Sequence[int]) -> tuple[int, int]:
        """Cells of one step: its own or its chunks', and its decodes' where these are a kernel of their own (or -1)."""
        step = Sums(*(np.array([value], np.int64) for value in sums))
        if self.form.one_kernel or not step.tokens[0] or not step.decodes[0]:
            return int(self.cells(step)[0]), -1
        return int(self.cells(step.part(True))[0]), int(self.cells(step.part(False))[0])

    def _parts(self, sums: Sums) -> list[tuple[Sums, Ints]]:
        """The chunks alone and the decodes alone, and the steps that have them."""
        some = [np.flatnonzero(column > 0) for column in (sums.tokens, sums.decodes)]
        return [(sums.take(index).part(chunks), index) for chunks, index in zip((True, False), some, strict=True)]

    def _scaled(self, sums: Sums) -> Ints:
        cells = self.cells(sums)
        self.fill(cells)
        return -(-self.find(cells) * self.form.ask(sums) >> SCALE)


def slot_of(cell: int) -> int:
    """Where a cell's search in the hash table begins."""
    return (cell * 0x9E3779B97F4A7C15 % (1 << 64)) >> (64 - CAPACITY_BITS)


def compose(surface: StepSurface, steps: list[Step]) -> Ints:
    """Attention time of real steps, ps, one layer."""
    return surface.ask(Sums.of(steps))
