"""Cost surfaces against direct simulation, at questions that real replays ask.

A surface answers between grid points by interpolation. Here questions are drawn from the steps of a replay, half of
them off the grid, and each is simulated directly: the error is what serving pays for not simulating every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim._core.serve_types import CHUNK_COLUMNS, STEP_COLUMNS
from hwsim.operators.step import Step
from hwsim.operators.surface import TIME, Ints, Surface
from hwsim.serving.deployment import Deployment
from hwsim.serving.run import Run, run
from hwsim.units import ceil_div
from hwsim.workload.table import RequestTable

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """Errors of one surface: count of questions, how many lie off the grid, median, 99th percentile and worst."""

    name: str
    questions: int
    off_grid: int
    samples: int
    median: float
    p99: float
    most: float


def steps_of(deployment: Deployment, table: RequestTable) -> tuple[Run, np.ndarray, np.ndarray]:
    """A replay with its step and chunk rows."""
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    done = run(deployment, table, sink=lambda steps, chunks: parts.append((steps.copy(), chunks.copy())))
    steps, chunks = (np.concatenate(rows) for rows in zip(*parts))
    assert steps.dtype.names == STEP_COLUMNS and chunks.dtype.names == CHUNK_COLUMNS
    return done, steps, chunks


def asked(deployment: Deployment, steps: np.ndarray, chunks: np.ndarray) -> Iterator[tuple[Surface, Ints]]:
    """Distinct integer questions of a replay for each attention surface."""
    costs = deployment.costs
    yield costs.prefill, np.unique(np.stack([chunks["chunk"], chunks["chunk"] + chunks["cached"]], axis=1), axis=0)
    decodes = steps[steps["n_decode"] > 0]
    tiles = ceil_div(decodes["sum_tiles"], decodes["n_decode"])
    yield costs.decode, np.unique(np.stack([decodes["n_decode"], tiles], axis=1), axis=0)


def on_grid(surface: Surface, questions: Ints) -> NDArray[np.bool_]:
    """Which questions are grid points."""
    known = [np.isin(column, axis) for axis, column in zip(surface.axes, questions.T)]
    return np.logical_and.reduce(known)


def draw(surface: Surface, questions: Ints, count: int, rng: np.random.Generator) -> Ints:
    """`count` of the questions, half of them off the grid as far as there are that many."""
    on = on_grid(surface, questions)
    off_rows, on_rows = (rng.permutation(np.flatnonzero(mask)) for mask in (~on, on))
    off_rows = off_rows[: count // 2]
    return questions[np.concatenate([off_rows, on_rows[: count - len(off_rows)]])]


def compare(surface: Surface, questions: Ints) -> Line:
    """Interpolated against simulated times."""
    simulated = surface.sampler(questions)[:, TIME]
    error = np.abs(surface.ask(questions)[:, TIME] - simulated) / simulated
    off = int(np.count_nonzero(~on_grid(surface, questions)))
    spread = float(np.median(error)), float(np.quantile(error, 0.99)), float(error.max())
    return Line(surface.name, len(questions), off, surface.known, *spread)


def real_steps(done: Run, steps: np.ndarray, chunks: np.ndarray, picks: Ints) -> list[Step]:
    """Steps of a replay of one replica without preemptions, with the context of every decode.

    A request decodes in each step from its first token to its last, so its context follows from the times.
    """
    requests, ends = done.requests, steps["end_ps"]
    found = []
    for pick in picks:
        decoding = (requests["first_token_ps"] < ends[pick]) & (requests["finish_ps"] >= ends[pick])
        rows = requests[decoding]
        contexts = rows["prompt"] + pick - np.searchsorted(ends, rows["first_token_ps"])
        assert contexts.sum() == steps["sum_context"][pick]
        mine = chunks[chunks["step"] == pick]
        pairs = [(int(row["chunk"]), int(row["cached"])) for row in mine]
        found.append(Step(pairs, [int(context) for context in contexts]))
    return found


def compare_steps(deployment: Deployment, done: Run, steps: np.ndarray, chunks: np.ndarray, picks: Ints) -> Floats:
    """Signed errors of the attention that a replay charged for its steps, against simulating each whole."""
    assert deployment.costs.steps is not None
    whole = deployment.costs.steps.simulate(real_steps(done, steps, chunks, picks))
    charged = steps["attention_ps"][picks] / deployment.placement.attention.count
    return charged / whole.time_ps - 1


def table(lines: list[Line]) -> str:
    """The lines as text."""
    head = f"{'surface':20}{'questions':>10}{'off grid':>10}{'samples':>9}{'median %':>10}{'p99 %':>8}{'max %':>8}"
    rows = [
        f"{line.name:20}{line.questions:>10}{line.off_grid:>10}{line.samples:>9}"
        f"{100 * line.median:>10.3f}{100 * line.p99:>8.2f}{100 * line.most:>8.2f}"
        for line in lines
    ]
    return "\n".join([head, *rows])
