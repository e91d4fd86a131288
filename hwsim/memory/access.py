"""How a stream touches memory: what decides a service law besides the memory itself.

An `Access` describes what ONE channel sees of a stream. `requests` writes it out, granule by granule, from integers
alone, so that a law is the same number on every machine.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hwsim.errors import bad

Kind = Literal["sequential", "paged", "random"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Access:
    """An access pattern as one channel sees it; bytes are bytes in that channel.

    Attributes
    ----------
    kind : str
        sequential (one address after the other), paged (blocks anywhere, sequential inside) or random (granules
        anywhere).
    block : int
        Bytes of a block (paged).
    stride : int
        Bytes from one granule to the next (sequential); 0: the granule, nothing left out.
    reads, writes : int
        Turns of reading and of writing that alternate; 1 : 0 only reads.
    turn : int
        Bytes of a turn, of one stream.
    streams : int
        Streams that take turns.
    base : int
        Alignment of the streams' first bytes; 0: nobody knows, and with more than one stream nobody knows the rate.
    """

    kind: Kind
    block: int = 0
    stride: int = 0
    reads: int = 1
    writes: int = 0
    turn: int = 4096
    streams: int = 1
    base: int = 0

    def __post_init__(self) -> None:
        for name in ("block", "stride", "reads", "writes", "turn", "streams", "base"):
            least = 1 if name in ("turn", "streams") else 0
            if getattr(self, name) < least:
                raise bad(f"access.{name}", getattr(self, name), f"a whole number of at least {least}")
        if self.kind not in KINDS:
            raise bad("access.kind", repr(self.kind), " or ".join(KINDS))
        if (self.kind == "paged") != bool(self.block):
            raise bad("access.block", self.block, "bytes of a block, for paged access only")
        if not self.reads + self.writes:
            raise bad("access", "neither reads nor writes", "reads or writes of at least 1")

    @property
    def open_question(self) -> str:
        """Why no law of this pattern can be trusted; empty if one can."""
        if self.streams > 1 and not self.base:
            return f"{self.streams} streams whose bases nobody knows: by their banks the rate differs up to two times"
        return ""

    def columns(self) -> tuple[int, ...]:
        """The pattern as whole numbers, for the cache."""
        return (KINDS.index(self.kind), *astuple(self)[1:])

    def requests(
        self, count: int, seed: int, granule: int, capacity: int
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """The first `count` requests.

        Parameters
        ----------
        seed : int
            Which of the streams with this pattern: bases, blocks and places differ.
        granule, capacity : int
            Bytes of one request and of the channel.

        Returns
        -------
        address : int64[count]
        is_write : uint8[count]

        Raises
        ------
        InputError
            Blocks, turns, strides or bases that are no multiples of the granule, or beyond the channel.
        """
        self._check(granule, capacity)
        index = np.arange(count, dtype=np.int64)
        turn, inside = np.divmod(index, self.turn // granule)
        cycle, place = np.divmod(turn, self.reads + self.writes)
        write = place >= self.reads
        turn = np.where(write, cycle * self.writes + place - self.reads, cycle * self.reads + place)
        turn, stream = np.divmod(turn, self.streams)
        address = self._places(turn * (self.turn // granule) + inside, 2 * stream + write, seed, granule, capacity)
        return address, write.astype(np.uint8)

    def _places(
        self, index: NDArray[np.int64], lane: NDArray[np.int64], seed: int, granule: int, capacity: int
    ) -> NDArray[np.int64]:
        """Address of the so-many-th granule of a lane: one stream's reads, or its writes."""
        if self.kind == "random":
            return _drawn(index, lane, seed, capacity // granule) * granule
        if self.kind == "paged":
            page, inside = np.divmod(index, self.block // granule)
            return _drawn(page, lane, seed, capacity // self.block) * self.block + inside * granule
        step = self.base or granule
        base = _drawn(np.zeros_like(index), lane, seed, capacity // step) * step
        return (base + index * (self.stride or granule)) % (capacity - capacity % granule)

    def _check(self, granule: int, capacity: int) -> None:
        for name in ("block", "stride", "turn", "base"):
            value = getattr(self, name)
            if value % granule or value > capacity:
                raise bad(f"access.{name}", f"{value} B", f"a multiple of {granule} B, at most {capacity}")


def _drawn(index: NDArray[np.int64], lane: NDArray[np.int64], seed: int, below: int) -> NDArray[np.int64]:
    """A number below `below` for each (seed, lane, index): splitmix64."""
    key = np.uint64(((seed + 1) * 0xD1342543DE82EF95) & ((1 << 64) - 1))
    with np.errstate(over="ignore"):
        word = (index.astype(np.uint64) * np.uint64(512) + lane.astype(np.uint64)) * _GOLDEN + key
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            word = (word ^ (word >> np.uint64(shift))) * np.uint64(factor)
    return ((word ^ (word >> np.uint64(31))) % np.uint64(below)).astype(np.int64)


SEQUENTIAL = Access("sequential")
