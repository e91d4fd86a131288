"""Wafer programs written out: every core of a small mesh a queue, every message sent from one core to another.

The folded programs of the mappers say that one core and the longest arm of a line stand for all; these say nothing of
the kind and must take the same time.
"""

from __future__ import annotations

import numpy as np

from hwsim.operators.mapper.wafer.tree import Line
from hwsim.operators.program import RESOURCE_DTYPE, Bound, TemplateBuilder, bind
from hwsim.operators.template import Counter, Resource, Slot


class Mesh:
    """A builder whose amounts are given with the rows; resources serve one unit a cycle."""

    def __init__(self, side: int) -> None:
        self.b = TemplateBuilder("mesh")
        self.places = [(i, j) for i in range(side) for j in range(side)]
        self.amounts: list[int] = []
        self.side = side

    def each(self, name: str, bound: str) -> dict[tuple[int, int], Resource]:
        """A resource of every core."""
        return {(i, j): self.b.resource(f"{name} {i},{j}", bound) for i, j in self.places}

    def counters(self, name: str) -> dict[tuple[int, int], Counter]:
        """A counter of every core."""
        return {(i, j): self.b.counter(f"{name} {i},{j}") for i, j in self.places}

    def amount(self, cycles: int) -> Slot:
        """A slot that holds so many cycles."""
        self.amounts.append(cycles)
        return self.b.slot(f"amount {len(self.amounts)}")

    def bound(self) -> Bound:
        """The program."""
        t = self.b.build()
        rates = np.zeros(t.size("resources"), RESOURCE_DTYPE)
        rates["num"] = rates["den"] = 1
        return bind(t, np.array([self.amounts], np.int64), rates).require()


def gemv(side: int, levels: int, product: int, words: int, step: int, hop: int) -> Bound:
    """A product on every core, then an all-reduce along each column."""
    mesh, line = Mesh(side), Line.of(side, levels)
    cores, ramps = mesh.each("core", "tensor"), mesh.each("ramp", "link")
    ways, backwards = mesh.each("way", "link"), mesh.each("way back", "link")
    added = mesh.counters("added")
    middles = [line.middle(group) for group in range(line.groups)]
    root = middles[line.groups // 2]
    for i, j in mesh.places:
        q = mesh.b.queue(f"core {i},{j}")
        q.run(cores[i, j], mesh.amount(product), sync=True)
        group = i // line.size
        middle = middles[group]
        arms = _arms(line, group)
        if i == root:
            everything = arms + (line.groups > 1) + (line.groups > 2)
            for routers, at in ((ways, range(i, side - 1)), (backwards, range(i, 0, -1))):
                _broadcast(mesh, [routers[place, j] for place in at], (added[i, j], everything), words, hop)
            continue
        if i != middle:
            towards = i + 1 if i < middle else i - 1
            inner = int(0 < (i - group * line.size) < middle - group * line.size or middle < i < _end(line, group))
            wait = [(added[i, j], inner)]
        else:
            here = line.groups // 2
            towards = middles[group + 1 if group < here else group - 1]
            inner = arms + int(0 < group < here or here < group < line.groups - 1)
            there = _arms(line, towards // line.size)
            wait = [(added[i, j], inner), (added[towards, j], there)]
        distance = abs(towards - i)
        # A message: out, over the hops, into the receiver, added there.
        done = {"done": added[towards, j]}
        into = [(ramps[towards, j], mesh.amount(words), {"cut": False} | (done if not step else {}))]
        add = [(cores[towards, j], mesh.amount(step), done)] if step else []
        q.run(ways[i, j], mesh.amount(words), wait=wait, delay=distance * hop, then=into + add)
    return mesh.bound()


def _arms(line: Line, group: int) -> int:
    """Arms of a group: messages that its middle adds."""
    cores = line.last if group == line.groups - 1 else line.size
    return int(cores > 1) + int(cores > 2)


def _end(line: Line, group: int) -> int:
    """The last core of a group."""
    return min((group + 1) * line.size, line.side) - 1


def _broadcast(mesh: Mesh, routers: list[Resource], wait: tuple[Counter, int], words: int, hop: int) -> None:
    """From router to router to the end of the line, as it comes."""
    hops = [(router, mesh.amount(words), {"delay": hop}) for router in routers]
    if hops:
        q = mesh.b.queue(f"broadcast {routers[0].name}")
        q.run(hops[0][0], hops[0][1], wait=[wait], delay=hop, then=hops[1:])


def products(side: int, product: int, words: int, align: int, step: int, distance: int) -> Bound:
    """Tiles of A to their places, then `side` steps of a product whose tiles go round row by row, column by column."""
    mesh = Mesh(side)
    cores, ramps = mesh.each("core", "tensor"), mesh.each("ramp", "link")
    started, a_there, b_there = (mesh.counters(name) for name in ("started", "a", "b"))
    trips = mesh.amount(side)
    for i, j in mesh.places:
        q = mesh.b.queue(f"core {i},{j}")
        q.run(ramps[i, j], mesh.amount(align), delay=side // 2 * distance, sync=True)
        with q.loop(trips):
            q.run(cores[i, j], mesh.amount(2 * step), wait=[(a_there[i, j], 0), (b_there[i, j], 0)],
                  done=started[i, j], sync=True)  # fmt: skip
            q.run(cores[i, j], mesh.amount(product), sync=True)
    for i, j in mesh.places:
        q = mesh.b.queue(f"ramp {i},{j}")
        halves = (words // 2, words - words // 2)
        left, above = (i, (j - 1) % side), ((i - 1) % side, j)
        with q.loop(trips):
            q.run(ramps[i, j], mesh.amount(halves[0]), wait=[(started[i, j], 1)], delay=distance, done=a_there[left])
            q.run(ramps[i, j], mesh.amount(halves[1]), delay=distance, done=b_there[above])
    return mesh.bound()
