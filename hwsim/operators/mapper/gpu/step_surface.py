"""The attention time of any step, composed from samples of steps of a standard shape.

A step is known to the serving core by a few sums: of its chunks and of the contexts it decodes. `StepSurface` simulates
one standard step per cell of a fixed grid over these sums; another step of the cell takes so much longer or shorter as
a closed form says of the two. The closed form (`step_form`) only carries a sample over the width of a cell: every time
comes from the engine, and depends on the question and the grid only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from hwsim._core.serve_types import Ints
from hwsim._core.step_tables import TILE, StepSums
from hwsim._core.steps import Steps
from hwsim.errors import bad
from hwsim.memo import Table
from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.mapper.gpu.step_form import closed_form
from hwsim.operators.mapper.gpu.step_grid import axes_of, standard_step
from hwsim.operators.mapper.gpu.steps import simulate_steps
from hwsim.operators.simulate import OpResult
from hwsim.operators.step import Step, StepShape
from hwsim.operators.surface import COLUMNS, sample_rows
from hwsim.units import ceil_div

TOKENS, DECODES = StepSums._fields.index("tokens"), StepSums._fields.index("decodes")
SAMPLE = len(COLUMNS) + 1  # columns of a sample, and its offset
MOST_KEPT = 1 << 19  # samples of earlier runs that a run begins with; a replay of 20,000 requests meets some thousand
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
    table : Steps
        Offset of each cell simulated so far: the time of its standard step beyond that of the closed form, ps.
    rows : dict of int to int64[len(COLUMNS)]
        The whole sample of each of them: time, energy, bytes and bounds of its standard step.
    """

    machine: Machine
    shape: StepShape
    memo: Table | None = None
    table: Steps = field(init=False)
    rows: dict[int, Ints] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.table = Steps(axes_of(self.shape), *closed_form(self.machine, self.shape))
        if self.memo is not None:
            known, rows = self.memo.rows()
            cells, first = np.unique(known[:, 0], return_index=True)
            self._keep(cells[:MOST_KEPT], rows[first[:MOST_KEPT]])

    @staticmethod
    def kept(machine: Machine, shape: StepShape) -> StepSurface:
        """With the samples that runs before have kept."""
        key = {"machine": machine.key, "kind": "attention_step"} | asdict(shape)
        return StepSurface(machine, shape, Table(key, 1, SAMPLE))

    def simulate(self, steps: Sequence[Step]) -> OpResult:
        """Steps simulated whole, each with its own items."""
        of = self.shape
        return simulate_steps(self.machine, of.heads, of.kv_heads, of.head_dim, steps, of.kv_dtype, of.dtype)

    def fill(self, cells: Ints) -> None:
        """Simulate the cells that have no sample yet, in one batch; below 0 is none."""
        wanted = [cell for cell in np.unique(cells).tolist() if cell >= 0 and cell not in self.rows]
        if wanted:
            self._keep(np.array(wanted), self._rows(np.array(wanted)))

    def _keep(self, cells: Ints, rows: Ints) -> None:
        """Put samples and their offsets where they are looked for."""
        self.table.put(cells, np.ascontiguousarray(rows[:, -1]))
        self.rows.update(zip(cells.tolist(), rows[:, :-1], strict=True))

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
        steps = [standard_step(self.table.axes, int(cell)) for cell in cells]
        result = self.simulate(steps)
        return np.column_stack([sample_rows(result), result.time_ps - self.table.closed(sums_of(steps))])

    def ask(self, sums: Ints) -> Ints:
        """Times of steps, int64[n] in ps: the cell's sample, moved by what the closed form says of the two.

        Parameters
        ----------
        sums : int64[n, 10]
            In the order of `StepSums`: see `sums_of`.

        Raises
        ------
        InputError
            A step with neither chunks nor decodes.
        """
        if not sums[:, [TOKENS, DECODES]].any(axis=1).all():
            raise bad("step", "neither chunks nor decodes", "at least one of them")
        times, cells = self.table.ask(sums)
        if (times < 0).any():
            self.fill(cells)
            times, _ = self.table.ask(sums)
        return times


def sums_of(steps: Sequence[Step]) -> Ints:
    """The sums of real steps, int64[n, 10] in the order of `StepSums`."""
    rows = [(*_of_chunks(step), *_of_decodes(step)) for step in steps]
    return np.array(rows, np.int64).reshape(-1, len(StepSums._fields))


def _of_chunks(step: Step) -> tuple[int, ...]:
    new, cached = np.array(step.chunks, np.int64).reshape(-1, 2).T
    return new.sum(), (new * new).sum(), (new * cached).sum(), (cached + new).max(initial=0), new.max(initial=0)


def _of_decodes(step: Step) -> tuple[int, ...]:
    keys = np.array(step.contexts, np.int64)
    tiles = ceil_div(keys, TILE)
    return len(keys), tiles.sum(), tiles.max(initial=0), keys.sum(), (keys * keys).sum()
