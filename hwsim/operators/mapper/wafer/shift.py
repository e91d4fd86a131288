"""Products by cyclic shifts: both operands lie in tiles on the region and move one core on, row by row and column by
column, while every core multiplies what it holds; after as many steps as the region has rows all tiles are home again.

Weights, keys and values lie where the first step wants them. The other operand is put in place first: its i-th row of
tiles moves i cores on, through the routers alone; half way round is the longest. A step starts with two messages, the
tile of each operand. The next tiles come in while these are multiplied, through the core's one way into the fabric.
Attention is a product, a softmax along the rows and a product, head by head.

All cores do the same at the same time, so one stands for all. Its queues:

    core     tiles of A to their places; step by step what two messages cost it, then the product of two tiles
    shift    step by step: the tiles on to the neighbours
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from hwsim.operators.amounts import Ints, size_bytes
from hwsim.operators.candidates import Programs, rates_of
from hwsim.operators.mapper.wafer.machine import Machine
from hwsim.operators.mapper.wafer.phases import (
    WORD,
    Phase,
    ceil_over,
    filled,
    filled_cells,
    rates,
    words_of,
)
from hwsim.operators.mapper.wafer.tree import Line, TreeRows, shared_values, values_of
from hwsim.operators.program import Template, TemplateBuilder
from hwsim.units import ceil_div

MESSAGES = 2  # of a step: a tile of each operand
REDUCES = 2  # of a softmax: maximum and sum


@dataclass(frozen=True)
class Product:
    """A product on the region, int64[Q] each.

    Attributes
    ----------
    flops : of a core in a step
    words : cycles of the two tiles it sends on in a step
    align : cycles that a router passes on tiles of A to their first places
    """

    flops: Ints
    words: Ints
    align: Ints

    @staticmethod
    def of(machine: Machine, side: int, m: Ints, n: Ints, k: Ints, size: int) -> Product:
        """C[m,n] = A[m,k] B[k,n] in equal tiles, the last ones padded; `size` in 1/16 bytes of an element."""
        rows, columns, depth = (ceil_div(extent, side) for extent in (m, n, k))
        a, b = (ceil_div(extent * depth * size, 16 * WORD) * WORD for extent in (rows, columns))
        align = ceil_over(side // 2 * a, machine.fabric)
        return Product(2 * rows * columns * depth, ceil_over(a + b, machine.fabric), align)

    def step(self, machine: Machine, dtype: str) -> Ints:
        """Closed form of a step: two messages, then the longer of the product and the next tiles' way."""
        way = self.words + machine.kernels.shift * machine.hop
        return MESSAGES * machine.step + np.maximum(ceil_over(self.flops, machine.products(dtype)), way)


@cache
def template(products: int, bound: str = "tensor") -> Template:
    """Program of rounds, each of one product, or of two with a softmax between them; `bound` is what limits them."""
    b = TemplateBuilder("wafer-attention" if products > 1 else "wafer-shift")
    launch = b.resource("launch", bound="launch")
    tensor = b.resource("tensor", bound=bound, per_core=True)
    special, vector = (b.resource(name, bound="vector", per_core=True) for name in ("special", "vector"))
    ramp = b.resource("ramp", bound="link", per_core=True)
    tree = TreeRows.declare(b, ramp)
    rounds, steps, turn = b.slot("rounds"), b.slot("steps"), b.slot("turn")
    side, distance, half_way = (b.cell(name) for name in ("side", "shift", "half way"))
    started, arrived = ([b.counter(f"{name}.{n}") for n in range(products)] for name in ("started", "arrived"))
    flops, words = ([b.slot(f"{name}.{n}") for n in range(products)] for name in ("flops", "words"))

    q = b.queue("core", mult=b.cell("cores"))
    q.run(launch, b.slot("launch"), sync=True)
    with q.loop(rounds, pace=True):
        for n in range(products):
            q.run(ramp, b.slot(f"align.{n}"), delay=half_way, sync=True)
            with q.loop(steps, pace=True):
                q.run(tree.message, turn, wait=[(arrived[n], 0)], done=started[n], sync=True)
                q.run(tensor, flops[n], sync=True, unit="FLOP")
            q.run(None, wait=[(arrived[n], side, side)])
            if n + 1 < products:
                q.run(special, b.slot("special"), sync=True)
                q.run(vector, b.slot("vector"), sync=True, unit="FLOP")
                for number in range(REDUCES):
                    tree.rows(b, q, str(number))
    q = b.queue("shift")
    with q.loop(rounds):
        for n in range(products):
            with q.loop(steps):
                q.run(ramp, words[n], wait=[(started[n], 1)], delay=distance, done=arrived[n])
    return b.build()


def cycles(machine: Machine, side: int, rounds: Ints, products: Sequence[Product], softmax: Phase, dtype: str) -> Ints:
    """Closed form of a program; equal to what the engine says."""
    half_way = side // 2 * machine.kernels.shift * machine.hop
    starts = sum(product.align + half_way * (product.align > 0) for product in products)
    one = starts + side * sum(product.step(machine, dtype) for product in products)
    if len(products) > 1:
        line = Line.of(side, machine.kernels.levels)
        one = one + ceil_over(softmax.special, machine.special) + ceil_over(softmax.vector, machine.half)
        reduce = line.cycles(words_of(machine, side, softmax.partial), machine.step, machine.hop)
        one = one + REDUCES * reduce
    return machine.launch + rounds * np.asarray(one)


def programs(
    machine: Machine,
    side: int,
    rounds: Ints,
    products: Sequence[Product],
    softmax: Phase,
    dtype: str,
    index: Ints,
    squares: int = 1,
) -> Programs:
    """Programs of some candidates on `squares` x `squares` squares of `side` x `side` cores that all do the same.

    `softmax` counts between two products.
    """
    t, line = template(len(products), machine.products_bound(dtype)), Line.of(side, machine.kernels.levels)
    trips, cells = shared_values(line)
    by_slot: dict[str, Ints | int] = {"launch": machine.launch, "rounds": rounds, "steps": side, **trips}
    by_slot["turn"] = MESSAGES * machine.step
    read = np.zeros(len(index), np.int64)
    for n, product in enumerate(products):
        by_slot |= {f"flops.{n}": product.flops, f"words.{n}": product.words, f"align.{n}": product.align}
        read += rounds * side * product.flops // 2
    if len(products) > 1:
        by_slot |= {"special": softmax.special, "vector": softmax.vector}
        words = words_of(machine, side, softmax.partial)
        for number in range(REDUCES):
            by_slot |= values_of(line, str(number), words, machine.step, machine.hop)
    return Programs(
        t,
        index,
        filled(t, by_slot, len(index)),
        rates_of(t, rates(machine, dtype)),
        cells=filled_cells(t, machine, side, cells, len(index), squares),
        bytes={"sram": size_bytes(read * (side * squares) ** 2, dtype)},
    )
