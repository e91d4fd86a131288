"""GEMM on a systolic accelerator: blocks that fit the scratchpad, ranked by a closed form; programs of the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hwsim.operators.amounts import Ints
from hwsim.operators.candidates import Candidates, Programs, in_pieces, rates_of
from hwsim.operators.machine import per_cycle
from hwsim.operators.mapper.refusals import larger, product_bytes, reasons
from hwsim.operators.mapper.systolic.blocks import (
    FLOWS,
    RESULT,
    Blocks,
    absent_1024,
    choices,
    cut,
    edges,
    folds_of,
    need_bytes,
    place_bytes,
    size_bytes,
)  # fmt: skip
from hwsim.operators.mapper.systolic.folds import DATAFLOWS
from hwsim.operators.mapper.systolic.machine import Machine
from hwsim.operators.mapper.systolic.program import BUFFERS, template
from hwsim.units import ceil_div

CHUNK = 128  # cases ranked together


@dataclass(frozen=True)
class Traffic:
    """Bytes of memory of a product, all cores together: shares of A and the result that the scratchpads cannot keep."""

    a_1024: Ints
    out_1024: Ints

    @staticmethod
    def of(machine: Machine, dims: Mapping[str, Ints], dtype: str) -> Traffic:
        """Activations are where the operator before left them, as far as half of the scratchpads holds them."""
        m, n, k = dims["m"], dims["n"], dims["k"]
        place = machine.sram * machine.cores // 2
        whole = size_bytes(m * k, dtype) + RESULT * m * n
        absent = absent_1024(whole, place)
        if not machine.timing.warm_activations:
            absent = np.full_like(m, 1024)
        return Traffic(absent, absent)


def propose(machine: Machine, dims: Mapping[str, Ints], dtype: str) -> Candidates:
    """Candidates of every case; batched products are as many times one of them."""
    return in_pieces(dims, CHUNK, lambda piece: _ranked(machine, piece, dtype))


def _ranked(machine: Machine, dims: Mapping[str, Ints], dtype: str) -> Candidates:
    case, columns = choices(machine, dims)
    columns["arrays"] = np.full(len(case), machine.arrays)
    of = {name: column[case] for name, column in dims.items()}
    _keep_inputs(machine, of, columns)
    b = cut(machine, of, columns, dtype)
    need, place = need_bytes(b, of, dtype), place_bytes(machine)
    least = np.minimum.reduceat(need, np.flatnonzero(np.r_[True, case[1:] != case[:-1]]))[case]
    rank = rank_of(machine, b, of, dtype, Traffic.of(machine, of, dtype))
    # The smallest blocks are always offered: there is nothing smaller to take.
    return Candidates(case, rank, columns).take(np.flatnonzero((need <= place) | (need == least)))


def _keep_inputs(machine: Machine, dims: Mapping[str, Ints], columns: dict[str, Ints]) -> None:
    """Products whose activations the compiler keeps in the arrays, by its rule."""
    rule = machine.kernels.gemm.inputs
    if rule is None:
        return
    taken = (dims["m"] >= rule.rows) & (dims["m"] <= machine.cols) & (dims["k"] > rule.depth)
    columns["flow"] = np.where(taken, FLOWS.index("is"), columns["flow"])
    columns["arrays"] = np.where(taken, min(rule.arrays, machine.arrays), columns["arrays"])


def rate_of(machine: Machine, dtype: str) -> Fraction:
    """Rows that an array takes each cycle in a long loop of the software."""
    return per_cycle(machine.rate[dtype] * machine.kernels.gemm.efficiency)


def sixteenths(amount: Ints, rate: Fraction) -> Ints:
    """1/16 cycles of an amount at a rate."""
    return ceil_div(amount * 16 * rate.denominator, rate.numerator)


def rank_of(machine: Machine, b: Blocks, dims: Mapping[str, Ints], dtype: str, traffic: Traffic) -> Ints:
    """1/16 cycles: launch, first block's way from memory, blocks one after the other, way through an array.

    The next block is read while one is in the arrays: a block takes the longer of both, or half of its whole way round.
    """
    rate = rate_of(machine, dtype)
    loads = sixteenths(np.array([flow.loads for flow in DATAFLOWS.values()])[b.flow] * machine.rows, rate)
    amounts = bytes_of(machine, b, dims, dtype, traffic)
    way = 16 * machine.hbm_latency + loads
    total = np.zeros_like(b.rows)
    for w, (columns, blocks) in enumerate(((b.columns, b.blocks - 1), (b.last_columns, 1))):
        busy, read = [], []
        for s, depth in enumerate((b.depth, b.last_depth)):
            folds, moved = folds_of(machine, b, columns, depth)
            busy.append(folds * np.maximum(sixteenths(moved, rate), loads) + 16 * block_cycles(machine))
            read.append(sixteenths(amounts["b", s + 2 * w][0] + amounts["a", s][0], machine.hbm_rate))

        row, last = _row_of_steps(b, busy, read, way)
        total += blocks * row
    moved_bytes = sum((amount * often for amount, often in amounts.values()), np.zeros_like(total))
    first = np.where((b.blocks == 1) & (b.steps == 1), amounts["b", 3][0], amounts["b", 0][0])
    fill = sixteenths(first + amounts["a", 2][0], machine.hbm_rate)
    longest = np.maximum(total * b.panels - last + fill, sixteenths(moved_bytes, machine.hbm_rate))
    ends = way + 16 * (machine.rows + machine.cols)
    return dims["batch"] * (longest + ends) + 16 * machine.launch


def _row_of_steps(b: Blocks, busy: list[Ints], read: list[Ints], way: Ints) -> tuple[Ints, Ints]:
    """1/16 cycles of the steps of a block, each in the arrays while the next is read; times of a step, of the last.

    Also the part of it that is spent on reading for the block after.
    """

    steps, waits = b.steps, b.panels * b.blocks * b.steps > BUFFERS  # the first blocks find their places free

    def both(now: int, after: int) -> Ints:
        round_trip = waits * (busy[now] + read[after] + way) // BUFFERS
        return np.maximum(np.maximum(busy[now], read[after]), round_trip)

    last = np.where(steps > 1, both(1, 0), both(1, 1))
    several = np.maximum(steps - 2, 0) * both(0, 0) + both(0, 1)
    return np.where(steps > 1, several, 0) + last, last - busy[1]


def block_cycles(machine: Machine) -> int:
    """Cycles that a block takes to start, at least one: its command frees the block's place."""
    return max(machine.cycles(machine.kernels.gemm.block), 1)


Amounts = dict[tuple[str, int], tuple[Ints, Ints]]


def bytes_of(machine: Machine, b: Blocks, dims: Mapping[str, Ints], dtype: str, traffic: Traffic) -> Amounts:
    """Bytes of all cores, and how often, of every command on memory, by slot and column of the slot."""
    last_rows = dims["m"] - b.rows * (b.panels - 1)
    last_columns = dims["n"] - b.cores * b.columns * (b.blocks - 1)
    one = np.ones_like(b.steps)
    depths = ((b.depth, b.steps - 1), (b.last_depth, one))
    widths = ((b.cores * b.columns, b.blocks - 1), (last_columns, one))
    heights = ((b.rows, b.panels - 1), (last_rows, one))
    found: Amounts = {}
    for p, (rows, panels) in enumerate(heights):
        for s, (depth, steps) in enumerate(depths):
            amount = ceil_div(size_bytes(rows * depth, dtype) * traffic.a_1024, 1024) * b.cores
            found["a", s + 4 * p] = amount * (1 - b.resident), panels * steps * (b.blocks - 1)
            found["a", s + 2 + 4 * p] = amount, panels * steps
        for w, (columns, blocks) in enumerate(widths):
            amount = ceil_div(RESULT * rows * columns * traffic.out_1024, 1024)
            found["out", w + 2 * p] = amount, panels * blocks
    for w, (columns, blocks) in enumerate(widths):
        for s, (depth, steps) in enumerate(depths):
            found["b", s + 2 * w] = size_bytes(depth * columns, dtype), blocks * steps * b.panels
    return found


def programs(machine: Machine, dims: Mapping[str, Ints], dtype: str, chosen: Candidates) -> list[Programs]:
    """Programs of the chosen candidates; one template serves them all."""
    t = template()
    of = {name: column[chosen.case] for name, column in dims.items()}
    b = cut(machine, of, chosen.columns, dtype)
    values = np.zeros((len(chosen.case), t.size("slots")), np.int64)

    def put(slot: str, column: Ints | int, offset: int = 0) -> None:
        values[:, t.slots[slot].index + offset] = column

    loads = np.array([flow.loads for flow in DATAFLOWS.values()])[b.flow] * machine.rows
    for slot, column in {
        "products": of["batch"],
        "panels": b.panels,
        "blocks": b.blocks,
        "steps": b.steps,
        "kept": loads,
    }.items():
        put(slot, column)
    put("launch", machine.launch)
    put("end", block_cycles(machine))
    flops = np.zeros(len(values), np.int64)
    for offset, (columns, depth, often) in enumerate(edges(b)):
        folds, moved = folds_of(machine, b, columns, depth)
        put("folds", folds, offset)
        put("moved", moved, offset)
        flops += often * folds * moved
    for (slot, offset), (amount, _) in bytes_of(machine, b, of, dtype, Traffic.of(machine, of, dtype)).items():
        put(slot, amount, offset)
    rate = rate_of(machine, dtype)
    rates = {
        "hbm": (machine.hbm_rate, machine.hbm_latency),
        "keep": (rate, 0),
        "array": (rate, machine.rows + machine.cols - 2),
    }
    padded = 2 * machine.rows * machine.cols * b.arrays * b.cores * b.panels * of["batch"]
    index, cells = np.arange(len(values)), b.steps[:, None]
    return [Programs(t, index, values, rates_of(t, rates), cells=cells, flops=flops * padded)]


def refuse(machine: Machine, dims: Mapping[str, Ints], dtype: str) -> list[str | None]:
    """Cases whose operands are more than the memory of the device."""
    return reasons(larger(machine, product_bytes(dims, dtype), machine.hbm))


def describe(chosen: Candidates, row: int) -> str:
    """A candidate in words: "ws 512x1024x2048 on 4 arrays"."""
    c = {name: int(column[row]) for name, column in chosen.columns.items()}
    return f"{FLOWS[c['flow']]} {c['rows']}x{c['columns']}x{c['depth']} on {c['arrays']} arrays"
