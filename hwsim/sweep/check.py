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
from hwsim.sweep.space import Space
from hwsim.sweep.variants import DESCRIBED, Assigned, root_of

TRIED = 256  # values of an axis that are tried on the base before anything runs


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
        near = difflib.get_close_matches(root, space.variants.roots, n=1)
        further = starting(path, STARTS)
        right = further or (near[0] if near else "")
        cure = f"did you mean '{right}'?" if right else "`hwsim show --tree STUDY` prints all paths"
        return Fault(where, f"'{root}'", "a path that starts at " + ", ".join(space.variants.roots), cure, path)
    if root in DESCRIBED and rest:
        return _field(path, rest, where, class_of(root))
    if root == "workload":
        known = [name for name in field_names(Workload) if name not in ("source", "status")]
        if rest not in known:
            near = difflib.get_close_matches(rest, known, n=1)
            return Fault(
                where, f"'{rest}'", "one of " + ", ".join(known), f"did you mean '{near[0]}'?" if near else "", path
            )
    return None


def _field(path: str, rest: str, where: str, annotation: object) -> Fault | None:
    """A path through fields that no description of the kind has (classes and keys are looked up when values are)."""
    for step in rest.split("."):
        found = inside(annotation, int(step) if step.isdigit() else step)
        names = field_names(annotation) if hasattr(annotation, "model_fields") else []  # type: ignore[arg-type]
        if found is None and names and not getattr(annotation, "subclasses", dict)():
            near = difflib.get_close_matches(step, names, n=1)
            expected = "one of " + ", ".join(names)
            return Fault(where, f"unknown field '{step}'", expected, f"did you mean '{near[0]}'?" if near else "", path)
        if found is None:
            return None
        annotation = found
    return None


def _values(space: Space) -> Iterator[Fault]:
    """Values that a point cannot have, tried one by one on the first point; axes that change nothing."""
    first = [0] * len(space.axes)
    for place, axis in enumerate(space.axes):
        contents: dict[str, set[object]] = {path: set() for path in axis.paths}
        faults: list[Fault] = []
        for row in _spread(len(axis)):
            here = [*first]
            here[place] = row
            whole = space.assigned(here)
            try:
                space.kind.content(whole)
                for path in axis.paths:
                    contents[path].add(space.kind.content(_only(space, first, place, path, row)))
            except InputError as error:
                own = [fault for fault in error.faults if not _of_another(space, place, fault)]
                faults += [_placed(fault, axis.where, axis.paths, whole) for fault in own]
        yield from {str(fault): fault for fault in faults[:4]}.values()
        if faults:
            continue
        for path, where in zip(axis.paths, axis.where):
            if len(contents[path]) < 2:
                one = len(set(map(repr, axis.column(path)))) == 1
                got = f"{shown(axis.column(path)[0])} alone" if one else "an axis that changes nothing"
                uses = "two values or more" if one else f"a path that {space.study.base.points} points depend on"
                yield Fault(where, got, uses, "set it in the base" if one else "", path)


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


def _placed(fault: Fault, where: tuple[str, ...], paths: tuple[str, ...], assigned: Assigned) -> Fault:
    """A fault of a variant at the place of the axis that made it."""
    place = next((place for place, path in enumerate(paths) if fault.where in (path, f"axis {path}")), None)
    values, got = dict(assigned), fault.got
    if place is None:
        got += " with " + ", ".join(f"{path} = {shown(values[path])}" for path in paths)
        place = 0
    return Fault(where[place], got, fault.expected, fault.cure, paths[place])


def _names(space: Space) -> Iterator[Fault]:
    """Outputs, objectives and expressions that name what is not there."""
    axes = Axes(space.study)
    columns = [*space.kind.outputs, *space.derived]
    for section in ("outputs", "objectives"):
        for index, name in enumerate(getattr(space.study, section)):
            if name not in columns:
                near = difflib.get_close_matches(name, columns, n=1)
                cure = f"did you mean '{near[0]}'?" if near else ""
                place = axes.place((section, index if section == "outputs" else name))
                yield Fault(place, f"'{name}'", "one of " + ", ".join(columns), cure, section)
    for rule in (*space.constraints, *space.feasible, *space.derived.values()):
        for name in rule.names:
            if name not in columns and _unknown(space, name):
                near = difflib.get_close_matches(name, columns, n=1)
                cure = f"did you mean '{near[0]}'?" if near else "`hwsim show --tree STUDY` prints all paths"
                yield Fault(f"expression {rule.text!r}", f"'{name}'", "a column or a path of the study", cure)


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
