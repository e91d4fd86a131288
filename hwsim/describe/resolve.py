"""From a name to one complete tree: `extends`, references to other descriptions, derived systems, overrides."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path as File
from typing import Any

from hwsim.describe import library
from hwsim.describe.classes import DEFAULT_CLASS
from hwsim.describe.kept_trees import read_kept
from hwsim.describe.kinds import references
from hwsim.describe.library import a
from hwsim.describe.tree import Mark, Path, Tree, dotted, excerpt, read, read_set
from hwsim.errors import Fault, InputError, bad

_DERIVED = re.compile(r"(?P<accelerator>.+)-x(?P<count>\d{1,9})")
SERVER = "server-8"  # host of a derived system, where none has the name of its accelerator
_PLACE = re.compile(r"(?P<file>.+):(?P<line>\d+):(?P<column>\d+)")
_LARGEST_FILE = 4_000_000


def read_file(file: File) -> Tree:
    """Tree of one YAML file, before `extends`; read again only when the file changed."""
    try:
        stat = file.stat()
    except OSError as error:
        raise bad(str(file), error.strerror or "no file", "a description file") from None
    if stat.st_size > _LARGEST_FILE:
        raise bad(str(file), f"{stat.st_size} bytes", f"a description of at most {_LARGEST_FILE} bytes")
    return _read_file(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=512)
def _read_file(file: File, _changed: int, _size: int) -> Tree:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise bad(str(file), f"byte {error.object[error.start]:#04x} at offset {error.start}", "UTF-8 text") from None
    except OSError as error:
        raise bad(str(file), error.strerror or "no file", "a description file") from None
    tree = (read_kept if file.is_relative_to(library.root()) else read)(text, shown(file))
    if not isinstance(tree.value, dict):
        found = "an empty file" if tree.value is None else f"a {type(tree.value).__name__}"
        raise bad(f"{shown(file)}:1:1", found, "a mapping such as 'name: ...'")
    return tree


def shown(file: File) -> str:
    """A file as messages name it: below the descriptions' root without the root's own path."""
    root = library.root()
    return str(file.relative_to(root.parent)) if file.is_relative_to(root) else str(file)


def copy(value: Any) -> Any:
    """Independent copy of a plain value."""
    if isinstance(value, dict):
        return {key: copy(item) for key, item in value.items()}
    return [copy(item) for item in value] if isinstance(value, list) else value


def opened(tree: Tree, paths: Iterable[Path]) -> Tree:
    """Copy of a tree to be changed at these paths alone: containers that lie on none are shared with the original."""
    value = tree.value
    for path in paths:
        value = _opened(value, path)
    return Tree(value, dict(tree.marks))


def _opened(value: Any, path: Path) -> Any:
    if not path or not isinstance(value, dict | list):
        return copy(value)
    own: Any = value.copy()
    if path[0] in (own if isinstance(own, dict) else range(len(own))):
        own[path[0]] = _opened(own[path[0]], path[1:])
    return own


def from_file(file: File, kind: str, chain: tuple[str, ...] = ()) -> Tree:
    """Complete tree of a file: parents merged in, references expanded.

    `chain` names the descriptions that led here, so that a circle can be named.
    """
    own = read_file(file)
    stated = own.value.get("kind", kind)
    if stated != kind:
        raise _at(own.mark(("kind",)), f"{stated!r}", a(kind), path="kind")
    tree = _extended(own, kind, file, (*chain, file.stem))
    tree.value.setdefault("id", file.stem)
    expand(tree, kind, ())
    return tree


def beside(name: str, folder: File = File()) -> File | None:
    """YAML file of a folder that a name means, with its suffix or without; None if there is none."""
    file = folder / (name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    return file if name and file.is_file() else None


def file_of(name: str, kind: str, folder: File) -> File | None:
    """File of a name or alias of a kind, or else the YAML file of a folder that the name means; None if there is none.

    What the file describes is not looked at: who reads it says so where it is of another kind.
    """
    return library.file_of(name, kind) or beside(name, folder)


def from_name(name: str, kind: str, folder: File = File()) -> Tree | None:
    """Complete tree of a name, alias or file of a kind, or of a derived system; None if there is none."""
    file = file_of(name, kind, folder)
    if file is None:
        return derived_system(name) if kind == "system" else None
    if kind == "system" and read_file(file).value.get("kind") == "accelerator":
        return derived_system(str(folder / name))
    return from_file(file, kind)


def derived_from(name: str) -> tuple[str, int]:
    """Accelerator and count of a derived system's name; an accelerator in a file of this folder by the file's name."""
    match = _DERIVED.fullmatch(name)
    accelerator, count = (match["accelerator"], int(match["count"])) if match else (name, 1)
    file = None if library.file_of(accelerator, "accelerator") else beside(accelerator)
    return str(file or accelerator), count


def derived_system(name: str) -> Tree | None:
    """Tree of `ACCELERATOR-xCOUNT` (or of one accelerator alone), or None where there is no such accelerator."""
    accelerator, count = derived_from(name)
    if file_of(accelerator, "accelerator", File()) is None:
        return None
    source = f"derived from {accelerator} and its links"
    value = {"id": name, "name": name, "accelerator": accelerator, "count": count}
    value["host"] = accelerator if library.file_of(accelerator, "host") else SERVER
    value |= {"source": source, "status": "derived"}
    marks: dict[Path, Mark] = {(): Mark(name)}
    for key, item in value.items():
        marks[(key,)] = Mark(name, raw=str(item), source=source, status="derived")
    tree = Tree(value, marks)
    expand(tree, "system", ())
    return tree


def _extended(own: Tree, kind: str, file: File, chain: tuple[str, ...], at: Path = ()) -> Tree:
    """A tree merged over the one it extends."""
    tree = Tree(copy(own.value), dict(own.marks), list(own.faults))
    tree.value.pop("kind", None)
    parent_name = tree.value.pop("extends", None)
    mark = own.mark((*at, "extends"))
    if parent_name is None:
        return tree
    parent = _parent(parent_name, kind, file, chain, mark)
    merge(parent, tree)
    parent.value.pop("id", None)
    return parent


def _parent(name: object, kind: str, file: File, chain: tuple[str, ...], mark: Mark) -> Tree:
    """Complete tree of the description that `extends` names: a name of the same kind, or a file beside this one."""
    expected = f"the name of {a(kind)} or a file beside this one"
    if not isinstance(name, str):
        raise _at(mark, repr(name), expected)
    found = file_of(name, kind, file.parent)
    if found is None:
        raise _at(mark, repr(name), expected, library.similar(name, kind))
    if found.stem in chain:
        circle = " -> ".join((*chain[chain.index(found.stem) :], found.stem))
        raise _at(mark, f"a circle {circle}", "a chain of `extends` that ends")
    return from_file(found, kind, chain)


def _at(mark: Mark, got: str, expected: str, cure: str = "", path: str = "extends") -> InputError:
    return bad(mark.place, got, expected, cure, path=path, excerpt=source_line(mark))


def source_line(mark: Mark, key: bool = False) -> str:
    """The line a mark points to, with a caret; empty when it comes from no file."""
    line, column = (mark.key_line, mark.key_column) if key and mark.key_line else (mark.line, mark.column)
    if not line:
        return ""
    file = File(mark.where) if File(mark.where).is_absolute() else library.root().parent / mark.where
    for candidate in (File(mark.where), file):
        if candidate.is_file():
            lines = candidate.read_text(encoding="utf-8", errors="replace").splitlines()
            return excerpt(lines[line - 1], column) if line <= len(lines) else ""
    return ""


def shown_at(fault: Fault) -> Fault:
    """A fault with the line that its `file:line:column` points to, unless it has one."""
    place = _PLACE.fullmatch(fault.where)
    if fault.excerpt or place is None:
        return fault
    return replace(fault, excerpt=source_line(Mark(place["file"], int(place["line"]), int(place["column"]))))


def merge(base: Tree, over: Tree, at: Path = ()) -> None:
    """Lay `over` onto `base` at a path, in place: mappings by key, lists of named mappings by name, `null` removes.

    Everything else replaces what stands there. Marks follow the values.
    """
    base.faults += over.faults
    container, key = _slot(base, at)
    _merge(base, over, container, key, at, (), over.value)


def _slot(base: Tree, at: Path) -> tuple[Any, Any]:
    """Container and key of a path; the root counts as the value of a list of one."""
    if not at:
        holder = [base.value]
        return holder, 0
    return base.at(at[:-1]), at[-1]


def _merge(base: Tree, over: Tree, container: Any, key: Any, at: Path, source: Path, value: Any) -> None:
    present = key in container if isinstance(container, dict) else key < len(container)
    below: Any = container[key] if present else None
    if isinstance(below, dict) and isinstance(value, dict) and "extends" not in value:
        for name, item in value.items():
            if item is None:
                _remove(base, (*at, name))
                if below.pop(name, None) is not None:  # who misses it later is shown the line that removed it
                    base.marks[(*at, name)] = over.mark((*source, name))
            else:
                _merge(base, over, below, name, (*at, name), (*source, name), item)
    elif _named(below) and _named(value):
        positions = {item["name"]: index for index, item in enumerate(below)}
        for index, item in enumerate(value):
            place = positions.get(item["name"], len(below))
            _merge(base, over, below, place, (*at, place), (*source, index), item)
    else:
        if isinstance(below, dict | list):
            _remove(base, at)
        fresh = copy(value)
        if isinstance(container, list) and key == len(container):
            container.append(fresh)
        else:
            container[key] = fresh
        base.marks[at] = over.mark(source)
        for path in paths_below(value, ()):
            base.marks[at + path] = over.mark(source + path)


def _named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) and "name" in item for item in value)


def paths_below(value: Any, path: Path) -> Iterator[Path]:
    """Every path inside a plain value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from paths_below(item, (*path, key))


def _remove(base: Tree, at: Path) -> None:
    """Forget the marks at and below a path."""
    for path in [path for path in base.marks if path[: len(at)] == at]:
        del base.marks[path]


def expand(tree: Tree, kind: str, at: Path) -> None:
    """Replace the names of other descriptions in a tree of some kind by their trees, in place.

    A reference may be a name, or a mapping that `extends` one and says what differs. Faults are collected.
    """
    for pattern, target in references(kind).items():
        for path in list(_matching(tree, at, pattern)):
            try:
                expand_one(tree, path, target)
            except InputError as error:
                # At the reference's path, wherever the fault is: what stands there still is no second one.
                tree.faults += [replace(fault, path=dotted(path)) for fault in error.faults]


def expand_one(tree: Tree, path: Path, kind: str) -> None:
    """Replace one reference by the tree it names."""
    value = tree.at(path)
    name = value.get("extends") if isinstance(value, dict) else value
    mark = tree.mark((*path, "extends") if isinstance(value, dict) else path)
    if name is None or (isinstance(value, dict) and "id" in value and "extends" not in value):
        return
    folder = File(mark.where).parent if mark.line else File()
    found = from_name(name, kind, folder) if isinstance(name, str) else None
    if found is None:
        cure = library.similar(name, kind) if isinstance(name, str) else ""
        raise _at(mark, repr(name), f"the name of {a(kind)}", cure, path=dotted(path))
    if mark.line:  # what is derived from a name stands where the name does
        for at, each in found.marks.items():
            if each.where == name and not each.line:
                found.marks[at] = replace(each, where=mark.where, line=mark.line, column=mark.column)
    wanted, stated = tree.at(path[:-1]).get("class"), found.value.get("class", DEFAULT_CLASS)
    if wanted is not None and kind == "generation" and stated != wanted:
        raise _at(mark, repr(name), f"a generation of class {wanted}", f"it is of class {stated}", path=dotted(path))
    if isinstance(value, dict):
        own = Tree({key: item for key, item in value.items() if key != "extends"}, below(tree, path))
        merge(found, own)
    tree.faults += found.faults
    tree.at(path[:-1])[path[-1]] = found.value
    _remove(tree, path)
    tree.marks |= {(*path, *below): item for below, item in found.marks.items()}


def part(tree: Tree, path: Path) -> Tree:
    """What a tree says at and below a path, as a tree of its own."""
    return Tree(copy(tree.at(path)), below(tree, path))


def below(tree: Tree, path: Path) -> dict[Path, Mark]:
    """Marks at and below a path, by the rest of their path."""
    return {key[len(path) :]: mark for key, mark in tree.marks.items() if key[: len(path)] == path}


def _matching(tree: Tree, at: Path, pattern: Path) -> Iterable[Path]:
    """Paths below `at` that fit a pattern whose steps `*` stand for any key."""
    if not pattern:
        yield at
        return
    try:
        value = tree.at(at)
    except KeyError:
        return
    if not isinstance(value, dict):
        return
    steps = list(value) if pattern[0] == "*" else [pattern[0]]
    for step in steps:
        if value.get(step) is not None:
            yield from _matching(tree, (*at, step), pattern[1:])


def apply_sets(tree: Tree, kind: str, sets: Sequence[str]) -> None:
    """Lay overrides `a.b=value` over a complete tree, in order; a name set where a description stands is looked up.

    A path may start with the kind itself, as it does where a command knows several (`system.accelerator...`).
    """
    for text in sets:
        path, over = read_set(text)
        if path[0] == kind and kind not in tree.value:
            path = path[1:] or path
        lay(tree, kind, path, over, f"--set {text}")


def lay(tree: Tree, kind: str, path: Path, over: Tree, where: str) -> None:
    """Lay one value over a complete tree at a path; a name where a description stands is looked up.

    Parameters
    ----------
    over : Tree
        The value with its marks.
    where : str
        The place to blame for a path that is not there.
    """
    _check_path(tree, path, where)
    merge(tree, over, path)
    for pattern, target in references(kind).items():
        if _fits(path, pattern) and isinstance(over.value, str):
            expand_one(tree, path, target)
            expand(tree, target, path)


def _fits(path: Path, pattern: Path) -> bool:
    return len(path) == len(pattern) and all(want in ("*", step) for step, want in zip(path, pattern))


def _check_path(tree: Tree, path: Path, where: str) -> None:
    """The blocks on the way to an overridden value must be there (the value itself may be new)."""
    value = tree.value
    for index, step in enumerate(path[:-1]):
        inside = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
        if step not in inside:
            near = difflib.get_close_matches(str(step), [str(key) for key in inside], n=1)
            near = near if index else [*_from_here(tree, path), *near]
            known = ", ".join(str(key) for key in inside if isinstance(inside[key], dict | list)) or "no blocks"
            cure = f"did you mean '{near[0]}'?" if near else ""
            raise bad(where, f"'{step}'", f"one of {known}", cure, path=dotted(path[: index + 1]))
        value = inside[step]
    if not isinstance(value, dict | list) or (isinstance(value, list) and not _index_in(value, path[-1])):
        what = "no block" if not isinstance(value, list) else f"a list of {len(value)}"
        raise bad(where, f"'{path[-1]}'", f"a field that exists: {dotted(path[:-1])} is {what}", path=dotted(path))


def _from_here(tree: Tree, path: Path) -> list[str]:
    """A path that starts too far out, or inside the accelerator of a system, as it starts at this tree."""
    found = [path[at:] for at in range(1, len(path)) if path[at] in tree.value]
    inside = tree.value.get("accelerator")
    if isinstance(inside, dict) and path[0] in inside:
        found.append(("accelerator", *path))
    return [".".join(map(str, each)) for each in found]


def _index_in(value: list[Any], step: object) -> bool:
    return isinstance(step, int) and 0 <= step < len(value)
