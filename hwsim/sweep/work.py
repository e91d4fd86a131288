"""What a worker does: open the study once, answer the points of a task, append each answer to its own journal.

A worker is a process or a thread on any machine that sees the study's folder. All that it keeps between tasks (the
descriptions, deployments with their cost tables, its journal) belongs to its thread.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwsim.describe import restore
from hwsim.describe.study import Study
from hwsim.sweep.axes import Dimension
from hwsim.sweep.journal import DONE, FAILED, WHOLE, Journal
from hwsim.sweep.points import Answer
from hwsim.sweep.space import Ints, Space

STUDY_FILE = "study.json"
JOURNALS = "journals"


class Report(NamedTuple):
    """What a task did: points, the journal's name, CPU seconds of the worker."""

    done: int
    failed: int
    worker: str
    cpu_s: float


class Worker:
    """A study opened by one thread."""

    def __init__(self, folder: Path, token: str) -> None:
        self.token = token
        self.space = Space.of(read_study(folder))
        columns = len(self.space.kind.outputs)
        self.journal = Journal(folder / JOURNALS, self.space.layout, columns, token.partition(".")[0])
        self.name = self.journal.path.stem

    def answer(self, space: Space, indices: Ints) -> Report:
        """Answer points; each batch is in the journal before the next one starts."""
        done, begun = 0, time.thread_time()
        batches = list(space.batches(indices))
        space.kind.expect([heavy + each for heavy, light, _ in batches for each in light])
        for heavy, light, rows in batches:
            keys = space.keys(rows)
            self.journal.begin(keys)
            answers = list(space.kind.answer(heavy, light))
            self._keep(keys, answers)
            done += sum(not answer.error for answer in answers)
        return Report(done, len(indices) - done, self.name, time.thread_time() - begun)

    def _keep(self, keys: NDArray[np.void], answers: Sequence[Answer]) -> None:
        rows = np.zeros(len(answers), self.journal.dtype)
        rows["key"], rows["time"] = keys, time.time()
        rows["status"] = [FAILED if answer.error else DONE for answer in answers]
        rows["values"] = [answer.values for answer in answers]
        self.journal.rows(rows, [answer.error for answer in answers if answer.error])


_own = threading.local()


def run_task(folder: str, token: str, first: int, last: int, indices: Ints | None = None) -> Report:
    """Answer the points of the tasks `first` to `last` - 1, or these points.

    Parameters
    ----------
    folder : str
        Folder of the study, which all workers see.
    token : str
        Of `write_study`: another run, another token.
    """
    worker = _opened(folder, token)
    if indices is None:
        indices = np.concatenate([worker.space.task(number) for number in range(first, last)])
        indices = indices[worker.space.allowed(indices)]
    return worker.answer(worker.space, indices)


def run_rows(folder: str, token: str, paths: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> Report:
    """Answer points that are no points of the grid: the values of `paths` in each row."""
    worker = _opened(folder, token)
    space = worker.space.over(Dimension("row", paths, tuple(rows), ("row",) * len(paths)))
    return worker.answer(space, np.arange(len(rows)))


def _opened(folder: str, token: str) -> Worker:
    """This thread's worker of a study."""
    worker: Worker | None = getattr(_own, "worker", None)
    if worker is None or worker.token != token:
        if worker is not None:
            worker.journal.close()
        worker = _own.worker = Worker(Path(folder), token)
    return worker


def write_study(folder: Path, study: Study, shard: str = WHOLE) -> str:
    """Put a study, with all that it refers to, where workers read it; returns the token of this run of a shard.

    A worker that outlives a run (of a Dask cluster) opens the study anew when the token changes.
    """
    (folder / JOURNALS).mkdir(parents=True, exist_ok=True)
    text = json.dumps(study.resolved(), indent=1)
    place = folder / STUDY_FILE
    if not place.is_file() or place.read_text() != text:
        part = place.with_suffix(f".{os.getpid()}.part")
        part.write_text(text)
        part.replace(place)
    return f"{shard}.{uuid.uuid4().hex}"


def read_study(folder: Path) -> Study:
    """The study of a folder."""
    found: Any = restore("study", json.loads((folder / STUDY_FILE).read_text()), str(folder / STUDY_FILE))
    assert isinstance(found, Study)
    return found


def watch_parent() -> None:
    """End this process when the one that started it dies: a killed driver leaves no workers behind."""
    import multiprocessing

    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
