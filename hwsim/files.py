"""Files that hwsim writes: under their final name whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from hwsim.errors import bad


def check_target(path: str | Path, option: str = "-o") -> Path:
    """The path of a file to be written.

    Raises
    ------
    InputError
        It is a folder, its folder is none, or may not be written to.
    """
    path = Path(path)
    if path.is_dir():
        raise bad(option, f"{path}, a folder", "the name of a file")
    if not path.absolute().parent.is_dir():
        raise bad(option, str(path), "a file in a folder that exists")
    if not os.access(path.absolute().parent, os.W_OK):
        raise bad(option, str(path), "a file in a folder that may be written to")
    return path


@contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when all of it is written; until then it is PATH.part.

    Raises
    ------
    InputError
        As `check_target`, or the disk refused.
    """
    check_target(path)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise bad("-o", f"{path}: {(error.strerror or str(error)).lower()}", "a file that can be written") from None
    finally:
        part.unlink(missing_ok=True)
