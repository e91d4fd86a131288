"""A complete tree as values that JSON can hold, in the grammar of the files, and back (a result file keeps them)."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import isfinite
from typing import Any

from hwsim.describe.tree import PROSE, Mark, Path, Tree, is_number, is_single


def to_plain(tree: Tree) -> dict[str, Any]:
    """Values as written; a number whose source is not that of its block carries its own."""
    value = _plain(tree, tree.value, (), "", "")
    assert isinstance(value, dict)
    return value


def _plain(tree: Tree, value: Any, path: Path, source: str, status: str) -> Any:
    """Plain form of a value inside a block that states a source and status."""
    if isinstance(value, dict):
        source, status = str(value.get("source") or source), str(value.get("status") or status)
        return {key: _plain(tree, item, (*path, key), source, status) for key, item in value.items()}
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [_plain(tree, item, (*path, index), source, status) for index, item in enumerate(value)]
    written: Any
    if isinstance(value, list):
        written = [_text(tree, item, (*path, index)) for index, item in enumerate(value)]
    else:
        written = _text(tree, value, path)
    mark = tree.mark(path)
    own = (mark.source, mark.status) != (source, status) and path[-1] not in PROSE
    if own and any(map(is_number, value if isinstance(value, list) else [value])):
        return {"value": written, "source": mark.source, "status": mark.status}
    return written


def _text(tree: Tree, value: Any, path: Path) -> Any:
    """A decimal as a float where its shortest text is the same decimal (JSON keeps that), else as written."""
    if not isinstance(value, Fraction):
        return value
    return float(value) if Fraction(repr(float(value))) == value else tree.mark(path).raw


def from_plain(value: dict[str, Any], where: str) -> Tree:
    """Tree of plain values; marks know their source, not their line."""
    tree = Tree(None, {})
    tree.value = _tree(tree.marks, value, (), Mark(where))
    return tree


def _tree(marks: dict[Path, Mark], value: Any, path: Path, above: Mark) -> Any:
    if isinstance(value, dict):
        source, status = str(value.get("source") or above.source), str(value.get("status") or above.status)
        above = Mark(above.where, source=source, status=status)
        if is_single(value):
            return _tree(marks, value["value"], path, above)
    raw = "" if isinstance(value, dict | list) else str(value)
    marks[path] = replace(above, raw=raw)
    if isinstance(value, dict):
        return {key: _tree(marks, item, (*path, key), above) for key, item in value.items()}
    if isinstance(value, list):
        return [_tree(marks, item, (*path, index), above) for index, item in enumerate(value)]
    return Fraction(raw) if isinstance(value, float) and isfinite(value) else value
