"""Published points against simulation: what a point is, its error, and a table of many by software stack.

A point is `scored`; or `in fit`, scored among the points that a number of its stack was fitted to; or `fit`, where a
number was fitted to it and to nothing else of the data; or a `bound`, which simulation must not pass; or the `least`
that it must reach; or an end of a `band`, where what was run is not published; or `reported`, where it is another time
than a stack's numbers are about, or holds something that no description of a chip can tell; its `reason` says what.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hwsim.describe.loader import load
from hwsim.describe.provenance import Entry, entries
from hwsim.errors import bad

Row = Mapping[str, str]
Role = Literal["scored", "in fit", "fit", "bound", "least", "band", "reported"]
SCORED: Mapping[Role, str] = {"scored": "scored that took no part", "in fit": "scored in the fit"}
# What the sources of numbers say that were fitted to published points, and not to times of single kernels.
FITTED_TO = (
    "LLM-Inference-Bench",
    "Splitwise",
    "gpt-fast",
    "profile lib-",
    "single-stream speeds",
    "Cerebras, August 2024",
    "WaferLLM, Table 4",
    "PopTransformer",
)


@dataclass(frozen=True)
class Case:
    """A published point and how to simulate it.

    Attributes
    ----------
    stack, label : str
        Software profile; what was run.
    metric : str
        Of the file: tokens a second, microseconds, ...
    published : float
    simulated : callable
        The same metric, simulated.
    role : str
    system : str
        That it ran on, where its description holds numbers fitted to such points.
    reason : str
        Why it is reported only.
    """

    stack: str
    label: str
    metric: str
    published: float
    simulated: Callable[[], float]
    role: Role = "scored"
    system: str = ""
    reason: str = ""


def read(path: Path) -> list[Row]:
    """Rows of a file of points."""
    if not path.is_file():
        raise bad(str(path), "no such file", "a folder with the measured tables", "name it with --measured")
    with path.open(newline="", encoding="utf-8") as rows:
        return list(csv.DictReader(rows))


@dataclass(frozen=True)
class Answer:
    """A case with what was simulated; `error` is relative and signed."""

    case: Case
    simulated: float

    @property
    def error(self) -> float:
        """Relative error."""
        return self.simulated / self.case.published - 1


def answers(of: Iterable[Case]) -> list[Answer]:
    """All cases simulated."""
    return [Answer(case, case.simulated()) for case in of]


def fitted(stack: str, systems: Iterable[str] = ()) -> dict[str, Entry]:
    """Numbers of a stack, its collectives and its systems fitted to published points; power is not counted."""
    found = {}
    for name in (stack, *dict.fromkeys(systems)):
        for entry in entries(load(name)):
            told = entry.status == "calibrated" and any(word in entry.source for word in FITTED_TO)
            if told and "power" not in entry.path.split("."):
                found[entry.place + entry.path.rsplit(".", 1)[-1]] = entry
    return found


def table(found: list[Answer]) -> str:
    """Points by stack, with the median error of those that are scored and what was fitted to such points."""
    head = f"{'software':<20} {'point':<46} {'metric':<26} {'published':>10} {'simulated':>10} {'error %':>8}  role"
    lines, reasons = [head], list(dict.fromkeys(answer.case.reason for answer in found if answer.case.reason))
    for stack in dict.fromkeys(answer.case.stack for answer in found):
        own = [answer for answer in found if answer.case.stack == stack]
        lines += [_line(answer, reasons) for answer in own]
        lines += _sums(stack, own)
    return "\n".join([*lines, *(f"[{number}] {reason}" for number, reason in enumerate(reasons, 1))])


def _sums(stack: str, own: list[Answer]) -> Iterator[str]:
    """Medians of a stack of errors, of points that took no part in a fit and of those that did; what was fitted."""
    numbers = fitted(stack, (answer.case.system for answer in own if answer.case.system))
    names = ", ".join(f"{entry.path} {entry.value}" for entry in numbers.values()) or "none"
    fits = sum(answer.case.role in ("in fit", "fit") for answer in own)
    yield f"{stack:<20} fitted numbers {len(numbers)}, points of the fit {fits}: {names}"
    for role, what in SCORED.items():
        errors = [100 * abs(answer.error) for answer in own if answer.case.role == role]
        if errors:
            spread = f"median {float(np.median(errors)):.1f} %, at most {max(errors):.1f} %"
            yield f"{stack:<20} {len(errors)} {what}: {spread}"


def _line(answer: Answer, reasons: list[str]) -> str:
    case = answer.case
    why = f" [{reasons.index(case.reason) + 1}]" if case.reason else ""
    return (
        f"{case.stack:<20} {case.label:<46} {case.metric:<26} {case.published:>10.5g} {answer.simulated:>10.5g} "
        f"{100 * answer.error:>+8.1f}  {case.role}{why}"
    )
