"""Bad studies are refused before anything runs: every path, every value and every name, with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwsim.describe import load
from hwsim.describe.kinds import class_of, field_names, inside, starting
from hwsim.describe.loader import build
from hwsim.describe.plain import from_plain
from hwsim.describe.resolve import expand, shown_at
from hwsim.describe.study import Study, Workload
from hwsim.errors import Fault, InputError
from hwsim.serving.deployment import STARTS
from hwsim.sweep.axes import Axes, shown
from hwsim.sweep.outputs import Outputs, near
from hwsim.sweep.space import Space
from hwsim.sweep.variants import DESCRIBED, Assigned, root_of

TRIED = 256  # values of an axis that are tried on the base before anything runs

Tried = tuple[dict[int, tuple[Fault, ...]], dict[str, set[object]]]
StudyLike = str | Path | Study | Mapping[str, Any]


def study_of(study: StudyLike) -> Study:
    """A study by name or file, as a mapping in the grammar of the files, or loaded."""
    if isinstance(study, Study):
        return study
    if isinstance(study, Mapping):
        tree = from_plain(dict(study), "study")
        expand(tree, "study", ())
        found = build("study", tree)
    else:
        found = load(str(study), "study")
    assert isinstance(found, Study)
    return found


def checked(study: StudyLike) -> Space:
    """The points of a study that was checked.

    Raises
    ------
    InputError
        All that is wrong with it: unknown paths, values that a field cannot take, axes that change nothing, too many
        points, expressions over unknown names.
    """
    read = study_of(study)
    try:
        space = Space.of(read)
        faults = [*_paths(space)]
        if not faults:
            faults = [*_values(space), *_names(space)]
    except InputError as error:
        faults = list(error.faults)
    if faults:
        raise InputError([shown_at(fault) for fault in faults])
    return space


def _paths(space: Space) -> Iterator[Fault]:
    """Axes whose path is not there."""
    for axis in space.axes:
        for path, where in zip(axis.paths, axis.where):
            fault = _path(space, path, where)
            if fault is not None:
                yield fault


def _path(space: Space, path: str, where: str) -> Fault | None:
    root, _, rest = path.partition(".")
    if root not in space.variants.roots:
        close = difflib.get_close_matches(root, space.variants.roots, n=1)
        further = starting(path, STARTS)
        right = further or (close[0] if close else "")
        cure = f"did you mean '{right}'?" if right else "`hwsim show --tree STUDY` prints all paths"
        return Fault(where, f"'{root}'", "a path that starts at " + ", ".join(space.variants.roots), cure, path)
    if root in DESCRIBED and rest:
        return _field(path, rest, where, class_of(root))
    if root == "workload":
        known = [name for name in field_names(Workload) if name not in ("source", "status")]
        if rest not in known:
            close = difflib.get_close_matches(rest, known, n=1)
            return Fault(
                where, f"'{rest}'", "one of " + ", ".join(known), f"did you mean '{close[0]}'?" if close else "", path
            )
    return None


def _field(path: str, rest: str, where: str, annotation: object) -> Fault | None:
    """A path through fields that no description of the kind has (classes and keys are looked up when values are)."""
    for step in rest.split("."):
        found = inside(annotation, int(step) if step.isdigit() else step)
        names = field_names(annotation) if hasattr(annotation, "model_fields") else []  # type: ignore[arg-type]
        if found is None and names and not getattr(annotation, "subclasses", dict)():
            close = difflib.get_close_matches(step, names, n=1)
            cure = f"did you mean '{close[0]}'?" if close else ""
            return Fault(where, f"unknown field '{step}'", "one of " + ", ".join(names), cure, path)
        if found is None:
            return None
        annotation = found
    return None


def _values(space: Space) -> Iterator[Fault]:
    """Values that a point cannot have, tried one by one on the first point; axes that change nothing."""
    first, tried = [0] * len(space.axes), []
    for place in range(len(space.axes)):
        tried.append(_tried(space, place, first))
        first[place] = next((row for row, faults in tried[place][0].items() if not faults), 0)
    common = _common(space, tried)
    yield from (Fault(_base_place(space, fault), fault.got, fault.expected, fault.cure, "base") for fault in common)
    for place, (axis, faults_of, contents) in enumerate(zip(space.axes, *zip(*tried))):
        of_all = [fault for fault in next(iter(faults_of.values()), ()) if all(fault in f for f in faults_of.values())]
        faults = [
            _placed(space, place, row, fault, fault in of_all)
            for row, faults in faults_of.items()
            for fault in faults
            if fault not in common and not _of_another(space, place, fault)
        ]
        yield from list({str(fault): fault for fault in faults}.values())[:4]
        if any(faults_of.values()):
            continue
        for path, where in zip(axis.paths, axis.where):
            if len(contents[path]) < 2:
                one = len(set(map(repr, axis.column(path)))) == 1
                got = f"{shown(axis.column(path)[0])} alone" if one else "an axis that changes nothing"
                uses = "two values or more" if one else f"a path that {space.study.base.points} points depend on"
                yield Fault(where, got, uses, "set it in the base" if one else "", path)


def _tried(space: Space, place: int, first: list[int]) -> Tried:
    """Faults by row of an axis, and what each of its paths makes of the first point."""
    axis = space.axes[place]
    contents: dict[str, set[object]] = {path: set() for path in axis.paths}
    faults: dict[int, tuple[Fault, ...]] = {}
    for row in _spread(len(axis)):
        here = [*first]
        here[place], faults[row] = row, ()
        try:
            space.kind.content(space.assigned(here))
            for path in axis.paths:
                contents[path].add(space.kind.content(_only(space, first, place, path, row)))
        except InputError as error:
            faults[row] = error.faults
    return faults, contents


def _common(space: Space, tried: list[Tried]) -> list[Fault]:
    """Faults of every point that was tried, at no axis: the base is to blame."""
    rows = [faults for faults_of, _ in tried for faults in faults_of.values()]
    paths = {name for axis in space.axes for path in axis.paths for name in (path, f"axis {path}")}
    return [fault for fault in (rows[0] if rows else ()) if fault.where not in paths and all(fault in r for r in rows)]


def _base_place(space: Space, fault: Fault) -> str:
    """The part of the base that a fault of all points is about."""
    root = root_of(fault.where)
    return Axes(space.study).place(("base", root) if root in space.variants.roots else ("base",))


def _only(space: Space, first: list[int], place: int, path: str, row: int) -> Assigned:
    """The first point with one path of one axis moved."""
    base = dict(space.assigned(first))
    return tuple((base | {path: space.axes[place].column(path)[row]}).items())


def _spread(count: int) -> list[int]:
    """All positions of an axis, or `TRIED` of them with both ends."""
    return np.unique(np.linspace(0, count - 1, min(count, TRIED)).round().astype(int)).tolist()


def _of_another(space: Space, place: int, fault: Fault) -> bool:
    """Whether another axis than the one at `place` is to blame for a fault."""
    others = [path for other, axis in enumerate(space.axes) if other != place for path in axis.paths]
    return any(fault.where in (path, f"axis {path}") for path in others)


def _placed(space: Space, place: int, row: int, fault: Fault, of_axis: bool) -> Fault:
    """A fault of a variant at the value that made it, or at its axis where all values do."""
    axis = space.axes[place]
    at = next((at for at, path in enumerate(axis.paths) if fault.where in (path, f"axis {path}")), None)
    got = fault.got
    if at is None:
        got += " with " + ", ".join(f"{path} = {shown(axis.column(path)[row])}" for path in axis.paths)
        at = 0
    where = axis.where[at]
    if not of_axis and not space.study.sampler and axis.paths == (axis.name,):
        where = Axes(space.study).value_place(axis.name, row, where)
    return Fault(where, got, fault.expected, fault.cure, axis.paths[at])


def _names(space: Space) -> Iterator[Fault]:
    """Outputs, objectives and expressions that name what is not there."""
    axes = Axes(space.study)
    columns = [*space.kind.outputs, *space.derived]
    for section in ("outputs", "objectives"):
        for index, name in enumerate(getattr(space.study, section)):
            if name not in columns:
                mark = axes.tree.mark((section, index if section == "outputs" else name))
                place = mark.place if section == "outputs" else mark.key_place
                expected = f"a column of {space.study.base.points} points or a derived one"
                yield Fault(place, f"'{name}'", expected, _near_column(name, columns, space.kind.outputs), section)
    for rule in (*space.constraints, *space.feasible, *space.derived.values()):
        for name in rule.names:
            if name not in columns and _unknown(space, name):
                close = difflib.get_close_matches(name, columns, n=1)
                cure = f"did you mean '{close[0]}'?" if close else "`hwsim show --tree STUDY` prints all paths"
                yield Fault(rule.where, f"'{name}' in {rule.text!r}", "a column or a path of the study", cure)


def _near_column(name: str, columns: list[str], outputs: Outputs) -> str:
    """What to write in place of a column that is none."""
    found = " or ".join(f"'{each}'" for each in near(name, columns, outputs)[:3])
    listed = "`hwsim schema columns` lists them"
    return f"did you mean {found}? {listed}" if found else listed


def _unknown(space: Space, name: str) -> bool:
    """Whether no point has a value of a path."""
    if any(name in axis.paths for axis in space.axes):
        return False
    if root_of(name) not in space.variants.roots:
        return True
    try:
        return space.variants.value(name, space.assigned([0] * len(space.axes))) is None
    except InputError:
        return True
