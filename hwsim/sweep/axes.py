"""Axes of a study as dimensions: what every path is at every position, as exact values.

Numbers that a range or a sampler makes are decimals of nine significant digits, so that a point is the same on every
machine and can be written down. The ends of a range are taken as they stand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path as File
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim import units
from hwsim.describe.study import Axis, Study
from hwsim.describe.tree import Path, Tree, scalar
from hwsim.errors import Fault, InputError, bad

DIGITS = 9
MOST_VALUES = 10**6  # of one axis
MOST_POINTS = 10**8  # of a study


@dataclass(frozen=True)
class Dimension:
    """One axis of the grid: `rows[i]` are the values of `paths` at position i."""

    name: str
    paths: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    where: tuple[str, ...]  # place of each path in the study's file

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, path: str) -> list[Any]:
        """Values of one path."""
        place = self.paths.index(path)
        return [row[place] for row in self.rows]


@dataclass(frozen=True)
class Numbers:
    """Values of a path as numbers in base units, or as texts where they are none."""

    values: NDArray[Any]
    units: str

    @classmethod
    def of(cls, values: Sequence[Any]) -> Numbers:
        """From the values as they are written."""
        found = [_number(value) for value in values]
        if all(found) and len({dimension for _, dimension in found if dimension}) <= 1:  # type: ignore[misc]
            unit = next((dimension for _, dimension in found if dimension), "1")  # type: ignore[misc]
            exact = [number for number, _ in found]  # type: ignore[misc]
            whole = all(number.denominator == 1 and abs(number) < 2**53 for number in exact)
            return cls(np.array([int(n) if whole else float(n) for n in exact], "i8" if whole else "f8"), unit)
        return cls(np.array([shown(value) for value in values], dtype=object), "")


def _number(value: Any) -> tuple[Fraction, str] | None:
    """Number and unit of a value ("" = a bare number), or None for a text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | Fraction):
        return Fraction(value), ""
    found = units.value_of(value)
    return None if found is None or isinstance(scalar(value), int | Fraction) else found


def shown(value: Any) -> str:
    """A value as a file would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    return units.format(value, "1") if isinstance(value, Fraction) else str(value)


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high` in one unit."""

    low: Fraction
    high: Fraction
    unit: str  # as it is written behind each number, "" = bare
    log: bool
    whole: bool  # between bare whole numbers there are whole numbers only

    @classmethod
    def of(cls, axis: Axis, where: str) -> Range:
        """Range of an axis.

        Raises
        ------
        InputError
            Ends that are no numbers of one unit, or in falling order; zero on a log scale.
        """
        low, high = _number(axis.from_), _number(axis.to)
        if low is None or high is None or low[1] != high[1]:
            got = f"from {shown(axis.from_)} to {shown(axis.to)}"
            raise bad(where, got, "two numbers of one unit such as 1 GHz and 2 GHz")
        if low[0] >= high[0]:
            raise bad(where, f"from {shown(axis.from_)} to {shown(axis.to)}", "a range that rises")
        log = axis.scale == "log"
        if log and low[0] <= 0:
            raise bad(where, f"from {shown(axis.from_)} on a log scale", "a range above zero")
        whole = isinstance(axis.from_, int) and isinstance(axis.to, int)
        return cls(low[0], high[0], low[1], log, whole)

    def at(self, share: Fraction) -> Any:
        """The value at a share of the way from low to high."""
        if share in (0, 1):
            return self.written((self.low, self.high)[int(share)])
        if self.log:
            value = Fraction(math.exp(math.log(self.low) + float(share) * math.log(self.high / self.low)))
        else:
            value = self.low + (self.high - self.low) * share
        return self.written(min(max(rounded(value), self.low), self.high))

    def written(self, value: Fraction) -> Any:
        """A number of the range as a file would write it."""
        if not self.unit:
            return round(value) if self.whole else value
        return units.format(value, self.unit)

    def steps(self, axis: Axis, where: str) -> int:
        """How many values lie `axis.step` apart."""
        step = _number(axis.step)
        if step is None or step[1] != self.unit or step[0] <= 0 or self.log:
            raise bad(where, f"step {shown(axis.step)}", "a positive step in the unit of a linear range")
        return int((self.high - self.low) / step[0]) + 1

    def values(self, axis: Axis, where: str) -> list[Any]:
        """All values, both ends included where `step` reaches the upper one."""
        if axis.step is not None:
            count, step = _counted(self.steps(axis, where), where), _number(axis.step)
            assert step
            return [self.written(self.low + index * step[0]) for index in range(count)]
        if axis.count is None or axis.count < 2:
            raise bad(where, "a range without count", "count: NUMBER of at least 2, or step", "or a sampler")
        made = [self.at(Fraction(index, axis.count - 1)) for index in range(_counted(axis.count, where))]
        return list(dict.fromkeys(made))  # whole numbers close together on a log scale


def rounded(value: Fraction) -> Fraction:
    """A number cut to `DIGITS` significant digits."""
    return Fraction(f"{float(value):.{DIGITS - 1}e}")


def _counted(count: int, where: str) -> int:
    if count > MOST_VALUES:
        raise bad(where, f"{count} values", f"at most {MOST_VALUES} on one axis", "take larger steps, or a sampler")
    return count


class Axes:
    """All axes of a study."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.tree = study.tree if study._tree is not None else Tree({}, {})

    def dimensions(self) -> list[Dimension]:
        """The dimensions of the grid, or the one dimension of a sampler's points.

        Raises
        ------
        InputError
            All faults of the axes, each with its place.
        """
        faults: list[Fault] = []
        found: list[Dimension] = []
        self._refuse_many([self._size(axis, ("axes", name)) for name, axis in self.study.axes.items()])
        for name, axis in self.study.axes.items():
            try:
                found.append(self._dimension(name, axis))
            except InputError as error:
                faults += error.faults
        if faults:
            raise InputError(faults)
        self._refuse_many([len(dimension) for dimension in found])
        self._refuse_twice(found)
        return [self._sampled(found)] if self.study.sampler else found

    def choices(self) -> list[Dimension]:
        """The axes as a search sees them: the two ends of each range, all values of any other axis."""
        return [self._dimension(name, axis, ends=True) for name, axis in self.study.axes.items()]

    @cached_property
    def ranges(self) -> dict[str, Range]:
        """Ranges among the axes, by their path: a sampler and a search draw between their ends."""
        return {
            name: Range.of(axis, self.place(("axes", name)))
            for name, axis in self.study.axes.items()
            if axis.from_ is not None
        }

    def place(self, path: Path) -> str:
        """Place of a key in the study's file."""
        return self.tree.mark(path).key_place if self.tree.marks else ".".join(map(str, path))

    def value_place(self, name: str, row: int, axis: str) -> str:
        """Place of a value that the file lists; of the axis where it does not."""
        paths: tuple[Path, ...] = (("axes", name, "values", row), ("axes", name, row))
        return next((self.tree.marks[path].place for path in paths if path in self.tree.marks), axis)

    def _dimension(self, name: str, axis: Axis, ends: bool = False) -> Dimension:
        at: Path = ("axes", name)
        if (ends or self.study.sampler) and axis.from_ is not None:
            span = self.ranges[name]  # what lies between its ends is drawn later; they stand for it until then
            return Dimension(name, (name,), ((span.at(Fraction(0)),), (span.at(Fraction(1)),)), (self.place(at),))
        columns = dict(self._columns(name, axis, at))
        rows = tuple(zip(*(values for values, _ in columns.values())))
        return Dimension(name, tuple(columns), rows, tuple(where for _, where in columns.values()))

    def _columns(self, name: str, axis: Axis, at: Path) -> Iterator[tuple[str, tuple[list[Any], str]]]:
        """Path, values and place of everything an axis moves."""
        if not axis.zip and not axis.grid:
            yield name, (self._values(axis, at), self.place(at))
            return
        how = "zip" if axis.zip else "grid"
        parts = [dict(self._columns(inner, each, (*at, how, inner))) for inner, each in (axis.zip or axis.grid).items()]
        lengths = [len(next(iter(part.values()))[0]) for part in parts]
        if axis.zip and len(set(lengths)) > 1:
            raise bad(self.place(at), f"axes of {', '.join(map(str, lengths))} values", "axes of equal length in a zip")
        total = lengths[0] if axis.zip else _counted(math.prod(lengths), self.place(at))
        repeat = 1 if axis.zip else total
        for part, length in zip(parts, lengths):
            repeat = repeat if axis.zip else repeat // length
            for path, (values, where) in part.items():
                yield path, ([values[index // repeat % length] for index in range(total)], where)

    def _values(self, axis: Axis, at: Path) -> list[Any]:
        where = self.place(at)
        if axis.from_ is not None:
            values = Range.of(axis, where).values(axis, where)
        elif axis.files:
            folder = File(self.tree.mark(at).where).parent if self.tree.mark(at).line else File()
            values = [str(file) for file in sorted(folder.glob(axis.files))]
            if not values:
                raise bad(where, f"files {axis.files!r}", "a pattern that fits at least one file")
        else:
            values = list(axis.values)
        in_group = len(at) > 2  # of a zip, where one path may stay while another moves
        if not in_group and len(set(map(repr, values))) < len(values):
            twice = next(value for value in values if values.count(value) > 1)
            raise bad(where, f"{shown(twice)} twice", "each value once")
        return values

    def _refuse_twice(self, found: Sequence[Dimension]) -> None:
        seen: dict[str, str] = {}
        for dimension in found:
            for path, where in zip(dimension.paths, dimension.where):
                if path in seen:
                    raise bad(where, f"'{path}' twice", "one axis for each path", f"it is an axis at {seen[path]}")
                seen[path] = where

    def _refuse_many(self, sizes: Sequence[int]) -> None:
        """Too many points; asked before a long axis is made, and again when all are."""
        if not self.study.sampler and math.prod(sizes) > MOST_POINTS:
            got = f"{' x '.join(map(str, sizes))} = {math.prod(sizes):,} points"
            raise bad(self.place(("axes",)), got, f"at most {MOST_POINTS:,}", "use a sampler, or fewer values")

    def _size(self, axis: Axis, at: Path) -> int:
        """Values of an axis, at most; 1 for what only its values can tell."""
        if axis.from_ is not None and axis.step is not None:
            return Range.of(axis, self.place(at)).steps(axis, self.place(at))
        return axis.count or len(axis.values) or 1

    def _sampled(self, axes: Sequence[Dimension]) -> Dimension:
        """Points of the sampler: one dimension over all paths."""
        from hwsim.sweep.samplers import draw

        assert self.study.sampler
        shares = draw(self.study.sampler, len(axes), self.place(("sampler",)))
        if len(shares) > MOST_VALUES:
            raise bad(self.place(("sampler",)), f"{len(shares)} points", f"at most {MOST_VALUES}")
        columns = [self._at_shares(axis, shares[:, index]) for index, axis in enumerate(axes)]
        rows = tuple(tuple(value for row in parts for value in row) for parts in zip(*columns))
        paths = tuple(path for axis in axes for path in axis.paths)
        return Dimension("sample", paths, rows, tuple(where for axis in axes for where in axis.where))

    def _at_shares(self, axis: Dimension, shares: NDArray[np.float64]) -> list[tuple[Any, ...]]:
        """Rows of an axis at shares of its length."""
        span = self.ranges.get(axis.name)
        if span is not None:
            return [(span.at(Fraction(share)),) for share in shares.tolist()]
        return [axis.rows[min(int(share * len(axis)), len(axis) - 1)] for share in shares.tolist()]
