"""The driver: hands tasks to an executor until every point has an answer, whatever dies meanwhile.

What is left to do is always read from the journals, so that a first run, a resumed one and the next round after a pool
broke are the same code. Points in the hands of a worker that died run alone in the next round: the one that kills its
worker is then known, and after `TRIES` deaths it is given up, while its neighbours have their answers.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hwsim.errors import HwsimError, bad
from hwsim.sweep.executors import Opener, Pool
from hwsim.sweep.journal import GAVE_UP, KEY_DTYPE, Journal, journals
from hwsim.sweep.ledger import Ledger
from hwsim.sweep.space import Ints, Space
from hwsim.sweep.work import JOURNALS, Report, run_task, write_study

TRIES = 3  # deaths of a worker until the point alone in its hands is given up
AHEAD = 2  # tasks a worker has waiting: the executor's latency is hidden behind the one it runs
ROUNDS = 20  # rounds in which workers died and no point was answered

Watch = Callable[[Report], None]  # a watch that also has `expect` is told how many points a round will run


@dataclass(frozen=True)
class Shard:
    """Every `count`-th task, from `number` (0-based) on."""

    number: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Shard of "i/n", 1 <= i <= n."""
        number, slash, count = text.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count) <= 10**6):
            raise bad("--shard", repr(text), "I/N with 1 <= I <= N, e.g. 3/16")
        return cls(int(number) - 1, int(count))

    @property
    def label(self) -> str:
        """Its name in the names of journals."""
        return f"{self.number + 1}of{self.count}"

    def tasks(self, space: Space) -> range:
        """Numbers of its tasks."""
        return range(self.number, space.tasks, self.count)


@dataclass
class Driver:
    """A study on an executor.

    Parameters
    ----------
    space : Space
    folder : Path
        Of the study: its description, its journals, its lock.
    opener : callable
        Opens the executor: `executors.opener`.
    shard : Shard
    again : bool
        Try failed points again.
    watch : callable, optional
        Gets the report of each task.
    """

    space: Space
    folder: Path
    opener: Opener
    shard: Shard = field(default_factory=Shard)
    again: bool = False
    watch: Watch | None = None
    token: str = field(init=False, default="")

    def run(self) -> None:
        """Answer all points that have no answer yet.

        Raises
        ------
        HwsimError
            Workers die again and again without answering a point; a worker cannot work at all.
        """
        retry_before = time.time() if self.again else 0.0
        with self._locked():
            self.token = write_study(self.folder, self.space.study, self.shard.label)
            without = 0
            while without < ROUNDS:
                ledger = Ledger.read(self.folder, self.space, retry_before, self.shard.label)
                self._give_up(ledger)
                self._expect(ledger)
                if not self._round(ledger):
                    return
                now = Ledger.read(self.folder, self.space, retry_before, self.shard.label)
                without = without + 1 if len(now.answered) == len(ledger.answered) else 1
        raise HwsimError(f"workers died {ROUNDS} times without answering a point: see their own messages")

    def _round(self, ledger: Ledger) -> bool:
        """Hand out all open points; True if workers died before the end."""
        if next(self._open(ledger, None), None) is None:
            return False
        try:
            with self.opener() as pool:
                self._alone(pool, ledger)
                self._together(pool, ledger)
        except Died:
            return True
        return False

    def _expect(self, ledger: Ledger) -> None:
        """Tell the watch how much there is to do: an upper end where points have constraints."""
        expect = getattr(self.watch, "expect", None)
        if expect is not None:
            tasks = self.shard.tasks(self.space)
            expect(max(0, -(-len(self.space) * len(tasks) // self.space.tasks) - len(ledger.answered)))

    def _open(self, ledger: Ledger, suspects: bool | None) -> Iterator[tuple[int, Ints, bool]]:
        """Tasks with open points: number, those points, whether they are all of its points."""
        for number in self.shard.tasks(self.space):
            whole = self.space.task(number)
            left = ledger.open(self.space, whole)
            if suspects is not None and ledger.lost:
                left = left[ledger.suspects(self.space, left) == suspects]
            if len(left):
                yield number, left, len(left) == len(whole)

    def _submit(self, pool: Pool, number: int, points: Ints, whole: bool) -> Future[Report]:
        indices = None if whole else points
        return pool.executor.submit(run_task, str(self.folder), self.token, number, number + 1, indices)

    def _alone(self, pool: Pool, ledger: Ledger) -> None:
        """Points that were in hand when a worker died, one at a time."""
        if not ledger.lost:
            return
        for number, points, _ in self._open(ledger, True):
            for index in points:
                try:
                    self._report(self._submit(pool, number, np.array([index]), False))
                except Died:
                    with self._own_journal() as journal:
                        journal.blame(self.space.keys(np.array([index])))
                    raise

    def _together(self, pool: Pool, ledger: Ledger) -> None:
        """All other open points, so many tasks at a time as the executor can hide its latency behind."""
        waiting: set[Future[Report]] = set()
        try:
            for number, points, whole in self._open(ledger, False):
                waiting.add(self._submit(pool, number, points, whole))
                while len(waiting) >= (1 + AHEAD) * pool.workers:
                    waiting = self._collect(waiting)
            while waiting:
                waiting = self._collect(waiting)
        except BrokenExecutor as error:  # `submit` itself finds a broken pool
            raise Died from error
        finally:
            for future in waiting:
                future.cancel()

    def _collect(self, waiting: set[Future[Report]]) -> set[Future[Report]]:
        finished, rest = wait(waiting, return_when=FIRST_COMPLETED)
        for future in finished:
            self._report(future)
        return rest

    def _report(self, future: Future[Report]) -> None:
        try:
            report = future.result()
        except (BrokenExecutor, CancelledError) as error:
            raise Died from error
        except Exception as error:
            if type(error).__name__ in DEATHS:
                raise Died from error
            raise
        if self.watch is not None:
            self.watch(report)

    def _give_up(self, ledger: Ledger) -> None:
        """Answer for the points that killed their worker `TRIES` times."""
        keys = sorted(
            key
            for key, deaths in ledger.deaths.items()
            if deaths >= TRIES * (1 + ledger.given_up[key]) and key not in ledger.answered
        )
        if not keys:
            return
        with self._own_journal() as journal:
            rows = np.zeros(len(keys), journal.dtype)
            rows["key"] = np.array(keys, "S16").view(KEY_DTYPE)
            rows["status"], rows["values"], rows["time"] = GAVE_UP, np.nan, time.time()
            journal.rows(rows, [f"its worker died {TRIES} times with this point alone in hand"] * len(keys))
        ledger.answered = np.unique(np.concatenate([ledger.answered, np.array(keys, "S16")]))
        ledger.lost -= set(keys)

    @contextmanager
    def _own_journal(self) -> Iterator[Journal]:
        columns = len(self.space.kind.outputs)
        journal = Journal(self.folder / JOURNALS, self.space.layout, columns, self.shard.label)
        try:
            yield journal
        finally:
            journal.close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One driver a shard at a time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self.folder / f"driver-{self.shard.label}.lock"
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise bad(str(self.folder), "a study that another hwsim is running", "one driver at a time") from None
        finally:
            os.close(descriptor)


class Died(Exception):
    """Workers of an executor died."""


# Names of what executors raise for a task whose worker died, beside `BrokenExecutor`.
DEATHS = ("KilledWorker", "CommClosedError", "FutureCancelledError", "LostWorker")


def has_points(folder: Path) -> bool:
    """Whether a folder has journals."""
    return bool(journals(folder / JOURNALS))
