"""From what pydantic found wrong to faults with a place, the value as written, and a cure."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hwsim.describe.block import Description
from hwsim.describe.kinds import block_at, field_names
from hwsim.describe.resolve import source_line
from hwsim.describe.tree import PROSE, Path, Tree, dotted, is_number
from hwsim.errors import Fault

# What pydantic calls a fault -> what was expected ({...} from its context).
_EXPECTED: dict[str, str] = {
    "missing": "a value",
    "string_type": "a text",
    "bool_type": "true or false",
    "model_type": "a block of fields",
    "model_attributes_type": "a block of fields",
    "dict_type": "a block of named values",
    "list_type": "a list",
    "tuple_type": "a list",
    "none_required": "nothing",
    "literal_error": "one of {expected}",
}


def of_validation(error: ValidationError, cls: type[Description], tree: Tree) -> list[Fault]:
    """Faults of a failed validation, one for each thing wrong."""
    return [_fault(item, cls, tree) for item in error.errors(include_url=False)]


def _fault(item: ErrorDetails, cls: type[Description], tree: Tree) -> Fault:
    loc: Path = tuple(step for step in item["loc"] if step != "[key]")
    context = item.get("ctx", {})
    kind = item["type"]
    if kind == "hwsim":
        got = str(context["got"]) if "at" in context else _shown(tree, loc, item["input"])
        path = (*loc, context["at"]) if "at" in context else loc
        return _at(tree, path, got, str(context["expected"]), str(context.get("cure", "")))
    if kind == "extra_forbidden":
        return _unknown(tree, loc, cls)
    if kind == "missing":
        return _missing(tree, loc, cls)
    expected = _EXPECTED.get(kind, item["msg"][:1].lower() + item["msg"][1:])
    expected = expected.format(**{key: str(value) for key, value in context.items()}) if "{" in expected else expected
    in_key = "[key]" in item["loc"]
    got = repr(loc[-1]) if in_key else _shown(tree, loc, item["input"])
    return _at(tree, loc, got, expected, _cure(item, expected), key=in_key or item["input"] is None)


def _shown(tree: Tree, path: Path, value: Any) -> str:
    """A value as the file writes it."""
    if isinstance(value, dict):
        return "a block"
    if isinstance(value, list):
        return "a list"
    mark = tree.marks.get(path)
    text = mark.raw if mark and mark.raw else str(value)
    if value is None:
        return "nothing"
    return repr(text) if isinstance(value, str) else text


def _cure(item: ErrorDetails, expected: str) -> str:
    """What to do about a value of another type."""
    value = item["input"]
    if item["type"] == "literal_error" and isinstance(value, str):
        choices = expected.removeprefix("one of ").replace(" or ", ", ").split(",")
        return _did_you_mean(value, [choice.strip().strip("'") for choice in choices])
    if item["type"] == "string_type":
        return "put it in quotes"
    return ""


def _did_you_mean(word: str, known: typing.Iterable[str]) -> str:
    choices = {choice.lower(): choice for choice in known}
    near = difflib.get_close_matches(word.lower(), choices, n=1, cutoff=0.6)
    return f"did you mean '{choices[near[0]]}'?" if near else ""


def _at(tree: Tree, path: Path, got: str, expected: str, cure: str = "", key: bool = False) -> Fault:
    mark = tree.mark(path)
    place = mark.key_place if key else mark.place
    return Fault(place, got, expected, cure, dotted(path), source_line(mark, key))


def _unknown(tree: Tree, loc: Path, cls: type[Description]) -> Fault:
    block = block_at(cls, loc[:-1], tree)
    known = field_names(block) if block else []
    cure = _did_you_mean(str(loc[-1]), known)
    return _at(tree, loc, f"unknown field '{loc[-1]}'", f"one of {', '.join(known)}", cure, key=True)


def _missing(tree: Tree, loc: Path, cls: type[Description]) -> Fault:
    block = block_at(cls, loc[:-1], tree)
    field = next((f for name, f in block.model_fields.items() if (f.alias or name) == loc[-1]), None) if block else None
    meaning = f" ({field.description})" if field and field.description else ""
    expected = f"the field '{loc[-1]}'{meaning}"
    removed = tree.marks.get(loc)
    if removed is not None:
        cure = "leave the line out to keep what the base says"
        return Fault(removed.place, "null", expected, cure, dotted(loc), source_line(removed))
    mark = tree.mark(loc[:-1])
    return Fault(mark.key_place, "nothing", expected, "", dotted(loc), source_line(mark, key=True))


def without_source(tree: Tree, wrong: set[str]) -> Iterator[Fault]:
    """A fault for the first number of each block that lacks source or status, paths already `wrong` left out."""
    seen: set[Path] = set()
    for path, value in tree.leaves():
        mark = tree.mark(path)
        if path[-1] in PROSE or (mark.source and mark.status) or not is_number(value):
            continue
        if path[:-1] in seen or dotted(path) in wrong:
            continue
        seen.add(path[:-1])
        lacking = " and ".join(word for word, text in (("source", mark.source), ("status", mark.status)) if not text)
        got = f"{mark.raw!r} without {lacking}"
        yield _at(tree, path, got, "`source: ...` and `status: ...` in its block", "say where the number comes from")


def distinct(faults: list[Fault]) -> list[Fault]:
    """Faults in the order of the file, without those that follow from another at the same place or above."""
    kept: list[Fault] = []
    for fault in faults:
        if not any(_covers(other, fault) for other in kept):
            kept.append(fault)
    return sorted(kept, key=_place)


def _covers(known: Fault, other: Fault) -> bool:
    same = known.path == other.path and known.where == other.where
    return bool(known.path) and (same or other.path.startswith((f"{known.path}.", f"{known.path}[")))


def _place(fault: Fault) -> tuple[str, int, int]:
    file, line, column = (*fault.where.rsplit(":", 2), "", "")[:3]
    return (file, int(line), int(column)) if line.isdigit() and column.isdigit() else (fault.where, 0, 0)
