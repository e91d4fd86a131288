"""Why a program stopped with queues that never reached their end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwsim._core import tables
from hwsim.operators.binding import Bound
from hwsim.operators.executor import arena_after
from hwsim.operators.template import Template


@dataclass(frozen=True)
class Wait:
    """A threshold that was not reached: who would raise the counter, and where those queues stand."""

    counter: str
    value: int
    threshold: int
    signalled_by: tuple[tuple[str, str], ...]
    """Row that signals the counter, and the row its queue stands at ("ended" if it is through)."""

    def __str__(self) -> str:
        text = f"waits for {self.counter} >= {self.threshold}, is {self.value}"
        if not self.signalled_by:
            return f"{text}; no row signals it"
        return f"{text}; signalled by " + ", ".join(f"{row!r} (its queue: {at})" for row, at in self.signalled_by)


@dataclass(frozen=True)
class Stuck:
    """A queue that stopped before its end."""

    queue: str
    row: str
    issues: int
    waits: tuple[Wait, ...]

    def __str__(self) -> str:
        return f"queue {self.queue!r} at {self.row!r} after {self.issues} issues " + " and ".join(map(str, self.waits))


def explain_deadlock(bound: Bound, program: int = 0) -> list[Stuck]:
    """Run a program again and say where every queue that did not end is stuck.

    Returns
    -------
    list of Stuck
        In the order of the queues; empty if the program ends. `str` of each is one line of a report.
    """
    t = bound.template
    queues, counters, thresholds = arena_after(bound, program).standing()
    at = ["ended" if ended else repr(t.names["rows"][pc]) for pc, ended, _ in queues]
    stuck = []
    for index, (pc, ended, issues) in enumerate(queues):
        if ended:
            continue
        row = t.rows[pc]
        waits = tuple(
            Wait(t.names["counters"][row[part]], counters[row[part]], threshold, _signallers(t, int(row[part]), at))
            for part, threshold in zip(("wait0", "wait1"), thresholds[pc])
            if row[part] >= 0 and counters[row[part]] < threshold
        )
        stuck.append(Stuck(t.names["queues"][index], t.names["rows"][pc], issues, waits))
    return stuck


def _signallers(t: Template, counter: int, at: list[str]) -> tuple[tuple[str, str], ...]:
    """Rows that raise a counter, each with where its queue stands."""
    run = t.rows["op"] == tables.RUN
    rows = np.flatnonzero(run & ((t.rows["done"] == counter) | (t.rows["freed"] == counter)))
    queue = np.searchsorted(t.queues["end"], rows, side="right")
    return tuple((t.names["rows"][row], at[owner]) for row, owner in zip(rows, queue))
