"""Programs of phases: every core computes on what it holds, then lines of cores add up; one phase after the other.

All cores hold equal shares (the last ones are padded), so one core stands for all and the longest arm of a line for
every line. The queue of that core: launch; then, phase by phase, matrix products, special functions, other arithmetic
and an all-reduce.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np

from hwsim.operators.amounts import Ints, size_bytes
from hwsim.operators.candidates import Programs, rates_of
from hwsim.operators.mapper.wafer.machine import Machine
from hwsim.operators.mapper.wafer.tree import Line, TreeRows, shared_values, values_of
from hwsim.operators.program import Template, TemplateBuilder
from hwsim.units import ceil_div

WORD = 4  # bytes of a message of the fabric: two 16-bit numbers
RESULT = 2  # bytes of a partial sum


@dataclass(frozen=True)
class Phase:
    """What ONE core does in a phase, int64[Q] each.

    Attributes
    ----------
    tensor, vector, special : FLOP of matrix products, of other arithmetic; special functions
    partial : elements that a core adds up with its line; 0 = no all-reduce
    gather : elements that one core of a line sends to all others, with nothing to add
    """

    tensor: Ints
    vector: Ints
    special: Ints
    partial: Ints
    gather: Ints

    @staticmethod
    def of(**given: Ints) -> Phase:
        """A phase with what is not given at zero."""
        none = np.zeros_like(next(iter(given.values())))
        return Phase(**{name: given.get(name, none) for name in Phase.__dataclass_fields__})


@cache
def template(phases: int, products: str = "tensor") -> Template:
    """Program of `phases` phases; `products` is what limits matrix products."""
    b = TemplateBuilder(f"wafer-phases-{phases}")
    launch = b.resource("launch", bound="launch")
    tensor = b.resource("tensor", bound=products, per_core=True)
    special, vector = (b.resource(name, bound="vector", per_core=True) for name in ("special", "vector"))
    tree = TreeRows.declare(b, b.resource("ramp", bound="link", per_core=True))
    q = b.queue("core", mult=b.cell("cores"))
    q.run(launch, b.slot("launch"), sync=True)
    for number in range(phases):
        q.run(tensor, b.slot(f"tensor.{number}"), sync=True, unit="FLOP")
        q.run(special, b.slot(f"special.{number}"), sync=True)
        q.run(vector, b.slot(f"vector.{number}"), sync=True, unit="FLOP")
        tree.rows(b, q, str(number))
    return b.build()


def words_of(machine: Machine, side: int, elements: Ints) -> Ints:
    """Cycles that so many partial sums take into a core, in whole words; none on a line of one core."""
    words = ceil_div(elements * RESULT, WORD)
    return ceil_over(words * WORD, machine.fabric) * (side > 1)


def ceil_over(amount: Ints, rate: Fraction) -> Ints:
    """Whole cycles of an amount at a rate, as the engine counts a command that nothing precedes; binding refuses 0."""
    sixteenths = ceil_div(amount * 16 * rate.denominator, max(rate.numerator, 1))
    return ceil_div(sixteenths, 16)


def cycles(machine: Machine, side: int, phases: Sequence[Phase], dtype: str) -> Ints:
    """Closed form of a program; equal to what the engine says."""
    line = Line.of(side, machine.kernels.levels)
    total = np.full_like(phases[0].tensor, machine.launch)
    for phase in phases:
        total += ceil_over(phase.tensor, machine.products(dtype))
        total += ceil_over(phase.special, machine.special) + ceil_over(phase.vector, machine.half)
        total += line.cycles(words_of(machine, side, phase.partial), machine.step, machine.hop)
        gather = words_of(machine, side, phase.gather)
        total += (gather + line.reach * machine.hop) * (gather > 0)
    return total


def programs(machine: Machine, side: int, phases: Sequence[Phase], dtype: str, index: Ints) -> Programs:
    """Programs of some candidates on a region of `side` x `side` cores; a product reads one operand from SRAM."""
    t, line = template(len(phases), machine.products_bound(dtype)), Line.of(side, machine.kernels.levels)
    trips, cells = shared_values(line)
    by_slot: dict[str, Ints | int] = {"launch": machine.launch, **trips}
    read = np.zeros(len(index), np.int64)
    for number, phase in enumerate(phases):
        by_slot |= {f"{name}.{number}": getattr(phase, name) for name in ("tensor", "special", "vector")}
        by_slot |= values_of(line, str(number), words_of(machine, side, phase.partial), machine.step, machine.hop)
        by_slot[f"cast.{number}"] += words_of(machine, side, phase.gather)
        read += phase.tensor // 2
    return Programs(
        t,
        index,
        filled(t, by_slot, len(index)),
        rates_of(t, rates(machine, dtype)),
        cells=filled_cells(t, machine, side, cells, len(index)),
        bytes={"sram": size_bytes(read * side * side, dtype)},
    )


def filled(t: Template, by_slot: Mapping[str, Ints | int], count: int) -> Ints:
    """Values of `count` programs from those of each slot."""
    values = np.zeros((count, t.size("slots")), np.int64)
    for name, column in by_slot.items():
        values[:, t.slots[name].index] = column
    return values


def filled_cells(
    t: Template, machine: Machine, side: int, hops: Mapping[str, int], count: int, squares: int = 1
) -> Ints:
    """Cells of `count` programs on one region, or on `squares` x `squares` alike; distances become cycles."""
    shift = machine.kernels.shift * machine.hop
    known = {
        "cores": (side * squares) ** 2,
        "side": side,
        "hop": machine.hop,
        "shift": shift,
        "half way": side // 2 * shift,
    }
    known |= {name: distance * machine.hop for name, distance in hops.items()}
    return np.tile(np.array([known[name] for name in t.names["cells"]], np.int64), (count, 1))


def rates(machine: Machine, dtype: str) -> dict[str, tuple[Fraction, int]]:
    """Rates of a core by resource."""
    found = {"tensor": machine.products(dtype), "special": machine.special, "vector": machine.half}
    return {name: (rate, 0) for name, rate in found.items()}
