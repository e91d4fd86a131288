"""Totals of a run from its steps: what every operator took, by what it was limited, and the energy.

Steps come in any number of parts; the totals do not depend on how the run was cut, because every sum is of integers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hwsim._core.bounds import BOUND_CLASSES
from hwsim.operators.surface import BOUNDS, COLUMNS, TIME, Ints
from hwsim.serving.costs import CostTables

HALF = 10  # surfaces count their use in 2**-20 of a question


def weighted(used: Ints, samples: Ints) -> np.ndarray:
    """Sum of `used` / 2**20 samples of each point, rounded down, in Python's integers: object[columns].

    In three parts, so that no product passes 63 bits: whole questions, and two halves of the fraction.
    """
    points = np.flatnonzero(used)
    used, rows = used[points], samples[points]
    mask = (1 << HALF) - 1
    whole = ((used >> 2 * HALF) @ rows).astype(object)
    high = ((used >> HALF & mask) @ rows).astype(object)
    low = ((used & mask) @ rows).astype(object)
    return whole + ((high << HALF) + low >> 2 * HALF)


@dataclass
class Account:
    """Sums over the steps of a run.

    Attributes
    ----------
    by_tokens, by_sequences : int64[]
        Steps with each padded token count, with each number of scheduled requests.
    prefill, decode : int64[]
        Use of the points of the attention surfaces.
    attention_ps, busy_ps, steps : int
        Attention of all layers as the core composed it; time with a step on the device; steps.
    """

    costs: CostTables
    by_tokens: Ints = field(init=False)
    by_sequences: Ints = field(init=False)
    prefill: Ints = field(init=False)
    decode: Ints = field(init=False)
    attention_ps: int = 0
    busy_ps: int = 0
    steps: int = 0
    chunks: int = 0
    decode_steps: int = 0
    peak_blocks: int = 0

    def __post_init__(self) -> None:
        self.by_tokens = np.zeros(len(self.costs.tokens.times), np.int64)
        self.by_sequences = np.zeros(len(self.costs.sequences.times), np.int64)
        self.prefill = np.zeros(len(self.costs.prefill.samples), np.int64)
        self.decode = np.zeros(len(self.costs.decode.samples), np.int64)

    def add(self, steps: np.ndarray, chunks: np.ndarray) -> None:
        """Take STEP_DTYPE and CHUNK_DTYPE rows of the core."""
        self.by_tokens += np.bincount(steps["padded"], minlength=len(self.by_tokens))
        self.by_sequences += np.bincount(steps["n_sched"], minlength=len(self.by_sequences))
        visible = chunks["chunk"] + chunks["cached"]
        self.prefill += self.costs.prefill.spread(np.stack([chunks["chunk"], visible], axis=1))
        decodes = steps[steps["n_decode"] > 0]
        questions = np.stack([decodes["n_decode"], decodes["sum_tiles"]], axis=1)
        self.decode += self.costs.decode.spread(questions, den=decodes["n_decode"])
        self.attention_ps += int(steps["attention_ps"].sum())
        self.busy_ps += int((steps["end_ps"] - steps["start_ps"]).sum())
        self.steps += len(steps)
        self.chunks += len(chunks)
        self.decode_steps += len(decodes)
        self.peak_blocks = max(self.peak_blocks, int(steps["kv_used_blocks"].max(initial=0)))

    def operators(self) -> list[dict[str, Any]]:
        """One row an operator: name, kind, calls, samples and the columns of a sample, summed over the run."""
        rows = []
        for table, counts in ((self.costs.tokens, self.by_tokens), (self.costs.sequences, self.by_sequences)):
            for name, totals in table.totals(counts).items():
                use = table.uses[name]
                rows.append(self._row(name, use.kind, self.steps * use.count, counts[1:], totals))
        layers = self.costs.attention.count
        parts = [
            ("attention_prefill", self.costs.prefill, self.prefill, self.chunks),
            ("attention_decode", self.costs.decode, self.decode, self.decode_steps),
        ]
        alone = [weighted(used, surface.samples) * layers for _, surface, used, _ in parts]
        together = max(1, sum(totals[TIME] for totals in alone))
        for (name, _, used, calls), totals in zip(parts, alone):
            # The core composes mixed batches; their time is shared out in the proportion of the parts alone.
            timed = [TIME, *range(BOUNDS.start, BOUNDS.stop)]
            totals[timed] = totals[timed] * self.attention_ps // together
            rows.append(self._row(name, name, calls * layers, used, totals))
        return rows

    def bound_ps(self) -> dict[str, int]:
        """Time with a step on the device by what limited it; what no operator explains is the host's."""
        rows = self.operators()
        bound = {name: sum(row[f"bound_{name}_ps"] for row in rows) for name in BOUND_CLASSES}
        bound["host"] += self.busy_ps - sum(bound.values())
        return bound

    @staticmethod
    def _row(name: str, kind: str, calls: int, used: Ints, totals: np.ndarray) -> dict[str, Any]:
        head: dict[str, Any] = {"name": name, "kind": kind, "calls": calls, "samples": int(np.count_nonzero(used))}
        return head | {column: int(value) for column, value in zip(COLUMNS, totals)}
