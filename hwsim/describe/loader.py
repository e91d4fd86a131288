"""From a name or file to a frozen object, or to all its faults at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from os import PathLike
from pathlib import Path as File
from typing import Any

from pydantic import ValidationError

from hwsim.describe import faults, library
from hwsim.describe.block import Block, Description
from hwsim.describe.classes import narrowed
from hwsim.describe.kinds import class_of, field_names, inside
from hwsim.describe.library import a
from hwsim.describe.misplaced import similar
from hwsim.describe.plain import from_plain
from hwsim.describe.resolve import (
    apply_sets,
    beside,
    derived_from,
    derived_system,
    expand,
    from_file,
    from_name,
    read_file,
)
from hwsim.describe.tree import Path, Tree
from hwsim.errors import InputError, bad, check_type

_FILE = re.compile(r".*\.(ya?ml|json)$")


def load(name: str | File, kind: str | None = None, sets: Sequence[str] = ()) -> Description:
    """Frozen description of a name, a YAML file or a Hugging Face config.json.

    Parameters
    ----------
    name : str or path
        "h100-sxm", "h100-sxm-x8" (derived), "vllm" (an alias), "chips/mine.yaml", "config.json".
    kind : str, optional
        "accelerator", "system", "model", ...; without it the first kind that has the name (`library.FOLDERS`).
    sets : sequence of str
        Overrides "a.b=value", laid over the complete tree in order.

    Raises
    ------
    InputError
        Unknown name, or everything that is wrong with the file.
    """
    check_type("name", name, (str, PathLike), "the name of a description or a file")
    check_type("sets", sets, (list, tuple), "a list of overrides such as ['clocks.core=1.5 GHz']")
    for text in sets:
        check_type("sets", text, str, "an override such as 'clocks.core=1.5 GHz'")
    if kind is not None:
        check_type("kind", kind, str, "the name of a kind")
        library.check_kind(kind)
    text = str(name)
    if File(text).exists() or beside(text) or File(derived_from(text)[0]).exists():
        return _load(text, kind, tuple(sets))  # a user's file may change under a running process
    return _known(text, kind, tuple(sets))


@lru_cache(maxsize=256)
def _known(name: str, kind: str | None, sets: tuple[str, ...]) -> Description:
    return _load(name, kind, sets)


def _load(name: str, kind: str | None, sets: tuple[str, ...]) -> Description:
    kind, tree = find(name, kind)
    apply_sets(tree, kind, sets)
    return build(kind, tree)


def find(name: str, kind: str | None = None) -> tuple[str, Tree]:
    """Kind and complete tree of a name or file.

    Raises
    ------
    InputError
        No such name or file; a file whose kind is not told.
    """
    if (File(name) / "config.json").is_file():
        name = str(File(name) / "config.json")
    if _FILE.match(name):
        return _find_file(File(name), kind)
    if kind is None and not _kinds_of(name) and (file := beside(name)):
        return _find_file(file, None)
    for each in [kind] if kind else _kinds_of(name) or ["system"]:
        tree = from_name(name, each)
        if tree is not None:
            return each, tree
    expected = f"the name of {a(kind or 'description')}"
    raise bad(repr(name), "no such description", expected, library.similar(name, kind))


def _kinds_of(name: str) -> list[str]:
    """Kinds that have a description of a name; systems derived from an accelerator have no file."""
    return [kind for kind in library.FOLDERS if library.file_of(name, kind)]


def _find_file(file: File, kind: str | None) -> tuple[str, Tree]:
    if not file.is_file():
        raise bad(str(file), "no such file", "a description file")
    if file.suffix == ".json":
        from hwsim.describe.huggingface import tree_of_config

        if kind not in (None, "model"):
            raise bad(str(file), "a JSON file", f"{a(kind)} in YAML", "only models are read from JSON")
        return "model", tree_of_config(file)
    own = read_file(file)
    stated = own.value.get("kind")
    if kind == "system" and stated == "accelerator":
        alone = derived_system(str(file))
        assert alone
        return kind, alone
    told = kind or stated or library.kind_of_file(file) or ("study" if "study" in own.value else None)
    if told is None:
        raise _without_kind(own, file)
    library.check_kind(str(told), own.mark(("kind",)).place if stated else "kind")
    return str(told), from_file(file, str(told))


def _without_kind(own: Tree, file: File) -> InputError:
    near = similar("kind", own.value)
    place, cure = f"{file}:1:1", "add the line, or say the kind"
    if near:
        place, cure = own.mark((near,)).key_place, f"did you mean 'kind' where '{near}' stands?"
    likely = _likely_kinds(own.value)
    expected = " or ".join(f"`kind: {kind}`" for kind in likely) + (", which has its keys" if len(likely) == 1 else "")
    return bad(place, "a file without a kind", expected, cure)


def _likely_kinds(keys: Mapping[str, Any]) -> list[str]:
    """Kinds that know most of a file's keys; all where none knows one."""
    known = {kind: len(set(field_names(class_of(kind))).intersection(keys)) for kind in library.FOLDERS}
    return [kind for kind, count in known.items() if count == max(known.values())]


def build(kind: str, tree: Tree) -> Description:
    """Object of a complete tree, or all faults of it at once."""
    cls = class_of(kind)
    found = list(tree.faults)
    value = _validated(tree.value, cls)
    built: Description | None = None
    try:
        built = cls.model_validate(value)
    except ValidationError as error:
        found += faults.of_validation(error, cls, tree)
    if cls.needs_source:
        found += faults.without_source(tree, found)
    if found or built is None:
        raise InputError(faults.distinct(found))
    built._tree = tree
    return built


def rebuilt(base: Description, tree: Tree, paths: Sequence[Path]) -> Description:
    """Object of a complete tree that differs from another's at these paths alone: `build`, in a tenth of the time.

    What lies on no path is taken from `base` as it was built; whatever is refused is built whole, for its faults.
    """
    try:
        built = type(base).model_validate(_mixed(base, tree.value, paths))
        unsourced = base.needs_source and any(any(faults.without_source(tree, [], path)) for path in paths)
    except (ValidationError, KeyError):
        unsourced = True
    if tree.faults or unsourced:
        return build(base.kind, tree)
    built._tree = tree
    return built


def _mixed(built: Block, value: dict[str, Any], paths: Sequence[Path]) -> dict[str, Any]:
    """Plain values of a block, with the blocks in place that were built already and lie on no path."""
    names = {field.alias or name: name for name, field in type(built).model_fields.items()}
    mixed: dict[str, Any] = {}
    for key, item in value.items():
        inside_it = [path[1:] for path in paths if path[0] == key]
        made = getattr(built, names[key], None) if key in names else None
        if isinstance(made, Block) and inside_it and all(inside_it) and isinstance(item, dict):
            mixed[key] = _mixed(made, item, inside_it)
        elif not inside_it and _of_blocks(made):
            mixed[key] = made
        else:
            mixed[key] = _validated(item, inside(type(built), key))
    return mixed


def _of_blocks(made: object) -> bool:
    """Whether a built value is a block or a mapping of them, which pydantic takes as they are."""
    return isinstance(made, Block) or (
        isinstance(made, dict) and bool(made) and all(isinstance(item, Block) for item in made.values())
    )


def _validated(value: Any, annotation: object) -> Any:
    """Copy of a value without the sources stated in mappings that are no blocks: the marks have them."""
    annotation = narrowed(annotation, value)
    if isinstance(value, list):
        return [_validated(item, inside(annotation, index)) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    is_block = isinstance(annotation, type)
    kept = value if is_block else {key: item for key, item in value.items() if key not in ("source", "status")}
    return {key: _validated(item, inside(annotation, key)) for key, item in kept.items()}


def restore(kind: str, resolved: Mapping[str, Any], where: str = "resolved description") -> Description:
    """Object of values that `Description.resolved()` gave (a result file holds them)."""
    tree = from_plain(dict(resolved), where)
    expand(tree, kind, ())
    return build(kind, tree)
