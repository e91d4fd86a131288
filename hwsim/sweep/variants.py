"""The base of a study with the values of a point laid over it: descriptions, operators, workloads.

A root is the first step of a path: `system`, `software`, `operator`, `precision`, ... Values of one root are laid in
the order of their length, so that an axis of whole systems comes before an axis of their clocks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any, TypeVar

from pydantic import ValidationError

from hwsim.describe import load, resolve
from hwsim.describe.block import Description
from hwsim.describe.kinds import field_names
from hwsim.describe.loader import build, rebuilt
from hwsim.describe.study import Base, Study, Workload
from hwsim.describe.tree import Mark, Path, Tree, dotted, leaves, scalar
from hwsim.errors import bad
from hwsim.sweep.axes import shown

# Roots that hold a description, and its kind.
DESCRIBED = ("system", "model", "plan", "software", "protocol", "recipe")
# What a root means where neither the base nor an axis names it.
DEFAULTS = {
    "operator": {"software": "ideal", "protocol": "in-model"},
    "trace": {"software": "vllm", "protocol": "in-model"},
    "concurrency": {"software": "ideal", "protocol": "in-model"},
}
KEPT = 64  # descriptions a worker keeps

Assigned = tuple[tuple[str, Any], ...]  # (path, value)
Kept = TypeVar("Kept")


class Cache:
    """The results of a function that were asked for last."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What `make` gave for a key; a failure is not kept."""
        if key not in self.kept:
            self.kept[key] = make()
            if len(self.kept) > self.most:
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        found: Kept = self.kept[key]
        return found


def root_of(path: str) -> str:
    """First step of a path."""
    return path.partition(".")[0]


def steps(path: str) -> Path:
    """Steps of a path as a tree has them."""
    return tuple(int(step) if step.isdigit() else step for step in path.split("."))


class Variants:
    """Descriptions of the points of a study."""

    def __init__(self, study: Study) -> None:
        self.study, self.base = study, study.base
        self.tree = study.tree
        self.kept = Cache(KEPT)

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """First steps that a path may have."""
        return tuple(name for name in field_names(Base) if name not in ("source", "status"))

    def description(self, root: str, assigned: Iterable[tuple[str, Any]] = ()) -> Description | None:
        """Description of a root under the values of a point; None where nobody named one.

        Raises
        ------
        InputError
            A value that the description cannot take.
        """
        own = tuple(sorted((item for item in assigned if root_of(item[0]) == root), key=lambda item: len(item[0])))
        return self.kept.get((root, own), lambda: self._made(root, own))

    def _made(self, root: str, own: Assigned) -> Description | None:
        """Description of a root under its own values: those inside it are laid over what the others make."""
        inner = tuple(item for item in own if item[0] != root)
        if inner:
            return self._changed(root, own[: len(own) - len(inner)], inner)
        if not own and getattr(self.base, root) is not None:
            return build(root, self._subtree(root))
        tree = self._tree(root, own[0][1] if own else None)
        return None if tree is None else build(root, tree)

    def _changed(self, root: str, named: Assigned, inner: Assigned) -> Description | None:
        whole = self.description(root, named)
        if whole is None:
            return None
        paths = [steps(path)[1:] for path, _ in inner]
        tree = resolve.opened(whole.tree, paths)
        for (name, value), path in zip(inner, paths):
            where = f"axis {name}"
            mark = Mark(where, raw=shown(value), source="an axis of the study", status="assumed")
            resolve.lay(tree, root, path, Tree(value, {(): mark}), where)
        return rebuilt(whole, tree, paths)

    def _tree(self, root: str, name: Any) -> Tree | None:
        """Fresh tree of a root: of the name an axis gives it, else the base's, else the default's."""
        if name is None and getattr(self.base, root) is not None:
            return self._subtree(root)
        name = name if name is not None else DEFAULTS[self.base.points].get(root)
        if name is None:
            return Tree({}, {(): Mark(root)}) if root == "plan" else None
        if root == "plan" and "=" in str(name):
            pairs = [part.partition("=") for part in str(name).split(",")]
            tree = Tree({key.strip(): scalar(value.strip()) for key, _, value in pairs}, {(): Mark(name)})
            resolve.expand(tree, root, ())
            return tree
        found = load(str(name), root).tree
        return Tree(resolve.copy(found.value), dict(found.marks))

    def _subtree(self, root: str) -> Tree:
        return resolve.part(self.tree, ("base", root))

    def plain(self, root: str, assigned: Iterable[tuple[str, Any]] = ()) -> Any:
        """Value of a root that is no description: the operator's columns, precision, trace, ..."""
        own = {path: value for path, value in assigned if root_of(path) == root}
        if root in own:
            return own[root]
        value = getattr(self.base, root)
        if root == "operator":
            return {**value, **{path.partition(".")[2]: item for path, item in own.items()}}
        return self.workload(own) if root == "workload" else value

    def workload(self, own: dict[str, Any]) -> Workload:
        """Workload of a point."""
        given = self.tree.value["base"].get("workload", {})
        changed = {path.partition(".")[2]: value for path, value in own.items()}
        return validated(Workload, {**given, **changed}, "workload")

    def value(self, path: str, assigned: Sequence[tuple[str, Any]] = ()) -> Any:
        """Value of a path of the tree under the values of a point.

        Raises
        ------
        InputError
            There is no such path.
        """
        own = dict(assigned)
        if path in own and root_of(path) not in DESCRIBED:
            return own[path]
        root, inside = root_of(path), steps(path)[1:]
        if root in DESCRIBED:
            found = self.description(root, assigned)
            value = found.tree.value if found else None
            default = found
        else:
            value = default = self.plain(root, assigned)
        for step in inside:
            default = _field(default, step)
            value = _item(value, step)
        value = default if value is None else value
        return value.get("id") if isinstance(value, dict) else getattr(value, "id", value)


def _item(value: Any, step: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(step)
    return value[step] if isinstance(value, list) and isinstance(step, int) and step < len(value) else None


def _field(value: Any, step: str | int) -> Any:
    """A field of an object that its file may not state."""
    return _item(value, step) if isinstance(value, dict | list) else getattr(value, str(step), None)


def validated(cls: type[Any], value: dict[str, Any], where: str) -> Any:
    """Object of a block that comes from no file.

    Raises
    ------
    InputError
        The first thing wrong with it.
    """
    try:
        return cls.model_validate(value)
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        context = item.get("ctx", {})
        expected = str(context.get("expected", item["msg"]))
        place = ".".join((where, *map(str, item["loc"])))
        raise bad(place, repr(item["input"]), expected, str(context.get("cure", ""))) from None


def lines_of(variants: Variants) -> list[tuple[str, str]]:
    """Every path of the resolved tree with its value as written, for people."""
    found: list[tuple[str, str]] = []
    for root in variants.roots:
        if root in DESCRIBED:
            description = variants.description(root)
            tree = description.tree if description else Tree({}, {})
            found += [
                (dotted((root, *path)), tree.mark(path).raw or shown_leaf(value))
                for path, value in tree.leaves()
                if path[-1] not in ("source", "status", "name", "doc", "id")
            ]
        else:
            value = variants.plain(root)
            value = value.model_dump(exclude={"source", "status"}) if isinstance(value, Workload) else value
            found += [(dotted((root, *path)), shown_leaf(item)) for path, item in leaves(value)]
    return [(path, text) for path, text in found if text]


def shown_leaf(value: Any) -> str:
    """A scalar for people; nothing for none."""
    return "" if value is None or value == "" else shown(value) if isinstance(value, Fraction | bool) else str(value)
