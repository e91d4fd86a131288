"""Folds: one product on one array, one block of the stationary operand after the other. The ideal memory of textbooks.

A fold keeps up to rows x cols values in the array and moves the other operand through it, a row a cycle; the last
result leaves rows + cols - 2 cycles after its row has entered. What is kept comes in a row a cycle too, before the fold
(serial), or into a second set of registers while the fold before it runs (double-buffered).

    dataflow   kept                    folds                            rows kept   rows moved
    ws         weights, rows of k      ceil(k / rows) x ceil(n / cols)  rows        m
    is         inputs, rows of k       ceil(k / rows) x ceil(m / cols)  rows        n
    os         outputs, built in place ceil(m / rows) x ceil(n / cols)  0           k
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Literal

import numpy as np

from hwsim._core import tables
from hwsim.errors import HwsimError, bad
from hwsim.operators.candidates import rates_of
from hwsim.operators.program import Bound, Template, TemplateBuilder, bind, run_many
from hwsim.units import ceil_div

Loading = Literal["serial", "double-buffered"]


@dataclass(frozen=True)
class Dataflow:
    """Which operand stays in an array.

    Attributes
    ----------
    across, along : str
        Dimensions (m, n or k) laid over the rows and over the columns of an array.
    moved : str
        Dimension whose rows move through it.
    loads : bool
        What stays is brought in before a fold.
    """

    across: str
    along: str
    moved: str
    loads: bool


DATAFLOWS: Mapping[str, Dataflow] = {
    "ws": Dataflow("k", "n", "m", True),
    "is": Dataflow("k", "m", "n", True),
    "os": Dataflow("m", "n", "k", False),
}


@cache
def template(double: bool) -> Template:
    """Folds of one array; rows kept and rows moved are amounts, the way through the array is the latency of `array`."""
    return (_double if double else _serial)()


def _serial() -> Template:
    b = TemplateBuilder("systolic-folds-serial")
    keep, array = b.resource("keep", bound="tensor"), b.resource("array", bound="tensor")
    q = b.queue("array")
    with q.loop(b.slot("folds"), pace=True):
        q.run(keep, b.slot("kept"), sync=True)
        q.run(array, b.slot("moved"), sync=True)
    return b.build()


def _double() -> Template:
    b = TemplateBuilder("systolic-folds-double")
    keep, array = b.resource("keep", bound="tensor"), b.resource("array", bound="tensor")
    folds, kept, free = b.slot("folds"), b.counter("kept"), b.counter("free")
    q = b.queue("keep")
    with q.loop(folds, pace=True):
        q.run(keep, b.slot("kept"), wait=[(free, -1)], done=kept)
    q = b.queue("array")
    with q.loop(folds):
        q.run(array, b.slot("moved"), wait=[(kept, 1)], freed=free)
    return b.build()


def bound_folds(sizes: Mapping[str, int], rows: int, cols: int, dataflow: str, double: bool) -> Bound:
    """The program of one product m x n x k, bound; its end is the cycle after the last result."""
    flow = DATAFLOWS[dataflow]
    folds = ceil_div(sizes[flow.across], rows) * ceil_div(sizes[flow.along], cols)
    t = template(double)
    by_slot = {"folds": folds, "kept": rows if flow.loads else 0, "moved": sizes[flow.moved]}
    values = np.array([[by_slot[name] for name in t.names["slots"]]], np.int64)
    return bind(t, values, rates_of(t, {"array": (Fraction(1), rows + cols - 2)}))


def systolic_cycles(
    m: int, n: int, k: int, rows: int, cols: int, dataflow: str = "ws", weights: Loading = "serial"
) -> int:
    """Cycles of C[m,n] = A[m,k] B[k,n] on one systolic array with an ideal memory, simulated.

    Parameters
    ----------
    m, n, k : int
        The product; B holds the weights.
    rows, cols : int
        The array.
    dataflow : {"ws", "is", "os"}
        What stays in the array: weights, inputs (A) or outputs.
    weights : {"serial", "double-buffered"}
        The stationary operand is loaded before its fold, or during the one before. Stationary outputs are not loaded;
        double-buffered, the next fold follows while they leave.

    Returns
    -------
    int
        Index of the last cycle, as SCALE-Sim 3.0.0 reports it.

    Raises
    ------
    InputError
        A size below 1, an unknown dataflow or way of loading.
    """
    sizes = {"m": m, "n": n, "k": k, "rows": rows, "cols": cols}
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or not 1 <= size < 1 << 31:
            raise bad(f"systolic_cycles: {name}", repr(size), "a whole number from 1")
    _among("dataflow", dataflow, DATAFLOWS)
    _among("weights", weights, ("serial", "double-buffered"))
    outcome = run_many(bound_folds(sizes, rows, cols, dataflow, weights == "double-buffered").require())
    if outcome.status[0] != tables.OK:
        raise HwsimError(f"folds ended with status {tables.STATUS_NAMES[outcome.status[0]]}; this is a fault of hwsim")
    return int(outcome.end[0]) - 1


def _among(name: str, word: object, known: Iterable[str]) -> None:
    words = list(known)
    if word not in words:
        raise bad(f"systolic_cycles: {name}", repr(word), "one of " + ", ".join(words))
