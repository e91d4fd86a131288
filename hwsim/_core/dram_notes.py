"""Constraints of a channel as the core keeps them: where each is noted after a command.

The core keeps first ready ticks of units, bank groups and banks. A rule of another level is noted in the nearest of
these below it, in all that lie in its instance; of several rules in one place only the strictest is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim._core.dram_tables import NODES, NOTE_ROW, WINDOW_ROW

Place = tuple[int, int, int]


def notes_of(settings: NDArray[np.void], rules: NDArray[np.void]) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Rules as NOTE_ROW[n], sorted by command, and those with a window as WINDOW_ROW[m]."""
    shift = [int(value) for value in settings["shift"][0]]
    strictest: dict[tuple[int, Place], int] = {}
    windows: list[Any] = []
    for level, after, before, ticks, window, siblings in rules.tolist():
        for place in _places(shift, level, before, bool(siblings)):
            if window > 1:
                windows.append((after, *place, ticks, window, shift[level]))
            else:
                strictest[after, place] = max(ticks, strictest.get((after, place), 0))
    notes = [(after, *place, ticks) for (after, place), ticks in sorted(strictest.items())]
    return np.array(notes, NOTE_ROW), np.array(windows, WINDOW_ROW)


def _places(shift: list[int], level: int, before: int, siblings: bool) -> list[Place]:
    """Offset of class and level in the ready ticks, level and flip of every node that a rule concerns."""
    units, groups = 1 << (shift[0] - shift[1]), 1 << (shift[0] - shift[3])
    noted, first = {0: (1, 0), 1: (1, 0), 2: (3, units), 3: (3, units), 4: (4, units + groups)}[level]
    own = 1 << (shift[level] - shift[noted])
    flips = range(own, 1 << (shift[level - 1] - shift[noted])) if siblings else range(own)
    return [(before * NODES + first, {1: 0, 3: 1, 4: 2}[noted], flip) for flip in flips]
