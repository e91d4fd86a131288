"""From what pydantic found wrong to faults with a place, the value as written, and a cure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hwsim.describe.block import Block, Description
from hwsim.describe.kinds import block_at, field_names, inside
from hwsim.describe.misplaced import Home, homes, similar
from hwsim.describe.resolve import source_line
from hwsim.describe.tree import PROSE, Path, Tree, dotted, is_number, leaves
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
    items = [(_path(item), item) for item in error.errors(include_url=False)]
    missing, unknown = (
        sorted((path for path, item in items if item["type"] == kind), key=lambda path: tree.mark(path).key_line)
        for kind in ("missing", "extra_forbidden")
    )
    base = next((path for path in unknown if len(path) == 1 and similar(str(path[0]), ["extends"])), None)
    if base is not None:  # all that the base says is missing: nothing else is worth a word
        return [_fault(base, dict(items)[base], cls, tree, Home(base, _did_you_mean("extends", ["extends"])))]
    empty = [path for path, item in items if item["type"] == "model_type" and item["input"] is None]
    found = homes(unknown, missing, empty, lambda path: _fields_of(cls, path, tree))
    misnamed = {path for path, item in items if "[key]" in item["loc"]}
    explained, headings = {home.missing for home in found.values()}, set[Path]()
    kept = []
    for path, item in sorted(items, key=lambda each: each[0] not in found):
        home = found.get(path)
        if path in misnamed and "[key]" not in item["loc"]:
            continue  # whatever a wrong name stands for
        if path in explained or (home is not None and home.missing in headings):
            continue
        if home is not None and home.is_heading:
            headings.add(home.missing)
        kept.append(_fault(path, item, cls, tree, home))
    return kept


def _path(item: ErrorDetails) -> Path:
    return tuple(step for step in item["loc"] if step != "[key]")


def _fields_of(cls: type[Description], path: Path, tree: Tree) -> list[str]:
    """Fields of the block that a missing field would be."""
    around = block_at(cls, path[:-1], tree)
    block = inside(around, path[-1]) if around else None
    return field_names(block) if isinstance(block, type) and issubclass(block, Block) else []


def _fault(loc: Path, item: ErrorDetails, cls: type[Description], tree: Tree, home: Home | None) -> Fault:
    context = item.get("ctx", {})
    kind = item["type"]
    if kind == "hwsim":
        got = str(context["got"]) if "at" in context else _shown(tree, loc, item["input"])
        steps = context.get("at", "").split(".") if "at" in context else ()
        path = (*loc, *(int(step) if step.isdigit() else step for step in steps))
        expected, cure = str(context["expected"]), str(context.get("cure", ""))
        return _at(tree, path, got, expected, cure, key=path not in tree.marks)
    if kind == "extra_forbidden":
        return _unknown(tree, loc, cls, home)
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
        sourced = ("source", "status") if "[key]" in item["loc"] else ()
        return _did_you_mean(value, [*(choice.strip().strip("'") for choice in choices), *sourced])
    if item["type"] == "string_type":
        return "put it in quotes"
    return ""


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = similar(word, known)
    return f"did you mean '{near}'?" if near else ""


def _at(tree: Tree, path: Path, got: str, expected: str, cure: str = "", key: bool = False) -> Fault:
    mark = tree.mark(path)
    place = mark.key_place if key else mark.place
    return Fault(place, got, expected, cure, dotted(path), source_line(mark, key))


_MISSPELT = {_did_you_mean(word, [word]) for word in ("source", "status", "extends")}


def _unknown(tree: Tree, loc: Path, cls: type[Description], home: Home | None) -> Fault:
    block = block_at(cls, loc[:-1], tree)
    known = field_names(block) if block else []
    cure = home.cure if home else _did_you_mean(str(loc[-1]), known)
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


def without_source(tree: Tree, found: list[Fault], at: Path = ()) -> Iterator[Fault]:
    """One fault for all numbers of a file that lack source or status, but for those with a fault already.

    Looks at what stands below `at`.
    """
    wrong = {fault.path for fault in found}
    if any(fault.cure in _MISSPELT for fault in found):
        return
    lacking: dict[tuple[str, str], list[Path]] = {}
    for path, value in leaves(tree.at(at), at):
        mark = tree.mark(path)
        if path[-1] in PROSE or (mark.source and mark.status) or not is_number(value):
            continue
        if any(dotted(path[:end]) in wrong for end in range(1, len(path) + 1)):
            continue
        words = " and ".join(word for word, text in (("source", mark.source), ("status", mark.status)) if not text)
        lacking.setdefault((mark.where, words), []).append(path)
    for (_, words), paths in lacking.items():
        first, *others = paths
        lines = sorted({tree.mark(path).line for path in others} - {tree.mark(first).line})
        cure = "say where the number comes from, there or once at the top of the file" + _so_do(lines)
        got = f"{tree.mark(first).raw!r} without {words}"
        yield _at(tree, first, got, "`source: ...` and `status: ...` in its block", cure)


def _so_do(lines: list[int]) -> str:
    """Lines that lack the same."""
    if not lines:
        return ""
    told = ", ".join(map(str, lines[:8])) + (f" and {len(lines) - 8} more" if len(lines) > 8 else "")
    return f"; the same of line{'s' if len(lines) > 1 else ''} {told}"


def distinct(faults: list[Fault]) -> list[Fault]:
    """Faults in the order of the file, without those that follow from another at the same place or above."""
    kept: list[Fault] = []
    for fault in faults:
        if not any(_covers(other, fault) for other in kept):
            kept.append(fault)
    return sorted(kept, key=_place)


def _covers(known: Fault, other: Fault) -> bool:
    """Whether a fault says what is known.

    It does at the same place or below it, where the known one lies in the file that a reference there names, and for a
    value that an anchor repeats elsewhere.
    """
    elsewhere = known.where.rsplit(":", 2)[0] != other.where.rsplit(":", 2)[0]
    same = known.path == other.path and (elsewhere or known.where == other.where)
    repeated = (known.where, known.got, known.expected) == (other.where, other.got, other.expected)
    return bool(known.path) and (same or repeated or other.path.startswith((f"{known.path}.", f"{known.path}[")))


def _place(fault: Fault) -> tuple[str, int, int]:
    file, line, column = (*fault.where.rsplit(":", 2), "", "")[:3]
    return (file, int(line), int(column)) if line.isdigit() and column.isdigit() else (fault.where, 0, 0)
