"""GEMM on a statically scheduled chip: weights pass the streams on their way into the planes, every time.

The planes keep two sets of weights: one multiplies while the next is installed. Weights of a type that the compiler
does not multiply in pass the vector units, one conversion each. The queues:

    install   fill; then set by set the weights and the activations they meet through the streams, converted on the way
    multiply  set by set all rows of activations

With few rows a product takes what its weights take to be installed, with many what the planes take to multiply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from hwsim.operators.amounts import Ints, put_shares, size_bytes
from hwsim.operators.candidates import Candidates, Programs, rates_of
from hwsim.operators.mapper.pipeline.machine import Machine, kept_planes
from hwsim.operators.program import Template, TemplateBuilder
from hwsim.units import ceil_div

SETS = 2  # of weights in the planes: one multiplies, one is on its way


@cache
def template(converts: bool) -> Template:
    """The template; the last set has a column of its own, since it takes what the others leave."""
    b = TemplateBuilder("pipeline-gemm-converted" if converts else "pipeline-gemm")
    fill, streams = b.resource("fill", bound="latency"), b.resource("streams", bound="sram")
    vector, planes = b.resource("vector", bound="vector"), b.resource("planes", bound="tensor")
    sets, read = b.slot("sets"), b.slot("streams", 2)
    there, free = b.counter("there"), b.counter("free")
    q = b.queue("install")
    q.run(fill, b.slot("fill"), sync=True)
    with q.loop(sets, pace=True) as each:
        last, wait = [(each, "last", 1)], [(free, 1 - SETS)]
        if converts:
            then = [(vector, b.slot("converted", 2), {"done": there})]
            q.run(streams, read, wait=wait, vary=last, unit="B", then=then)
        else:
            q.run(streams, read, wait=wait, done=there, vary=last, unit="B")
    q = b.queue("multiply")
    with q.loop(sets):
        q.run(planes, b.slot("rows"), wait=[(there, 1)], freed=free)
    return b.build()


@dataclass(frozen=True)
class Work:
    """What products do, int64[Q] each.

    Attributes
    ----------
    sets : sets of planes' weights, all products of a batch together
    weights : weights
    read : bytes of weights, activations and results through the streams
    """

    sets: Ints
    weights: Ints
    read: Ints


def work_of(machine: Machine, dims: Mapping[str, Ints], dtype: str) -> Work:
    """Sets of weights and bytes of products; planes of a set share the activations of their rows."""
    m, n, k, batch = (dims[name] for name in ("m", "n", "k", "batch"))
    taken = machine.multiplied(dtype)
    blocks = ceil_div(k, machine.rows) * ceil_div(n, machine.cols) * batch
    sets = ceil_div(blocks, kept_planes(machine.planes, taken))
    weights = batch * n * k
    moved = size_bytes(m * machine.rows, taken) * sets + size_bytes(batch * m * n, taken)
    return Work(sets, weights, size_bytes(weights, dtype) + moved)


def propose(machine: Machine, dims: Mapping[str, Ints], dtype: str) -> Candidates:
    """One candidate a case: a schedule has one way through the planes."""
    return Candidates.one_each(dims)


def programs(machine: Machine, dims: Mapping[str, Ints], dtype: str, chosen: Candidates) -> list[Programs]:
    """Programs of the cases; whether weights are converted depends on their type alone."""
    of = {name: column[chosen.case] for name, column in dims.items()}
    taken = machine.multiplied(dtype)
    t = template(taken != dtype)
    work = work_of(machine, of, dtype)
    amounts = {"streams": work.read, "converted": work.weights}
    values = np.zeros((len(chosen.case), t.size("slots")), np.int64)
    values[:, t.slots["fill"].index] = machine.fill
    values[:, t.slots["sets"].index] = work.sets
    values[:, t.slots["rows"].index] = of["m"]
    for name in amounts.keys() & t.slots.keys():
        put_shares(values, t.slots[name].index, amounts[name], work.sets)
    rates = {
        "streams": (machine.scheduled(machine.streams), 1),
        "vector": (machine.scheduled(machine.vector), 0),
        "planes": (machine.scheduled(machine.pace[taken]), 0),
    }
    flops = 2 * work.sets * of["m"] * machine.rows * machine.cols * kept_planes(machine.planes, taken)
    return [Programs(t, chosen.case, values, rates_of(t, rates), flops=flops)]


def refuse(machine: Machine, dims: Mapping[str, Ints], dtype: str) -> list[str | None]:
    """Cases whose weights are more than a chip holds, or of a type that is converted to one the chip does not have."""
    if (taken := machine.multiplied(dtype)) not in machine.pace:
        known = ", ".join(machine.pace)
        text = f"{machine.software} multiplies {dtype} in {taken}, but {machine.accelerator} has {known}"
        return [text] * len(dims["m"])
    need = size_bytes(dims["batch"] * dims["n"] * dims["k"], dtype)
    return [
        f"weights of {size / 1e6:.4g} MB, {machine.accelerator} holds {machine.room / 1e6:.4g} MB: "
        "share them over more chips"
        if size > machine.room
        else None
        for size in need.tolist()
    ]


def describe(chosen: Candidates, row: int) -> str:
    """A candidate in words."""
    return "weights installed through the streams"
