"""The kinds of descriptions: name -> class, and where one kind refers to another."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from functools import cache
from importlib import import_module

from hwsim.describe import library
from hwsim.describe.block import Block, Description, Reference
from hwsim.describe.tree import Path


@cache
def class_of(kind: str) -> type[Description]:
    """Class of a kind; its module is imported now (`hwsim list` needs none of them)."""
    module = import_module(f"hwsim.describe.{library.check_kind(kind)}")
    found = getattr(module, kind.title())
    assert issubclass(found, Description)
    return found


@cache
def references(kind: str) -> dict[Path, str]:
    """Where a kind names other descriptions: path (`*` = any key) -> their kind."""
    return dict(_references(class_of(kind), ()))


def _references(block: type[Block], at: Path) -> Iterator[tuple[Path, str]]:
    for name, field in block.model_fields.items():
        path = (*at, field.alias or name)
        kinds = [item.kind for item in field.metadata if isinstance(item, Reference)]
        if kinds:
            yield path, kinds[0]
        else:
            for inner, keyed in blocks_in(field.annotation):
                yield from _references(inner, (*path, "*") if keyed else path)


def blocks_in(annotation: object) -> Iterator[tuple[type[Block], bool]]:
    """Blocks an annotation holds, and whether they stand below a key or an index."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        yield annotation, False
        return
    keyed = typing.get_origin(annotation) in (dict, list, tuple)
    for argument in typing.get_args(annotation):
        for inner, below in blocks_in(argument):
            yield inner, keyed or below
