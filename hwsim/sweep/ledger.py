"""What the journals of a study say: which points are answered, which were in the hands of a worker that died."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwsim.sweep.journal import BEGIN, BLAME, DONE, GAVE_UP, ROWS, WHOLE, blocks, is_alive, journals, key_view
from hwsim.sweep.space import Ints, Space
from hwsim.sweep.work import JOURNALS

Bytes = NDArray[np.bytes_]


@dataclass
class Ledger:
    """Answered points of a study.

    Attributes
    ----------
    answered : bytes16[n]
        Sorted keys.
    lost : set of bytes
        Keys in hand when their worker died.
    deaths, given_up : Counter of bytes
        How often a worker died with this point alone in hand; how often it was given up for that.
    """

    answered: Bytes
    lost: set[bytes] = field(default_factory=set)
    deaths: Counter[bytes] = field(default_factory=Counter)
    given_up: Counter[bytes] = field(default_factory=Counter)

    @classmethod
    def read(cls, folder: Path, space: Space, retry_before: float = 0.0, shard: str = WHOLE) -> Ledger:
        """Read all journals of a study's folder.

        Parameters
        ----------
        retry_before : float
            Points that failed before this unix time count as not answered: they are to be tried again.
        shard : str
            Whose points are asked for.
        """
        columns = len(space.kind.outputs)
        keys: list[Bytes] = []
        ledger = cls(np.zeros(0, "S16"))
        for path in journals(folder / JOURNALS, shard):
            alive = is_alive(path)
            in_hand: set[bytes] = set()
            for what, rows, _ in blocks(path, space.layout, columns):
                if what == BEGIN:
                    in_hand = set(key_view(rows).tolist())
                elif what == BLAME:
                    ledger.deaths.update(key_view(rows).tolist())
                elif what == ROWS:
                    in_hand = set()
                    ledger.given_up.update(key_view(rows["key"][rows["status"] == GAVE_UP]).tolist())
                    stale = (rows["status"] != DONE) & (rows["time"] < retry_before)
                    keys.append(key_view(rows["key"][~stale]))
            if not alive:
                ledger.lost |= in_hand
        ledger.answered = np.unique(np.concatenate([np.zeros(0, "S16"), *keys]))
        ledger.lost -= set(ledger.answered[np.isin(ledger.answered, np.array(list(ledger.lost), "S16"))].tolist())
        return ledger

    def open(self, space: Space, indices: Ints) -> Ints:
        """Those points that have no answer yet and meet the constraints."""
        indices = indices[space.allowed(indices)]
        if not len(self.answered) or not len(indices):
            return indices
        keys = key_view(space.keys(indices))
        place = np.minimum(np.searchsorted(self.answered, keys), len(self.answered) - 1)
        return indices[self.answered[place] != keys]

    def suspects(self, space: Space, indices: Ints) -> NDArray[np.bool_]:
        """Which points were in hand when a worker died."""
        if not self.lost or not len(indices):
            return np.zeros(len(indices), bool)
        return np.isin(key_view(space.keys(indices)), np.array(sorted(self.lost), "S16"))
