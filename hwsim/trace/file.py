"""What writer and reader of a trace agree on besides its columns."""

from __future__ import annotations

import zlib
from typing import Any, BinaryIO

from numpy.typing import NDArray

FORMAT = "hwsim trace"
VERSION = 1
PART = ".part"
LONG_TEXT = 16_000  # bytes; HDF5 keeps at most 64 KiB of attributes in an object's header, longer texts become datasets
TEXTS = "texts"  # group of the long texts
JSON_STARTS = ("{", "[", '"')  # a text attribute that starts so is JSON; a plain text that would is written as JSON

SEAL = b"hwsimcrc"  # before the check sum at the end of a complete file; a tool that changes the file drops both

Array = NDArray[Any]


def check_sum(file: BinaryIO, size: int) -> int:
    """CRC-32 of the next `size` bytes."""
    crc = 0
    for start in range(0, size, 1 << 20):
        crc = zlib.crc32(file.read(min(1 << 20, size - start)), crc)
    return crc
