"""Where an operator runs: candidates over regions, and programs region by region."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwsim.operators.amounts import Ints
from hwsim.operators.candidates import Candidates, Programs, concatenate
from hwsim.operators.mapper.wafer.machine import Machine

Dims = Mapping[str, Ints]


@dataclass(frozen=True)
class Way:
    """One way to do an operator on a region.

    Attributes
    ----------
    name : str
        For people.
    cycles : callable
        Cycles of cases on a region of some cores a side, int64[P].
    programs : callable
        Their programs, for candidates of some rows.
    squares : int
        Squares on a side that it cuts the region into.
    """

    name: str
    cycles: Callable[[int, Dims], Ints]
    programs: Callable[[int, Dims, Ints], Programs]
    squares: int = 1


def propose(machine: Machine, dims: Dims, ways: Sequence[Way]) -> Candidates:
    """One candidate for every case, region and way."""
    case = np.arange(len(next(iter(dims.values()))))
    parts = []
    for side in machine.sides:
        for number, way in enumerate(ways):
            columns = {"side": side, "way": number, "squares": min(way.squares, side)}
            of = {name: np.full_like(case, value) for name, value in columns.items()}
            parts.append(Candidates(case, 16 * way.cycles(side, dims), of))
    return concatenate(parts)


def programs(dims: Dims, chosen: Candidates, ways: Sequence[Way]) -> list[Programs]:
    """Programs of the chosen candidates, those of one region and way together."""
    found = []
    for number, way in enumerate(ways):
        for side in np.unique(chosen.columns["side"]).tolist():
            rows = np.flatnonzero((chosen.columns["side"] == side) & (chosen.columns["way"] == number))
            if len(rows):
                of = {name: column[chosen.case[rows]] for name, column in dims.items()}
                found.append(way.programs(side, of, rows))
    return found


def describe(names: Sequence[str], chosen: Candidates, row: int) -> str:
    """A candidate in words: "tree on 660 x 660 cores"."""
    side, way, squares = (int(chosen.columns[name][row]) for name in ("side", "way", "squares"))
    cut = f" in {squares} x {squares} squares" * (squares > 1)
    return f"{names[min(way, len(names) - 1)]} on {side} x {side} cores{cut}"
