"""The attention time of any step, composed from samples of steps of a standard shape.

A step is known to the serving core by a few sums: of its chunks and of the contexts it decodes. `StepSurface` keeps the
simulated time of one standard step per cell of a fixed grid over these sums; another step of the cell takes so much
longer or shorter as a closed form says of the two. The closed form (`StepForm`) only carries a sample over the width
of a cell: every time comes from the engine, and depends on the question and the grid only. All arithmetic is in
integers, the same lines as in the core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from hwsim._core.serve_types import TILE_TOKENS, Ints, StepSums
from hwsim.errors import HwsimError, bad
from hwsim.memo import Table
from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.mapper.gpu.step_form import StepForm
from hwsim.operators.mapper.gpu.step_grid import StepGrid
from hwsim.operators.mapper.gpu.steps import simulate_steps
from hwsim.operators.simulate import OpResult
from hwsim.operators.step import Step, StepShape
from hwsim.operators.surface import COLUMNS, sample_rows
from hwsim.units import ceil_div

CAPACITY_BITS = 20  # of the hash table: a replay of 20,000 requests meets some thousand cells, a study ten times that
CAPACITY = 1 << CAPACITY_BITS
FULL = CAPACITY * 7 // 8  # beyond it a search would take long
SAMPLE = len(COLUMNS) + 1  # columns of a sample, and its offset
NONE = np.iinfo(np.int64).min  # offset of a cell without a sample
BATCH = 512  # cells simulated at once: more would cost memory and save no time


@dataclass
class StepSurface:
    """Samples of standard steps on a grid over the sums of a step, one layer.

    Parameters
    ----------
    machine : Machine
    shape : StepShape
    memo : Table, optional
        Where samples are kept between runs: questions of one column (the cell), samples of `SAMPLE` columns.

    Attributes
    ----------
    grid : StepGrid
    form : StepForm
    keys, offsets : int64[CAPACITY]
        Hash table of the cells simulated so far: key cell + 1 at place `slot_of(cell)` or the next free one, 0 = empty;
        offset = time beyond that of the closed form, ps. The arrays stay the same for the surface's life: the core
        reads them.
    rows : dict of int to int64[len(COLUMNS)]
        The whole sample of each cell simulated so far: time, energy, bytes and bounds of its standard step.
    """

    machine: Machine
    shape: StepShape
    memo: Table | None = None
    grid: StepGrid = field(init=False)
    form: StepForm = field(init=False)
    keys: Ints = field(init=False)
    offsets: Ints = field(init=False)
    rows: dict[int, Ints] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.form = StepForm.of(self.machine, self.shape)
        self.grid = StepGrid.of(self.shape, self.form)
        self.keys, self.offsets = np.zeros(CAPACITY, np.int64), np.zeros(CAPACITY, np.int64)
        if self.memo is not None:
            known, rows = self.memo.rows()
            self._keep(known[: CAPACITY // 2, 0], rows[: CAPACITY // 2])

    @staticmethod
    def kept(machine: Machine, shape: StepShape) -> StepSurface:
        """With the samples that runs before have kept."""
        key = {"machine": machine.key, "kind": "attention_step"} | asdict(shape)
        return StepSurface(machine, shape, Table(key, 1, SAMPLE))

    @property
    def axes(self) -> tuple[Ints, ...]:
        """Those of the grid."""
        return self.grid.axes

    def simulate(self, steps: Sequence[Step]) -> OpResult:
        """Steps simulated whole, each with its own items."""
        of = self.shape
        return simulate_steps(self.machine, of.heads, of.kv_heads, of.head_dim, steps, of.kv_dtype, of.dtype)

    def fill(self, cells: Ints) -> None:
        """Simulate the cells that have no sample yet, in one batch."""
        wanted = np.unique(cells)
        wanted = wanted[self.find(wanted) == NONE]
        if not len(wanted):
            return
        self._keep(wanted, self._rows(wanted))

    def _keep(self, cells: Ints, rows: Ints) -> None:
        """Put samples and their offsets where `find` and the core look for them."""
        for cell, row in zip(cells.tolist(), rows, strict=True):
            if cell in self.rows:
                continue
            if len(self.rows) >= FULL:
                raise HwsimError(f"steps of more than {FULL} kinds: cut the requests or the study into several")
            place = slot_of(cell)
            while self.keys[place]:
                place = (place + 1) % CAPACITY
            self.keys[place], self.offsets[place] = cell + 1, row[-1]
            self.rows[cell] = row[:-1]

    def _rows(self, cells: Ints) -> Ints:
        """Samples of cells and their offsets, from the memo or simulated: int64[n, SAMPLE]."""
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
        steps = [self.grid.step(int(cell)) for cell in cells]
        result = self.simulate(steps)
        return np.column_stack([sample_rows(result), result.time_ps - self.form.ask(sums_of(steps))])

    def find(self, cells: Ints) -> Ints:
        """Offsets of cells, NONE where they have no sample."""
        found = np.full(len(cells), NONE, np.int64)
        for index, cell in enumerate(cells.tolist()):
            place = slot_of(cell)
            while self.keys[place] and self.keys[place] != cell + 1:
                place = (place + 1) % CAPACITY
            if self.keys[place]:
                found[index] = self.offsets[place]
        return found

    def ask(self, sums: StepSums[Ints]) -> Ints:
        """Time of steps, ps: the cell's sample, moved by what the closed form says of the two.

        Raises
        ------
        InputError
            A step with neither chunks nor decodes.
        """
        if ((sums.tokens == 0) & (sums.decodes == 0)).any():
            raise bad("step", "neither chunks nor decodes", "at least one of them")
        if self.form.one_kernel:
            return self._moved(sums)
        time = np.zeros_like(sums.tokens)
        for part, index in self._parts(sums):
            time[index] += self._moved(part)
        return time

    def time(self, sums: StepSums[int]) -> int:
        """Time of one step, ps."""
        return int(self.ask(_one(sums))[0])

    def cells_of_step(self, sums: StepSums[int]) -> tuple[int, int]:
        """Cells of one step: its own or its chunks', and its decodes' where these are a kernel of their own (or -1)."""
        step = _one(sums)
        if self.form.one_kernel or not step.tokens[0] or not step.decodes[0]:
            return int(self.grid.cells(step)[0]), -1
        chunks, decodes = (int(self.grid.cells(part_of(step, which))[0]) for which in (True, False))
        return chunks, decodes

    def _parts(self, sums: StepSums[Ints]) -> list[tuple[StepSums[Ints], Ints]]:
        """The chunks alone and the decodes alone, and the steps that have them."""
        some = [np.flatnonzero(column > 0) for column in (sums.tokens, sums.decodes)]
        return [(part_of(take(sums, index), chunks), index) for chunks, index in zip((True, False), some, strict=True)]

    def _moved(self, sums: StepSums[Ints]) -> Ints:
        cells = self.grid.cells(sums)
        self.fill(cells)
        return np.maximum(self.form.ask(sums) + self.find(cells), 1)


def slot_of(cell: int) -> int:
    """Where a cell's search in the hash table begins."""
    return (cell * 0x9E3779B97F4A7C15 % (1 << 64)) >> (64 - CAPACITY_BITS)


def sums_of(steps: Sequence[Step]) -> StepSums[Ints]:
    """The sums of real steps, int64[n] each."""
    rows = [(*_of_chunks(step), *_of_decodes(step)) for step in steps]
    return StepSums(*np.array(rows, np.int64).reshape(-1, len(StepSums._fields)).T.copy())


def take(sums: StepSums[Ints], index: Ints) -> StepSums[Ints]:
    """The steps at `index`."""
    return StepSums(*(column[index] for column in sums))


def _one(sums: StepSums[int]) -> StepSums[Ints]:
    """A step as columns of one row."""
    return StepSums(*(np.array([value], np.int64) for value in sums))


def part_of(sums: StepSums[Ints], chunks: bool) -> StepSums[Ints]:
    """The chunks alone, or the decodes alone."""
    decodes = StepSums._fields.index("decodes")
    return StepSums(*(column if (place < decodes) == chunks else 0 * column for place, column in enumerate(sums)))


def _of_chunks(step: Step) -> tuple[int, ...]:
    new, cached = np.array(step.chunks, np.int64).reshape(-1, 2).T
    return new.sum(), (new * new).sum(), (new * cached).sum(), (cached + new).max(initial=0), new.max(initial=0)


def _of_decodes(step: Step) -> tuple[int, ...]:
    keys = np.array(step.contexts, np.int64)
    tiles = ceil_div(keys, TILE_TOKENS)
    return len(keys), tiles.sum(), tiles.max(initial=0), keys.sum(), (keys * keys).sum()
