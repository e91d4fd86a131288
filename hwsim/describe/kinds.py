"""The kinds of descriptions: name -> class, and where one kind refers to another."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib import import_module

from hwsim.describe import library
from hwsim.describe.block import Block, Description, Reference
from hwsim.describe.classes import OfClass, narrowed
from hwsim.describe.tree import Path, Tree


@cache
def class_of(kind: str) -> type[Description]:
    """Class of a kind; its module is imported now (`hwsim list` needs none of them)."""
    module = import_module(f"hwsim.describe.{library.check_kind(kind)}")
    found = getattr(module, kind.title())
    assert issubclass(found, Description)
    return found


@cache
def references(kind: str) -> dict[Path, str]:
    """Where a kind, and what it refers to, names other descriptions: path (`*` = any key) -> their kind."""
    return dict(_references(class_of(kind), ()))


def _references(block: type[Block], at: Path, around: tuple[type[Block], ...] = ()) -> Iterator[tuple[Path, str]]:
    if block in around:
        return  # a block that holds its like (an axis made of axes) names nothing further in that it does not name here
    around = (*around, block)
    for each in block.subclasses().values() if issubclass(block, OfClass) else ():
        yield from _references(each, at, around)
    for name, field in block.model_fields.items():
        path = (*at, field.alias or name)
        kinds = [item.kind for item in field.metadata if isinstance(item, Reference)]
        if kinds:
            yield path, kinds[0]
            yield from _references(class_of(kinds[0]), path, around)
        else:
            for inner, keyed in blocks_in(field.annotation):
                yield from _references(inner, (*path, "*") if keyed else path, around)


def blocks_in(annotation: object) -> Iterator[tuple[type[Block], bool]]:
    """Blocks an annotation holds, and whether they stand below a key or an index."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        yield annotation, False
        return
    keyed = typing.get_origin(annotation) in (dict, list, tuple)
    for argument in typing.get_args(annotation):
        for inner, below in blocks_in(argument):
            yield inner, keyed or below


def field_names(block: type[Block]) -> list[str]:
    """Names a block may use in a file."""
    return [field.alias or name for name, field in block.model_fields.items()]


def starting(path: str, starts: Mapping[str, str]) -> str:
    """A dotted path with the start before it that its first step belongs below; empty if it belongs nowhere.

    Parameters
    ----------
    starts : mapping of str to str
        Start ("system.accelerator.", ...) -> kind of the description there.
    """
    first = path.partition("=")[0].split(".")[0]
    return next((start + path for start, kind in starts.items() if first in field_names(class_of(kind))), "")


def block_at(cls: type[Block], path: Path, tree: Tree) -> type[Block] | None:
    """Class of the block at a path of a description, or None where there is no block."""
    found = narrowed(cls, tree.value)
    for depth, step in enumerate(path, 1):
        try:
            found = narrowed(inside(found, step), tree.at(path[:depth]))
        except KeyError:
            return None
    return found if isinstance(found, type) and issubclass(found, Block) else None


@lru_cache(maxsize=4096)
def inside(annotation: object, step: str | int) -> object:
    """Annotation one step further in: of a field, or of the values of a mapping or list."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return _annotations(annotation).get(str(step))
    if typing.get_origin(annotation) in (dict, list):
        return _bare(typing.get_args(annotation)[-1])
    return None


@cache
def _annotations(block: type[Block]) -> dict[str, object]:
    """Bare annotation of each field as files name it."""
    return {field.alias or name: _bare(field.annotation) for name, field in block.model_fields.items()}


def _bare(annotation: object) -> object:
    """An annotation without `Annotated` and `| None`."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _bare(typing.get_args(annotation)[0])
    inner = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
    if len(inner) == 1 and typing.get_origin(annotation) not in (dict, list, tuple):
        return _bare(inner[0])
    return annotation
