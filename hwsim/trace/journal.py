"""A file whose committed bytes change only in whole commits, for HDF5's file-object driver.

HDF5 keeps its index in place: a run killed while the index is written would leave rows that were readable before
unreadable (about one kill in a hundred of a run that only writes). So writes behind the committed end go to the disk
at once, since nothing committed refers to them; writes before it wait in memory. A commit appends them as one record
with a check sum and only then puts them in their places. A reader that finds a whole record at the end of the file
reads the file as if it had been put in place; putting it there twice does no harm.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from pathlib import Path

from hwsim.errors import Fault, HwsimError, bad

FOOTER = struct.Struct("<8sqI")  # magic, bytes of the record before it, their check sum
HEADER = struct.Struct("<qq")  # address and length of the bytes that follow
MAGIC = b"hwsimjnl"
Piece = tuple[int, bytes]  # an address and the bytes that belong there
NOTHING_COMMITTED = 2**62  # every address lies before it: until the first commit all writes wait


class Journal:
    """Bytes of a file with waiting writes laid over them; what h5py asks of a file object.

    Use `Journal.create` to write and `Journal.of` to read what a killed run left.
    """

    def __init__(self, path: Path, descriptor: int, size: int, committed: int, waiting: list[Piece]) -> None:
        self.path = path
        self.descriptor = descriptor
        self.size = size  # of the HDF5 file; a record on the disk stands behind it
        self.committed = committed
        self.waiting = waiting  # in the order of the writes: later ones lie over earlier ones
        self.place = 0

    @classmethod
    def create(cls, path: Path) -> Journal:
        """An empty file, locked against other runs until it is closed."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise bad(str(path), os.strerror(error.errno or 0).lower(), "a place that can be written") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise bad(str(path), "a file another run is writing", "a name of its own for each run") from None
        os.ftruncate(descriptor, 0)
        return cls(path, descriptor, 0, NOTHING_COMMITTED, [])

    @classmethod
    def of(cls, path: Path) -> Journal:
        """The file as its last whole commit left it."""
        descriptor = os.open(path, os.O_RDONLY)
        size = os.fstat(descriptor).st_size
        footer = os.pread(descriptor, FOOTER.size, max(0, size - FOOTER.size))
        if len(footer) == FOOTER.size:
            magic, length, crc = FOOTER.unpack(footer)
            start = size - FOOTER.size - length
            if magic == MAGIC and 0 <= start <= size:
                record = os.pread(descriptor, length, start)
                if zlib.crc32(record) == crc:
                    return cls(path, descriptor, start, start, _pieces(record))
        return cls(path, descriptor, size, size, [])

    def commit(self) -> None:
        """Put the waiting writes in their places, all or none whenever the process is killed."""
        if self.waiting:
            record = b"".join(HEADER.pack(at, len(data)) + data for at, data in self.waiting)
            footer = FOOTER.pack(MAGIC, len(record), zlib.crc32(record))
            os.ftruncate(self.descriptor, self.size)
            self._put(record + footer, self.size)
            for at, data in self.waiting:
                self._put(data, at)
            os.ftruncate(self.descriptor, self.size)
        self.committed = self.size
        self.waiting.clear()

    def finish(self) -> None:
        """Commit, and leave the HDF5 file alone on the disk."""
        self.commit()
        os.ftruncate(self.descriptor, self.size)
        self.close()

    def close(self) -> None:
        """Give up the file without another commit."""
        os.close(self.descriptor)

    # What the driver calls -----------------------------------------------------------------------------------------

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the place of the next read or write."""
        self.place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.size}[whence]
        return self.place

    def tell(self) -> int:
        """Place of the next read or write."""
        return self.place

    def read(self, count: int) -> bytes:
        """Bytes at the place, waiting writes included."""
        count = max(0, min(count, self.size - self.place))
        found = bytearray(os.pread(self.descriptor, count, self.place))
        found.extend(bytes(count - len(found)))
        for at, data in self.waiting:
            first, last = max(at, self.place), min(at + len(data), self.place + count)
            if first < last:
                found[first - self.place : last - self.place] = data[first - at : last - at]
        self.place += count
        return bytes(found)

    def readinto(self, buffer: memoryview) -> int:
        """As `read`, into a buffer."""
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def write(self, data: bytes) -> int:
        """Bytes at the place: kept waiting where they would change committed ones."""
        data, at = bytes(data), self.place
        early = max(0, min(len(data), self.committed - at))
        if early:
            self.waiting.append((at, data[:early]))
        if early < len(data):
            self._put(data[early:], at + early)
        self.place += len(data)
        self.size = max(self.size, self.place)
        return len(data)

    def truncate(self, size: int) -> int:
        """Set the size; what is committed stays on the disk until the next commit."""
        self.size = size
        return size

    def flush(self) -> None:
        """Nothing: `commit` decides when writes count."""

    def _put(self, data: bytes, at: int) -> None:
        view = memoryview(data)
        while view:
            try:
                done = os.pwrite(self.descriptor, view, at)
            except OSError as error:
                reason = os.strerror(error.errno or 0).lower()
                cure = "the rows committed until now are in it; free some space or write elsewhere"
                raise HwsimError(str(Fault(str(self.path), reason, "room for the trace", cure))) from None
            view, at = view[done:], at + done


def _pieces(record: bytes) -> list[Piece]:
    pieces, place = [], 0
    while place < len(record):
        at, length = HEADER.unpack_from(record, place)
        place += HEADER.size
        pieces.append((at, record[place : place + length]))
        place += length
    return pieces
