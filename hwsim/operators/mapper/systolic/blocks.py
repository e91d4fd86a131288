"""How a compiler cuts a product for a systolic core: blocks in the scratchpad, folds on the arrays, bytes of memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from hwsim.operators.amounts import Ints, size_bytes
from hwsim.operators.mapper.systolic.folds import DATAFLOWS
from hwsim.operators.mapper.systolic.machine import Machine
from hwsim.operators.mapper.systolic.program import BUFFERS
from hwsim.units import ceil_div

FLOWS = tuple(DATAFLOWS)
ACCUMULATOR = 4  # bytes of a sum in the scratchpad
RESULT = 2  # bytes of a value of the result: bf16 whatever the operands


def absent_1024(amount: Ints, place: int) -> Ints:
    """Share of an amount that a place cannot hold, in 1/1024, rounded up."""
    return ceil_div(np.maximum(amount - place, 0) * 1024, np.maximum(amount, 1))


@dataclass(frozen=True)
class Blocks:
    """Cut products, int64 each; a core has its share of the columns.

    Attributes
    ----------
    cores : cores with work
    panels, blocks, steps : trips over rows, columns and inner dimension
    rows, columns, depth : of a block
    last_columns, last_depth : of the last block and step
    resident : a panel of A stays in the scratchpad while its blocks pass
    flow : index into FLOWS
    arrays : arrays of a core that share its folds
    """

    cores: Ints
    panels: Ints
    blocks: Ints
    steps: Ints
    rows: Ints
    columns: Ints
    depth: Ints
    last_columns: Ints
    last_depth: Ints
    resident: Ints
    flow: Ints
    arrays: Ints


def cut(machine: Machine, dims: Mapping[str, Ints], c: Mapping[str, Ints], dtype: str) -> Blocks:
    """Blocks of the products `dims` for candidates with columns rows, columns, depth, flow, arrays."""
    m, n, k = dims["m"], dims["n"], dims["k"]
    slices = ceil_div(n, machine.cols)  # columns of arrays
    own = ceil_div(slices, np.minimum(slices, machine.cores))
    cores = ceil_div(slices, own)
    wide = np.minimum(ceil_div(n, cores), own * machine.cols)
    panels = ceil_div(m, c["rows"])
    columns = np.minimum(c["columns"], wide)
    depth = np.minimum(c["depth"], k)
    blocks, steps = ceil_div(wide, columns), ceil_div(k, depth)
    b = Blocks(
        cores=cores, panels=panels, blocks=blocks, steps=steps, rows=ceil_div(m, panels), columns=columns, depth=depth,
        last_columns=wide - columns * (blocks - 1), last_depth=k - depth * (steps - 1),
        resident=np.ones_like(m), flow=c["flow"], arrays=c["arrays"],
    )  # fmt: skip
    return replace(b, resident=(need_bytes(b, dims, dtype) <= place_bytes(machine)).astype(np.int64))


def folds_of(machine: Machine, b: Blocks, columns: Ints, depth: Ints) -> tuple[Ints, Ints]:
    """Folds of an array in a block of so many columns and steps of that depth, and the rows that move in each."""
    sizes = {"m": b.rows, "n": columns, "k": depth}
    folds, moved = np.zeros_like(b.rows), np.zeros_like(b.rows)
    for index, flow in enumerate(DATAFLOWS.values()):
        taken = b.flow == index
        tiles = ceil_div(sizes[flow.across], machine.rows) * ceil_div(sizes[flow.along], machine.cols)
        folds = np.where(taken, ceil_div(tiles, b.arrays), folds)
        moved = np.where(taken, sizes[flow.moved], moved)
    return folds, moved


def edges(b: Blocks) -> list[tuple[Ints, Ints, Ints]]:
    """(columns, depth, how often in a panel) of blocks that are not the last or are, as columns of a slot."""
    more_blocks, more_steps = b.blocks - 1, b.steps - 1
    one = np.ones_like(b.blocks)
    return [
        (b.columns, b.depth, more_blocks * more_steps),
        (b.columns, b.last_depth, more_blocks * one),
        (b.last_columns, b.depth, more_steps * one),
        (b.last_columns, b.last_depth, one),
    ]


def need_bytes(b: Blocks, dims: Mapping[str, Ints], dtype: str) -> Ints:
    """Scratchpad of a core that blocks take: operands twice, a panel of A once where it stays, sums once."""
    panel = np.where(b.resident > 0, b.rows * dims["k"], BUFFERS * b.rows * b.depth)
    return size_bytes(panel + BUFFERS * b.depth * b.columns, dtype) + ACCUMULATOR * b.rows * b.columns


def place_bytes(machine: Machine) -> int:
    """Scratchpad of a core for the blocks of one product."""
    return int(machine.sram * machine.kernels.gemm.scratchpad)


def choices(machine: Machine, dims: Mapping[str, Ints]) -> tuple[Ints, dict[str, Ints]]:
    """Case and columns of candidates: every dataflow and block of the software.

    A largest size beyond the whole dimension cuts like the first that reaches it, and is left out.
    """
    gemm = machine.kernels.gemm
    flows = [FLOWS.index(flow) for flow in gemm.dataflows]
    sizes = {"rows": gemm.rows, "columns": gemm.columns, "depth": gemm.depths}
    table = np.array(list(product(flows, *sizes.values())), np.int64)
    wanted = np.ones((len(dims["m"]), len(table)), bool)
    for column, (dim, listed) in enumerate(zip("mnk", sizes.values()), 1):
        smaller = np.array([max((other for other in listed if other < size), default=0) for size in table[:, column]])
        wanted &= smaller[None, :] < dims[dim][:, None]
    case, way = np.nonzero(wanted)
    return case, {name: table[way, index] for index, name in enumerate(("flow", *sizes))}
