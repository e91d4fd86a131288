"""Where each number of a description comes from; what no file says, and a default stands for, is told as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hwsim.describe.block import Block, Description
from hwsim.describe.quantity import Number
from hwsim.describe.tree import PROSE, Path, Tree, dotted, is_number


@dataclass(frozen=True)
class Entry:
    """One number: what it is, how far it can be trusted, who says so and where that is written."""

    path: str
    value: str
    status: str
    source: str
    file: str
    place: str


def entries(description: Description) -> Iterator[Entry]:
    """All numbers (a list of numbers counts as one) of a description and of those it refers to, defaults last."""
    yield from _entries(description.tree, description.tree.value, ())
    yield from _defaults(description, ())


def _defaults(value: object, path: Path) -> Iterator[Entry]:
    """Numbers that no file states and a field has of its own; rows of a list (rules of a memory) are left out."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _defaults(item, (*path, key))
    if not isinstance(value, Block):
        return
    for name, field in type(value).model_fields.items():
        found, here = getattr(value, name), (*path, field.alias or name)
        number = next((each for each in field.metadata if isinstance(each, Number)), None)
        if name in value.model_fields_set:
            yield from _defaults(found, here)
        elif number is not None and found is not None:
            yield Entry(dotted(here), str(number.text(found)), "default", field.description or "", "hwsim", "")


def _entries(tree: Tree, value: Any, path: Path) -> Iterator[Entry]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in (*PROSE, "id"):
                yield from _entries(tree, item, (*path, key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from _entries(tree, item, (*path, index))
    elif any(map(is_number, value if isinstance(value, list) else [value])):
        mark = tree.mark(path)
        text = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else mark.raw or str(value)
        yield Entry(dotted(path), text, mark.status, mark.source, mark.where, mark.place)


def counts(description: Description) -> dict[str, int]:
    """Numbers by status, most trusted first."""
    found = Counter(entry.status or "unstated" for entry in entries(description))
    order = ("published", "measured", "calibrated", "derived", "assumed", "default", "unstated")
    return {status: found[status] for status in order if found[status]}
