"""Templates: the static tables of a program, written once per mapper and shape of program, and their builder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hwsim._core import tables
from hwsim._core.bounds import BOUND_CLASSES, BOUND_INDEX
from hwsim.errors import InputError, bad
from hwsim.operators.program_rules import check_rows

UNITS = ("cycle", "B", "FLOP")
MAX_TERMS = 3
MAX_CHAIN = 63
_VARY_KINDS = {"first": tables.FIRST, "last": tables.LAST, "iter": tables.ITER}
_RESOURCE_KINDS = {"fifo": tables.FIFO, "rotate": tables.ROTATE}


@dataclass(frozen=True)
class Handle:
    """One entry of a table; usable as an index (`values[:, slot]`)."""

    name: str
    index: int

    def __index__(self) -> int:
        return self.index


class Counter(Handle):
    """A number that only grows; queues wait until it reaches a threshold."""


class Cell(Handle):
    """An integer filled in per program where the builder takes `int or Cell`."""


@dataclass(frozen=True)
class Law(Handle):
    """Rate, gap and latency of one kind of traffic on a resource."""

    resource: int


class Resource(Law):
    """What serves requests; also the law of its own traffic."""


@dataclass(frozen=True)
class Slot(Handle):
    """`size` neighbouring columns of the values: amounts of a RUN row or trips of a LOOP row."""

    size: int


@dataclass(frozen=True)
class Loop:
    """A loop of one queue, named by the vary terms of the rows inside it."""

    number: int
    queue: int


Operand = int | Cell
Signal = Counter | tuple[Counter, Operand] | None
Wait = tuple[Counter, Operand] | tuple[Counter, Operand, Operand]
Vary = tuple[Loop, str, int]


@dataclass(frozen=True, eq=False)
class Template:
    """Static tables of a program with the names of everything in them; equal content gives an equal `hash`."""

    name: str
    resources: np.ndarray
    queues: np.ndarray
    rows: np.ndarray
    vary: np.ndarray
    law_resource: np.ndarray
    """Resource of each law, int32[laws]; law i is resource i's own for i < number of resources."""
    slot_law: np.ndarray
    """Law of each column that RUN rows use, -1 for trips, -2 for columns nobody uses."""
    slot_unit: np.ndarray
    """Index into UNITS of each column."""
    slot_mult: np.ndarray
    """Operand: cores a pass of the column stands for (1 unless the resource is per core)."""
    names: dict[str, tuple[str, ...]]
    """Names of resources, laws, queues, rows, counters, slots and cells, by index."""
    slots: dict[str, Slot]
    hash: str = field(repr=False)

    def size(self, what: str) -> int:
        """Number of resources, laws, queues, rows, counters, slots (columns) or cells."""
        return len(self.names[what])

    @property
    def n_pace(self) -> int:
        """Number of loops that ask for a steady-state check."""
        return int(np.count_nonzero(self.rows["pace"] >= 0))


class TemplateBuilder:
    """Writes a Template: declare resources, counters and slots, then the rows of one queue after the other.

    The order in which queues are declared breaks ties between them. Mistakes are raised at the call that makes
    them, those of the whole by `build`.

    Parameters
    ----------
    name : str
        Names the template in messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._names: dict[str, list[str]] = {what: [] for what in ("resources", "queues", "counters", "slots", "cells")}
        self._resources: list[tuple[int, int, int]] = []
        self._laws: list[tuple[str, int]] = []
        self._slots: dict[str, Slot] = {}
        self._queues: list[QueueBuilder] = []

    def resource(self, name: str, bound: str, kind: str = "fifo", per_core: bool = False) -> Resource:
        """Declare a resource.

        Parameters
        ----------
        bound : str
            Class charged for its occupancy, one of `BOUND_CLASSES`.
        kind : {"fifo", "rotate"}
            Requests in arrival order, or queues in turns of one chunk.
        per_core : bool
            One for each of the equal cores that a queue stands for: accounting multiplies by the queue's `mult`.
        """
        if bound not in BOUND_INDEX:
            raise self._bad(f"resource {name!r}", repr(bound), "a bound class: " + ", ".join(BOUND_CLASSES))
        if kind not in _RESOURCE_KINDS:
            raise self._bad(f"resource {name!r}", repr(kind), "'fifo' or 'rotate'")
        if self._laws:
            raise self._bad(f"resource {name!r}", "a resource after a law", "all resources first")
        self._resources.append((_RESOURCE_KINDS[kind], BOUND_INDEX[bound], int(per_core)))
        index = self._new("resources", name)
        return Resource(name, index, index)

    def law(self, name: str, resource: Resource) -> Law:
        """Declare other traffic on a resource, with its own rate, gap and latency (paged, written, ...)."""
        if name in (known for known, _ in self._laws) or name in self._names["resources"]:
            raise self._bad(f"law {name!r}", "the name twice", "a new name")
        self._laws.append((name, resource.index))
        return Law(name, len(self._resources) + len(self._laws) - 1, resource.index)

    def counter(self, name: str) -> Counter:
        """Declare a counter; it starts at 0 and only ever grows."""
        return Counter(name, self._new("counters", name))

    def slot(self, name: str, size: int = 1) -> Slot:
        """Declare `size` columns of values that the rows of one law and one `mult`, or loops, may share."""
        if size < 1:
            raise self._bad(f"slot {name!r}", size, "a size of at least 1")
        first = self._new("slots", name)
        self._names["slots"] += [f"{name}[{more}]" for more in range(1, size)]
        self._slots[name] = Slot(name, first, size)
        return self._slots[name]

    def cell(self, name: str) -> Cell:
        """Declare a cell: an integer given per program (a depth, a latency, a number of cores)."""
        return Cell(name, self._new("cells", name))

    def queue(self, name: str, issue: Operand = 1, prio: int = 0, mult: Operand = 1) -> QueueBuilder:
        """Open a queue; its rows run in order, at most one command a cycle.

        Parameters
        ----------
        issue : int or Cell
            Least cycles between two issues, at least 1, also after a row that was waited for (sync).
        prio : int
            0 to 3, 0 first; read by rotating resources only.
        mult : int or Cell
            Equal cores it stands for; accounting only.
        """
        if not 0 <= prio <= 3:
            raise self._bad(f"queue {name!r}", f"prio {prio}", "0 to 3")
        queue = QueueBuilder(self, self._new("queues", name), name, (issue, prio, mult))
        self._queues.append(queue)
        return queue

    def build(self) -> Template:
        """Check the whole and freeze it.

        Raises
        ------
        InputError
            All faults of the template: empty queues and loops, foreign loops, the counter law, ...
        """
        rows, vary, queues = self._assemble()
        resources = np.array(self._resources, tables.RESOURCE_ROW)
        law_resource = np.array([*range(len(resources)), *(index for _, index in self._laws)], np.int32)
        slot_law, slot_unit, slot_mult = self._slot_columns(rows, queues, resources)
        names = {what: tuple(entries) for what, entries in self._names.items()}
        names["laws"] = (*names["resources"], *(name for name, _ in self._laws))
        names["rows"] = tuple(f"{queue.name}: {name}" for queue in self._queues for name in queue.row_names)
        faults = check_rows(self.name, names, resources, queues, rows, vary)
        if faults:
            raise InputError(faults)
        arrays = (resources, queues, rows, vary, law_resource, slot_law, slot_unit, slot_mult)
        digest = hashlib.sha256(repr((tables.SUB, *(len(names[what]) for what in sorted(names)))).encode())
        for array in arrays:
            array.setflags(write=False)
            digest.update(array.tobytes())
        return Template(self.name, *arrays, names, dict(self._slots), digest.hexdigest())

    def _assemble(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of all queues one after the other, with loop numbers replaced by LOOP rows."""
        rows: list[dict[str, int]] = []
        vary: list[tuple[int, int, int]] = []
        queues: list[tuple[int, ...]] = []
        pace = 0
        for queue in self._queues:
            first = len(rows)
            place = {loop: first + row for loop, row in queue.loop_rows.items()}
            for entry, terms in queue.entries:
                entry = dict(entry, vary=len(vary), terms=len(terms))
                vary += [(place[loop], kind, stride) for loop, kind, stride in terms]
                if entry["op"] == tables.LOOP:
                    entry["target"] += first
                    if entry["pace"] >= 0:
                        entry["pace"], pace = pace, pace + 1
                rows.append(entry)
            issue, prio, mult = queue.settings
            queues.append((first, len(rows), prio, operand(issue), operand(mult)))
        table = np.full(len(rows), -1, dtype=np.dtype(tables.ROW))
        for index, entry in enumerate(rows):
            for name, value in entry.items():
                table[name][index] = value
        for loop, kind, _ in vary:
            if kind == tables.ITER:
                table["flags"][loop] |= tables.ITERATED
        return table, np.array(vary, tables.VARY_ROW), np.array(queues, tables.QUEUE_ROW)

    def _slot_columns(
        self, rows: np.ndarray, queues: np.ndarray, resources: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What each column of the values is for; a column serves one law and one mult, or trips of loops."""
        count = len(self._names["slots"])
        law, unit, mult = (np.full(count, fill, np.int32) for fill in (-2, 0, 1))
        units = [entry_unit for queue in self._queues for entry_unit in queue.units]
        for queue in queues:
            for index in range(queue["first"], queue["end"]):
                row = rows[index]
                if row["slot"] < 0:
                    continue
                columns = slice(row["slot"], row["slot"] + row["slots"])
                per_core = row["op"] == tables.RUN and resources[row["resource"]]["per_core"]
                use = (int(row["law"]), units[index], int(queue["mult"]) if per_core else 1)
                known = (int(law[columns][0]), int(unit[columns][0]), int(mult[columns][0]))
                if known[0] != -2 and known != use:
                    raise self._bad(
                        f"slot {self._names['slots'][row['slot']]!r}",
                        "rows of different laws, units or mult (or a loop and a row)",
                        "one law, unit and mult a slot",
                        "declare a slot for each",
                    )
                law[columns], unit[columns], mult[columns] = use
        return law, unit, mult

    def _new(self, what: str, name: str) -> int:
        if name in self._names[what]:
            raise self._bad(f"{what[:-1]} {name!r}", "the name twice", "a new name")
        self._names[what].append(name)
        return len(self._names[what]) - 1

    def _bad(self, what: str, got: object, expected: str, cure: str = "") -> InputError:
        return bad(f"template {self.name!r}: {what}", got, expected, cure)


class QueueBuilder:
    """Rows of one queue, in order. Made by `TemplateBuilder.queue`."""

    def __init__(self, owner: TemplateBuilder, index: int, name: str, settings: tuple[Operand, int, Operand]) -> None:
        self.owner = owner
        self.index = index
        self.name = name
        self.settings = settings
        self.entries: list[tuple[dict[str, int], list[tuple[int, int, int]]]] = []
        self.units: list[int] = []
        self.row_names: list[str] = []
        self.loop_rows: dict[int, int] = {}
        self._open: list[Loop] = []
        self._loops = 0

    @contextmanager
    def loop(self, trips: Slot, pace: bool = False, vary: Sequence[Vary] = (), name: str = "") -> Iterator[Loop]:
        """Repeat the rows inside the `with` block; the trips, at least 1, are a value.

        Parameters
        ----------
        pace : bool
            Look for the steady state at this back-edge (at most four loops of a template, of the first group).
        vary : sequence of (Loop, "first" | "last" | "iter", stride)
            Terms of enclosing loops that choose the column of `trips`.
        """
        target = len(self.entries)
        terms = self._terms(vary, "loop")
        loop = Loop(self._loops, self.index)
        self._loops += 1
        self._open.append(loop)
        yield loop
        self._open.pop()
        if len(self.entries) == target:
            raise self._bad("a loop without rows", "at least one row in the body")
        self.loop_rows[loop.number] = len(self.entries)
        entry = {"op": tables.LOOP, "slot": trips.index, "slots": trips.size, "target": target, "chain": 1}
        self._append(name or f"loop {trips.name}", entry | {"flags": 0, "pace": 0 if pace else -1}, terms, 0)

    def run(
        self,
        law: Law | None,
        amount: Slot | None = None,
        *,
        delay: Operand = 0,
        wait: Sequence[Wait] = (),
        done: Signal = None,
        freed: Signal = None,
        sync: bool = False,
        vary: Sequence[Vary] = (),
        unit: str = "cycle",
        then: Sequence[tuple[Law, Slot, dict[str, Any]] | tuple[Law, Slot]] = (),
        cut: bool = True,
        name: str = "",
    ) -> None:
        """Append a command, or with `law=None` a zero row that waits and signals and takes no time.

        Parameters
        ----------
        law : Resource, Law or None
            Where it runs, and at which rate.
        amount : Slot
            Amount in `unit`; 0 makes the whole chain a zero row: it signals at once, even while earlier commands
            of the same row are on their way.
        delay : int or Cell
            Cycles after the law's latency before the data count as arrived.
        wait : sequence of (Counter, base) or (Counter, base, step)
            Passed when the counter has reached base + step * passes so far; step 1 by default. At most two here,
            more are put in zero rows in front.
        done, freed : Counter or (Counter, increment)
            Signalled when the data have arrived, and when the resource lets go.
        sync : bool
            The queue goes on only when the chain is done.
        vary : sequence of (Loop, "first" | "last" | "iter", stride)
            Terms, at most three, that choose the column of every slot of the chain.
        unit : {"cycle", "B", "FLOP"}
            What the amount counts; for accounting.
        then : sequence of (Law, Slot, options)
            Further hops; options are delay, done, freed, cut, unit, name.
        cut : bool
            The next hop starts with this one's first data (virtual cut-through) instead of its last.
        """
        terms = self._terms(vary, name or "row")
        waits = list(wait)
        while len(waits) > 2:
            self._append("wait", self._waits(waits[:2]) | _ZERO, [], 0)
            waits = waits[2:]
        if law is None:
            self._zero_row(amount, then, waits, done, freed, name)
            return
        if amount is None:
            raise self._bad("a row on a resource without an amount", "a slot")
        head: dict[str, Any] = {"delay": delay, "done": done, "freed": freed, "cut": cut, "unit": unit, "name": name}
        hops = [(law, amount, head)] + [(hop[0], hop[1], hop[2] if len(hop) > 2 else {}) for hop in then]
        if len(hops) > MAX_CHAIN:
            raise self._bad(f"a chain of {len(hops)} hops", f"at most {MAX_CHAIN}", "split it at a counter")
        for place, (hop_law, slot, options) in enumerate(hops):
            self._hop(hop_law, slot, options, len(hops) - place, place > 0, sync)
            if place == 0:
                self.entries[-1][0].update(self._waits(waits))
                self.entries[-1][1].extend(terms)

    def _zero_row(
        self, amount: Slot | None, then: Sequence[Any], waits: list[Wait], done: Signal, freed: Signal, name: str
    ) -> None:
        if amount is not None or then:
            raise self._bad("an amount or hops on a row without a resource", "neither")
        entry = _ZERO | self._waits(waits) | _signal("done", done) | _signal("freed", freed)
        self._append(name or "signal", entry, [], 0)

    def _hop(self, law: Law, slot: Slot, options: dict[str, Any], left: int, hop: bool, sync: bool) -> None:
        unknown = set(options) - {"delay", "done", "freed", "cut", "unit", "name"}
        if unknown:
            raise self._bad(f"hop option {sorted(unknown)[0]!r}", "delay, done, freed, cut, unit or name")
        unit = options.get("unit") or "cycle"
        if unit not in UNITS:
            raise self._bad(f"unit {unit!r}", ", ".join(UNITS))
        more = left > 1
        flags = tables.MORE * more | tables.HOP * hop | tables.WAIT_DONE * (sync and not more)
        flags |= tables.CUT * (more and options.get("cut", True))
        entry = {"op": tables.RUN, "resource": law.resource, "law": law.index, "slot": slot.index, "slots": slot.size}
        entry |= {"delay": operand(options.get("delay", 0)), "flags": flags, "chain": left}
        entry |= _signal("done", options.get("done")) | _signal("freed", options.get("freed"))
        self._append(options.get("name") or f"{law.name} {slot.name}", entry, [], UNITS.index(unit))

    def _waits(self, waits: Sequence[Wait]) -> dict[str, int]:
        entry: dict[str, int] = {}
        for place, (counter, base, *step) in enumerate(waits):
            growth = operand(step[0] if step else 1)
            entry |= {f"wait{place}": counter.index, f"base{place}": operand(base), f"step{place}": growth}
        return entry

    def _terms(self, vary: Sequence[Vary], what: str) -> list[tuple[int, int, int]]:
        if len(vary) > MAX_TERMS:
            raise self._bad(f"{what}: {len(vary)} vary terms", f"at most {MAX_TERMS}")
        for loop, kind, stride in vary:
            if loop not in self._open:
                raise self._bad(f"{what}: vary on a loop that does not enclose it", "an enclosing loop of this queue")
            if kind not in _VARY_KINDS or stride < 1:
                raise self._bad(f"{what}: vary {(kind, stride)}", "'first', 'last' or 'iter' and a stride >= 1")
        return [(loop.number, _VARY_KINDS[kind], stride) for loop, kind, stride in vary]

    def _append(self, name: str, entry: dict[str, int], terms: list[tuple[int, int, int]], unit: int) -> None:
        self.entries.append((entry, terms))
        self.units.append(unit)
        self.row_names.append(name)

    def _bad(self, got: object, expected: str, cure: str = "") -> InputError:
        return self.owner._bad(f"queue {self.name!r}", got, expected, cure)


_ZERO = {"op": tables.RUN, "delay": 0, "flags": 0, "chain": 1}


def operand(value: Operand) -> int:
    """The int32 of rows.pxd: a value below CELL, or CELL + the number of a cell."""
    if isinstance(value, Cell):
        return tables.CELL + value.index
    if not -tables.CELL < int(value) < tables.CELL:
        raise bad("operand", value, f"an integer of magnitude below {tables.CELL}", "give it as a cell")
    return int(value)


def _signal(kind: str, signal: Signal) -> dict[str, int]:
    if signal is None:
        return {}
    counter, by = (signal, 1) if isinstance(signal, Counter) else signal
    if not isinstance(by, Cell) and by < 1:
        raise bad(f"signal of counter {counter.name!r}", by, "an increment of at least 1, counters only grow")
    return {kind: counter.index, f"{kind}_by": operand(by)}
