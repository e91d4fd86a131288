"""What a study would cost: its points counted, and a few of them timed."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from hwsim.sweep.progress import duration
from hwsim.sweep.space import Space

COUNTED = 10**6  # points whose constraints are looked at; of more, a share
TIMED = 64  # points of one batch that are timed


@dataclass(frozen=True)
class Estimate:
    """Points of a study and CPU seconds of it.

    Attributes
    ----------
    points, allowed : int
        All, and those that meet the constraints (estimated above `COUNTED`).
    groups : int
        Kinds of hardware: each is prepared once.
    first_s, next_s : float
        CPU seconds to prepare a group; of one more point of it.
    """

    points: int
    allowed: int
    groups: int
    first_s: float
    next_s: float

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the whole study."""
        return self.groups * self.first_s + self.allowed * self.next_s

    def text(self, workers: int) -> str:
        """For people."""
        wall = duration(self.cpu_s / workers)
        lines = [
            f"points     {self.points:,}"
            + (f", {self.allowed:,} meet the constraints" if self.allowed < self.points else "")
        ]
        lines.append(f"groups     {self.groups:,} of equal hardware, prepared in {self.first_s * 1e3:,.1f} ms each")
        lines.append(
            f"cost       {self.next_s * 1e3:,.3f} ms a point, {duration(self.cpu_s)} of CPU, {wall} on {workers} cores"
        )
        return "\n".join(lines)


def estimate(space: Space) -> Estimate:
    """Count the points and time some of them here; nothing is kept but simulated operators."""
    total = len(space)
    looked = np.arange(total) if total <= COUNTED else np.linspace(0, total - 1, COUNTED).astype(np.int64)
    allowed = space.allowed(looked)
    first, following = _timed(space, looked[allowed])
    share = float(allowed.mean()) if len(allowed) else 0.0
    return Estimate(total, round(total * share), total // space.group, first, following)


def _timed(space: Space, allowed: np.ndarray) -> tuple[float, float]:
    """CPU seconds that the first point of a group takes beyond another one; of another one."""
    if not len(allowed):
        return 0.0, 0.0
    heavy, light, _ = next(space.batches(allowed[:1]))
    _answer(space, heavy, light)  # imports, compilers and caches of the process
    start = space.indices(np.arange(min(len(space), space.group, TIMED)) + len(space) // space.group // 2 * space.group)
    begun = time.process_time()
    heavy, light, _ = next(space.batches(start[:1]))
    _answer(space, heavy, light)
    alone = time.process_time() - begun
    begun, count = time.process_time(), 0
    for heavy, light, _ in space.batches(start):
        _answer(space, heavy, light)
        count += len(light)
    each = (time.process_time() - begun) / count
    return max(alone - each, 0.0), each


def _answer(space: Space, heavy: tuple, light: list) -> None:
    for _ in space.kind.answer(heavy, light):
        pass
