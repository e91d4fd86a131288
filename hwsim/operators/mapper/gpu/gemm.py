"""GEMM on a GPU: what a library would run, ranked by a closed form and handed over as programs.

The mechanisms (tiles in waves with a tail, a copy pipeline in stages, one fill port an SM, L2 and HBM shared by all, a
split inner dimension, an epilogue that newer generations overlap) follow the schedule of CUTLASS kernels. Their
constants are the generation's (physics) or the software's (which tiles and splits a library has).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np

from hwsim.operators.candidates import Candidates, Programs, in_pieces, rates_of
from hwsim.operators.machine import per_cycle
from hwsim.operators.mapper.gpu.estimate import estimate, finish_skew
from hwsim.operators.mapper.gpu.fill import cells_of, values_of
from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.mapper.gpu.program import template
from hwsim.operators.mapper.gpu.tiles import GemmKernels, count_work, enumerate_tiles
from hwsim.operators.mapper.refusals import larger, product_bytes, reasons
from hwsim.operators.operator import SIXTEENTH_BYTES
from hwsim.operators.program import LAW_DTYPE
from hwsim.units import ceil_div

CHUNK = 512  # cases ranked at a time: the columns of their candidates stay in the cache
QUANTIZE_ROWS, QUANTIZE_COLUMNS = 256, 8192  # where the serial parts of quantising kernels reach their described time
GROUPS = 4  # groups of equal SMs


def propose(machine: Machine, dims: Mapping[str, np.ndarray], dtype: str) -> Candidates:
    """Every candidate of every case with its rank.

    Parameters
    ----------
    dims : mapping of str to int64[P]
        m, n, k, batch.
    dtype : str
        Of both inputs; the result has two bytes an element.
    """
    kernels = GemmKernels.of(machine, dtype)

    def ranked(piece: dict[str, np.ndarray]) -> Candidates:
        chosen = enumerate_tiles(machine, kernels, piece)
        rank = estimate(machine, dtype, count_work(machine, kernels, piece, dtype, chosen), chosen["split"])
        return Candidates(chosen.pop("case"), rank, chosen)

    return in_pieces(dims, CHUNK, ranked)


def programs(machine: Machine, dims: Mapping[str, np.ndarray], dtype: str, chosen: Candidates) -> list[Programs]:
    """Programs of the chosen candidates; one template serves them all."""
    kernels = GemmKernels.of(machine, dtype)
    work = count_work(machine, kernels, dims, dtype, {"case": chosen.case, **chosen.columns})
    groups = min(GROUPS, machine.cores)
    split = chosen.columns["split"]
    once = {
        "launch": np.full_like(split, machine.launch),
        "late": finish_skew(machine, work) + np.where(split > 1, machine.barrier, 0),
        **quantize(machine, {name: column[chosen.case] for name, column in dims.items()}, dtype),
    }
    t = template(groups)
    cells = cells_of(machine, work, groups)
    rates = {
        "hbm": (machine.stream_rate, machine.hbm_latency),
        "l2": (machine.l2_rate, max(machine.l2_latency, 1)),
        "port": (machine.port, 0),
        "out": (machine.port, 1),
        "tensor": (machine.tensor[dtype], 0),
    }
    return [
        Programs(
            template=t,
            index=np.arange(len(split)),
            values=values_of(work, once, groups),
            rates=rates_of(t, rates),
            laws=quantize_law(machine, dtype),
            cells=np.stack([cells[name] for name in t.names["cells"]], axis=1),
            flops=work.items * work.steps * work.step_flops * chosen.columns["pair"],
            bytes={"sram": work.items * work.steps * work.step_bytes * chosen.columns["pair"]},
        )
    ]


def refuse(machine: Machine, dims: Mapping[str, np.ndarray], dtype: str) -> list[str | None]:
    """Cases whose operands are more than the memory of the device."""
    return reasons(larger(machine, product_bytes(dims, dtype), machine.hbm))


def quantize(machine: Machine, dims: Mapping[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Cycles and bytes of the kernels that bring the bf16 activations to `dtype`: read twice, written once.

    A server knows the scales: it reads once, where the kernel before the product did not write `dtype` itself.
    """
    m, k = dims["m"], dims["k"]
    block = machine.kernels.gemm.quantize.get(dtype)
    if block is None:
        return {"quantize.launch": np.zeros_like(m), "quantize.bytes": np.zeros_like(m)}
    if machine.timing.served:
        launch = np.full_like(m, ceil(block.served * (machine.launch + machine.hbm_latency)))
        share = block.served * (2 * 16 + SIXTEENTH_BYTES[dtype]) / 16
        moved = ceil_div(dims["batch"] * m * k * share.numerator, share.denominator)
        return {"quantize.launch": launch, "quantize.bytes": moved}
    launches = ceil(block.kernels * (machine.launch + machine.hbm_latency + machine.cycles(block.launch)))
    rows = machine.cycles(block.rows) * np.minimum(m, QUANTIZE_ROWS) // QUANTIZE_ROWS
    columns = machine.cycles(block.columns) * k // QUANTIZE_COLUMNS
    size = 2 * 2 * 16 + SIXTEENTH_BYTES[dtype]
    return {"quantize.launch": launches + rows + columns, "quantize.bytes": ceil_div(dims["batch"] * m * k * size, 16)}


def quantize_law(machine: Machine, dtype: str) -> np.ndarray:
    """LAW_DTYPE[1]: memory as the quantising kernels use it."""
    block = machine.kernels.gemm.quantize.get(dtype)
    rate = per_cycle(machine.hbm_rate * block.bandwidth) if block else machine.stream_rate
    return np.array([(rate.numerator, rate.denominator, 0, 0)], LAW_DTYPE)


def describe(chosen: Candidates, row: int) -> str:
    """A candidate in words: "128x256 split 4 resident 2"."""
    c = {name: int(column[row]) for name, column in chosen.columns.items()}
    pair = " pair" if c["pair"] > 1 else ""
    return f"{c['tile_m']}x{c['tile_n']}{pair} split {c['split']} resident {c['resident']}"
