"""Files of serving points: one a row, checked whole, written back with their answers.

A malformed file raises with all its faults and nothing is answered. A well-formed row that cannot run keeps its place
with empty figures and the reason in `error`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hwsim import files
from hwsim.analyse.point import MOST, Case, Point, points
from hwsim.describe.named import Names
from hwsim.describe.routing import EXPECTED, distribution
from hwsim.errors import Fault
from hwsim.serving.deployment import KV_DTYPES, PRECISIONS, REGIONS

NEEDED = ("system", "model", "concurrency", "isl", "osl")
EXAMPLE = "system,software,model,precision,tp,pp,dp,ep,concurrency,isl,osl"
FIGURES = tuple(field.name for field in fields(Point) if field.name not in ("shares", "parts", "gating"))
ANSWERS = (*FIGURES, "error")
NAMES = {"system": "system", "software": "software", "model": "model", "offload": "device"}  # column -> kind
WORDS = {"precision": PRECISIONS, "kv_dtype": KV_DTYPES}


@dataclass(frozen=True)
class PointFile:
    """A checked file: its header, its rows as they stand, and what each asks."""

    header: list[str]
    rows: list[list[str]]
    cases: list[Case]


def read(path: Path) -> PointFile:
    """Read and check a file of points.

    Raises
    ------
    InputError
        Every fault of the file, each as file:line.
    """
    where, header, lines = files.read_csv(path, NEEDED, EXAMPLE)
    names, cases = Names(), []
    faults = files.misspelt(where, header, [field.name for field in fields(Case)])
    for line, cells in lines:
        found, wrong = _case(f"{path}:{line}", header, cells, names)
        cases += [found] if found else []
        faults += wrong
    files.refuse(path, faults)
    return PointFile(header, [cells for _, cells in lines], cases)


def _case(where: str, header: list[str], cells: list[str], names: Names) -> tuple[Case | None, list[Fault]]:
    """What a row asks, or its faults."""
    if len(cells) != len(header):
        return None, [Fault(where, f"{len(cells)} cells", f"{len(header)} as in the header")]
    given = {name: cell.strip() for name, cell in zip(header, cells)}
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for field in fields(Case):
        text = given.get(field.name, "")
        if text or field.name in NEEDED:
            kind = NAMES.get(field.name)
            wrong = names.faults(kind, text, where) if kind else _faults(where, field.name, text)
            faults += wrong
            values[field.name] = int(text) if field.name in MOST and not wrong else text
    return (None if faults else Case(**values)), faults


def _faults(where: str, name: str, text: str) -> list[Fault]:
    """What is wrong with a cell that names no description."""
    got = f"{name} {text!r}" if text else f"no {name}"
    if name in MOST:
        right = text.isascii() and text.isdigit() and 1 <= int(text) <= MOST[name]
        return [] if right else [Fault(where, got, f"a whole number from 1 to {MOST[name]}")]
    if name in REGIONS:
        right = re.fullmatch(r"[1-9]\d{0,4}x[1-9]\d{0,4}", text) is not None
        return [] if right else [Fault(where, got, "a region of cores, rows x columns", f"e.g. {name} 660x660")]
    if name == "routing":
        return [] if distribution(text) is not None else [Fault(where, got, EXPECTED)]
    return [] if text in WORDS[name] else [Fault(where, got, "one of " + ", ".join(WORDS[name]))]


def answer(asked: PointFile) -> Iterator[tuple[int, list[str]]]:
    """Row numbers with their ANSWERS, deployment by deployment."""
    for number, found in points(asked.cases):
        if isinstance(found, Point):
            yield number, [*(_text(getattr(found, name)) for name in FIGURES), ""]
        else:
            reason = "; ".join(str(fault) for fault in found.faults).replace("\n", " ")
            yield number, [""] * (len(ANSWERS) - 1) + [reason]


def _text(value: float | str | None) -> str:
    return value if isinstance(value, str) else "" if value is None else f"{value:.9g}"


def write(asked: PointFile, answers: dict[int, list[str]], path: Path) -> None:
    """Write the rows in their order with their answers, whole or not at all."""
    files.write_csv(path, asked.header, asked.rows, ANSWERS, answers)
