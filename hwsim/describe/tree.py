"""YAML text -> plain values that remember where each of them stands.

A `Tree` is the plain value of a document (dict, list, str, int, Fraction, bool, None) plus one `Mark` per path. Decimal
numbers become Fractions, never floats. Faults that do not stop the reading (duplicate keys, unusable keys) are
collected, so that they are reported together with all later ones.

Design: ruamel.yaml's composer gives nodes with marks and costs half of a round-trip load; the values are built here,
since its constructors drop the marks of scalars and turn decimals into floats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

from hwsim import units
from hwsim.errors import Fault, InputError, bad

Path = tuple[str | int, ...]

# How far a number can be trusted.
Status = Literal["published", "measured", "calibrated", "derived", "assumed"]

# Keys whose text is about a description, never a number of it.
PROSE = ("name", "doc", "source", "status", "extends")
# Most nodes of one document: an alias bomb ends here.
_MOST_NODES = 200_000
_DEEPEST = 30


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a value stands, how it is written there, and the source its block states."""

    where: str
    line: int = 0
    column: int = 0
    raw: str = ""
    source: str = ""
    status: str = ""
    key_line: int = 0
    key_column: int = 0

    @property
    def place(self) -> str:
        """`file:line:column`, or the option for a value that comes from the command line."""
        return f"{self.where}:{self.line}:{self.column}" if self.line else self.where

    @property
    def key_place(self) -> str:
        """The same for the key in front of the value."""
        return f"{self.where}:{self.key_line}:{self.key_column}" if self.key_line else self.place


@dataclass(slots=True)
class Tree:
    """Value of a document with its marks and the faults found while reading it."""

    value: Any
    marks: dict[Path, Mark]
    faults: list[Fault] = field(default_factory=list)

    def mark(self, path: Path) -> Mark:
        """Mark of a path, or of the nearest place above it that has one."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path, Mark("description"))

    def at(self, path: Path) -> Any:
        """Value at a path; KeyError where there is none."""
        value = self.value
        for step in path:
            if not isinstance(value, dict | list):
                raise KeyError(path)
            if isinstance(value, list) and step not in range(len(value)):
                raise KeyError(path)
            value = value[step]  # type: ignore[index]
        return value

    def leaves(self) -> Iterator[tuple[Path, Any]]:
        """Every scalar with its path, in order."""
        yield from leaves(self.value)


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every scalar of a plain value with its path, in order."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path, value


def excerpt(line: str, column: int) -> str:
    """A source line with a caret below a column (counted from 1)."""
    shown = line.rstrip("\n").replace("\t", " ")
    return f"    {shown}\n    {' ' * (column - 1)}^"


def read(text: str, where: str) -> Tree:
    """Tree of a YAML text.

    Parameters
    ----------
    text : str
        One YAML document.
    where : str
        File name for the marks.

    Raises
    ------
    InputError
        Text that is no YAML, several documents, aliases without end.
    """
    node = _compose(text, where)
    reader = _Reader(where)
    reader.marks[()] = Mark(where, 1, 1)
    value = None if node is None else reader.value(node, (), Mark(where))
    lines = text.splitlines()
    tree = Tree(value, reader.marks)
    for line, column, fault in reader.faults:
        shown = excerpt(lines[line - 1], column) if line <= len(lines) else ""
        tree.faults.append(Fault(fault.where, fault.got, fault.expected, fault.cure, fault.path, shown))
    return tree


def _compose(text: str, where: str) -> Any:
    """Root node of the document, by ruamel.yaml (YAML 1.2)."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        lines = text.splitlines()
        text_there = lines[line - 1] if line <= len(lines) else ""
        shown = excerpt(text_there, column) if text_there else ""
        problem = " ".join(part for part in (error.context, error.problem) if part)
        got, cure = _yaml_problem(problem, text_there, column)
        raise bad(f"{where}:{line}:{column}", got, "YAML", cure, excerpt=shown) from None
    except (YAMLError, RecursionError, ValueError) as error:
        raise bad(f"{where}:1:1", str(error).splitlines()[0], "YAML") from None


# What ruamel.yaml calls a problem -> what stands there, in words, and what to do.
_INDENTED = ("a line that is indented unlike those around it", "check the indentation of this line and the one above")
_YAML_PROBLEMS = {
    "expected <block end>": _INDENTED,
    "expected '<document start>'": _INDENTED,
    "mapping values are not allowed": ("a second ': ' in a line", "put a text that contains ': ' in quotes"),
    "cannot start any token": ("", "indent with spaces and put special characters in quotes"),
    "expected ',' or '}'": ("a '{' that goes on unlike fields", "put ', ' between fields and close the '{'"),
    "expected ',' or ']'": ("a '[' that goes on unlike a list", "put ', ' between values and close the '['"),
    "expected a single document": ("", "write one description per file"),
}
_KEY = re.compile(r" *[\w.-]+")


def _yaml_problem(problem: str, line: str, column: int) -> tuple[str, str]:
    """What was got, and the cure; a mapping value at the first colon of a line is one of its indentation."""
    known = next((words for part, words in _YAML_PROBLEMS.items() if part in problem), ("", ""))
    if "mapping values are not allowed" in problem and _KEY.fullmatch(line[: column - 1]):
        known = _INDENTED
    return known[0] or problem, known[1]


class _Reader:
    """Builds values from nodes, with marks and collected faults."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.marks: dict[Path, Mark] = {}
        self.faults: list[tuple[int, int, Fault]] = []
        self.open: set[int] = set()

    def value(self, node: Any, path: Path, above: Mark) -> Any:
        """Plain value of a node; `above` holds the source its surrounding block states, and the place of its key."""
        start = node.start_mark
        kind = type(node).__name__
        raw = node.value if kind == "ScalarNode" else ""
        self.marks[path] = replace(above, line=start.line + 1, column=start.column + 1, raw=raw)
        if kind == "ScalarNode":
            return scalar(node.value, node.style is None)
        if len(self.marks) > _MOST_NODES:
            raise bad(self.marks[path].place, "aliases that unfold without end", "a description")
        if len(path) > _DEEPEST:
            raise bad(self.marks[path].place, f"more than {_DEEPEST} levels", "a description")
        if id(node) in self.open:
            raise bad(self.marks[path].place, "an alias to itself", "a tree of values")
        self.open.add(id(node))
        try:
            if kind == "SequenceNode":
                return [self.value(item, (*path, index), above) for index, item in enumerate(node.value)]
            return self._mapping(node, path, above)
        finally:
            self.open.discard(id(node))

    def _mapping(self, node: Any, path: Path, above: Mark) -> Any:
        texts = {key.value: item.value for key, item in node.value if isinstance(key.value, str)}
        stated = {key: texts[key] for key in ("source", "status") if isinstance(texts.get(key), str)}
        source, status = stated.get("source", above.source), stated.get("status", above.status)
        result: dict[str, Any] = {}
        for key, item in node.value:
            line, column = key.start_mark.line + 1, key.start_mark.column + 1
            if type(key).__name__ != "ScalarNode":
                self._fault(line, column, path, "a key that is a list or mapping", "a name")
                continue
            if key.value in result:
                cure = f"it stands in line {self.marks[(*path, key.value)].key_line} already"
                self._fault(line, column, (*path, key.value), f"'{key.value}' twice", "each key once", cure)
            if result.get(key.value) is None:  # new, or a heading that stands twice: its block is below the second
                below = Mark(self.where, source=source, status=status, key_line=line, key_column=column)
                result[key.value] = self.value(item, (*path, key.value), below)
        return self._single(path, result) if "value" in result else result

    def _single(self, path: Path, result: dict[str, Any]) -> Any:
        """The number alone of `{value: 3 GB, source: ..., status: ...}`: one number with a source of its own."""
        if not is_single(result):
            return result
        inside, outer = (*path, "value"), self.marks[path]
        for below in [key for key in self.marks if key[: len(inside)] == inside]:
            self.marks[path + below[len(inside) :]] = self.marks.pop(below)
        number = self.marks[path]
        self.marks[path] = replace(number, key_line=outer.key_line, key_column=outer.key_column)
        for key in result.keys() - {"value"}:
            del self.marks[(*path, key)]
        return result["value"]

    def _fault(self, line: int, column: int, path: Path, got: str, expected: str, cure: str = "") -> None:
        where = f"{self.where}:{line}:{column}"
        self.faults.append((line, column, Fault(where, got, expected, cure, dotted(path))))


def is_single(value: dict[str, Any]) -> bool:
    """Whether a mapping is one number (or list of numbers) with a source of its own."""
    return "value" in value and set(value) <= {"value", "source", "status"} and not isinstance(value["value"], dict)


def is_number(value: object) -> bool:
    """Whether a plain value is a number or reads as one with a unit."""
    if isinstance(value, bool) or value is None:
        return False
    return units.is_quantity(value) if isinstance(value, str) else True


def dotted(path: Path) -> str:
    """A path as it is written: tiers.hbm.rate, tiles[2]."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


_INTEGER = re.compile(r"[+-]?\d+")
_DECIMAL = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d{1,2})?")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


def scalar(text: str, plain: bool = True) -> Any:
    """Value of a scalar: only plain `true`, `false`, `null`, integers and decimals are anything but text."""
    if not plain:
        return text
    lower = text.lower()
    if lower in _WORDS:
        return _WORDS[lower]
    if len(text) <= 40:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _DECIMAL.fullmatch(text):
            return Fraction(text)
    return text


def read_set(text: str) -> tuple[Path, Tree]:
    """Path and tree of one override `a.b=value`; the value is YAML (`--set tiers.hbm.capacity='141 GB'`).

    Raises
    ------
    InputError
        No `=`, an empty step in the path, a value that is no YAML.
    """
    where = f"--set {text}"
    path, equals, value = text.partition("=")
    steps = path.strip().split(".")
    if not equals or not all(step.strip() for step in steps):
        raise bad(where, repr(text), "PATH=VALUE, e.g. clocks.core='1.5 GHz'")
    try:
        tree = read(value, where)
    except InputError as error:
        fault = error.faults[0]
        raise bad(where, repr(value), "a value (YAML)", fault.got) from None
    own = {path: Mark(where, raw=mark.raw, source=where, status="assumed") for path, mark in tree.marks.items()}
    faults = [Fault(where, fault.got, fault.expected, fault.cure, fault.path) for fault in tree.faults]
    return tuple(int(step) if step.isdigit() else step for step in steps), Tree(tree.value, own, faults)
