"""Request files of a channel: `0xADDRESS READ|WRITE earliest_tick` a line, read and written in constant memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from hwsim._core.dram_text import parse, render
from hwsim.errors import Fault, InputError, bad
from hwsim.files import MOST_FAULTS
from hwsim.memory.channel import PIECE, Piece, check
from hwsim.memory.channel_tables import ChannelTables

LINE = "0xADDRESS READ|WRITE earliest_tick, e.g. '0x1f40 READ 0'"
_BLOCK = 1 << 20
_LONGEST_LINE = 4096
_LOOKED_AT = 100_000  # lines behind the first bad one
_NUMBER_LIMIT = 1 << 57


def read(path: Path, tables: ChannelTables) -> Iterator[Piece]:
    """Requests of a file in pieces; every one of them is checked against the channel.

    Raises
    ------
    InputError
        The file cannot be read, or its bad lines by file and line.
    """
    try:
        with path.open("rb") as file:
            try:
                yield from _pieces(file, str(path), tables)
            except InputError as first:
                raise InputError([*first.faults, *_further(path, tables, first.faults[0])]) from None
    except OSError as error:
        raise bad(str(path), error.strerror or "an error", "a file of requests") from None


def _pieces(file: IO[bytes], name: str, tables: ChannelTables) -> Iterator[Piece]:
    rest, first, tick, ended = b"", 0, 0, False
    while not ended:
        block = file.read(_BLOCK)
        ended = not block
        # A last line may lack its end.
        text = np.frombuffer(rest + (block or (b"\n" if rest.strip() else b"")), np.uint8)
        used = 0
        while True:
            piece, size, wrong = _parse(text[used:], first)
            check(piece, tables, tick, f"{name}:{{}}", 1)
            used += size
            first += len(piece)
            if len(piece):
                tick = int(piece.earliest[-1])
                yield piece
            if wrong or len(text) - used > _LONGEST_LINE + _BLOCK:
                raise _refused(bytes(text[used : used + _LONGEST_LINE]), f"{name}:{first + 1}")
            if len(piece) < PIECE:
                break
        rest = bytes(text[used:])
        if ended and not first:
            raise bad(f"{name}:1", "an empty file", f"a request a line: {LINE}")
        if len(rest) > _LONGEST_LINE:
            raise _refused(rest, f"{name}:{first + 1}")


def _further(path: Path, tables: ChannelTables, first: Fault) -> Iterator[Fault]:
    """Faults of the lines behind the first bad one, up to `_LOOKED_AT` lines; none of a binary file."""
    if "no text" in first.got:
        return
    start, tick, found = int(first.where.rpartition(":")[2]), 0, 1
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number < start:
                continue
            at = f"{path}:{number}"
            if number > start + _LOOKED_AT or found == MOST_FAULTS:
                yield Fault(at, "more lines, which were not looked at", "lines like the others")
                return
            piece, _, wrong = _parse(np.frombuffer(line.rstrip(b"\n") + b"\n", np.uint8), 0)
            try:
                if wrong:
                    raise _refused(line, at)
                check(piece, tables, tick, at)
            except InputError as error:
                if number > start:
                    found += 1
                    yield error.faults[0]
            tick = max(tick, int(piece.earliest[0])) if len(piece) else tick


def _parse(text: np.ndarray, first: int) -> tuple[Piece, int, bool]:
    """A piece of what a text starts with, the bytes it took, and whether a wrong line follows."""
    address, is_write, earliest = np.empty(PIECE, np.int64), np.empty(PIECE, np.uint8), np.empty(PIECE, np.int64)
    n, size, wrong = parse(text, address, is_write, earliest)
    return Piece.of(first, address[:n].copy(), is_write[:n].copy(), earliest[:n].copy()), size, wrong


def _refused(text: bytes, at: str) -> InputError:
    """What is wrong with the first line of a text."""
    start = text.split(b"\n", 1)[0][:80]
    wrong = next((byte for byte in start if not (32 <= byte < 127 or byte in b"\t\r")), None)
    if wrong is not None:
        return bad(at, f"byte {wrong:#04x}, which is no text", LINE)
    line = start.decode().rstrip("\r")
    fields = line.split()
    if len(fields) != 3:
        return bad(at, "an empty line" if not fields else repr(line), LINE)
    address, op, tick = fields
    if not re.fullmatch(r"0[xX][0-9a-fA-F]+", address):
        return bad(at, f"address {address!r}", "hexadecimal digits after 0x, e.g. 0x1f40")
    if op not in ("READ", "WRITE"):
        return bad(at, f"operation {op!r}", "READ or WRITE")
    if not re.fullmatch(r"[0-9]+", tick):
        return bad(at, f"earliest tick {tick!r}", "a whole number that is not negative")
    big = address if int(address, 16) >= _NUMBER_LIMIT else tick
    return bad(at, repr(big) if len(big) > 12 else repr(line), f"numbers below 2^57; {LINE}")


def write(pieces: Iterable[Piece], file: IO[bytes]) -> Iterator[Piece]:
    """Write answered requests, `id,address,op,arrive,depart` a line, and pass them on."""
    for piece in pieces:
        file.write(render(piece.first, piece.address, piece.is_write, piece.arrive, piece.depart))
        yield piece
