"""bind: a template, amounts and rates become the work tables that the engine runs. Integers, a whole batch at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np

from hwsim._core import tables
from hwsim.errors import Fault, InputError, bad
from hwsim.operators.bind_plan import plan_of
from hwsim.operators.template import Template
from hwsim.units import ceil_div

RESOURCE_DTYPE = np.dtype([(name, np.int64) for name in ("num", "den", "lat", "gap", "chunk")])
"""Rate num/den units a cycle, latency and gap in cycles, turn of a rotating resource in units (0: whole requests)."""
LAW_DTYPE = np.dtype([(name, np.int64) for name in ("num", "den", "lat", "gap")])
WORK_LIMIT = 1 << 62
CELL_LIMIT = 1 << 31
RATE_LIMIT = 1 << 40
CYCLE_LIMIT = 1 << 31
TRIP_LIMIT = 1 << 40
END_LIMIT = float(1 << 58)
Int64 = np.ndarray


@dataclass(frozen=True)
class Bound:
    """Programs of one template, ready to run.

    Attributes
    ----------
    values : int64[P, V]
        Amounts and trips as given.
    work : int64[P, V]
        1/16 cycles of one pass of a RUN row; trips of a LOOP row.
    latency : int64[P, L]
        Cycles of every law.
    chunk : int64[P, R]
        Turn of a rotating resource in 1/16 cycles, 0 = whole requests.
    cells : int64[P, C]
    status : int32[P]
        `OK` or `REFUSED`; `reasons(i)` says why.
    """

    template: Template
    values: Int64
    work: Int64
    latency: Int64
    chunk: Int64
    cells: Int64
    status: np.ndarray
    _given: Given = field(repr=False)

    def __len__(self) -> int:
        return len(self.status)

    def only(self, program: int) -> Bound:
        """A batch of one."""
        part = slice(program, program + 1)
        return replace(
            self,
            values=self.values[part],
            work=self.work[part],
            latency=self.latency[part],
            chunk=self.chunk[part],
            cells=self.cells[part],
            status=self.status[part],
            _given=self._given.only(program),
        )

    def reasons(self, program: int) -> list[Fault]:
        """Why a program was refused; empty if it was not."""
        return list(_faults(self._given.only(program), f"program {program} of {self.template.name!r}"))

    def require(self) -> Bound:
        """Self, or an InputError with the faults of the first refused program."""
        refused = np.flatnonzero(self.status)
        if len(refused):
            raise InputError(self.reasons(int(refused[0])))
        return self

    def hash(self, program: int) -> str:
        """Content hash: programs of equal hash run equally."""
        digest = sha256(self.template.hash.encode())
        for table in (self.work, self.latency, self.chunk, self.cells):
            digest.update(table[program].tobytes())
        return digest.hexdigest()


def bind(template: Template, values: Int64, resources: np.ndarray, laws: np.ndarray | None = None,
         cells: Int64 | None = None) -> Bound:  # fmt: skip
    """Turn amounts and rates into work.

    Parameters
    ----------
    template : Template
    values : int64[P, V] or int64[V]
        Amounts in their units, trips of loops.
    resources : RESOURCE_DTYPE[P, R] or [R]
    laws : LAW_DTYPE[P, L] or [L], optional
        Laws declared with `TemplateBuilder.law`, in that order.
    cells : int64[P, C] or int64[C], optional

    Returns
    -------
    Bound
        A program that cannot run has status REFUSED; the others are unaffected.

    Raises
    ------
    InputError
        Arrays of the wrong shape.

    Notes
    -----
    work = 16 gap + ceil(16 amount den / num), and 0 for amount 0. Rounded up, so never faster than the rate.
    """
    given = _given(template, values, resources, laws, cells)
    refused = np.zeros(len(given.values), bool)
    for _, _, _, mask in _checks(given):
        refused |= mask.any(axis=1)
    safe = given.values if not refused.any() else np.where(refused[:, None], 0, given.values)
    work = _work(given, safe)
    refused |= _too_long(given, work)
    status = np.where(refused, tables.REFUSED, tables.OK).astype(np.int32)
    chunk = _ceil_rate(given.chunk, given.num[:, : given.chunk.shape[1]], given.den[:, : given.chunk.shape[1]])
    return Bound(template, given.values, work, given.lat, chunk, given.cells, status, given)


@dataclass(frozen=True)
class Given:
    """The inputs of bind, one row a program, laws and resources joined (P x L)."""

    template: Template
    values: Int64
    num: Int64
    den: Int64
    lat: Int64
    gap: Int64
    chunk: Int64
    cells: Int64

    def only(self, program: int) -> Given:
        """The same for one program of the batch."""
        part = slice(program, program + 1)
        columns = (self.values, self.num, self.den, self.lat, self.gap, self.chunk, self.cells)
        return Given(self.template, *(column[part] for column in columns))


def _given(template: Template, values: Int64, resources: np.ndarray, laws: np.ndarray | None,
           cells: Int64 | None) -> Given:  # fmt: skip
    values = np.atleast_2d(np.asarray(values))
    resources = np.atleast_2d(np.asarray(resources, RESOURCE_DTYPE))
    laws = np.atleast_2d(np.zeros((1, 0), LAW_DTYPE) if laws is None else np.asarray(laws, LAW_DTYPE))
    cells = np.atleast_2d(np.zeros((1, 0), np.int64) if cells is None else np.asarray(cells))
    n_resources = template.size("resources")
    expected = {
        "values": (values, template.size("slots")),
        "resources": (resources, n_resources),
        "laws": (laws, template.size("laws") - n_resources),
        "cells": (cells, template.size("cells")),
    }
    count = max(len(array) for array, _ in expected.values())
    for name, (array, width) in expected.items():
        if array.ndim != 2 or array.shape[1] != width or len(array) not in (1, count):
            raise bad(f"bind of {template.name!r}: {name}", f"shape {array.shape}", f"({count} or 1, {width})")
        if array.dtype.kind not in "iV":
            raise bad(f"bind of {template.name!r}: {name}", f"dtype {array.dtype}", "integers", "round up first")

    def rows(array: np.ndarray) -> Int64:
        return np.ascontiguousarray(np.broadcast_to(array, (count, array.shape[1])), np.int64)

    num, den, lat, gap = (
        rows(np.concatenate([np.broadcast_to(resources[part], (count, n_resources)),
                             np.broadcast_to(laws[part], (count, laws.shape[1]))], axis=1))
        for part in ("num", "den", "lat", "gap")
    )  # fmt: skip
    return Given(template, rows(values), num, den, lat, gap, rows(resources["chunk"]), rows(cells))


def _ceil_rate(amount: Int64, num: Int64, den: Int64) -> Int64:
    """1/16 cycles of an amount, rounded up."""
    return ceil_div(amount * (den * tables.SUB), np.maximum(num, 1))


def _work(given: Given, values: Int64) -> Int64:
    plan = plan_of(given.template)
    work = values.copy()
    amount, law = values[:, plan.amounts], plan.amount_law
    served = _ceil_rate(amount, given.num[:, law], given.den[:, law]) + given.gap[:, law] * tables.SUB
    work[:, plan.amounts] = np.where(amount > 0, served, 0)
    return work


Check = tuple[str, tuple[str, ...], Int64, np.ndarray]
"""What is expected, names of the entries, what was got [P, n], where it is wrong [P, n]."""


def _checks(given: Given) -> Iterator[Check]:
    """Every refusal that depends on values, over all programs and entries at once."""
    t, plan = given.template, plan_of(given.template)
    laws = t.names["laws"]
    for part, array, low, high in (
        ("a rate's numerator", given.num, 1, RATE_LIMIT),
        ("a rate's denominator", given.den, 1, RATE_LIMIT),
        ("a latency", given.lat, 0, CYCLE_LIMIT),
        ("a gap", given.gap, 0, CYCLE_LIMIT),
    ):
        yield f"{part} of {low} to {high}", laws, array, (array < low) | (array > high)
    chunk, own = given.chunk, np.arange(given.chunk.shape[1])
    yield "a chunk >= 0 whose work fits 62 bits", t.names["resources"], chunk, _overflows(chunk, given, own)
    yield f"a cell of magnitude below {CELL_LIMIT}", t.names["cells"], given.cells, abs(given.cells) >= CELL_LIMIT
    amounts = given.values[:, plan.amounts]
    over = _overflows(amounts, given, plan.amount_law)
    yield "an amount >= 0 whose work fits 62 bits", plan.amount_names, amounts, over
    counts = given.values[:, plan.trips]
    yield f"trips of 1 to {TRIP_LIMIT}", plan.trip_names, counts, (counts < 1) | (counts > TRIP_LIMIT)
    least = given.cells[:, plan.least_cell]
    yield "delay and step >= 0, issue and signal >= 1", plan.least_names, least, least < plan.least
    transit = given.lat[:, plan.cut_law] + plan.cut_delay.values(given.cells)
    yield "latency + delay >= 1 for cut-through (or cut=False)", plan.cut_names, transit, transit < 1
    here = given.values[:, plan.hop]
    lost = (here == 0) & (given.values[:, plan.head] > 0)
    yield "an amount > 0 as on the chain's first hop", plan.hop_names, here, lost
    for name, size, reach, terms in plan.iterated:
        furthest = np.full((len(given.values), 1), reach)
        for stride, loop in terms:
            furthest[:, 0] += stride * (_most_trips(given, loop) - 1)
        yield f"a column below the slot's size {size}", (name,), furthest, furthest >= size


def _overflows(amounts: Int64, given: Given, law: np.ndarray) -> np.ndarray:
    """Amounts that are negative or whose amount * den * 16 reaches 2^62."""
    return (amounts < 0) | (amounts > (WORK_LIMIT - 1) // (np.maximum(given.den[:, law], 1) * tables.SUB))


def _most_trips(given: Given, loop: int) -> Int64:
    row = given.template.rows[loop]
    return np.clip(given.values[:, row["slot"] : row["slot"] + row["slots"]].max(axis=1), 1, TRIP_LIMIT)


def _too_long(given: Given, work: Int64) -> np.ndarray:
    """Programs that could pass 2^58 cycles were every command to run alone; the core counts without overflow below.

    An upper estimate in doubles: it refuses, it never enters a time.
    """
    plan = plan_of(given.template)
    if not len(plan.row_slot):
        return np.zeros(len(work), bool)
    most = np.maximum.reduceat(work, plan.slot_starts, axis=1).astype(float)
    cycles = most[:, plan.row_slot] / tables.SUB + 2.0 + given.lat[:, plan.row_law]
    cycles += plan.row_delay.values(given.cells) + plan.row_issue.values(given.cells)
    trips = np.concatenate([most, np.ones((len(most), 1))], axis=1)
    for depth in range(plan.nest.shape[1]):
        cycles *= trips[:, plan.nest[:, depth]]
    return cycles.sum(axis=1) >= END_LIMIT


def _faults(given: Given, where: str) -> Iterator[Fault]:
    found = False
    for expected, names, got, mask in _checks(given):
        for entry in np.flatnonzero(mask[0]):
            found = True
            yield Fault(f"{where}: {names[entry]}", str(got[0, entry]), expected)
    if not found and _too_long(given, _work(given, given.values))[0]:
        yield Fault(where, "a program that may run longer than 2^58 cycles", "a shorter one", "check trips and amounts")
