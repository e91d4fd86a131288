"""Journals: what workers found, appended as they find it, whole after any kill.

A journal is one file of one worker. It begins with the layout of its rows; then come blocks, each with a checksum. A
*begin* block names the points a worker starts on, a *rows* block holds their answers. A file has one writer, which
holds a lock on it while it lives, and is never changed: a killed writer leaves whole blocks and at most one torn one at
the end. Written blocks survive the death of the process at once; a power loss can take those of the last
`SYNC_SECONDS`, or 20 times as long as the file system took for the last sync.

A point is known by its key, so that journals of any number of workers, shards and resumed runs are one set.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import time
import uuid
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwsim.errors import HwsimError, bad

MAGIC = b"hwsimjrn1\n"
HEAD = struct.Struct("<10s16sH")  # magic, layout, columns
BLOCK = struct.Struct("<BIIII")  # what, rows, bytes of rows, bytes of texts, crc32 of all that and what follows
BEGIN, ROWS, BLAME = 1, 2, 3
SYNC_SECONDS, SYNC_SHARE = 1.0, 20  # least pause between two syncs; pause over the time that the last one took
SUFFIX = ".jrn"
WHOLE = "1of1"

# Status of a point. A point of a study is in exactly one of these states.
MISSING, DONE, FAILED, GAVE_UP, EXCLUDED = range(5)
STATUS = {
    "missing": "not run yet",
    "done": "answered",
    "failed": "cannot run, see its error",
    "gave_up": "killed its worker again and again",
    "excluded": "does not meet the constraints",
}

KEY_DTYPE = np.dtype([("high", "<u8"), ("low", "<u8")])
Keys = NDArray[np.void]


def row_dtype(columns: int) -> np.dtype[np.void]:
    """A row: key of the point, status, unix time it was answered, values."""
    fields = [("key", KEY_DTYPE), ("status", "u1"), ("time", "<f8"), ("values", "<f8", (columns,))]
    return np.dtype(fields)


class Block(NamedTuple):
    """One whole block: what it is, its rows (keys of begin and blame), and texts of failed rows in their order."""

    what: int
    rows: NDArray[np.void]
    texts: list[str]


class Journal:
    """The journal that this worker appends to.

    Parameters
    ----------
    folder : Path
        Where all journals of a study lie.
    layout : bytes[16]
        What the columns are.
    columns : int
    shard : str
        Whose it is ("3of16"): a shard that starts again reads its own journals alone.
    """

    def __init__(self, folder: Path, layout: bytes, columns: int, shard: str = WHOLE) -> None:
        self.dtype = row_dtype(columns)
        self.path = folder / f"{shard}-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}{SUFFIX}"
        try:
            self.descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        except OSError as error:
            raise bad(str(folder), error.strerror or "no folder", "a folder that every worker can write") from None
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        self.synced, self.pause = time.monotonic(), SYNC_SECONDS
        self._write(HEAD.pack(MAGIC, layout, columns))

    def begin(self, keys: Keys) -> None:
        """Say which points are in hand: they are lost if the worker dies now."""
        self._block(BEGIN, keys.tobytes(), len(keys), "")

    def rows(self, rows: NDArray[np.void], texts: Sequence[str] = ()) -> None:
        """Answers of points, with the texts of those that failed."""
        assert rows.dtype == self.dtype
        self._block(ROWS, rows.tobytes(), len(rows), json.dumps(list(texts)) if texts else "")
        if time.monotonic() - self.synced > self.pause:
            self.sync()

    def blame(self, keys: Keys) -> None:
        """Note that a worker died with these points alone in hand."""
        self._block(BLAME, keys.tobytes(), len(keys), "")

    def sync(self) -> None:
        """Make sure that all blocks are on the disk; a file system that is slow at it is asked less often."""
        begun = time.monotonic()
        os.fsync(self.descriptor)
        self.synced = time.monotonic()
        self.pause = max(SYNC_SECONDS, SYNC_SHARE * (self.synced - begun))

    def close(self) -> None:
        """Give the journal up."""
        self.sync()
        os.close(self.descriptor)

    def _block(self, what: int, rows: bytes, count: int, text: str) -> None:
        texts = text.encode()
        check = zlib.crc32(texts, zlib.crc32(rows, zlib.crc32(struct.pack("<BII", what, count, len(rows)))))
        self._write(BLOCK.pack(what, count, len(rows), len(texts), check) + rows + texts)

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self.descriptor, data)
        except OSError as error:
            raise HwsimError(f"{self.path}: {error.strerror}; free some space and --resume") from None
        if written != len(data):
            raise HwsimError(f"{self.path}: the disk is full; free some space and --resume")


def journals(folder: Path, shard: str = WHOLE) -> list[Path]:
    """Journals of a folder, in the order of their names; of a shard, those that may hold its points.

    Journals of as many shards hold the points of their own shard alone; any others may hold all.
    """
    found = sorted(folder.glob(f"*{SUFFIX}"))
    count = shard.partition("of")[2]
    labels = [path.name.partition("-")[0] for path in found]
    return [path for path, label in zip(found, labels) if label == shard or label.partition("of")[2] != count]


def blocks(path: Path, layout: bytes, columns: int) -> Iterator[Block]:
    """Whole blocks of a journal; none if it has another layout (other columns, another version of hwsim).

    A torn block at the end is what a killed worker was writing, or a living one is: it does not count.
    """
    data = memoryview(path.read_bytes())
    if len(data) < HEAD.size or HEAD.unpack_from(data) != (MAGIC, layout, columns):
        return
    place, dtype = HEAD.size, row_dtype(columns)
    while place + BLOCK.size <= len(data):
        what, count, size, text_size, check = BLOCK.unpack_from(data, place)
        place += BLOCK.size
        rows, texts = data[place : place + size], data[place + size : place + size + text_size]
        place += size + text_size
        head = zlib.crc32(struct.pack("<BII", what, count, size))
        if place > len(data) or zlib.crc32(texts, zlib.crc32(rows, head)) != check:
            return
        found = np.frombuffer(rows, dtype if what == ROWS else KEY_DTYPE)
        yield Block(what, found, json.loads(bytes(texts)) if text_size else [])


def is_alive(path: Path) -> bool:
    """Whether the writer of a journal lives: it holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def key_view(keys: Keys) -> NDArray[Any]:
    """Keys as an array that numpy sorts quickly: complex128 pairs would not keep the bits, so 16-byte strings."""
    return np.ascontiguousarray(keys).view("S16").reshape(-1)
