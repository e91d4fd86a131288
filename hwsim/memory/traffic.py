"""Traffic for curves: streams that walk through memory and take turns, in an exact mix of reads and writes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.errors import bad
from hwsim.units import ceil_div


@dataclass(frozen=True)
class Streams:
    """What a bandwidth benchmark of many threads asks of a memory.

    Attributes
    ----------
    count : int
        Streams; each reads from one place and writes to another, both walked line by line from a random base.
    turn : int
        Lines of a stream before the next one's turn; they are all reads or all writes.
    reads, writes : int
        Mix: of each stream's turns so many read for so many that write, spread evenly.
    seed : int
        Of the bases.
    """

    count: int = 56
    turn: int = 4
    reads: int = 1
    writes: int = 0
    seed: int = 0

    def lines(self, n: int, total: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Line number and whether it is written, of n lines (whole turns) in a memory of `total` lines."""
        region = total // (2 * self.count)
        if region < self.turn:
            raise bad("streams", self.count, f"at most {total // (2 * self.turn)}", f"the memory has {total} lines")
        turn = np.arange(ceil_div(n, self.turn))
        stream, round_ = turn % self.count, turn // self.count
        # Streams begin at different places of the mix, so that at any time the mix holds over the streams too.
        writes = _is_write(round_ + stream, self.reads, self.writes)
        before = _writes_before(round_ + stream, self.reads, self.writes) - _writes_before(
            stream, self.reads, self.writes
        )
        walked = np.where(writes, before, round_ - before) * self.turn
        base = np.random.default_rng(self.seed).integers(0, region, (self.count, 2))
        kind = writes.astype(np.int64)
        at = (base[stream, kind] + walked)[:, None] + np.arange(self.turn)
        number = (2 * stream + kind)[:, None] * region + at % region
        return number.reshape(-1), np.repeat(writes, self.turn)


def _writes_before(i: NDArray[np.int64], reads: int, writes: int) -> NDArray[np.int64]:
    """Writes among the first i of an even mix."""
    return i * writes // (reads + writes)


def _is_write(i: NDArray[np.int64], reads: int, writes: int) -> NDArray[np.bool_]:
    """Whether the i-th of an even mix is a write."""
    return _writes_before(i + 1, reads, writes) > _writes_before(i, reads, writes)
