"""Progress of a study: a bar on a terminal, a line a minute anywhere else; what the journals of a running one say."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from tqdm import tqdm

from hwsim.sweep.journal import BEGIN, FAILED, GAVE_UP, ROWS, blocks, is_alive, journals, key_view
from hwsim.sweep.space import Space
from hwsim.sweep.work import JOURNALS, Report

LINE_SECONDS = 60.0
RECENT_SECONDS = 60.0


class Progress:
    """Watches a driver, which says how many points it has to run.

    Parameters
    ----------
    quiet : bool, optional
        A line a minute instead of a bar; by default where the stream is no terminal.
    """

    def __init__(self, quiet: bool | None = None, stream: TextIO | None = None) -> None:
        self.total, self.stream = 0, stream or sys.stderr
        self.quiet = not self.stream.isatty() if quiet is None else quiet
        self.points = self.failed = 0
        self.workers: set[str] = set()
        self.started = self.said = time.monotonic()
        self.bar = tqdm(total=0, unit="pt", file=self.stream, disable=self.quiet, smoothing=0.1, leave=False)

    def expect(self, total: int) -> None:
        """Points that are left to run."""
        self.total = self.bar.total = self.points + total
        self.bar.refresh()

    def __call__(self, report: Report) -> None:
        """Take the report of a task."""
        self.points += report.done + report.failed
        self.failed += report.failed
        self.workers.add(report.worker)
        self.bar.set_postfix(failed=self.failed, workers=len(self.workers), refresh=False)
        self.bar.update(report.done + report.failed)
        if self.quiet and time.monotonic() - self.said > LINE_SECONDS:
            self.said = time.monotonic()
            print(self.line(), file=self.stream, flush=True)

    def line(self) -> str:
        """Where the study is, in one line."""
        rate = self.points / max(time.monotonic() - self.started, 1e-9)
        left = duration((self.total - self.points) / rate) if rate else "?"
        text = f"{self.points:,} of {self.total:,} points, {rate:,.1f}/s, {left} left, {self.failed} failed"
        return f"{text}, {len(self.workers)} workers"

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class Status:
    """What the journals of a study say now."""

    total: int
    answered: int
    failed: int
    in_hand: int
    workers: int
    per_s: float

    def text(self) -> str:
        """For people."""
        share = self.answered / max(self.total, 1)
        lines = [f"points     {self.answered:,} of {self.total:,} answered ({share:.1%}), {self.failed} of them failed"]
        lines.append(f"workers    {self.workers} alive, {self.in_hand:,} points in hand")
        left = self.total - self.answered
        if left and self.per_s:
            lines.append(
                f"rate       {self.per_s:,.1f} points/s in the last minute, {duration(left / self.per_s)} left"
            )
        elif left:
            lines.append("rate       nothing in the last minute: `hwsim sweep --resume` goes on")
        return "\n".join(lines)


def status(space: Space, folder: Path) -> Status:
    """Read the journals of a study, while it runs or after it."""
    keys, times = [np.zeros(0, "S16")], [np.zeros(0)]
    failed: set[bytes] = set()
    workers = in_hand = 0
    for path in journals(folder / JOURNALS):
        held = 0
        for what, rows, _ in blocks(path, space.layout, len(space.kind.outputs)):
            held = len(rows) if what == BEGIN else 0 if what == ROWS else held
            if what == ROWS:
                asked = key_view(rows["key"])
                keys.append(asked)
                times.append(rows["time"])
                failed = failed.difference(asked.tolist()) if failed else failed
                failed |= set(asked[np.isin(rows["status"], (FAILED, GAVE_UP))].tolist())
        if is_alive(path):
            workers, in_hand = workers + 1, in_hand + held
    total = sum(len(space.task(number)[space.allowed(space.task(number))]) for number in range(space.tasks))
    now = time.time()
    recent = int(np.count_nonzero(np.concatenate(times) > now - RECENT_SECONDS))
    return Status(total, len(np.unique(np.concatenate(keys))), len(failed), in_hand, workers, recent / RECENT_SECONDS)
