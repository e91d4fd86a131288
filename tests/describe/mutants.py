"""Wrong versions of a description, line by line and value by value: one slip each, as people make them.

A mutant knows where its fault must be told and whether a result is right as well; `tests/describe/test_mutants.py`
demands it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from hwsim import units
from hwsim.describe.tree import PROSE, Mark, Path, Tree, is_number, read

HUGE = 10**30
TEXT = "many"


@dataclass(frozen=True)
class Mutant:
    """One wrong version of a file.

    Attributes
    ----------
    slip : str
        What was done.
    path : tuple
        Path of the value it was done to; () for a whole line.
    line, last, above : int
        Line it was done to, counted from 1; the last line of what stands there; that of the block around it.
    text : str
        The file.
    """

    slip: str
    path: Path
    line: int
    last: int
    above: int
    text: str

    @property
    def is_prose(self) -> bool:
        """Whether it is about a text that may be anything."""
        return self.path[-1] in ("name", "doc", "id", "version")

    def __str__(self) -> str:
        return f"{self.slip}, line {self.line}, {'.'.join(map(str, self.path)) or 'whole'}"


def mutants(text: str) -> Iterator[Mutant]:
    """All of them, line slips first."""
    tree = read(text, "file")
    yield from _of_lines(text, tree)
    for path, mark in tree.marks.items():
        if path and isinstance(path[-1], str):
            yield _at(tree, text, "unknown key", path, path[-1], f"{path[-1]}x", key=True)
        value = tree.at(path)
        if not isinstance(value, dict | list):
            for slip, wrong in _wrong(path, mark, value):
                yield _at(tree, text, slip, path, _written(text, mark), wrong)


def _of_lines(text: str, tree: Tree) -> Iterator[Mutant]:
    """Lines left out, doubled, moved to the right and to the left."""
    lines = text.splitlines(keepends=True)
    first = {}  # line -> the outermost path whose key stands on it
    for path, mark in tree.marks.items():
        if path and mark.key_line:
            first.setdefault(mark.key_line, path)
    for at, line in enumerate(lines):
        path = first.get(at + 1, ())
        if not path or at + 1 != tree.mark(path).key_line:
            continue
        above, last = _above(tree, path), max(m.line for p, m in tree.marks.items() if p[: len(path)] == path)
        before, after = "".join(lines[:at]), "".join(lines[at + 1 :])
        yield Mutant("missing line", path, at + 1, last, above, before + after)
        yield Mutant("duplicated line", path, at + 1, last, above, before + line + line + after)
        yield Mutant("to the right", path, at + 1, last, above, f"{before}  {line}{after}")
        if line.startswith("  "):
            yield Mutant("to the left", path, at + 1, last, above, before + line[2:] + after)


def _wrong(path: Path, mark: Mark, value: object) -> Iterator[tuple[str, str]]:
    """What to write in place of a value."""
    if path[-1] in PROSE and path[-1] != "status":
        return
    if isinstance(value, bool):
        yield "text", TEXT
        yield "bare number", "3"
    elif isinstance(value, str) and units.is_quantity(value):
        number = units._NUMBER.match(value).group().strip()
        unit = value.strip()[len(number) :].strip()
        other = "7 W" if units.unit(unit)[0] != "W" else "7 GHz"
        yield from (("wrong unit", other), ("negative", f"-{value}"), ("zero", f"0 {unit}"))
        yield from (("text", TEXT), ("huge", f"{HUGE} {unit}"), ("unknown unit", f"{number} {unit}q"))
        if unit != "%":
            yield "bare number", number
    elif is_number(value):
        yield from (("wrong unit", f"{mark.raw} W"), ("negative", f"-{mark.raw}"), ("zero", "0"), ("text", TEXT))
        yield from (("huge", str(HUGE)), ("half", str(float(Fraction(value)) + 0.5)))
    elif isinstance(value, str):
        yield from (("unknown word", f"{value}x"), ("bare number", "3"))


def _written(text: str, mark: Mark) -> str:
    """A scalar as it stands there, quotes included."""
    line = text.splitlines()[mark.line - 1][mark.column - 1 :]
    for quote in ('"', "'"):
        if line.startswith(quote):
            return quote + mark.raw + quote
    return mark.raw


def _at(tree: Tree, text: str, slip: str, path: Path, old: str, new: str, key: bool = False) -> Mutant:
    """The text with another word in place of a value or of its key."""
    mark, lines = tree.mark(path), text.splitlines(keepends=True)
    line, column = (mark.key_line, mark.key_column) if key else (mark.line, mark.column)
    at = lines[line - 1]
    assert at[column - 1 :].startswith(old), (slip, path, at, column, old)
    lines[line - 1] = at[: column - 1] + new + at[column - 1 + len(old) :]
    return Mutant(slip, path, line, line, _above(tree, path), "".join(lines))


def _above(tree: Tree, path: Path) -> int:
    """Line of the block around a path."""
    return tree.mark(path[:-1]).key_line or tree.mark(()).line
