"""The program of every operator on tiles: supersteps, then one more that combines what tiles have in parts.

A superstep is a barrier of all tiles, an exchange (each tile receives its operands; from a memory they share or from
each other) and work in the tile: reading its own SRAM beside arithmetic. A chip with one buffer takes them in turns;
with more, operands of the next steps arrive while a step is computed. Tiles are two groups of equals: full ones and
those at the edge, which have less. The queues:

    memory   step by step what streams from memory behind the chip, a few steps ahead
    control  launch; per step the barrier and the superstep's code, when the tiles are far enough
    fetch    per group: operands through the shared memory and into a tile
    tile     per group: own SRAM beside tensor, special functions and vectors one after the other
    write    results that do not stay on the chip

Closed form of a step of a chip with one buffer: sync + code + max over groups of (exchange + max(reads, arithmetic));
with B buffers the longest of these parts, or a B-th of their sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np

from hwsim.operators.amounts import Ints, sixteenths
from hwsim.operators.candidates import Programs, rates_of
from hwsim.operators.machine import per_cycle
from hwsim.operators.mapper.manycore.machine import Machine
from hwsim.operators.program import Cell, Counter, Resource, Slot, Template, TemplateBuilder
from hwsim.operators.template import Operand, QueueBuilder, Vary

GROUPS = ("full", "edge")
# What a tile spends a superstep on, and what it is charged to.
PARTS = {"port": "l2", "local": "sram", "tensor": "tensor", "special": "vector", "vector": "vector"}
ARITHMETIC = ("tensor", "special", "vector")  # one after the other
MOST_AHEAD = 8  # steps: enough to hide the way from memory; more would only fill the queues


@dataclass(frozen=True)
class _Signals:
    """Counters that all queues share, and the number of the superstep after all steps."""

    go: Counter
    read: Counter
    done: Counter
    after: Cell


@cache
def template(shared: bool) -> Template:
    """The template for chips with or without a memory that tiles share; slots of steps have a column for the last."""
    b = TemplateBuilder("manycore-shared" if shared else "manycore")
    launch, memory = b.resource("launch", bound="launch"), b.resource("memory", bound="hbm")
    sync, code = b.resource("sync", bound="sync"), b.resource("code", bound="issue")
    common = b.resource("shared", bound="l2") if shared else None
    own = {(g, p): b.resource(f"{p}.{g}", bound, per_core=True) for g in GROUPS for p, bound in PARTS.items()}
    there, started = b.counter("there"), b.counter("started")
    s = _Signals(b.counter("go"), b.counter("read"), b.counter("done"), b.cell("after"))
    steps, behind, end = b.slot("steps"), b.cell("behind"), b.cell("end")

    q = b.queue("memory")
    q.run(None, wait=[(started, 1)])
    with q.loop(steps) as step:
        last = [(step, "last", 1)]
        q.run(memory, b.slot("memory", 2), wait=[(s.done, b.cell("ahead"), 2)], done=there, vary=last, unit="B")
    q = b.queue("control")
    q.run(launch, b.slot("launch"), sync=True)
    q.run(None, done=started)
    with q.loop(steps, pace=True):
        q.run(None, wait=[(there, 1)])
        q.run(sync, b.slot("sync"), wait=[(s.done, behind, 2), (s.read, behind, 2)], sync=True)
        q.run(code, b.slot("code"), done=s.go, sync=True)
    all_steps = b.cell("all steps")
    q.run(sync, b.slot("combine.sync"), wait=[(s.done, all_steps), (s.read, all_steps)], sync=True)
    q.run(code, b.slot("combine.code"), done=s.go, sync=True)
    for group in GROUPS:
        _tiles(b, group, steps, common, {part: own[group, part] for part in PARTS}, s)
    q = b.queue("write")
    q.run(memory, b.slot("write"), wait=[(s.done, end), (s.read, end)], unit="B")
    return b.build()


def _tiles(
    b: TemplateBuilder, group: str, steps: Slot, common: Resource | None, own: Mapping[str, Resource], s: _Signals
) -> None:
    """Queues of a group of equal tiles: its steps, then the superstep that combines."""
    count, fetched, carried = b.cell(f"tiles.{group}"), b.counter(f"fetched.{group}"), b.counter(f"carried.{group}")

    def fetch(q: QueueBuilder, prefix: str, columns: int, number: Operand, vary: list[Vary]) -> None:
        q.run(None, wait=[(s.go, number)])
        if common is not None:
            q.run(common, b.slot(f"{prefix}shared.{group}", columns), done=carried, vary=vary)
        q.run(own["port"], b.slot(f"{prefix}port.{group}", columns), done=fetched, vary=vary, unit="B")

    def work(q: QueueBuilder, prefix: str, columns: int, number: Operand, vary: list[Vary]) -> None:
        q.run(None, wait=[(fetched, number)] + [(carried, number)] * (common is not None))
        q.run(own["local"], b.slot(f"{prefix}local.{group}", columns), done=s.read, vary=vary, unit="B")
        for part in ARITHMETIC:
            signal = s.done if part == ARITHMETIC[-1] else None
            q.run(own[part], b.slot(f"{prefix}{part}.{group}", columns), done=signal, vary=vary, sync=True)

    for name, rows in (("fetch", fetch), ("tile", work)):
        q = b.queue(f"{name}.{group}", mult=count)
        with q.loop(steps) as step:
            rows(q, "", 2, 1, [(step, "last", 1)])
        rows(q, "combine.", 1, s.after, [])


@dataclass(frozen=True)
class Work:
    """What operators do in supersteps, int64 each.

    Attributes
    ----------
    steps : int64[Q]
    tiles : int64[Q, 2]
        Tiles of each group: full, edge.
    step : mapping of str to int64[Q, 2, 2]
        By part of PARTS what a tile does in a step: [case, group, not the last step or the last]; none = 0.
    combine : mapping of str to int64[Q, 2]
        The same of the last superstep; where all is 0 there is none.
    memory : int64[Q]
        Bytes that stream from memory behind the chip in all steps.
    write : int64[Q]
        Bytes that do not stay on the chip.
    flops : int64[Q]
        Operations of all tiles, padding included.
    """

    steps: Ints
    tiles: Ints
    step: Mapping[str, Ints]
    combine: Mapping[str, Ints]
    memory: Ints
    write: Ints
    flops: Ints

    @property
    def combines(self) -> np.ndarray:
        """bool[Q]: there is a superstep that combines."""
        return np.any([amounts.any(axis=1) for amounts in self.combine.values()], axis=0)

    def ahead(self, machine: Machine) -> Ints:
        """Steps that memory may be ahead of the tiles: none where they take turns, else what half of the chip holds."""
        if machine.buffers == 1:
            return np.ones_like(self.steps)
        each, last = self.memory_of_step()
        return (machine.activations // np.maximum(np.maximum(each, last), 1)).clip(machine.buffers, MOST_AHEAD)

    def memory_of_step(self) -> tuple[Ints, Ints]:
        """Bytes from memory of a step, and of the last one."""
        each = self.memory // self.steps
        return each, self.memory - each * (self.steps - 1)


def full(amount: Ints) -> Ints:
    """An amount of tiles that are all in the first group: int64[Q] -> int64[Q, 2]."""
    return np.stack([amount, np.zeros_like(amount)], axis=1)


def in_steps(amount: Ints, steps: Ints) -> Ints:
    """Shares of an amount of such tiles in a step and in the last one: int64[Q] -> int64[Q, 2, 2]."""
    each = amount // steps
    return np.stack([full(each), full(amount - each * (steps - 1))], axis=2)


def rates(machine: Machine, dtype: str) -> dict[str, tuple[Fraction, int]]:
    """Rate and latency of every resource of the template."""
    kernels = machine.kernels
    return {
        "memory": (machine.hbm_rate or Fraction(1), machine.hbm_latency),
        "shared": (machine.shared_rate, 0),
        "port": (machine.port, 0),
        "local": (per_cycle(machine.read * kernels.reads), 0),
        "tensor": (per_cycle(machine.tensor[dtype] * kernels.tensor), 0),
        "special": (machine.special, 0),
        "vector": (machine.vector, 0),
    }


def programs(machine: Machine, work: Work, dtype: str, index: Ints) -> Programs:
    """Programs of operators; `index` are the rows they time."""
    t = template(bool(machine.shared))
    values = np.zeros((len(work.steps), t.size("slots")), np.int64)

    def put(slot: str, column: Ints | int, offset: int = 0) -> None:
        values[:, t.slots[slot].index + offset] = column

    put("steps", work.steps)
    put("launch", machine.launch + machine.cycles(machine.kernels.launch))
    for prefix, taken in (("", 1), ("combine.", work.combines)):
        put(f"{prefix}sync", machine.sync * taken)
        put(f"{prefix}code", machine.code * taken)
    for offset, column in enumerate(work.memory_of_step()):
        put("memory", column, offset)
    put("write", work.write)
    for g, group in enumerate(GROUPS):
        for part, amounts in work.step.items():
            for offset in (0, 1):
                put(f"{part}.{group}", amounts[:, g, offset], offset)
        for part, amounts in work.combine.items():
            put(f"combine.{part}.{group}", amounts[:, g])
        if machine.shared:
            for offset in (0, 1):
                put(f"shared.{group}", work.tiles[:, g] * work.step["port"][:, g, offset], offset)
            put(f"combine.shared.{group}", work.tiles[:, g] * work.combine["port"][:, g])
    return Programs(
        t, index, values, rates_of(t, rates(machine, dtype)), cells=_cells(machine, work, t), flops=work.flops
    )


def _cells(machine: Machine, work: Work, t: Template) -> Ints:
    """Thresholds of the waits; every group signals once a superstep."""
    two = len(GROUPS)
    by_cell = {
        "after": work.steps + 1,
        "behind": np.full_like(work.steps, two * (1 - machine.buffers)),
        "ahead": two * (1 - work.ahead(machine)),
        "all steps": two * work.steps,
        "end": two * (work.steps + 1),
        **{f"tiles.{group}": work.tiles[:, g] for g, group in enumerate(GROUPS)},
    }
    return np.stack([by_cell[name] for name in t.names["cells"]], axis=1)


def rank(machine: Machine, work: Work, dtype: str) -> Ints:
    """Closed form in 1/16 cycles: the first step's whole way, then as long a step as the slowest of what it needs."""
    by = rates(machine, dtype)
    fixed = 16 * (machine.sync + machine.code)
    columns = (*(_column(work.step, column) for column in (0, 1)), dict(work.combine))
    whole, paces = [], []
    for amounts, stream in zip(columns, (*work.memory_of_step(), 0 * work.memory), strict=True):
        exchange, compute = _exchange(machine, work, amounts, by), _compute(work, amounts, by)
        turn = fixed + _slower(exchange + compute)
        read = sixteenths(stream, by["memory"][0])
        whole.append(turn + read + 16 * machine.hbm_latency * (stream > 0))
        alone = np.maximum(np.maximum(_slower(exchange), _slower(compute)), np.maximum(read, fixed))
        shared = np.maximum(turn // machine.buffers, whole[-1] // work.ahead(machine))  # by the steps under way
        paces.append(np.maximum(alone, shared))
    several = work.steps > 1
    total = np.where(several, whole[0] + (work.steps - 2) * paces[0] + paces[1], whole[1])
    total += work.combines * whole[2] + sixteenths(work.write, by["memory"][0])
    return total + 16 * (machine.launch + machine.cycles(machine.kernels.launch))


def _slower(groups: Ints) -> Ints:
    """The larger of both groups, int64[Q, 2] -> int64[Q]; many times faster than a reduction over two columns."""
    return np.maximum(groups[:, 0], groups[:, 1])


def _column(step: Mapping[str, Ints], column: int) -> dict[str, Ints]:
    return {part: amounts[:, :, column] for part, amounts in step.items()}


def _compute(work: Work, amounts: Mapping[str, Ints], by: Mapping[str, tuple[Fraction, int]]) -> Ints:
    """1/16 cycles of each group's work in a tile: reads beside arithmetic."""
    none = np.zeros_like(work.tiles)
    arithmetic = sum((sixteenths(amounts.get(part, none), by[part][0]) for part in ARITHMETIC), none)
    return np.maximum(arithmetic, sixteenths(amounts.get("local", none), by["local"][0]))


def _exchange(
    machine: Machine, work: Work, amounts: Mapping[str, Ints], by: Mapping[str, tuple[Fraction, int]]
) -> Ints:
    """1/16 cycles of each group's exchange: into a tile, or out of the memory that all share."""
    into = sixteenths(amounts["port"], by["port"][0])
    if not machine.shared:
        return into
    whole = amounts["port"][:, 0] * work.tiles[:, 0] + amounts["port"][:, 1] * work.tiles[:, 1]
    return np.maximum(into, sixteenths(whole, by["shared"][0])[:, None])
