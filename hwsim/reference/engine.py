"""The program executor, tick by tick in plain Python. It decides what is right; _core/engine.pyx must agree.

A tick has four phases. A: events due now, by (queue, issue number). B: queues advance until nothing changes, at most
one issue each. C: issued commands arrive at their resources, by queue. D: every resource serves 16 units.
Nothing is computed ahead: a request's start and end are noticed in the tick in which its first and last unit is
served.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hwsim._core import tables

A_DONE, A_FREED, A_HOP = range(3)


class Served(NamedTuple):
    """One hop of one command: first tick of service, and the tick reported as its finish."""

    queue: int
    seq: int
    row: int
    start: int
    finish: int


@dataclass
class Result:
    """What one program did; the fields of `Outcome`, for one program, and every command."""

    end: int
    status: int
    busy: list[int]
    passes: list[int]
    commands: list[Served]


@dataclass
class Command:
    """A chain on its way through its resources."""

    queue: int
    seq: int
    row: int
    off: int


@dataclass
class Request:
    """One hop of a command at its resource."""

    command: Command
    row: int
    work: int
    left: int
    before: Request | None
    """The previous hop, if it was cut through: its tail may arrive after this one is served."""
    start: int = -1
    own_finish: int = -1
    after: int = -1
    following: Request | None = None


@dataclass
class Queue:
    """Where a queue stands."""

    pc: int
    end: int
    prio: int
    issue: int
    seq: int = 0
    not_before: int = 0
    blocked: bool = False
    iteration: dict[int, int] = field(default_factory=dict)


class Fifo:
    """Serves requests in the order of arrival."""

    def __init__(self) -> None:
        self.waiting: deque[Request] = deque()

    def arrive(self, request: Request, prio: int) -> None:
        """Phase C, or a hop in phase A."""
        self.waiting.append(request)

    def serve(self, tick: int) -> Iterator[tuple[Request, bool]]:
        """Phase D: requests touched in this tick, and whether they were finished."""
        units = tables.SUB
        while self.waiting and units > 0:
            request = self.waiting[0]
            part = min(units, request.left)
            units -= part
            request.left -= part
            if request.left == 0:
                self.waiting.popleft()
            yield request, request.left == 0

    def idle(self) -> bool:
        """Nothing to serve."""
        return not self.waiting


class Rotate:
    """Serves queues in turns; `current` has the turn until the decision that follows its grant."""

    def __init__(self, chunk: int) -> None:
        self.chunk = chunk
        self.lines: dict[int, deque[Request]] = {}
        self.rings: list[deque[int]] = [deque() for _ in range(4)]
        self.prio: dict[int, int] = {}
        self.current = -1
        self.grant = 0

    def arrive(self, request: Request, prio: int) -> None:
        """A queue that has no request here and not the turn enters its ring."""
        queue = request.command.queue
        line = self.lines.setdefault(queue, deque())
        self.prio[queue] = prio
        if not line and queue != self.current:
            self.rings[prio].append(queue)
        line.append(request)

    def serve(self, tick: int) -> Iterator[tuple[Request, bool]]:
        """Phase D, as for a FIFO."""
        units = tables.SUB
        while units > 0:
            if self.grant == 0 and not self._decide():
                self.current = -1
                return
            line = self.lines[self.current]
            request = line[0]
            part = min(units, self.grant)
            units -= part
            self.grant -= part
            request.left -= part
            if request.left == 0:
                line.popleft()
            yield request, request.left == 0

    def _decide(self) -> bool:
        if self.current >= 0 and self.lines[self.current]:
            self.rings[self.prio[self.current]].append(self.current)
        self.current = -1
        for ring in self.rings:
            if ring:
                self.current = ring.popleft()
                left = self.lines[self.current][0].left
                self.grant = min(self.chunk, left) if self.chunk else left
                return True
        return False

    def idle(self) -> bool:
        """Nothing to serve."""
        return not any(self.lines.values())


class Machine:
    """One program while it runs."""

    def __init__(self, bound: Any, program: int, budget: int) -> None:
        t = bound.template
        self.cells = [int(cell) for cell in bound.cells[program]]
        self.work = [int(work) for work in bound.work[program]]
        self.latency = [int(latency) for latency in bound.latency[program]]
        self.rows = [{name: int(row[name]) for name in row.dtype.names} for row in t.rows]
        self.vary = [{name: int(term[name]) for name in term.dtype.names} for term in t.vary]
        self.queues = [
            Queue(int(q["first"]), int(q["end"]), int(q["prio"]), self.operand(q["issue"])) for q in t.queues
        ]
        self.servers: list[Fifo | Rotate] = [
            Rotate(int(bound.chunk[program, index])) if resource["kind"] == tables.ROTATE else Fifo()
            for index, resource in enumerate(t.resources)
        ]
        self.counters = [0] * t.size("counters")
        self.passed = [0] * len(self.rows)
        self.budget = budget
        self.events: dict[int, list[tuple[int, int, int, Request]]] = {}
        self.result = Result(0, tables.OK, [0] * len(self.servers), [0] * len(self.work), [])

    def operand(self, value: int) -> int:
        """A value, or the cell it names."""
        return int(value) if value < tables.CELL else self.cells[value - tables.CELL]

    def run(self) -> Result:
        """All ticks."""
        tick = 0
        while True:
            self.phase_a(tick)
            issued = self.phase_b(tick)
            if self.budget < 0:
                self.result.status = tables.BUDGET
                return self.result
            for _, command in sorted(issued, key=lambda entry: entry[0]):
                self.arrive(command, command.row, None)
            for server in self.servers:
                for request, finished in server.serve(tick):
                    self.served(request, finished, tick)
            if self.quiet(tick):
                break
            tick += 1
        if any(queue.pc < queue.end or queue.blocked for queue in self.queues):
            self.result.status = tables.DEADLOCK
        return self.result

    def quiet(self, tick: int) -> bool:
        """Nothing will happen any more."""
        waiting = any(not queue.blocked and queue.not_before > tick for queue in self.queues)
        return not waiting and not self.events and all(server.idle() for server in self.servers)

    # ---- phase A

    def phase_a(self, tick: int) -> None:
        """Events due now."""
        for queue, _, kind, request in sorted(self.events.pop(tick, []), key=lambda event: event[:2]):
            row = self.rows[request.row]
            if kind == A_FREED:
                self.counters[row["freed"]] += self.operand(row["freed_by"])
            elif kind == A_HOP:
                self.arrive(request.command, request.row + 1, request)
            else:
                self.result.end = tick
                if row["done"] >= 0:
                    self.counters[row["done"]] += self.operand(row["done_by"])
                if row["flags"] & tables.WAIT_DONE:
                    self.queues[queue].blocked = False

    def post(self, tick: int, kind: int, request: Request) -> None:
        """An event in a later tick."""
        command = request.command
        self.events.setdefault(tick, []).append((command.queue, command.seq, kind, request))

    # ---- phase B

    def phase_b(self, tick: int) -> list[tuple[int, Command]]:
        """Advance all queues until nothing changes."""
        issued: dict[int, Command] = {}
        changed = True
        while changed and self.budget >= 0:
            changed = False
            for index, queue in enumerate(self.queues):
                while index not in issued and not queue.blocked and queue.not_before <= tick:
                    if not self.step(index, queue, tick, issued):
                        break
                    changed = True
        return list(issued.items())

    def step(self, index: int, queue: Queue, tick: int, issued: dict[int, Command]) -> bool:
        """One row of one queue; False when it cannot pass."""
        if queue.pc == queue.end or self.budget < 0:
            return False
        row = self.rows[queue.pc]
        if row["op"] == tables.LOOP:
            self.step_loop(queue, row)
            return True
        if not self.waits_met(queue.pc):
            return False
        self.budget -= 1
        off = self.offset(queue, row)
        self.passed[queue.pc] += 1
        chain = range(queue.pc, queue.pc + row["chain"])
        if row["resource"] < 0 or self.work[row["slot"] + off] == 0:
            for hop in chain:
                for signal in ("freed", "done"):
                    if self.rows[hop][signal] >= 0:
                        self.counters[self.rows[hop][signal]] += self.operand(self.rows[hop][f"{signal}_by"])
        else:
            queue.seq += 1
            issued[index] = Command(index, queue.seq, queue.pc, off)
            queue.not_before = tick + queue.issue
            queue.blocked = bool(self.rows[chain[-1]]["flags"] & tables.WAIT_DONE)
        queue.pc += row["chain"]
        return True

    def step_loop(self, queue: Queue, row: dict[str, int]) -> None:
        """Back-edge or exit."""
        self.budget -= 1
        queue.iteration[queue.pc] = queue.iteration.get(queue.pc, 0) + 1
        if queue.iteration[queue.pc] < self.trips(queue, row):
            queue.pc = row["target"]
        else:
            queue.iteration[queue.pc] = 0
            queue.pc += 1

    def trips(self, queue: Queue, loop: dict[str, int]) -> int:
        """Trips of a loop for the iterations of the loops around it."""
        return self.work[loop["slot"] + self.offset(queue, loop)]

    def offset(self, queue: Queue, row: dict[str, int]) -> int:
        """Column of a slot."""
        off = 0
        for term in self.vary[row["vary"] : row["vary"] + row["terms"]]:
            iteration = queue.iteration.get(term["loop"], 0)
            if term["kind"] == tables.FIRST:
                off += term["stride"] * (iteration == 0)
            elif term["kind"] == tables.LAST:
                off += term["stride"] * (iteration == self.trips(queue, self.rows[term["loop"]]) - 1)
            else:
                off += term["stride"] * iteration
        return off

    def waits_met(self, pc: int) -> bool:
        """Both thresholds of a row are reached."""
        row = self.rows[pc]
        for n in ("0", "1"):
            if row[f"wait{n}"] >= 0:
                threshold = self.operand(row[f"base{n}"]) + self.passed[pc] * self.operand(row[f"step{n}"])
                if self.counters[row[f"wait{n}"]] < threshold:
                    return False
        return True

    # ---- phases C and D

    def arrive(self, command: Command, index: int, previous: Request | None) -> None:
        """A command reaches the resource of row `index`."""
        row = self.rows[index]
        slot = row["slot"] + command.off
        cut = previous is not None and self.rows[previous.row]["flags"] & tables.CUT
        request = Request(command, index, self.work[slot], self.work[slot], previous if cut else None)
        if cut and previous is not None:
            previous.following = request
        self.result.passes[slot] += 1
        self.result.busy[row["resource"]] += self.work[slot]
        self.servers[row["resource"]].arrive(request, self.queues[command.queue].prio)

    def served(self, request: Request, finished: bool, tick: int) -> None:
        """Some units of a request were served in this tick."""
        row = self.rows[request.row]
        if request.start < 0:
            request.start = tick
            if row["flags"] & tables.CUT:
                self.post(tick + self.transit(row), A_HOP, request)
        if finished:
            request.own_finish = tick + 1
            self.settle(request)

    def transit(self, row: dict[str, int]) -> int:
        """Ticks between leaving the resource and arriving."""
        return self.latency[row["law"]] + self.operand(row["delay"])

    def settle(self, request: Request) -> None:
        """Post what follows a hop once its own service and its data are both complete."""
        before = request.before
        if request.own_finish < 0 or (before is not None and before.after < 0):
            return
        row = self.rows[request.row]
        tail = max(request.own_finish, before.after if before is not None else 0)
        request.after = tail + self.transit(row)
        more = row["flags"] & tables.MORE
        if row["freed"] >= 0:
            self.post(tail, A_FREED, request)
        if row["done"] >= 0 or not more:
            self.post(request.after, A_DONE, request)
        if more and not row["flags"] & tables.CUT:
            self.post(request.after, A_HOP, request)
        command = request.command
        finish = tail if more else request.after
        self.result.commands.append(Served(command.queue, command.seq, request.row, request.start, finish))
        if request.following is not None:
            self.settle(request.following)


def run(bound: Any, program: int = 0, budget: int = 1 << 20) -> Result:
    """Run one program of a batch.

    Parameters
    ----------
    bound : hwsim.operators.program.Bound
    program : int
    budget : int
        Rows that may be passed before the run ends with status BUDGET.
    """
    result = Machine(bound, program, budget).run()
    result.commands.sort()
    return result
