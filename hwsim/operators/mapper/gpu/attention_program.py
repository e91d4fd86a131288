"""The attention program of a GPU: one template for all libraries, phases, batches and chips; values differ.

Work items (a sequence or a part of it, times a KV head or a query tile) run on SM slots, one after the other. Slots of
equal load are folded into groups: a group's queues are those of one slot, its amounts on shared resources those of all.

    front    launch, then the kernels before (KV append, RoPE, transposes) through L2; `flush`: their bytes beyond L2
    slot g   item by item: prologue, tile by tile tensor then the rest of the softmax, epilogue
    load g   item by item: tile by tile KV from HBM (the part that is not resident) and through L2, `window` tiles ahead
    tail     when all items are done: Q and O of the whole kernel, launch of the combine kernel, its bytes

With two phases a slot runs its prefill items first and its decode items after them: a mixed batch in one kernel.
"""

from __future__ import annotations

from functools import cache

from hwsim.operators.program import Template, TemplateBuilder
from hwsim.operators.template import Cell, Counter, Resource

WINDOW = 2  # KV tiles of a slot under way at once: the double buffer of every library here


@cache
def template(phases: int, groups: int) -> Template:
    """The template with `groups` groups of slots and `phases` classes of items on each slot, one after the other."""
    b = TemplateBuilder(f"gpu-attention-p{phases}-g{groups}")
    launch, item = b.resource("launch", bound="launch"), b.resource("combine", bound="sync")
    hbm, l2 = b.resource("hbm", bound="hbm"), b.resource("l2", bound="l2")
    cores = [_Core(b, g) for g in range(groups)]
    small = b.law("l2.small", l2)
    start, go, ended, everything = b.counter("start"), b.counter("go"), b.counter("ended"), b.cell("items")
    far, near = b.cell("latency.hbm"), b.cell("latency.l2")

    q = b.queue("front")
    q.run(launch, b.slot("launch"), sync=True, done=start)
    q.run(small, b.slot("before"), sync=True, done=go, unit="B")
    b.queue("flush").run(hbm, b.slot("flush"), wait=[(start, 1)], done=go, unit="B")
    for core in cores:
        core.queues(b, (hbm, l2), (far, near), go, ended, phases)
    q = b.queue("tail")
    q.run(hbm, b.slot("query_output"), wait=[(ended, everything)], sync=True, unit="B")
    q.run(small, b.slot("query_output.l2"), sync=True, unit="B")
    q.run(item, b.slot("combine"), sync=True)
    return b.build()


class _Core:
    """Private resources of one slot of group `g`, and its two queues."""

    def __init__(self, b: TemplateBuilder, g: int) -> None:
        self.g = g
        self.own = b.resource(f"item.{g}", bound="latency", per_core=True)
        self.tensor = b.resource(f"tensor.{g}", bound="tensor", per_core=True)
        self.vector = b.resource(f"vector.{g}", bound="vector", per_core=True)

    def queues(
        self,
        b: TemplateBuilder,
        shared: tuple[Resource, Resource],
        latency: tuple[Cell, Cell],
        go: Counter,
        ended: Counter,
        phases: int,
    ) -> None:
        g = self.g
        mult, ahead = b.cell(f"mult{g}"), b.cell(f"ahead{g}")
        parts = [_Phase(b, f"{g}" if phases == 1 else f"{g}.{p}") for p in range(phases)]
        q = b.queue(f"slot{g}", mult=mult)
        q.run(None, wait=[(go, 2)])
        for p in parts:
            with q.loop(p.items, pace=g == 0) as item:
                q.run(self.own, p.prologue, sync=True, done=p.started)
                with q.loop(p.tiles, pace=g == 0, vary=[(item, "last", 1)]):
                    q.run(self.tensor, p.flop, wait=[(p.read, 1), (p.full, 1)], sync=True, unit="FLOP")
                    q.run(self.vector, p.rest, sync=True, done=p.free)
                q.run(self.own, p.epilogue, sync=True, done=ended)
        q = b.queue(f"load{g}")
        for p in parts:
            with q.loop(p.items) as item:
                q.run(None, wait=[(p.started, 1)])
                with q.loop(p.tiles, vary=[(item, "last", 1)]):
                    q.run(shared[0], p.hbm, wait=[(p.free, ahead)], done=p.read, delay=latency[0], unit="B")
                    q.run(shared[1], p.l2, done=p.full, delay=latency[1], unit="B")


class _Phase:
    """Slots and counters of one class of items of one group."""

    def __init__(self, b: TemplateBuilder, name: str) -> None:
        self.items, self.tiles = b.slot(f"items{name}"), b.slot(f"tiles{name}", 2)
        self.prologue, self.epilogue = b.slot(f"prologue{name}"), b.slot(f"epilogue{name}")
        self.flop, self.rest = b.slot(f"flop{name}"), b.slot(f"rest{name}")
        self.hbm, self.l2 = b.slot(f"hbm{name}"), b.slot(f"l2.{name}")
        self.started, self.free = b.counter(f"started{name}"), b.counter(f"free{name}")
        self.read, self.full = b.counter(f"read{name}"), b.counter(f"full{name}")
