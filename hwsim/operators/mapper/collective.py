"""Collectives inside one system, as the library of a software profile runs them: ring, direct exchange, own kernels.

One rank stands for all: ranks are equal, start together and each waits for what its neighbour sends, which is what it
sends itself. A rank's program is

    launch, set-up -> steps x {chunk over its links (and the host path that all share), arrival} -> local copy

and an algorithm is a way to fill it in (`_ROUTES`). What an algorithm costs beside the links stands in the library's
description (shares of the links' rate, start and step times), never per size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from hwsim.operators.candidates import Candidates, Programs
from hwsim.operators.machine import Machine
from hwsim.operators.mapper.fabric import Algorithm, Group, Ints, group_of
from hwsim.operators.mapper.refusals import group, reasons
from hwsim.operators.mapper.wiring import Route, Wiring
from hwsim.operators.program import RESOURCE_DTYPE, Template, TemplateBuilder
from hwsim.units import ceil_div

# Ways of an algorithm's parts (a part = bytes / devices, rounded up) through the wiring of a group of n.
_ROUTES: Mapping[str, Callable[[Wiring, Ints], Route]] = {
    "all_reduce ring": lambda wiring, n: wiring.ring(n).twice(),
    "all_gather ring": lambda wiring, n: wiring.ring(n),
    "reduce_scatter ring": lambda wiring, n: wiring.ring(n),
    "exchange": lambda wiring, n: wiring.exchange(n),
    "send": lambda wiring, n: wiring.send(n),
    "direct": lambda wiring, n: wiring.straight(n, 1, n - 1),
    "one-shot": lambda wiring, n: wiring.straight(n, 1, n * (n - 1)),
    "two-shot": lambda wiring, n: wiring.straight(n, 2, 2 * (n - 1)),
    "in-switch": lambda wiring, n: wiring.straight(n, 1, n + 1),
}


@dataclass(frozen=True)
class Work:
    """What programs of one algorithm do, int64[Q] each: cycles, steps, bytes of a step on links and host path."""

    launch: Ints
    start: Ints
    steps: Ints
    step: Ints
    chunk: Ints
    shared: Ints
    copy_: Ints
    rates: np.ndarray  # RESOURCE_DTYPE[Q, 5]

    def rank(self) -> Ints:
        """Closed form in 1/16 cycles."""
        link, host, local = (self.rates[:, index] for index in (2, 3, 4))
        moved = np.maximum(_sixteenths(self.chunk, link), _sixteenths(self.shared, host))
        return 16 * (self.launch + self.start) + self.steps * (moved + 16 * self.step) + _sixteenths(self.copy_, local)


def _sixteenths(amount: Ints, rate: np.ndarray) -> Ints:
    """1/16 cycles of an amount at a rate, rounded up as the engine rounds."""
    return ceil_div(amount * 16 * rate["den"], rate["num"])


def work_of(group: Group, algorithm: Algorithm, devices: Ints, size: Ints) -> Work:
    """What an algorithm does for `size` bytes on `devices` ranks; alone, a rank does nothing."""
    several, hosted = devices > 1, group.host_rate(devices)[0] > 0
    route = _ROUTES[algorithm.shape](group.wiring, devices)
    part = ceil_div(size, devices) * several
    chunk = ceil_div(route.parts * part, route.hops)
    host_num, host_den = group.host_rate(devices)
    launch = algorithm.launch + algorithm.peer * (devices - 1)
    rates = np.zeros((len(size), 5), RESOURCE_DTYPE)
    rates["num"] = rates["den"] = 1
    rates["lat"][:, 2] = hosted
    rates["num"][:, 4], rates["den"][:, 4] = algorithm.rate
    rates["num"][:, 2], rates["den"][:, 2] = algorithm.rate[0] * route.used, algorithm.rate[1] * route.links
    rates["num"][:, 3], rates["den"][:, 3] = np.maximum(host_num, 1), host_den
    return Work(
        launch=launch * several,
        start=np.full_like(size, algorithm.start) * several,
        steps=route.hops,
        step=np.full_like(size, algorithm.step) * several,
        chunk=chunk,
        shared=chunk * devices * algorithm.wire * hosted,
        copy_=ceil_div(part * algorithm.copy_.numerator, algorithm.copy_.denominator),
        rates=rates,
    )


@cache
def template(through_host: bool) -> Template:
    """Program of one rank; groups without links of their own go on through the host."""
    b = TemplateBuilder("collective-host" if through_host else "collective")
    launch, start = b.resource("launch", bound="launch"), b.resource("start", bound="sync")
    link, host, local = (b.resource(name, bound=bound) for name, bound in _MOVERS)
    step, arrived = b.cell("step"), b.counter("arrived")
    q = b.queue("rank")
    q.run(launch, b.slot("launch"), sync=True)
    q.run(start, b.slot("start"), sync=True)
    steps, chunk, shared, copied = (b.slot(name) for name in ("steps", "chunk", "shared", "copy"))
    with q.loop(steps, pace=True):
        # A rank sends on what arrived in the step before; its neighbour's chunk arrives as its own does.
        wait = [(arrived, 0)]
        if through_host:
            then = [(host, shared, {"delay": step, "done": arrived, "unit": "B"})]
            q.run(link, chunk, wait=wait, unit="B", then=then)
        else:
            q.run(link, chunk, wait=wait, done=arrived, delay=step, unit="B")
    q.run(None, wait=[(arrived, b.cell("steps"))])
    q.run(local, copied, unit="B")
    return b.build()


_MOVERS = (("link", "link"), ("host", "host"), ("local", "hbm"))


@dataclass(frozen=True)
class Mapper:
    """Mapper of one kind of collective; its dimensions are `devices` and `bytes`."""

    kind: str

    def refuse(self, machine: Machine, dims: Mapping[str, Ints], dtype: str) -> list[str | None]:
        """Groups larger than the accelerator's largest system."""
        return reasons(group(machine, dims))

    def propose(self, machine: Machine, dims: Mapping[str, Ints], dtype: str) -> Candidates:
        """The algorithms that the library may take for every case, ranked by the closed form of their program."""
        group = group_of(machine)
        devices, size = dims["devices"], dims["bytes"]
        parts = []
        for index, asked in enumerate(group.asked(self.kind, devices, size)):
            case = np.flatnonzero(asked)
            work = work_of(group, group.algorithms[self.kind][index], devices[case], size[case])
            parts.append((case, np.full(len(case), index), work.rank()))
        case, algorithm, rank = (np.concatenate(column) for column in zip(*parts, strict=True))
        names = np.array([algorithm.name for algorithm in group.algorithms[self.kind]])
        return Candidates(case, rank, {"algorithm": algorithm, "name": names[algorithm]})

    def programs(self, machine: Machine, dims: Mapping[str, Ints], dtype: str, chosen: Candidates) -> list[Programs]:
        """Programs of the chosen candidates, by algorithm and by whether the group goes through the host."""
        group = group_of(machine)
        found = []
        for index, algorithm in enumerate(group.algorithms[self.kind]):
            rows = np.flatnonzero(chosen.columns["algorithm"] == index)
            devices, size = dims["devices"][chosen.case[rows]], dims["bytes"][chosen.case[rows]]
            work = work_of(group, algorithm, devices, size)
            for through_host in (False, True):
                take = (work.shared > 0) == through_host
                if take.any():
                    found.append(_programs(work, take, rows[take], template(through_host)))
        return found

    def describe(self, chosen: Candidates, row: int) -> str:
        """A candidate in words: "ring LL128", "one-shot"."""
        return str(chosen.columns["name"][row])


def _programs(work: Work, take: np.ndarray, index: Ints, t: Template) -> Programs:
    by_slot = {"launch": work.launch, "start": work.start, "steps": work.steps, "chunk": work.chunk, "copy": work.copy_}
    by_slot["shared"] = work.shared
    by_cell = {"step": work.step, "steps": work.steps}
    return Programs(
        template=t,
        index=index,
        values=np.stack([by_slot[name][take] for name in t.names["slots"]], axis=1),
        rates=work.rates[take],
        cells=np.stack([by_cell[name][take] for name in t.names["cells"]], axis=1),
        # The folded ranks put the bytes of all on the host path; a rank answers for its own.
        bytes={"host": (work.steps * work.chunk)[take]} if work.shared[take].any() else {},
    )


# Named by hwsim.operators.simulate, one for each kind.
all_reduce, all_gather, reduce_scatter, all_to_all, send = (
    Mapper(kind) for kind in ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send")
)
