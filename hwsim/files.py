"""Files that hwsim writes: under their final name whole or not at all; tables of rows in CSV."""

from __future__ import annotations

import csv
import difflib
import io
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from hwsim.errors import Fault, InputError, bad

MOST_FAULTS = 50  # of one file that are reported


def check_target(path: str | Path, option: str = "-o") -> Path:
    """The path of a file to be written.

    Raises
    ------
    InputError
        It is a folder, a device or a pipe (which a finished file would replace), its folder is none, or may not be
        written to.
    """
    path = Path(path)
    if path.is_dir():
        raise bad(option, f"{path}, a folder", "the name of a file")
    if path.exists() and not path.is_file():
        raise bad(
            option, f"{path}, a device or a pipe", "the name of a file", "it would be replaced by the finished file"
        )
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


class Rows(NamedTuple):
    """A table as it was read: `file:line` of its header, the header, lines as (number, cells)."""

    where: str
    header: list[str]
    lines: list[tuple[int, list[str]]]


def read_csv(path: Path, needed: Sequence[str], example: str) -> Rows:
    """Header and lines of a table; empty lines are left out.

    Parameters
    ----------
    needed : sequence of str
        Columns that must be there.
    example : str
        A header, for the one who wrote none.

    Raises
    ------
    InputError
        No readable table, no rows, a column missing or twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except OSError as error:
        raise bad(str(path), (error.strerror or str(error)).lower(), "a readable CSV file") from None
    except UnicodeDecodeError as error:
        got = f"byte {error.object[error.start]:#04x}, which is no text"
        raise bad(str(path), got, "a readable CSV file in UTF-8", "save the table as CSV") from None
    except csv.Error as error:
        raise bad(str(path), str(error), "a readable CSV file in UTF-8") from None
    if not lines:
        raise bad(f"{path}:1", "an empty file", f"a header line such as {example}")
    header, where = [name.strip() for name in lines[0][1]], f"{path}:{lines[0][0]}"
    names = " and ".join(", ".join(needed).rsplit(", ", 1))
    faults = [Fault(where, f"no column {name!r}", f"a header with {names}") for name in needed if name not in header]
    twice = sorted({name for name in header if header.count(name) > 1})
    faults += [Fault(where, f"the column {name!r} twice", "each column once") for name in twice]
    if faults:
        raise InputError(faults)
    if len(lines) == 1:
        raise bad(f"{path}:{lines[0][0] + 1}", "no rows", "a case a line below the header")
    return Rows(where, header, lines[1:])


def refuse(path: Path, faults: Sequence[Fault]) -> None:
    """Raise the faults of a file, if it has some: the first ones, and how many more there are."""
    more = len(faults) - MOST_FAULTS
    if faults:
        tail = [Fault(str(path), f"{more} more faults", "none")] if more > 0 else []
        raise InputError([*faults[:MOST_FAULTS], *tail])


def misspelt(where: str, header: Sequence[str], known: Collection[str]) -> list[Fault]:
    """Columns that would pass through though their names are all but those of known columns that are absent."""
    absent, found = [name for name in known if name not in header], []
    for name in header:
        near = [] if name in known else difflib.get_close_matches(name.lower(), absent, n=1, cutoff=0.8)
        if near:
            expected = "columns of hwsim by their names, others by names unlike theirs"
            found.append(Fault(where, f"the column {name!r}", expected, f"did you mean '{near[0]}'?"))
    return found


def counted(count: int, noun: str) -> str:
    """A number of things: `1 point`, `2 points`."""
    return f"{count} {noun}" + ("s" if count != 1 else "")


def most_frequent(texts: Iterable[str], most: int = 3) -> str:
    """Lines that tell the most frequent of many errors, each with how often it came; "" of none."""
    counts = Counter(texts)
    lines = [f"  {count:,} x {text}" for text, count in counts.most_common(most)]
    more = len(counts) - len(lines)
    return "".join(f"\n{line}" for line in [*lines, *([f"  and {counted(more, 'other error')}"] if more else [])])


def write_csv(
    path: Path,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    names: Sequence[str],
    answers: Mapping[int, Sequence[str]],
) -> None:
    """Write rows in their order with the columns `names` of their answers, whole or not at all."""
    header = [*header, *(name for name in names if name not in header)]
    place = {name: header.index(name) for name in names}
    with written(path) as binary, io.TextIOWrapper(binary, encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row, cells in enumerate(rows):
            line = [*cells, *[""] * (len(header) - len(cells))]
            for name, text in zip(names, answers[row]):
                line[place[name]] = text
            writer.writerow(line)
