"""Totals of a run from its steps: what every operator took, by what it was limited, and the energy.

Steps come in any number of parts; the totals do not depend on how the run was cut, because every sum is of integers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hwsim._core.bounds import BOUND_CLASSES
from hwsim._core.serve_types import CHUNK_DTYPE
from hwsim.operators.surface import COLUMNS, TIME, Ints, summed
from hwsim.serving.costs import CostTables
from hwsim.serving.offload import FETCH
from hwsim.units import pj_ceil

NONE = np.zeros(0, np.int64), np.zeros(0, np.int64)
HALF = 10  # surfaces count their use in 2**-20 of a question


def weighted(used: Ints, samples: Ints) -> np.ndarray:
    """Sum of `used` / 2**20 samples of each row, rounded down, in Python's integers: object[columns].

    In three parts, so that no product passes 63 bits: whole questions, and two halves of the fraction.
    """
    mask = (1 << HALF) - 1
    whole = ((used >> 2 * HALF) @ samples).astype(object)
    high = ((used >> HALF & mask) @ samples).astype(object)
    low = ((used & mask) @ samples).astype(object)
    return whole + ((high << HALF) + low >> 2 * HALF)


@dataclass
class Account:
    """Sums over the steps of a run.

    Attributes
    ----------
    by_tokens, by_sequences : int64[phases, counts]
        Steps of each phase with each padded token count, with each number of scheduled requests.
    prefill, decode : pair of int64[m]
        Points of the surfaces of uniform steps and their use, as `Surface.spread` gives them.
    cells : dict of int to int
        Attention of all layers that each cell of the table of steps priced, ps; a step of two kernels counts for both,
        in proportion to their samples.
    busy_ps, wait_ps, steps : int
        Time of steps on their stages, waiting between stages left out; of it, waiting for offloaded weights; steps.
    """

    costs: CostTables
    by_tokens: Ints = field(init=False)
    by_sequences: Ints = field(init=False)
    prefill: tuple[Ints, Ints] = NONE
    decode: tuple[Ints, Ints] = NONE
    cells: Counter[int] = field(init=False, default_factory=Counter)
    busy_ps: int = 0
    wait_ps: int = 0
    steps: int = 0
    kinds: Counter[str] = field(init=False, default_factory=Counter)
    pending: np.ndarray = field(init=False, default_factory=lambda: np.zeros(0, CHUNK_DTYPE))  # of steps yet to come

    def __post_init__(self) -> None:
        phases = len(self.costs.phases)
        self.by_tokens = np.zeros((phases, self.costs.token_time.shape[1]), np.int64)
        self.by_sequences = np.zeros((phases, self.costs.seq_time.shape[1]), np.int64)

    def add(self, steps: np.ndarray, chunks: np.ndarray) -> None:
        """Take STEP_DTYPE and CHUNK_DTYPE rows of the core."""
        phase = (steps["n_prefill"] > 0) * (len(self.costs.phases) - 1)
        np.add.at(self.by_tokens, (phase, steps["padded"]), 1)
        np.add.at(self.by_sequences, (phase, steps["n_sched"]), 1)
        chunks = np.concatenate([self.pending, chunks])
        here = chunks["step"] < self.steps + len(steps)
        self.pending, chunks = chunks[~here], chunks[here]
        uniform = steps["cell"] < 0
        self._add_uniform(steps[uniform & (steps["n_decode"] > 0)], chunks[uniform[chunks["step"] - self.steps]])
        self._add_cells(steps[~uniform])
        self.busy_ps += int(steps["busy_ps"].sum())
        self.wait_ps += int(steps["wait_ps"].sum())
        self.steps += len(steps)

    def _add_uniform(self, decodes: np.ndarray, chunks: np.ndarray) -> None:
        """What the surfaces priced: decodes of steps, and chunks."""
        if not len(decodes) and not len(chunks):
            return
        visible = chunks["chunk"] + chunks["cached"]
        used = self.costs.prefill.spread(np.stack([chunks["chunk"], visible], axis=1))
        self.prefill = summed(*np.concatenate([self.prefill, used], axis=1))
        questions = np.stack([decodes["n_decode"], decodes["sum_tiles"]], axis=1)
        used = self.costs.decode.spread(questions, den=decodes["n_decode"])
        self.decode = summed(*np.concatenate([self.decode, used], axis=1))
        self.kinds.update({"attention_prefill": len(chunks), "attention_decode": len(decodes)})

    def _add_cells(self, steps: np.ndarray) -> None:
        """Steps that the table of steps priced."""
        cells, first = np.unique(steps["cell"], return_inverse=True)
        others, second = np.unique(steps["decode_cell"], return_inverse=True)
        pairs, which = np.unique(first * len(others) + second, return_inverse=True)
        times = np.zeros(len(pairs), np.int64)
        np.add.at(times, which, steps["attention_ps"])
        pairs = np.stack([cells[pairs // len(others)], others[pairs % len(others)]], axis=1)
        for (cell, decodes), time in zip(pairs.tolist(), times.tolist()):
            share = time
            if decodes >= 0:
                of_cell, of_decodes = (int(self.costs.cell_rows[each][TIME]) for each in (cell, decodes))
                share = time * of_cell // (of_cell + of_decodes)
                self.cells[decodes] += time - share
            self.cells[cell] += share
        self.kinds["attention_mixed"] += len(steps)

    def operators(self) -> list[dict[str, Any]]:
        """One row an operator: name, kind, calls, samples and the columns of a sample, summed over the run."""
        rows = []
        for tables, by_tokens, by_sequences in zip(self.costs.phases, self.by_tokens, self.by_sequences):
            for table, counts in ((tables.tokens, by_tokens), (tables.sequences, by_sequences)):
                for name, totals in table.totals(counts).items():
                    use, calls = table.uses[name], int(counts.sum()) * table.calls(name)
                    rows.append(self._row(name, use.kind, calls, counts[1:], totals))
        layers = self.costs.placement.attention.count
        for name, surface, (points, used) in (
            ("attention_prefill", self.costs.prefill, self.prefill),
            ("attention_decode", self.costs.decode, self.decode),
        ):
            totals = weighted(used, surface.samples[points]) * layers
            rows.append(self._row(name, name, self.kinds[name] * layers, used, totals))
        mixed = "attention_mixed"
        cells = np.array(list(self.cells), np.int64)
        rows.append(self._row(mixed, mixed, self.kinds[mixed] * layers, cells + 1, self._of_cells()))
        return rows + self._fetched()

    def _fetched(self) -> list[dict[str, Any]]:
        """The row of offloaded weights: their way in, and the time that computing did not hide."""
        placement = self.costs.placement
        if (of := placement.offload) is None:
            return []
        spans = placement.decode.spans
        moved = self.steps * sum(span.fetched for span in spans)
        landing = self.steps * sum(of.landing_ps(span) for span in spans)
        tier = of.device.tier
        filled = {
            "time_ps": landing + self.wait_ps,
            "energy_pj": pj_ceil((of.energy + of.landing_energy) * moved),
            "hbm_bytes": moved,
            f"{tier}_bytes": moved,
            "bound_hbm_ps": landing,
            f"bound_{of.bound}_ps": self.wait_ps,
        }
        calls = self.steps * sum(span.offloaded for span in spans)
        totals = np.array([filled.get(column, 0) for column in COLUMNS], object)
        return [self._row(FETCH, FETCH, calls, np.zeros(0, np.int64), totals)]

    def _of_cells(self) -> np.ndarray:
        """Columns of the steps that cells priced: each sample in proportion to the time it stands for."""
        if not self.cells:
            return np.zeros(len(COLUMNS), object)
        rows = np.array([self.costs.cell_rows[cell] for cell in self.cells])
        times = np.array(list(self.cells.values()), object)[:, None]
        return (rows * times // np.maximum(rows[:, TIME], 1)[:, None]).sum(axis=0)

    def bound_ps(self, rows: list[dict[str, Any]]) -> dict[str, int]:
        """Time with a step on the device by what limited it, from `operators`; what none explains is the host's."""
        bound = {name: sum(row[f"bound_{name}_ps"] for row in rows) for name in BOUND_CLASSES}
        bound["host"] += self.busy_ps - sum(bound.values())
        return bound

    @staticmethod
    def _row(name: str, kind: str, calls: int, used: Ints, totals: np.ndarray) -> dict[str, Any]:
        head: dict[str, Any] = {"name": name, "kind": kind, "calls": calls, "samples": int(np.count_nonzero(used))}
        return head | {column: int(value) for column, value in zip(COLUMNS, totals)}
