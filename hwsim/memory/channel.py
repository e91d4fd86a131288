"""One memory channel, command by command: requests in, ticks out, in pieces of any size.

`run` is the whole thing for arrays. `answers` runs a stream of pieces in constant memory and gives the requests back in
order, each as soon as it and all before it are answered.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwsim._core.dram import Channel
from hwsim.describe import load
from hwsim.describe.memory import Memory
from hwsim.errors import bad, check_type
from hwsim.memory.channel_tables import ChannelTables, Options, channel_tables

PIECE = 1 << 16
"""Requests that are run without a look at signals."""
_HELD = 64
"""Answered pieces that may wait in memory for an older request; more go to a temporary file."""


class Ticks(NamedTuple):
    """When each request was accepted and when its last data had moved."""

    arrive: NDArray[np.int64]
    depart: NDArray[np.int64]


@dataclass
class Piece:
    """Consecutive requests; `depart` is -1 where one is not answered yet.

    Attributes
    ----------
    first : int
        Number of the first request.
    address : int64[n]
        Byte addresses in the channel.
    is_write, delayed : uint8[n]
        Whether it writes; whether a refresh of its bank was due or under way between arrive and depart.
    earliest, arrive, depart : int64[n]
        Ticks.
    """

    first: int
    address: NDArray[np.int64]
    is_write: NDArray[np.uint8]
    earliest: NDArray[np.int64]
    arrive: NDArray[np.int64]
    depart: NDArray[np.int64]
    delayed: NDArray[np.uint8]

    @classmethod
    def of(
        cls, first: int, address: NDArray[np.int64], is_write: NDArray[np.uint8], earliest: NDArray[np.int64]
    ) -> Piece:
        """Requests that have not been run."""
        n = len(address)
        arrive, depart = np.empty(n, np.int64), np.full(n, -1, np.int64)
        return cls(first, address, is_write, earliest, arrive, depart, np.zeros(n, np.uint8))

    def __len__(self) -> int:
        return len(self.address)


def run(
    memory: str | Memory,
    addresses: ArrayLike,
    is_write: ArrayLike,
    earliest_ticks: ArrayLike,
    *,
    scheduler: str | None = None,
    mapping: str | None = None,
    queues: int | None = None,
    refresh: str | None = None,
    row_policy: str | None = None,
    phase: int = 0,
    sets: tuple[str, ...] = (),
) -> Ticks:
    """Run requests through one channel of a memory, every command under every timing constraint.

    Parameters
    ----------
    memory : str or Memory
        "hbm3-6400", ...: a memory whose commands are described.
    addresses : int array of shape (n,)
        Byte addresses in the channel, multiples of the bytes a column command moves.
    is_write : bool array of shape (n,)
    earliest_ticks : int array of shape (n,)
        Tick from which each request may be accepted; never decreasing.
    scheduler, mapping, queues, refresh, row_policy, phase
        See `Options`; None is the description's choice.
    sets : tuple of str
        Overrides "a.b=value" of the description, when `memory` is a name.

    Returns
    -------
    Ticks
        (arrive, depart), int64 arrays of shape (n,): a read departs with its last data, a write with its command.

    Raises
    ------
    InputError
        Unknown memory or option; requests that are unaligned, beyond the capacity, or out of order.
    """
    tables = tables_of(memory, Options(scheduler, mapping, queues, refresh, row_policy, phase), sets)
    return run_tables(tables, addresses, is_write, earliest_ticks)


def run_tables(tables: ChannelTables, addresses: ArrayLike, is_write: ArrayLike, earliest_ticks: ArrayLike) -> Ticks:
    """`run` on tables that are made already; channels may run on threads at once (the core holds no GIL)."""
    piece = requests(addresses, is_write, earliest_ticks)
    check(piece, tables)
    channel = new_channel(tables)
    arrive, depart = [], []
    for done in answers(channel, _cut(piece)):
        arrive.append(done.arrive)
        depart.append(done.depart)
    empty = [np.empty(0, np.int64)]
    return Ticks(np.concatenate(arrive or empty), np.concatenate(depart or empty))


def tables_of(memory: str | Memory, options: Options, sets: tuple[str, ...] = ()) -> ChannelTables:
    """Tables of a channel of a memory that is named or given."""
    return channel_tables(memory_of(memory, sets), options)


def memory_of(memory: str | Memory, sets: tuple[str, ...] = ()) -> Memory:
    """The description of a memory that is named or given."""
    check_type("memory", memory, (str, Memory), "the name of a memory, or a loaded memory")
    found = load(memory, "memory", sets) if isinstance(memory, str) else memory
    assert isinstance(found, Memory)
    return found


def new_channel(tables: ChannelTables) -> Channel:
    """A channel at tick 0."""
    return Channel(tables.settings, tables.core_rules(), tables.decode)


def requests(addresses: ArrayLike, is_write: ArrayLike, earliest_ticks: ArrayLike) -> Piece:
    """Requests of arrays, whatever their integer types."""
    arrays = [np.asarray(array) for array in (addresses, is_write, earliest_ticks)]
    for name, array in zip(("addresses", "is_write", "earliest_ticks"), arrays):
        if array.ndim != 1 or array.shape != arrays[0].shape:
            got, want = array.shape, f"shape ({arrays[0].size},)" if arrays[0].ndim == 1 else "one dimension"
            raise bad(name, f"an array of shape {got}", want)
        if len(array) and array.dtype.kind not in "iub":
            raise bad(name, f"an array of {array.dtype}", "whole numbers" if name != "is_write" else "True and False")
    address, write, earliest = arrays
    return Piece.of(
        0,
        np.ascontiguousarray(address, dtype=np.int64),
        np.ascontiguousarray(write.astype(bool), dtype=np.uint8),
        np.ascontiguousarray(earliest, dtype=np.int64),
    )


def check(piece: Piece, tables: ChannelTables, after: int = 0, where: str = "request {}", count_from: int = 0) -> None:
    """Refuse the first request that is unaligned, beyond the capacity or earlier than the one before.

    Parameters
    ----------
    after : int
        Earliest tick of the request before the piece.
    where : str
        How a message names a request, `{}` standing for its number.
    count_from : int
        Number of the first request in messages.
    """
    if not len(piece) or _fine(piece, tables, after):
        return
    before = np.concatenate(([after], piece.earliest[:-1]))
    wrong = (piece.address % tables.access != 0) | (piece.address < 0) | (piece.address >= tables.capacity)
    wrong |= piece.earliest < before
    i = int(np.argmax(wrong))
    address, at = int(piece.address[i]), where.format(piece.first + i + count_from)
    if not 0 <= address < tables.capacity:
        raise bad(at, f"address {address:#x}", f"one below the channel's capacity {tables.capacity:#x}")
    if address % tables.access:
        raise bad(at, f"address {address:#x}", f"a multiple of {tables.access}, the bytes of one column command")
    got = f"earliest tick {int(piece.earliest[i])} after {int(before[i])}"
    raise bad(at, got, "ticks that never decrease", "sort the requests by tick")


def _fine(piece: Piece, tables: ChannelTables, after: int) -> bool:
    """Whether a piece has no fault, quickly."""
    address, earliest = piece.address.view(np.uint64), piece.earliest
    aligned = int(np.bitwise_or.reduce(address)) & (tables.access - 1) == 0
    ordered = int(earliest[0]) >= after and bool((earliest[1:] >= earliest[:-1]).all())
    return aligned and int(address.max()) < tables.capacity and ordered


def _cut(piece: Piece) -> Iterator[Piece]:
    """The same requests in pieces."""
    for at in range(0, len(piece), PIECE):
        part = slice(at, at + PIECE)
        yield Piece.of(at, piece.address[part], piece.is_write[part], piece.earliest[part])


def answers(channel: Channel, pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Run pieces that follow each other; give each back when all its requests are answered, in order."""
    held = _Held()
    ahead: Piece | None = None
    for piece in pieces:
        if ahead is not None:
            yield from held.add(ahead, _feed(channel, ahead, True))
        ahead = piece
    if ahead is not None:
        yield from held.add(ahead, _feed(channel, ahead, False))


_Late = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]


def _feed(channel: Channel, piece: Piece, more: bool) -> _Late:
    return channel.feed(piece.address, piece.is_write, piece.earliest, piece.arrive, piece.depart, piece.delayed, more)


class _Held:
    """Pieces that wait for a request that is not answered, oldest first.

    A write may wait as long as reads keep coming, so any number of answered pieces may stand behind it: beyond a few
    they wait in a temporary file.
    """

    def __init__(self) -> None:
        self.pieces: deque[Piece | int] = deque()  # an int: offset in the file
        self.firsts: deque[int] = deque()
        self.in_memory = 0
        self.file: IO[bytes] | None = None

    def add(self, piece: Piece, late: _Late) -> Iterator[Piece]:
        """Note a piece that was run and the late answers that came with it; give what is complete."""
        self.pieces.append(piece)
        self.firsts.append(piece.first)
        self.in_memory += 1
        self._note(late)
        while self.pieces:
            head = self.pieces[0]
            if isinstance(head, Piece) and (head.depart < 0).any():
                break
            self.pieces.popleft()
            self.firsts.popleft()
            if isinstance(head, Piece):
                self.in_memory -= 1
            yield head if isinstance(head, Piece) else self._read(head)
        if self.in_memory > _HELD:
            self._put_away()

    def _note(self, late: _Late) -> None:
        if not len(late[0]):
            return
        places = np.searchsorted(np.fromiter(self.firsts, np.int64), late[0], side="right") - 1
        for place, number, depart, delayed in zip(places.tolist(), *(array.tolist() for array in late)):
            piece = self.pieces[place]
            assert isinstance(piece, Piece)
            piece.depart[number - piece.first], piece.delayed[number - piece.first] = depart, delayed

    def _put_away(self) -> None:
        if self.file is None:
            self.file = tempfile.TemporaryFile(prefix="hwsim-")  # noqa: SIM115 - it lives as long as the run
        for place, piece in enumerate(self.pieces):
            if isinstance(piece, Piece) and not (piece.depart < 0).any():
                self.pieces[place] = self.file.seek(0, 2)
                self.in_memory -= 1
                np.save(self.file, [piece.first])
                for array in (piece.address, piece.is_write, piece.earliest, piece.arrive, piece.depart, piece.delayed):
                    np.save(self.file, array)

    def _read(self, offset: int) -> Piece:
        assert self.file is not None
        self.file.seek(offset)
        first = int(np.load(self.file)[0])
        return Piece(first, *(np.load(self.file) for _ in range(6)))
