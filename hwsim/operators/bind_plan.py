"""What bind needs to know of a template, worked out once: which columns, rows and operands each check looks at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hwsim._core import tables
from hwsim.operators.template import Template

Names = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Operands:
    """Operands of a column: the constants, and the places where cells go."""

    fixed: np.ndarray
    """int64[n], 0 where a cell goes."""
    places: np.ndarray
    cells: np.ndarray

    @classmethod
    def of(cls, column: np.ndarray) -> Operands:
        """From a column of the tables."""
        places = np.flatnonzero(column >= tables.CELL)
        return cls(np.where(column >= tables.CELL, 0, column).astype(np.int64), places, column[places] - tables.CELL)

    def values(self, cells: np.ndarray) -> np.ndarray:
        """int64[P, n] for cells int64[P, C]."""
        filled = np.repeat(self.fixed[None], len(cells), axis=0)
        if len(self.places):
            filled[:, self.places] = cells[:, self.cells]
        return filled


@dataclass(frozen=True, eq=False)
class Plan:
    """Indices into the tables of one template."""

    amounts: np.ndarray
    """Columns of values that are amounts, and their law, one entry each."""
    amount_law: np.ndarray
    amount_names: Names
    trips: np.ndarray
    """Columns of values that are trips."""
    trip_names: Names
    least_cell: np.ndarray
    """Cells used where a value has a lower limit, those limits, and who uses them."""
    least: np.ndarray
    least_names: Names
    cut_law: np.ndarray
    """Law and delay of rows that cut through."""
    cut_delay: Operands
    cut_names: Names
    head: np.ndarray
    """Columns of first hops and, entry by entry, of the later hops of their chains."""
    hop: np.ndarray
    hop_names: Names
    iterated: tuple[tuple[str, int, int, tuple[tuple[int, int], ...]], ...]
    """Rows with ITER terms: name, size of the slot, reach of the other terms, (stride, loop row) of each ITER term."""
    slot_starts: np.ndarray
    """First columns of all slots, in order."""
    row_slot: np.ndarray
    """Of each RUN row on a resource: its slot (index into slot_starts), law, delay, issue interval."""
    row_law: np.ndarray
    row_delay: Operands
    row_issue: Operands
    nest: np.ndarray
    """Of each of those rows: slots of the enclosing loops' trips, padded with -1, int[rows, depth]."""


@lru_cache(maxsize=256)
def plan_of(t: Template) -> Plan:
    """The plan of a template; templates are frozen, so it is kept."""
    rows = t.rows
    names = np.array(t.names["rows"], dtype=object)
    amounts, trips = np.flatnonzero(t.slot_law >= 0), np.flatnonzero(t.slot_law == -1)
    slot_starts = np.array(sorted(slot.index for slot in t.slots.values()), np.int64)
    slot_names = t.names["slots"]
    cut = np.flatnonzero(rows["flags"] & tables.CUT)
    head, hop, hop_names = _hops(t)
    cells, least, least_names = _limits(t)
    run = np.flatnonzero((rows["op"] == tables.RUN) & (rows["resource"] >= 0))
    queue = np.searchsorted(t.queues["end"], run, side="right")
    return Plan(
        amounts=amounts,
        amount_law=t.slot_law[amounts],
        amount_names=tuple(slot_names[column] for column in amounts),
        trips=trips,
        trip_names=tuple(slot_names[column] for column in trips),
        least_cell=cells,
        least=least,
        least_names=least_names,
        cut_law=rows["law"][cut],
        cut_delay=Operands.of(rows["delay"][cut]),
        cut_names=tuple(names[cut]),
        head=head,
        hop=hop,
        hop_names=hop_names,
        iterated=_iterated(t),
        slot_starts=slot_starts,
        row_slot=np.searchsorted(slot_starts, rows["slot"][run]),
        row_law=rows["law"][run],
        row_delay=Operands.of(rows["delay"][run]),
        row_issue=Operands.of(t.queues["issue"][queue]),
        nest=_nest(t, run, slot_starts),
    )


def _hops(t: Template) -> tuple[np.ndarray, np.ndarray, Names]:
    head: list[int] = []
    hop: list[int] = []
    names: list[str] = []
    first = 0
    for index, row in enumerate(t.rows):
        if not row["flags"] & tables.HOP:
            first = index
            continue
        head += range(t.rows["slot"][first], t.rows["slot"][first] + row["slots"])
        hop += range(row["slot"], row["slot"] + row["slots"])
        names += [t.names["rows"][index]] * int(row["slots"])
    return np.array(head, np.int64), np.array(hop, np.int64), tuple(names)


def _limits(t: Template) -> tuple[np.ndarray, np.ndarray, Names]:
    """Cells that stand for a delay, an interval, an increment or a step; constants were checked by build."""
    found: list[tuple[int, int, str]] = []
    for column, used, least in (("delay", "op", 0), ("done_by", "done", 1), ("freed_by", "freed", 1),
                                ("step0", "wait0", 0), ("step1", "wait1", 0)):  # fmt: skip
        for index in np.flatnonzero((t.rows[used] >= 0) & (t.rows[column] >= tables.CELL)):
            found.append((t.rows[column][index] - tables.CELL, least, f"{t.names['rows'][index]}: {column}"))
    for index in np.flatnonzero(t.queues["issue"] >= tables.CELL):
        found.append((t.queues["issue"][index] - tables.CELL, 1, f"{t.names['queues'][index]}: issue"))
    cells, least_of, names = zip(*found) if found else ((), (), ())
    return np.array(cells, np.int64), np.array(least_of, np.int64), tuple(names)


def _iterated(t: Template) -> tuple[tuple[str, int, int, tuple[tuple[int, int], ...]], ...]:
    found = []
    for row, name in zip(t.rows, t.names["rows"]):
        terms = t.vary[row["vary"] : row["vary"] + row["terms"]]
        moving = terms["kind"] == tables.ITER
        if moving.any():
            iterating = tuple((int(term["stride"]), int(term["loop"])) for term in terms[moving])
            found.append((name, int(row["slots"]), int(terms["stride"][~moving].sum()), iterating))
    return tuple(found)


def _nest(t: Template, run: np.ndarray, slot_starts: np.ndarray) -> np.ndarray:
    loops = np.flatnonzero(t.rows["op"] == tables.LOOP)
    slots = np.searchsorted(slot_starts, t.rows["slot"][loops])
    around = [slots[(t.rows["target"][loops] <= row) & (loops > row)] for row in run]
    nest = np.full((len(run), max((len(entry) for entry in around), default=0)), -1)
    for index, entry in enumerate(around):
        nest[index, : len(entry)] = entry
    return nest
