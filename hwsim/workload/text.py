"""Bytes of a request file: refusals of what is no text, lines, fields, and the list of faults found in them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwsim.errors import Fault, InputError, bad
from hwsim.workload.table import Ints

SHOWN_FAULTS = 20

# first bytes -> (what the file is, what to do)
MAGIC: dict[bytes, tuple[str, str]] = {
    b"\x1f\x8b": ("a gzip file", "unpack it with gunzip"),
    b"PK\x03\x04": ("a zip archive or a spreadsheet", "unpack it, or save the sheet as CSV"),
    b"\x28\xb5\x2f\xfd": ("a zstd file", "unpack it with unzstd"),
    b"BZh": ("a bzip2 file", "unpack it with bunzip2"),
    b"\xfd7zXZ": ("an xz file", "unpack it with unxz"),
    b"\x89HDF": ("an HDF5 file", "a result of hwsim is opened by hwsim.open_trace, it is no request file"),
    b"PAR1": ("a Parquet file", "save it as CSV"),
    b"\xff\xfe": ("UTF-16 text", "save it as UTF-8"),
    b"\xfe\xff": ("UTF-16 text", "save it as UTF-8"),
    b"version https://git-lfs": ("a git-lfs pointer, not the file itself", "run git lfs pull"),
    b"<!DOCTYPE": ("a web page", "download the raw file"),
    b"<html": ("a web page", "download the raw file"),
}
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Source:
    """A request file in memory: where it came from, its bytes without a byte-order mark, the hash of all its bytes."""

    where: str
    data: bytes
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read a file; what is no text file is refused by name."""
        if path.is_dir():
            raise bad(str(path), "a directory", "a request file (Azure CSV or Mooncake JSONL)", "name the file in it")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise bad(str(path), (error.strerror or str(error)).lower(), "a readable request file") from None
        if not data.strip():
            raise bad(str(path), "an empty file", "a request file (Azure CSV or Mooncake JSONL)")
        for magic, (what, cure) in MAGIC.items():
            if data.startswith(magic):
                raise bad(str(path), what, "a request file in plain text (Azure CSV or Mooncake JSONL)", cure)
        if (zero := data.find(b"\0")) >= 0:
            raise bad(str(path), f"a binary file (byte {zero} is 0)", "a request file in plain text")
        bom = len(BOM) if data.startswith(BOM) else 0
        return cls(str(path), data[bom:], hashlib.sha256(data).hexdigest())

    @property
    def first_line(self) -> str:
        """First line that is not blank, without its end."""
        return self.data.lstrip().split(b"\n", 1)[0].rstrip(b"\r").decode("utf-8", "replace")


@dataclass(frozen=True)
class Lines:
    """Lines of a text that are not blank: [start, end) in `buffer` without the line end, `number` counted from 1."""

    buffer: NDArray[np.uint8]
    start: Ints
    end: Ints
    number: Ints

    @classmethod
    def of(cls, data: bytes) -> Lines:
        """Lines of the bytes of a file."""
        buffer = np.frombuffer(data, np.uint8)
        breaks = np.flatnonzero(buffer == ord("\n"))
        start = np.concatenate(([0], breaks + 1)).astype(np.int64)
        end = np.concatenate((breaks, [len(buffer)])).astype(np.int64)
        end -= (end > start) & (buffer[end - 1] == ord("\r"))
        kept = np.flatnonzero(end > start)
        return cls(buffer, start[kept], end[kept], kept + 1)

    def __len__(self) -> int:
        return len(self.start)

    def text(self, line: int) -> str:
        """A line as text; bytes that are no UTF-8 become U+FFFD."""
        return self.buffer[self.start[line] : self.end[line]].tobytes().decode("utf-8", "replace")


class Faults:
    """Faults of one file in line order; the first ones are shown, the rest counted."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.found: list[tuple[int, int, Fault]] = []
        self.count = 0

    def add(self, line: int, column: int, got: str, expected: str, cure: str = "") -> None:
        """One fault at a line and a column, both counted from 1."""
        self.count += 1
        got = got if len(got) <= 80 else got[:77] + "..."
        self.found.append((line, column, Fault(f"{self.where}:{line}:{column}", got, expected, cure)))

    def raise_if_any(self) -> None:
        """Raise all faults as one InputError."""
        if not self.count:
            return
        faults = [fault for _, _, fault in sorted(self.found, key=lambda entry: entry[:2])]
        shown = faults[:SHOWN_FAULTS]
        if len(faults) > SHOWN_FAULTS:
            shown.append(Fault(self.where, f"{len(faults) - SHOWN_FAULTS} more bad lines", "none"))
        raise InputError(shown)
