"""Runs bound programs on the engine: batches over threads, one program with its commands, reports of deadlocks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from hwsim._core.bounds import BOUND_CLASSES
from hwsim._core.engine import Arena
from hwsim.operators.binding import Bound
from hwsim.operators.template import Template

DEFAULT_BUDGET = 1 << 31
"""Rows that one program may pass; periods that the skip adds do not count."""
_BLOCK = 64
_own = threading.local()


@dataclass(frozen=True)
class Outcome:
    """What a batch of programs did.

    Attributes
    ----------
    end : int64[P]
        Cycles until the last data have arrived.
    status : int32[P]
        `tables.OK`, `BUDGET`, `DEADLOCK`, `REFUSED`, `POOL` or `STOPPED`.
    bound : int64[P, 16]
        Cycles of the critical path by `BOUND_CLASSES`; each row sums to `end`.
    busy : int64[P, R]
        1/16 cycles of work done by each resource.
    passes : int64[P, V]
        Commands issued with each column of the values.
    """

    end: np.ndarray
    status: np.ndarray
    bound: np.ndarray
    busy: np.ndarray
    passes: np.ndarray


def run_many(bound: Bound, threads: int = 1, skip: bool = True, budget: int = DEFAULT_BUDGET) -> Outcome:
    """Run every program of a batch; results do not depend on `threads`.

    Parameters
    ----------
    bound : Bound
    threads : int
        Python threads, each with its own arena; the core runs without the GIL.
    skip : bool
        Add the periods of a steady state instead of running them. Exact: it changes the time to answer only.
    budget : int
        Rows a program may pass before it ends with status BUDGET.
    """
    out = _outcome(bound)
    stop = np.zeros(1, np.int32)
    begins = iter(range(0, len(bound), _BLOCK))

    def work(_: int = 0) -> None:
        arena = _arena(bound.template)
        for begin in begins:
            arena.run_range(bound, out, begin, min(begin + _BLOCK, len(bound)), skip, budget, stop)

    if threads <= 1:
        work()
        return out
    with ThreadPoolExecutor(threads) as pool:
        try:
            list(pool.map(work, range(threads)))
        finally:
            stop[0] = 1
    return out


def _outcome(bound: Bound) -> Outcome:
    count, t = len(bound), bound.template
    return Outcome(
        np.zeros(count, np.int64),
        bound.status.copy(),
        np.zeros((count, len(BOUND_CLASSES)), np.int64),
        np.zeros((count, t.size("resources")), np.int64),
        np.zeros((count, t.size("slots")), np.int64),
    )


def _arena(template: Template) -> Arena:
    """This thread's arena for the template; a few are kept."""
    kept = _own.__dict__.setdefault("arenas", {})
    if template.hash not in kept:
        if len(kept) >= 16:
            kept.clear()
        kept[template.hash] = Arena(template)
    return kept[template.hash]
