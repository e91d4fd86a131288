"""Fields that a block does not know beside fields that a block misses: one slip of a word or a line, told as one.

A misspelt key is an unknown field and leaves a missing one; a line that is indented wrongly, or whose heading is gone,
does so as well. Each unknown field is asked which missing one it explains.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hwsim.describe.tree import Path, dotted

Fields = Callable[[Path], list[str]]  # names of the fields of the block at a path; none where there is no block


@dataclass(frozen=True)
class Home:
    """Where an unknown field belongs: the missing field it explains, and what to do."""

    missing: Path
    cure: str
    is_heading: bool = False  # one missing heading explains all fields that stood below it


def homes(unknown: Sequence[Path], missing: Iterable[Path], empty: Sequence[Path], fields: Fields) -> dict[Path, Home]:
    """Which missing field, or block without fields, each unknown field explains.

    Parameters
    ----------
    unknown, missing, empty : sequence of paths
        Of the fields, and of blocks with nothing in them, in the order of the file.
    fields : callable
        Names of the fields of the block at a path.
    """
    left = list(missing)
    found: dict[Path, Home] = {}
    for path in unknown:
        taken = [home.missing for home in found.values() if home.is_heading]
        home = _emptied(path, empty, fields)
        home = home or _misspelt(path, left) or _moved(path, left) or _below(path, [*taken, *left], fields)
        if home is not None:
            found[path] = home
            left = [each for each in left if each != home.missing]
    return found


def _emptied(path: Path, empty: Iterable[Path], fields: Fields) -> Home | None:
    """A block that has such a field and lost all of its own to the lines around it."""
    for each in empty:
        inner, outer = sorted((path[:-1], each[:-1]), key=len, reverse=True)
        if path[-1] in fields(each) and inner[: len(outer)] == outer:
            return Home(each, f"it belongs to '{dotted(each)}': indent it further than that line", is_heading=True)
    return None


def _misspelt(path: Path, missing: Iterable[Path]) -> Home | None:
    """A missing field of the same block with nearly the same name."""
    beside = [each for each in missing if each[:-1] == path[:-1]]
    near = similar(str(path[-1]), [str(each[-1]) for each in beside])
    return next((Home(each, f"did you mean '{near}'?") for each in beside if each[-1] == near), None)


def _moved(path: Path, missing: Iterable[Path]) -> Home | None:
    """The same name, missing further out or further in."""
    for each in missing:
        inner, outer = sorted((path[:-1], each[:-1]), key=len, reverse=True)
        if each[-1] == path[-1] and inner[: len(outer)] == outer:
            block = f"'{dotted(each[:-1])}'" if len(each) > 1 else "the file itself"
            return Home(each, f"it belongs to {block}: check the indentation", is_heading=True)
    return None


def _below(path: Path, missing: Iterable[Path], fields: Fields) -> Home | None:
    """A missing block that has such a field, in the block around it or further out."""
    for each in missing:
        if path[: len(each) - 1] == each[:-1] and path[-1] in fields(each):
            cure = f"it belongs to '{dotted(each)}': write the line '{each[-1]}:' above it"
            return Home(each, cure, is_heading=True)
    return None


def similar(word: str, known: Iterable[str]) -> str:
    """The known word that is all but the same; empty if none is."""
    choices = {choice.lower(): choice for choice in known}
    near = difflib.get_close_matches(word.lower(), choices, n=1, cutoff=0.6)
    return choices[near[0]] if near else ""
