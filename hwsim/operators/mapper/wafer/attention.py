"""Attention on a wafer, keys and values spread over the region: tokens along one axis, elements of heads the other.

Decode: scores of a core's keys, summed along the heads' axis; maximum and sum of the softmax along the tokens'; the
values it holds, summed along the tokens'. Every query head has keys of its own: heads that share keys read them again.
Prefill: head by head, on the region or on squares of it side by side, a product by cyclic shifts, a softmax along the
rows, a product. All keys are multiplied, also
those that the causal mask takes out again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hwsim.operators.amounts import Ints
from hwsim.operators.candidates import Candidates, Programs
from hwsim.operators.mapper.refusals import attention, heads_divide, larger, reasons
from hwsim.operators.mapper.wafer import phases, regions, shift
from hwsim.operators.mapper.wafer.machine import Machine
from hwsim.operators.mapper.wafer.phases import WORD, Phase, ceil_over
from hwsim.operators.mapper.wafer.regions import Dims, Way
from hwsim.operators.mapper.wafer.shift import Product
from hwsim.operators.operator import DTYPES, SIXTEENTH_BYTES
from hwsim.units import ceil_div

SOFTMAX = 6  # operations for each score, beside its exponential


def keys_of(dims: Dims) -> Ints:
    """Keys that a sequence's queries see, int64[P]."""
    window = dims["window"]
    return np.where(window > 0, np.minimum(dims["kv_len"], window + dims["q_len"] - 1), dims["kv_len"])


def decode_phases(side: int, dims: Dims) -> list[Phase]:
    """Scores, maximum, sum, output of a core: each ends with an all-reduce."""
    keys = dims["batch"] * ceil_div(keys_of(dims), side)
    elements = ceil_div(dims["heads"] * dims["head_dim"], side)
    heads = ceil_div(elements, dims["head_dim"])  # that a core holds elements of
    flops, sequences = 2 * keys * elements, dims["batch"] * heads
    scores = keys * heads
    return [
        Phase.of(tensor=flops, partial=scores),
        Phase.of(vector=scores, partial=sequences),
        Phase.of(special=scores, vector=(SOFTMAX - 1) * scores, partial=sequences),
        Phase.of(tensor=flops, partial=dims["batch"] * elements),
    ]


def prefill_products(
    machine: Machine, region: int, squares: int, dims: Dims, dtype: str
) -> tuple[Ints, list[Product], Phase]:
    """Rounds of heads of all sequences, the two products of a head on its square, its softmax.

    Squares begin with what the region holds as one: new queries, keys and values go to their head's square first.
    """
    side, rounds = region // squares, ceil_div(dims["batch"] * dims["heads"], squares**2)
    new, keys, head_dim = dims["q_len"], keys_of(dims), dims["head_dim"]
    size = SIXTEENTH_BYTES[dtype]
    rows = ceil_div(new, side)
    scores = rows * ceil_div(keys, side)
    softmax = Phase.of(special=scores, vector=SOFTMAX * scores, partial=rows)
    products = [
        Product.of(machine, side, new, keys, head_dim, size),
        Product.of(machine, side, new, head_dim, keys, size),
    ]
    if squares > 1:
        moved = ceil_div(3 * dims["batch"] * new * dims["heads"] * head_dim * size, 16 * WORD * region**2) * WORD
        way = ceil_over(ceil_div(moved * (region // 2), rounds), machine.fabric)
        products[0] = replace(products[0], align=products[0].align + way)
    return rounds, products, softmax


def _prefill_way(machine: Machine, dtype: str, most: int) -> Way:
    def cycles(side: int, dims: Dims) -> Ints:
        squares = min(most, side)
        return shift.cycles(machine, side // squares, *prefill_products(machine, side, squares, dims, dtype), dtype)

    def programs(side: int, dims: Dims, index: Ints) -> Programs:
        squares = min(most, side)
        work = prefill_products(machine, side, squares, dims, dtype)
        return shift.programs(machine, side // squares, *work, dtype, index, squares)

    return Way("cyclic shift", cycles, programs, most)


@dataclass(frozen=True)
class Mapper:
    """Mapper of one kind of attention."""

    kind: str

    def _ways(self, machine: Machine, dtype: str) -> list[Way]:
        if self.kind == "attention_prefill":
            return [_prefill_way(machine, dtype, squares) for squares in machine.kernels.squares or [1]]
        tree = Way(
            "tree",
            lambda side, d: phases.cycles(machine, side, decode_phases(side, d), dtype),
            lambda side, d, index: phases.programs(machine, side, decode_phases(side, d), dtype, index),
        )
        return [tree]

    def refuse(self, machine: Machine, dims: Dims, dtype: str) -> list[str | None]:
        """Cases that are none: heads that do not divide, more new tokens than keys, more keys than the wafer holds."""
        sizes = np.array([SIXTEENTH_BYTES[name] for name in DTYPES], np.float64)[dims["kv_dtype"]]
        need = dims["batch"].astype(np.float64) * dims["kv_len"] * 2 * dims["kv_heads"] * dims["head_dim"] * sizes / 16
        large = larger(machine, need, machine.room, "keys and values need")
        return reasons(heads_divide(dims), *attention(self.kind, dims), large)

    def propose(self, machine: Machine, dims: Dims, dtype: str) -> Candidates:
        """Every region, ranked by the closed form of its program."""
        return regions.propose(machine, dims, self._ways(machine, dtype))

    def programs(self, machine: Machine, dims: Dims, dtype: str, chosen: Candidates) -> list[Programs]:
        """Programs of the chosen candidates."""
        return regions.programs(dims, chosen, self._ways(machine, dtype))

    def describe(self, chosen: Candidates, row: int) -> str:
        """A candidate in words: "on 660 x 660 cores"."""
        return regions.describe(("keys and values spread",), chosen, row)


# Named by hwsim.operators.simulate, one for each kind.
attention_prefill, attention_decode = (Mapper(kind) for kind in ("attention_prefill", "attention_decode"))
