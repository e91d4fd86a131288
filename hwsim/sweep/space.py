"""All points of a study: how many, in which order, under which key, and what each of them is.

A point has an *index*, row-major over the study's axes as the file lists them, which is its place in the result, and a
*rank*, its place in the order of work: heavy axes move slowest, so that points of one hardware are neighbours.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim import memo
from hwsim.analyse.point import ROOMS
from hwsim.describe import resolve
from hwsim.describe.study import Study
from hwsim.sweep.axes import Axes, Dimension, Numbers, shown
from hwsim.sweep.expression import Expression
from hwsim.sweep.journal import KEY_DTYPE, Keys
from hwsim.sweep.points import KINDS_OF_POINTS, Kind
from hwsim.sweep.variants import DESCRIBED, Assigned, Variants, root_of

Ints = NDArray[np.int64]
TASKS = 64  # a study is cut into at least so many tasks, as far as it has points


@dataclass
class Space:
    """The points of a study, resolved; `check.checked` makes one of a study and refuses a bad one.

    Attributes
    ----------
    study : Study
    variants : Variants
    kind : Kind
        What a point is.
    axes : list of Dimension
        In the order of the result.
    constraints : list of Expression
        On paths alone: points that do not meet them are left out.
    feasible : list of Expression
        On columns too: they mark points, and bound a search.
    derived : dict of str to Expression
    """

    study: Study
    variants: Variants
    kind: Kind
    axes: list[Dimension]
    constraints: list[Expression]
    feasible: list[Expression]
    derived: dict[str, Expression]

    @classmethod
    def of(cls, study: Study) -> Space:
        """Space of a study whose axes are well formed (`check` looks at the rest)."""
        variants = Variants(study)
        kind = KINDS_OF_POINTS[study.base.points](variants)
        axes = Axes(study)
        rules = [
            Expression.parse(text, axes.place(("constraints", index))) for index, text in enumerate(study.constraints)
        ]
        derived = {name: Expression.parse(text, axes.place(("derived", name))) for name, text in study.derived.items()}
        columns = {*kind.outputs, *derived}
        on_columns = [rule for rule in rules if columns & set(rule.names)]
        return cls(
            study,
            variants,
            kind,
            axes.dimensions(),
            [rule for rule in rules if rule not in on_columns],
            on_columns,
            derived,
        )

    def over(self, axis: Dimension) -> Space:
        """The same study over other points: those of one dimension."""
        return replace(self, axes=[axis])

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Positions of every axis."""
        return tuple(len(axis) for axis in self.axes)

    def __len__(self) -> int:
        return math.prod(self.shape)

    # Order of work -------------------------------------------------------------------------------------------------

    @cached_property
    def heavy(self) -> list[int]:
        """Axes that change what points share."""
        return [
            place for place, axis in enumerate(self.axes) if not all(self.kind.is_light(path) for path in axis.paths)
        ]

    @cached_property
    def order(self) -> list[int]:
        """Axes in the order of work, the slowest first."""
        return self.heavy + [place for place in range(len(self.axes)) if place not in self.heavy]

    def indices(self, ranks: Ints) -> Ints:
        """Index of each rank, int64[n]."""
        positions = np.unravel_index(ranks, [self.shape[place] for place in self.order])
        by_axis = [positions[self.order.index(place)] for place in range(len(self.axes))]
        return np.ravel_multi_index(by_axis, self.shape).astype(np.int64)

    @cached_property
    def group(self) -> int:
        """Points that share their heavy values."""
        return math.prod(self.shape[place] for place in range(len(self.axes)) if place not in self.heavy)

    @cached_property
    def cuts(self) -> tuple[int, int]:
        """Tasks: (points of a task, tasks of a group), one of them a multiple of what points share.

        Neither depends on the number of workers: shard i of n is every n-th task.
        """
        size = max(1, min(self.kind.chunk, -(-len(self) // TASKS)))
        if size >= self.group:
            return size // self.group * self.group, 1
        return self.group, -(-self.group // size)

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        size, parts = self.cuts
        return -(-len(self) // size) * parts

    def task(self, number: int) -> Ints:
        """Indices of the points of a task, in the order of work."""
        size, parts = self.cuts
        start, part = number // parts * size, number % parts
        stop = min(start + size, len(self))
        first, last = (start + (stop - start) * end // parts for end in (part, part + 1))
        return self.indices(np.arange(first, last))

    # Points --------------------------------------------------------------------------------------------------------

    def positions(self, indices: Ints) -> Ints:
        """Position on every axis, int64[n, axes]."""
        return np.stack(np.unravel_index(indices, self.shape), axis=1).astype(np.int64)

    def assigned(self, position: Sequence[int], axes: Sequence[int] | None = None) -> Assigned:
        """Values of a point, or those of some axes of it."""
        places = range(len(self.axes)) if axes is None else axes
        return tuple(
            pair for place in places for pair in zip(self.axes[place].paths, self.axes[place].rows[position[place]])
        )

    def batches(self, indices: Ints) -> Iterator[tuple[Assigned, list[Assigned], Ints]]:
        """Points that share their heavy values: those values, the light ones of each point, their indices."""
        positions = self.positions(indices)
        light = [place for place in range(len(self.axes)) if place not in self.heavy]
        changes = np.any(np.diff(positions[:, self.heavy], axis=0), axis=1) if len(indices) > 1 else np.zeros(0, bool)
        for part in np.split(np.arange(len(indices)), np.flatnonzero(changes) + 1):
            for start in range(0, len(part), self.kind.batch):
                rows = part[start : start + self.kind.batch]
                heavy = self.assigned(positions[rows[0]], self.heavy)
                yield heavy, [self.assigned(positions[row], light) for row in rows], indices[rows]

    # Keys ----------------------------------------------------------------------------------------------------------

    @cached_property
    def content(self) -> bytes:
        """Hash of all that points share: the base, what a point is, and the code that answers it."""
        base = self.study.tree.value["base"]
        text = json.dumps([_plain(base), self.study.base.points, memo.code_version(*ROOMS, "sweep")], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    @cached_property
    def layout(self) -> bytes:
        """Hash of the columns of a journal."""
        return hashlib.blake2b("\n".join(self.kind.outputs).encode(), digest_size=16).digest()

    @cached_property
    def _words(self) -> list[NDArray[np.uint64]]:
        """Two words for every position of every axis."""
        return [
            np.array([_row_words(axis.paths, row) for row in axis.rows], np.uint64).reshape(len(axis), 2)
            for axis in self.axes
        ]

    def keys(self, indices: Ints) -> Keys:
        """Key of each point: the sum, word by word, of a hash of the base and one of each path with its value.

        It does not depend on the order of axes or on other points, so that a study may grow and resume.
        """
        total = np.repeat(np.frombuffer(self.content, np.uint64)[None], len(indices), axis=0)
        for words, position in zip(self._words, np.unravel_index(indices, self.shape)):
            total = total + words[position]
        return np.ascontiguousarray(total).view(KEY_DTYPE).reshape(-1)

    # Columns -------------------------------------------------------------------------------------------------------

    def columns(self, indices: Ints, names: Sequence[str]) -> dict[str, Any]:
        """Values of paths at points, as numbers in base units or texts: arrays[n], or one value where none changes."""
        found: dict[str, Any] = {}
        positions = np.unravel_index(indices, self.shape)
        for name in names:
            place = next((place for place, axis in enumerate(self.axes) if name in axis.paths), None)
            if place is not None:
                found[name] = Numbers.of(self.axes[place].column(name)).values[positions[place]]
            else:
                found[name] = self._dependent(name, positions)
        return found

    def _dependent(self, name: str, positions: Sequence[NDArray[np.intp]]) -> Any:
        """Values of a path that is no axis: those of the base, unless axes of the same root change it."""
        root = root_of(name)
        axes = [place for place, axis in enumerate(self.axes) if any(root_of(path) == root for path in axis.paths)]
        if not axes:
            return Numbers.of([self.variants.value(name)]).values[0]
        rows, place = np.unique(np.stack([positions[axis] for axis in axes], axis=1), axis=0, return_inverse=True)
        values = []
        for row in rows.tolist():
            assigned = tuple(
                pair for axis, at in zip(axes, row) for pair in zip(self.axes[axis].paths, self.axes[axis].rows[at])
            )
            values.append(self.variants.value(name, assigned))
        return Numbers.of(values).values[place.reshape(-1)]

    def allowed(self, indices: Ints) -> NDArray[np.bool_]:
        """Which points meet the constraints on paths."""
        allowed = np.ones(len(indices), bool)
        for rule in self.constraints:
            allowed &= np.broadcast_to(rule.value(self.columns(indices, rule.names)), len(indices)).astype(bool)
        return allowed


def _plain(value: Any) -> Any:
    """A tree without prose, ready for JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key not in ("source", "status", "doc", "name")}
    return [_plain(item) for item in value] if isinstance(value, list) else str(value)


def _row_words(paths: tuple[str, ...], row: tuple[Any, ...]) -> tuple[int, int]:
    """Sum of the hashes of a row's paths with their values."""
    total = [0, 0]
    for path, value in zip(paths, row):
        text = f"{path}={_content(path, value)}"
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        for place in (0, 1):
            total[place] += int.from_bytes(digest[8 * place : 8 * place + 8], "little")
    return total[0] % 2**64, total[1] % 2**64


def _content(path: str, value: Any) -> str:
    """A value as text; of the name of a description or the path of a file, its content too."""
    text = f"{type(value).__name__} {shown(value)}"
    if path in DESCRIBED and "=" not in text:
        tree = resolve.from_name(str(value), path)
        return text if tree is None else text + json.dumps(_plain(tree.value), sort_keys=True)
    return text
