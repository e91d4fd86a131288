"""Parsed files kept on disk by their content: ruamel.yaml takes 4 us a byte, and every run reads the same files.

Kept is what `tree.read` returned for a text without faults, as JSON rows in the order they were read. The key holds the
text and this file's format; a file that cannot be read or does not fit is parsed again, never trusted. Only the
library's own files are kept, so that the folder does not grow with what a user tries.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path as File
from typing import Any

from hwsim.describe.tree import Mark, Path, Tree, read, scalar

_FORMAT = "trees-2"


def folder() -> File:
    """The cache folder: HWSIM_CACHE, or ~/.cache/hwsim; parsed files lie in one below it."""
    return File(os.environ.get("HWSIM_CACHE") or File.home() / ".cache" / "hwsim") / _FORMAT


def read_kept(text: str, where: str) -> Tree:
    """`tree.read`, from the disk where the same text was read before."""
    home = folder() / hashlib.blake2b(f"{where}\n{text}".encode(), digest_size=16).hexdigest()
    try:
        return _tree(json.loads(home.read_bytes()), where)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        pass
    tree = read(text, where)
    if not tree.faults:
        _keep(home, _rows(tree))
    return tree


def clear() -> None:
    """Delete all parsed files."""
    shutil.rmtree(folder(), ignore_errors=True)


def _rows(tree: Tree) -> list[list[Any]]:
    """One row a mark: path, kind of value (mapping, sequence, plain or quoted scalar), the mark."""
    rows = []
    for path, mark in tree.marks.items():
        value = tree.at(path)
        kind = (
            "m"
            if isinstance(value, dict)
            else "s"
            if isinstance(value, list)
            else "q"
            if isinstance(value, str)
            else "p"
        )
        place = [mark.line, mark.column, mark.key_line, mark.key_column]
        rows.append([list(path), kind, mark.raw, mark.source, mark.status, *place])
    return rows


def _tree(rows: list[list[Any]], where: str) -> Tree:
    """The inverse of `_rows`; containers come before what they hold."""
    marks: dict[Path, Mark] = {}
    holder: list[Any] = [None]
    for steps, kind, raw, source, status, line, column, key_line, key_column in rows:
        path = tuple(steps)
        marks[path] = Mark(where, line, column, raw, source, status, key_line, key_column)
        value: Any = {} if kind == "m" else [] if kind == "s" else raw if kind == "q" else scalar(raw)
        _put(holder, path, value)
    return Tree(holder[0], marks)


def _put(holder: list[Any], path: Path, value: Any) -> None:
    if not path:
        holder[0] = value
        return
    inside: Any = holder[0]
    for step in path[:-1]:
        inside = inside[step]
    if isinstance(inside, list):
        inside.append(value)
    else:
        inside[path[-1]] = value


def _keep(home: File, rows: list[list[Any]]) -> None:
    """Write by rename; a folder that cannot be written is no fault."""
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=home.parent, suffix=".tmp", delete=False) as part:
            json.dump(rows, part)
        os.replace(part.name, home)
    except OSError:
        return
