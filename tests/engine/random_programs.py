"""Random programs that keep the rules of templates: every feature in every mix, a quarter of them deadlocking."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from hwsim.operators.program import LAW_DTYPE, RESOURCE_DTYPE, Bound, TemplateBuilder, bind


@dataclass
class Draw:
    """What one random program is made with."""

    rng: np.random.Generator
    rotate: bool
    balanced: bool
    trips: int
    iterate: bool
    builder: TemplateBuilder = field(default_factory=lambda: TemplateBuilder("random"))
    laws: list[Any] = field(default_factory=list)
    fifo: list[bool] = field(default_factory=list)
    counters: list[Any] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)
    shared_trips: list[Any] = field(default_factory=list)
    latency: list[int] = field(default_factory=list)
    names: int = 0
    paces: int = 0

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def name(self) -> str:
        self.names += 1
        return f"n{self.names}"

    def operand(self, value: int) -> Any:
        """The value, or a cell that holds it."""
        if self.chance(0.7):
            return value
        self.cells.append(value)
        return self.builder.cell(self.name())

    def slot(self, columns: list[int]) -> Any:
        self.columns += columns
        return self.builder.slot(self.name(), len(columns))


def random_program(seed: int, rotate: bool = True, trips: int = 7, iterate: bool = True) -> Bound:
    """The program of a seed.

    Parameters
    ----------
    rotate : bool
        Allow rotating resources.
    trips : int
        Most trips of a loop.
    iterate : bool
        Allow ITER terms.
    """
    rng = np.random.default_rng(seed)
    d = Draw(rng, rotate and bool(rng.random() < 0.4), bool(rng.random() < 0.7), trips, iterate)
    resources, laws = _machine(d)
    d.counters = [d.builder.counter(d.name()) for _ in range(d.integer(1, 6))]
    d.shared_trips = [d.slot([d.integer(1, max(2, d.trips // (depth + 1)))]) for depth in range(3)]
    for _ in range(d.integer(1, 5)):
        _queue(d)
    template = d.builder.build()
    return bind(template, np.array(d.columns, np.int64), resources, laws, np.array(d.cells, np.int64)).require()


def _machine(d: Draw) -> tuple[np.ndarray, np.ndarray]:
    count, more = d.integer(1, 4), d.integer(0, 2)
    resources, laws = np.zeros(count, RESOURCE_DTYPE), np.zeros(more, LAW_DTYPE)
    exact = d.chance(0.3)
    for table in (resources, laws):
        for row in table:
            row["num"], row["den"] = (1, 1) if exact else (d.integer(1, 40), d.integer(1, 5))
            row["lat"], row["gap"] = d.integer(0, 9) if d.chance(0.7) else 0, d.integer(0, 3) if d.chance(0.2) else 0
    handles = []
    for index in range(count):
        turn = d.rotate and d.chance(0.5)
        resources[index]["chunk"] = d.integer(0, 30) if turn else 0
        bound = ("tensor", "l2", "hbm", "link")[index]
        handles.append(d.builder.resource(d.name(), bound, "rotate" if turn else "fifo"))
        d.fifo.append(not turn)
    d.laws = list(handles)
    latency = [int(row["lat"]) for row in resources] + [int(row["lat"]) for row in laws]
    for _ in range(more):
        d.laws.append(d.builder.law(d.name(), handles[d.integer(0, count - 1)]))
    d.latency = latency
    return resources, laws


def _queue(d: Draw) -> None:
    queue = d.builder.queue(d.name(), d.operand(d.integer(1, 4)), d.integer(0, 3))
    unused = list(d.counters)
    d.rng.shuffle(unused)
    _body(d, queue, unused, [], d.integer(1, 3))


def _body(d: Draw, queue: Any, unused: list[Any], around: list[Any], rows: int) -> None:
    for _ in range(rows):
        depth = len(around)
        if depth < 3 and d.chance((0.6, 0.6, 0.2)[depth]):
            most = max(2, d.trips // (depth + 1))
            vary, columns = _vary(d, around, partial(d.integer, 1, most))
            trips = d.shared_trips[depth] if d.balanced else d.slot(columns)
            pace = d.paces < 4 and d.chance(0.6)
            d.paces += pace
            with queue.loop(trips, pace=pace, vary=() if d.balanced else vary) as loop:
                _body(d, queue, unused, [*around, (loop, most)], d.integer(1, 2))
        else:
            _row(d, queue, unused, around)


def _vary(d: Draw, around: list[Any], value: Any) -> tuple[list[Any], list[int]]:
    """Up to three terms and values for all columns they reach."""
    vary, reach = [], 0
    for loop, most in [*around, *around]:
        kinds = ["first", "last"] + ["iter"] * (d.iterate and most <= 45)
        if len(vary) < 3 and d.chance(0.25):
            kind = kinds[d.integer(0, len(kinds) - 1)]
            stride = d.integer(1, 2)
            vary.append((loop, kind, stride))
            reach += stride * (most - 1 if kind == "iter" else 1)
    return vary, [value() for _ in range(reach + 1)]


def _row(d: Draw, queue: Any, unused: list[Any], around: list[Any]) -> None:
    waits = [
        (d.counters[d.integer(0, len(d.counters) - 1)], d.operand(d.integer(-3, 1)), d.operand(d.integer(0, 1)))
        for _ in range(d.integer(0, 3))
        if d.chance(0.5)
    ]

    def signals() -> dict[str, Any]:
        taken: dict[str, Any] = {}
        for kind, share in (("done", 0.7), ("freed", 0.3)):
            if unused and d.chance(share):
                taken[kind] = (unused.pop(), d.operand(d.integer(1, 2)))
        return taken

    if d.chance(0.1):
        queue.run(None, wait=waits, **signals())
        return
    vary, amounts = _vary(d, around, lambda: 0 if d.chance(0.1) else d.integer(1, 60))
    hops = []
    for _ in range(d.integer(1, 3) if d.chance(0.4) else 1):
        law = d.laws[d.integer(0, len(d.laws) - 1)]
        delay = d.integer(0, 3) if d.chance(0.3) else 0
        can_cut = d.fifo[law.resource] and d.latency[law.index] + delay > 0
        column = amounts if not hops else [amount and d.integer(1, 60) for amount in amounts]
        options = {"delay": d.operand(delay), "cut": can_cut and d.chance(0.7), **signals()}
        hops.append((law, d.slot(column), options))
    law, slot, options = hops[0]
    queue.run(law, slot, wait=waits, sync=d.chance(0.15), vary=vary, then=hops[1:], **options)


def random_pipeline(seed: int) -> Bound:
    """Queues in a row with credits between them, in the same nest of loops: programs that reach a steady state."""
    rng = np.random.default_rng(seed)
    d = Draw(rng, rotate=False, balanced=True, trips=200, iterate=False)
    stages = d.integer(2, 5)
    count = d.integer(1, stages)
    resources = np.zeros(count, RESOURCE_DTYPE)
    exact = d.chance(0.3)
    for row in resources:
        row["num"], row["den"] = (1, 1) if exact else (d.integer(1, 40), d.integer(1, 3))
        row["lat"] = d.integer(1, 40)
    d.laws = [d.builder.resource(d.name(), ("tensor", "l2", "hbm", "link", "sram")[r]) for r in range(count)]
    waves, steps = d.slot([d.integer(1, 30)]), d.slot([d.integer(8, 200)])
    full = [d.builder.counter(d.name()) for _ in range(stages)]
    empty = [d.builder.counter(d.name()) for _ in range(stages)]
    for stage in range(stages):
        queue = d.builder.queue(d.name(), d.integer(1, 3))
        with queue.loop(waves, pace=stage == 0) as wave:
            with queue.loop(steps, pace=stage == 0) as step:
                _stage(d, queue, (wave, step), full, empty, stage)
            if d.chance(0.3):
                _row_alone(d, queue)
    template = d.builder.build()
    cells = np.array(d.cells, np.int64)
    return bind(template, np.array(d.columns, np.int64), resources, cells=cells).require()


def _stage(d: Draw, queue: Any, loops: tuple[Any, Any], full: list[Any], empty: list[Any], stage: int) -> None:
    """Take what the stage before made, as long as the stage behind has room."""
    vary = [(loop, ("first", "last")[d.integer(0, 1)], 1) for loop in loops if d.chance(0.4)]
    amounts = [d.integer(1, 90) for _ in range(len(vary) + 1)]
    waits = [(full[stage - 1], 1)] if stage else []
    if stage < len(full) - 1:
        waits.append((empty[stage + 1], d.operand(1 - d.integer(1, 6))))
    ends = {"done": full[stage]} | ({"freed": empty[stage]} if stage else {})
    law = d.laws[d.integer(0, len(d.laws) - 1)]
    if d.chance(0.4):
        last = d.laws[d.integer(0, len(d.laws) - 1)]
        hop = (last, d.slot([d.integer(1, 90) for _ in amounts]), ends)
        queue.run(law, d.slot(amounts), wait=waits, vary=vary, then=[hop], cut=d.chance(0.6))
    else:
        queue.run(law, d.slot(amounts), wait=waits, vary=vary, sync=d.chance(0.1), **ends)


def _row_alone(d: Draw, queue: Any) -> None:
    law = d.laws[d.integer(0, len(d.laws) - 1)]
    queue.run(law, d.slot([d.integer(1, 300)]), sync=d.chance(0.7), delay=d.integer(0, 20))
