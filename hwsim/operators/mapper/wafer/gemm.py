"""GEMM on a wafer: weights lie in tiles on the region. Few rows: a tree of partial sums; many: cyclic shifts."""

from __future__ import annotations

import numpy as np

from hwsim.operators.amounts import Ints
from hwsim.operators.candidates import Candidates, Programs
from hwsim.operators.mapper.refusals import larger, reasons
from hwsim.operators.mapper.wafer import phases, regions, shift
from hwsim.operators.mapper.wafer.machine import Machine
from hwsim.operators.mapper.wafer.phases import Phase
from hwsim.operators.mapper.wafer.regions import Dims, Way
from hwsim.operators.mapper.wafer.shift import Product
from hwsim.operators.operator import SIXTEENTH_BYTES
from hwsim.units import ceil_div

NAMES = ("tree", "cyclic shift")


def _phase(side: int, dims: Dims) -> Phase:
    """Every row of A times a core's tile of B, then sums along the lines: each core has its columns of the result."""
    rows, columns, depth = dims["m"] * dims["batch"], ceil_div(dims["n"], side), ceil_div(dims["k"], side)
    return Phase.of(tensor=2 * rows * columns * depth, partial=rows * columns)


def _ways(machine: Machine, dtype: str) -> list[Way]:
    def shifted(side: int, of: Dims) -> tuple[Ints, list[Product], Phase]:
        product = Product.of(machine, side, of["m"], of["n"], of["k"], SIXTEENTH_BYTES[dtype])
        return of["batch"], [product], Phase.of(tensor=np.zeros_like(of["m"]))

    return [
        Way(
            "tree",
            lambda side, of: phases.cycles(machine, side, [_phase(side, of)], dtype),
            lambda side, of, index: phases.programs(machine, side, [_phase(side, of)], dtype, index),
        ),
        Way(
            "cyclic shift",
            lambda side, of: shift.cycles(machine, side, *shifted(side, of), dtype),
            lambda side, of, index: shift.programs(machine, side, *shifted(side, of), dtype, index),
        ),
    ]


def propose(machine: Machine, dims: Dims, dtype: str) -> Candidates:
    """Both ways on every region, ranked by the closed forms of their programs."""
    return regions.propose(machine, dims, _ways(machine, dtype))


def programs(machine: Machine, dims: Dims, dtype: str, chosen: Candidates) -> list[Programs]:
    """Programs of the chosen candidates."""
    return regions.programs(dims, chosen, _ways(machine, dtype))


def refuse(machine: Machine, dims: Dims, dtype: str) -> list[str | None]:
    """Cases whose operands are more than the wafer's SRAM."""
    m, n, k, batch = (dims[name].astype(np.float64) for name in ("m", "n", "k", "batch"))
    need = batch * (m * k + k * n + m * n) * SIXTEENTH_BYTES[dtype] / 16
    return reasons(larger(machine, need, machine.room, "operands and result need"))


def describe(chosen: Candidates, row: int) -> str:
    """A candidate in words: "tree on 660 x 660 cores"."""
    return regions.describe(NAMES, chosen, row)
