"""Runs bound programs on the engine: batches over threads, one program with its commands, reports of deadlocks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from hwsim._core import tables
from hwsim._core.bounds import BOUND_CLASSES
from hwsim._core.engine import Arena
from hwsim.errors import bad
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


@dataclass(frozen=True)
class Single:
    """One program: the fields of Outcome without the first axis, and its commands if they were recorded."""

    end: int
    status: int
    bound: dict[str, int]
    busy: np.ndarray
    passes: np.ndarray
    commands: np.ndarray | None
    """COMMAND_ROW by queue, issue number and row."""


def run_one(
    bound: Bound, program: int = 0, *, skip: bool = True, budget: int = DEFAULT_BUDGET, record: str = ""
) -> Single:
    """Run one program of a batch.

    Parameters
    ----------
    record : {"", "commands"}
        "commands" keeps queue, row, start and finish of every command, and runs every period (no skip).
    """
    if record not in ("", "commands"):
        raise bad("record", repr(record), "'' or 'commands'")
    only = bound.only(program)
    out, stop = _outcome(only), np.zeros(1, np.int32)
    records = np.zeros(1024, tables.COMMAND_ROW) if record else None
    while True:
        count = _arena(bound.template).run_range(only, out, 0, 1, skip, budget, stop, records)
        if records is None or out.status[0] != tables.RECORDS:
            break
        records = np.zeros(4 * len(records), tables.COMMAND_ROW)
    if records is not None:
        records = np.sort(records[:count], order=("queue", "seq", "row"))
    parts = dict(zip(BOUND_CLASSES, (int(part) for part in out.bound[0])))
    return Single(int(out.end[0]), int(out.status[0]), parts, out.busy[0], out.passes[0], records)


def arena_after(bound: Bound, program: int) -> Arena:
    """This thread's arena as one program leaves it."""
    only = bound.only(program)
    arena = _arena(bound.template)
    arena.run_range(only, _outcome(only), 0, 1, True, DEFAULT_BUDGET, np.zeros(1, np.int32))
    return arena


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
