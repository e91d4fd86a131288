"""What a mapper hands over: candidates of many cases with an integer rank each, then programs of the chosen ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from hwsim.operators.program import RESOURCE_DTYPE, Template


@dataclass(frozen=True)
class Candidates:
    """Candidate programs of a batch of cases.

    Attributes
    ----------
    case : int64[C]
        Which case a candidate is for.
    rank : int64[C]
        Closed-form estimate in 1/16 cycles. It orders candidates of a case and is never reported as a time.
    columns : mapping of str to int64[C]
        The mapper's own parameters (tile, split, ...).
    """

    case: np.ndarray
    rank: np.ndarray
    columns: Mapping[str, np.ndarray]

    @staticmethod
    def one_each(dims: Mapping[str, np.ndarray], **columns: np.ndarray) -> Candidates:
        """One candidate a case: there is nothing to choose."""
        case = np.arange(len(next(iter(dims.values()))))
        return Candidates(case, np.zeros_like(case), columns)

    def take(self, index: np.ndarray) -> Candidates:
        """The candidates at `index`, in that order."""
        return Candidates(self.case[index], self.rank[index], {name: c[index] for name, c in self.columns.items()})

    def best(self, count: int) -> Candidates:
        """The `count` best of every case by rank; of equal ones the first proposed. Sorted by case, then rank."""
        order = np.lexsort((self.rank, self.case))
        case = self.case[order]
        first = np.flatnonzero(np.r_[True, case[1:] != case[:-1]]) if len(case) else np.zeros(0, np.int64)
        place = np.arange(len(case)) - np.repeat(first, np.diff(np.r_[first, len(case)]))
        return self.take(order[place < count])


def concatenate(parts: list[Candidates]) -> Candidates:
    """Candidates of several chunks of cases, one after the other."""
    names = parts[0].columns
    return Candidates(
        np.concatenate([p.case for p in parts]),
        np.concatenate([p.rank for p in parts]),
        {name: np.concatenate([p.columns[name] for p in parts]) for name in names},
    )


def in_pieces(
    dims: Mapping[str, np.ndarray], most: int, propose: Callable[[dict[str, np.ndarray]], Candidates]
) -> Candidates:
    """Candidates of `most` cases at a time, so that their columns stay in the cache."""
    parts = []
    for start in range(0, len(next(iter(dims.values()))), most):
        part = propose({name: column[start : start + most] for name, column in dims.items()})
        parts.append(replace(part, case=part.case + start))
    return concatenate(parts)


@dataclass(frozen=True)
class Programs:
    """Programs of one template for some of the chosen candidates.

    Attributes
    ----------
    index : int64[Q]
        Rows of the chosen candidates they time.
    values, cells : int64[Q, ...]
    rates : RESOURCE_DTYPE[R] or [Q, R]
    laws : LAW_DTYPE, optional
    flops : int64[Q], optional
        FLOP issued, where the passes of a group of equal cores would count idle ones; else counted from the passes.
    bytes : mapping of str to int64[Q]
        The same for bytes of tiers; tiers that are not named are counted from the passes.
    """

    template: Template
    index: np.ndarray
    values: np.ndarray
    rates: np.ndarray
    cells: np.ndarray | None = None
    laws: np.ndarray | None = None
    flops: np.ndarray | None = None
    bytes: Mapping[str, np.ndarray] = field(default_factory=dict)

    def part(self, rows: slice | np.ndarray) -> Programs:
        """Some of the programs."""
        return replace(
            self,
            index=self.index[rows],
            values=self.values[rows],
            rates=_rows(self.rates, rows),
            cells=_rows(self.cells, rows),
            laws=_rows(self.laws, rows),
            flops=None if self.flops is None else self.flops[rows],
            bytes={tier: amount[rows] for tier, amount in self.bytes.items()},
        )


def _rows(array: Any, rows: slice | np.ndarray) -> Any:
    """Rows of what differs by program; what all share stays."""
    return array if array is None or array.ndim == 1 or len(array) == 1 else array[rows]


def rates_of(template: Template, rates: Mapping[str, tuple[Fraction, int]]) -> np.ndarray:
    """Resource rows of a template, RESOURCE_DTYPE[R].

    Parameters
    ----------
    rates : mapping of str to (Fraction, int)
        Rate and latency by the resource's name without the number of its group ("port" for port.0, port.1, ...);
        resources that are not named serve one unit a cycle.
    """
    rows = np.zeros(template.size("resources"), RESOURCE_DTYPE)
    rows["num"] = rows["den"] = 1
    for index, name in enumerate(template.names["resources"]):
        if (given := rates.get(name.split(".")[0])) is not None:
            rate, latency = given
            rows["num"][index], rows["den"][index], rows["lat"][index] = rate.numerator, rate.denominator, latency
    return rows
