"""A layer of experts on a GPU: the kernels of a library one after the other, on the device with the fullest experts.

Router and sort start; rows are quantised, copied to the order of their experts, multiplied with each expert's gate and
up matrices, activated, multiplied with its down matrix, weighted and summed. The row kernels are one program
(moe_rows.py), each of the two grouped products one of the GEMM template (grouped.py). Tiles are ranked for balanced
loads, as a library's autotuner sees them, and the best few tried on the loads asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hwsim.describe.routing import BALANCED, EXPECTED, THOUSANDTHS, WORDS
from hwsim.operators.amounts import Ints, size_bytes
from hwsim.operators.candidates import Candidates, Programs, rates_of
from hwsim.operators.experts import DRAWS, loads
from hwsim.operators.machine import per_cycle
from hwsim.operators.mapper.gpu import moe_rows
from hwsim.operators.mapper.gpu.estimate import estimate, finish_skew
from hwsim.operators.mapper.gpu.fill import cells_of, values_of
from hwsim.operators.mapper.gpu.gemm import GROUPS, quantize_law
from hwsim.operators.mapper.gpu.grouped import Product, Rows, absent, work_of
from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.mapper.gpu.program import template
from hwsim.operators.mapper.gpu.tiles import HIT, GemmKernels, Work
from hwsim.operators.operator import SIXTEENTH_BYTES

KERNELS = 5  # router, sort, expand, activation, finalise
FUSED_SORT = 256  # tokens below which one kernel sorts; above it takes two more
WIDE = ("bf16", "fp16")
BLOCKS = 8  # thread blocks of a row kernel on an SM at once


@dataclass(frozen=True)
class _Case:
    """Cases as their kernels see them, int64[C]: sizes of one device, loads of its experts."""

    tokens: Ints
    hidden: Ints
    inner: Ints
    local: Ints
    loads: list[Ints]

    @staticmethod
    def of(dims: Mapping[str, Ints], balanced: bool = False) -> _Case:
        numbers = np.full_like(dims["tokens"], BALANCED) if balanced else dims["distribution"]
        asked = zip(*(dims[name].tolist() for name in ("tokens", "experts", "top_k", "ep")), numbers.tolist())
        return _Case(
            dims["tokens"],
            dims["hidden"],
            dims["intermediate"] // dims["tp"],
            dims["experts"] // dims["ep"],
            [loads(*each) for each in asked],
        )

    def rows(self, tile_m: Ints) -> Rows:
        """Rows under tiles of so many."""
        means = [
            [_mean(each), _mean(each > 0), _mean(-(-each // tile))]
            for each, tile in zip(self.loads, tile_m.tolist(), strict=True)
        ]
        return Rows(*np.array(means, np.int64).reshape(-1, 3).T)


def _mean(each: np.ndarray) -> int:
    """Mean over the draws of the sum over experts, rounded up."""
    return int(-(-int(each.sum()) // len(each)))


def _products(machine: Machine, case: _Case, rows: Rows, dtype: str) -> tuple[Product, Product]:
    """Gate and up together, then down; all weights and rows of the layer share the L2."""
    each = size_bytes(case.hidden * case.inner, dtype)
    moved = rows.rows * (size_bytes(case.hidden, dtype) + 4 * case.inner)
    shares = absent(machine, 3 * rows.touched * each, moved)
    return Product(2 * case.inner, case.hidden, *shares), Product(case.hidden, case.inner, *shares)


def _work(machine: Machine, dtype: str, tiles: dict[str, Ints], case: _Case) -> list[Work]:
    kernels = GemmKernels.of_experts(machine)
    rows = case.rows(tiles["tile_m"])
    return [work_of(machine, kernels, dtype, tiles, rows, p) for p in _products(machine, case, rows, dtype)]


def propose(machine: Machine, dims: Mapping[str, Ints], dtype: str) -> Candidates:
    """Every tile of every case with its rank for balanced loads."""
    kernels = GemmKernels.of_experts(machine)
    count, shapes = len(dims["tokens"]), len(kernels.tile_m)
    case = np.repeat(np.arange(count), shapes)
    each = {name: np.tile(column, count) for name, column in
            (("tile_m", kernels.tile_m), ("tile_n", kernels.tile_n), ("pair", kernels.pair))}  # fmt: skip
    each |= {"split": np.ones_like(case), "resident": np.ones_like(case)}
    own = _Case.of({name: column[case] for name, column in dims.items()}, balanced=True)
    rank = sum((estimate(machine, dtype, work, each["split"]) for work in _work(machine, dtype, each, own)), 0 * case)
    return Candidates(case, rank, each)


def programs(machine: Machine, dims: Mapping[str, Ints], dtype: str, chosen: Candidates) -> list[Programs]:
    """Row kernels, then the two grouped products, of each case."""
    case = _Case.of({name: column[chosen.case] for name, column in dims.items()})
    tiles = dict(chosen.columns)
    groups = min(GROUPS, machine.cores)
    parts = [_rows_program(machine, dtype, case, case.rows(tiles["tile_m"]))]
    parts += [_product(machine, dtype, work, groups, tiles["pair"]) for work in _work(machine, dtype, tiles, case)]
    return parts


def _product(machine: Machine, dtype: str, work: Work, groups: int, pair: Ints) -> Programs:
    t = template(groups)
    once = {
        "launch": np.full_like(pair, machine.launch),
        "late": finish_skew(machine, work),
        "quantize.launch": np.zeros_like(pair),
        "quantize.bytes": np.zeros_like(pair),
    }
    cells = cells_of(machine, work, groups)
    rates = {
        "hbm": (machine.stream_rate, machine.hbm_latency),
        "l2": (machine.l2_rate, max(machine.l2_latency, 1)),
        "port": (machine.port, 0),
        "out": (machine.port, 1),
        "tensor": (machine.tensor[dtype], 0),
    }
    return Programs(
        template=t,
        index=np.arange(len(pair)),
        values=values_of(work, once, groups),
        rates=rates_of(t, rates),
        laws=quantize_law(machine, dtype),
        cells=np.stack([cells[name] for name in t.names["cells"]], axis=1),
        flops=work.items * work.steps * work.step_flops * pair,
        bytes={"sram": work.items * work.steps * work.step_bytes * pair},
    )


def _rows_program(machine: Machine, dtype: str, case: _Case, rows: Rows) -> Programs:
    """Launches of all kernels but the products, then row by row what they read and write."""
    t, of = moe_rows.template(), machine.kernels.moe
    small = int(dtype not in WIDE)  # they are quantised first
    tokens, moved = case.tokens, rows.rows
    narrow, wide, inner = size_bytes(case.hidden, dtype), 2 * case.hidden, size_bytes(case.inner, dtype)
    kernels = {
        "quantise": (small * tokens, wide + narrow),
        "expand": (moved, 2 * narrow),
        "activation": (moved, 4 * case.inner + inner),
        "finalise": (tokens, wide + wide * moved // tokens),
    }
    launches = KERNELS + small + 2 * (tokens >= FUSED_SORT)
    _, lost = absent(machine, 0 * tokens, moved * (narrow + 4 * case.inner))
    values = np.zeros((len(tokens), t.size("slots")), np.int64)
    values[:, t.slots["launch"].index] = launches * machine.cycles(of.launch) + case.local * machine.cycles(of.expert)
    values[:, t.slots["kernels"].index] = len(moe_rows.KERNELS)
    for place, name in enumerate(moe_rows.KERNELS):
        count, size = kernels[name]
        values[:, t.slots["blocks"].index + place] = count * machine.cycles(of.row)
        values[:, t.slots["port"].index + place] = count * size
        values[:, t.slots["hbm"].index + place] = count * size * lost // HIT
    rates = {
        "blocks": (per_cycle(Fraction(machine.cores * BLOCKS)), 0),
        "port": (per_cycle(of.rate * machine.cores), 0),
        "hbm": (machine.hbm_rate, machine.hbm_latency),
    }
    return Programs(t, np.arange(len(tokens)), values, rates_of(t, rates))


def copies(dims: Mapping[str, Ints]) -> Ints:
    """Operators of one replay: the draws of a power law are timed together."""
    return np.where(dims["distribution"] == BALANCED, 1, DRAWS)


def refuse(machine: Machine, dims: Mapping[str, Ints], dtype: str) -> list[str | None]:
    """Why a case cannot run, or None."""
    return [
        _reason(machine, dtype, {name: int(column[row]) for name, column in dims.items()})
        for row in range(len(dims["tokens"]))
    ]


def _reason(machine: Machine, dtype: str, case: dict[str, int]) -> str | None:
    experts, inner, number = case["experts"], case["intermediate"], case["distribution"]
    if number not in WORDS.values() and number <= THOUSANDTHS:
        return f"distribution {number}, expected {EXPECTED}"
    if case["top_k"] > experts:
        return f"top_k {case['top_k']} of {experts} experts: a token chooses different ones"
    if experts % case["ep"]:
        return f"{experts} experts do not divide over ep {case['ep']}"
    if inner % case["tp"]:
        return f"intermediate {inner} does not divide over tp {case['tp']}"
    size = 3 * case["hidden"] * (inner // case["tp"]) * (experts // case["ep"]) * SIXTEENTH_BYTES[dtype] / 16
    if size > machine.hbm:
        return f"needs {size / 1e9:.4g} GB, {machine.accelerator} has {machine.hbm / 1e9:.4g} GB"
    return None


def describe(chosen: Candidates, row: int) -> str:
    """A candidate in words: "128x64"."""
    c = {name: int(column[row]) for name, column in chosen.columns.items()}
    return f"{c['tile_m']}x{c['tile_n']}" + (" pair" if c["pair"] > 1 else "")
