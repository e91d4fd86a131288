"""Attention on tiles: keys and values lie in the tiles (or stream from memory behind the chip) and stay on the chip.

Decode: the tiles of a sequence and KV head share its keys; each works out scores, their exponentials and its part of
the result, and one more superstep adds the parts. Prefill: they share the queries, balanced over the causal triangle,
and the exchange brings every key and value to each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from hwsim.operators.amounts import Ints, size_bytes
from hwsim.operators.candidates import Candidates, Programs
from hwsim.operators.mapper.manycore import program
from hwsim.operators.mapper.manycore.machine import Machine
from hwsim.operators.mapper.manycore.program import Work
from hwsim.operators.mapper.manycore.split import SUM, finer_of
from hwsim.operators.mapper.refusals import attention, heads_divide, larger, reasons
from hwsim.operators.operator import DTYPES, SIXTEENTH_BYTES
from hwsim.units import ceil_div

SOFTMAX = 6  # fp32 operations for each score, beside its exponential
KEYS = 16  # least keys that are worth a tile of their own


@dataclass(frozen=True)
class Phase:
    """Sequences of a case with as many new tokens that see as many keys, int64 each; `window` 0: all keys."""

    sequences: Ints
    new: Ints
    keys: Ints
    window: Ints

    def pairs(self) -> Ints:
        """Queries of a sequence times the keys that each sees."""
        span = np.where(self.window > 0, np.minimum(self.window, self.keys), self.keys)
        # A query that sees fewer keys than the window (or all) allows lacks one for each query behind it.
        lacking = np.maximum(np.minimum(self.new, self.new - self.keys + span), 0)
        return self.new * span - lacking * (lacking - 1) // 2

    @property
    def visible(self) -> Ints:
        """Keys that any query of a sequence sees."""
        return np.where(self.window > 0, np.minimum(self.keys, self.window + self.new - 1), self.keys)


@dataclass(frozen=True)
class Heads:
    """KV heads, query heads of each, elements of a head, sixteenths of a byte of a stored key's element."""

    kv_heads: Ints
    group: Ints
    dim: Ints
    sixteenths: Ints

    @staticmethod
    def of(dims: Mapping[str, Ints]) -> Heads:
        sizes = np.array([SIXTEENTH_BYTES[name] for name in DTYPES], np.int64)[dims["kv_dtype"]]
        return Heads(dims["kv_heads"], dims["heads"] // dims["kv_heads"], dims["head_dim"], sizes)

    def kv_bytes(self, keys: Ints) -> Ints:
        """Bytes of so many keys and values of one head."""
        return ceil_div(2 * keys * self.dim * self.sixteenths, 16)


def decode(machine: Machine, heads: Heads, p: Phase, dtype: str, finer: Ints) -> Work:
    """A tile has some keys of one sequence and KV head, or all of several."""
    items = p.sequences * heads.kv_heads
    several = ceil_div(items, machine.cores)
    parts = np.minimum(machine.cores // np.minimum(items, machine.cores), ceil_div(p.visible, KEYS))
    keys = ceil_div(p.visible, parts)
    parts = ceil_div(p.visible, keys)
    scores = keys * heads.group * several
    held = heads.kv_bytes(keys) * several
    share = ceil_div(heads.group * (heads.dim + 2), parts) * (parts - 1)
    return _work(
        machine,
        finer=finer,
        tiles=ceil_div(items, several) * parts,
        moved=size_bytes(heads.group * heads.dim * several, dtype) + held * machine.streamed,
        local=held,
        scores=scores,
        dim=heads.dim,
        combine={"port": SUM * share, "vector": 2 * share, "special": ceil_div(heads.group * (parts - 1), parts)},
        memory=items * heads.kv_bytes(p.visible),
        flops=4 * items * p.visible * heads.group * heads.dim,
    )


def prefill(machine: Machine, heads: Heads, p: Phase, dtype: str, finer: Ints) -> Work:
    """A tile has some queries of one sequence and KV head, or all of several; every key they see comes to it."""
    items = p.sequences * heads.kv_heads
    several = ceil_div(items, machine.cores)
    rows = p.new * heads.group
    parts = np.minimum(machine.cores // np.minimum(items, machine.cores), rows)
    pairs = p.pairs() * heads.group
    seen = heads.kv_bytes(p.visible) * several
    none = np.zeros_like(rows)
    return _work(
        machine,
        finer=finer,
        tiles=ceil_div(items, several) * parts,
        moved=size_bytes(ceil_div(rows, parts) * heads.dim * several, dtype) + seen,
        local=none,
        scores=ceil_div(pairs, parts) * several,
        dim=heads.dim,
        combine={"port": none, "vector": none, "special": none},
        memory=items * heads.kv_bytes(p.visible),
        flops=4 * items * pairs * heads.dim,
    )


def _work(
    machine: Machine,
    *,
    finer: Ints,
    tiles: Ints,
    moved: Ints,
    local: Ints,
    scores: Ints,
    dim: Ints,
    combine: Mapping[str, Ints],
    memory: Ints,
    flops: Ints,
) -> Work:
    """Supersteps of tiles that are all equal: as many as it takes to have the operands of one in a tile."""
    steps = (ceil_div(machine.buffers * moved, machine.workspace) * finer).clip(1, np.maximum(scores // KEYS, 1))
    step = {"port": moved, "local": local, "tensor": 4 * scores * dim, "special": scores, "vector": SOFTMAX * scores}
    return Work(
        steps=steps,
        tiles=np.stack([tiles, np.zeros_like(tiles)], axis=1),
        step={part: program.in_steps(amount, steps) for part, amount in step.items()},
        combine={part: program.full(amount) for part, amount in combine.items()},
        memory=memory * machine.streamed,
        write=np.zeros_like(memory),
        flops=flops,
    )


@dataclass(frozen=True)
class Mapper:
    """Mapper of one kind of attention."""

    kind: str

    def refuse(self, machine: Machine, dims: Mapping[str, Ints], dtype: str) -> list[str | None]:
        """Cases that are none: heads that do not divide, more new tokens than keys, more keys than the device holds."""
        of = Heads.of(dims)
        need = sum(p.sequences * of.kv_heads * of.kv_bytes(p.keys).astype(np.float64) for p in self.phases(dims))
        large = larger(machine, np.asarray(need), machine.room, "keys and values need")
        return reasons(heads_divide(dims), *attention(self.kind, dims), large)

    def phases(self, dims: Mapping[str, Ints]) -> tuple[Phase, Phase]:
        """Prefill and decode of every case; single tokens are decoded whatever they are called."""
        none = np.zeros_like(dims["heads"])
        if self.kind == "attention_mixed":
            chunk, decodes = dims["prefill_chunk"], dims["n_decode"]
            new = np.maximum(chunk, 1)
            keys = np.where(decodes > 0, np.maximum(dims["kv_decode"], 1), 1)
            return (
                Phase(np.minimum(chunk, 1), new, dims["kv_prefill"] + new, none),
                Phase(decodes, np.ones_like(keys), keys, none),
            )
        new, keys, window = dims["q_len"], dims["kv_len"], dims["window"]
        single = (new == 1) | (self.kind == "attention_decode")
        batch = dims["batch"]
        return (
            Phase(np.where(single, 0, batch), new, keys, window),
            Phase(np.where(single, batch, 0), new, keys, window),
        )

    def propose(self, machine: Machine, dims: Mapping[str, Ints], dtype: str) -> Candidates:
        """Tiles share keys in decode, queries in prefill; what they receive comes in more or fewer pieces."""
        choices = finer_of(machine)
        case = np.repeat(np.arange(len(dims["heads"])), len(choices))
        finer = np.tile(np.array(choices, np.int64), len(dims["heads"]))
        rank = np.zeros_like(case)
        for rows, work in self.works(machine, {name: column[case] for name, column in dims.items()}, dtype, finer):
            rank[rows] += program.rank(machine, work, dtype)
        return Candidates(case, rank, {"finer": finer})

    def programs(self, machine: Machine, dims: Mapping[str, Ints], dtype: str, chosen: Candidates) -> list[Programs]:
        """A program for each phase that a case has, one after the other."""
        of = {name: column[chosen.case] for name, column in dims.items()}
        works = self.works(machine, of, dtype, chosen.columns["finer"])
        return [program.programs(machine, work, dtype, rows) for rows, work in works]

    def works(self, machine: Machine, dims: Mapping[str, Ints], dtype: str, finer: Ints) -> Iterator[tuple[Ints, Work]]:
        """Rows that have a phase, and their supersteps."""
        for phase, work in zip(self.phases(dims), (prefill, decode), strict=True):
            rows = np.flatnonzero(phase.sequences > 0)
            if len(rows):
                heads = Heads.of({name: column[rows] for name, column in dims.items()})
                some = Phase(phase.sequences[rows], phase.new[rows], phase.keys[rows], phase.window[rows])
                yield rows, work(machine, heads, some, dtype, finer[rows])

    def describe(self, chosen: Candidates, row: int) -> str:
        """A candidate in words."""
        return "keys over tiles" if self.kind == "attention_decode" else "queries over tiles"


# Named by hwsim.operators.simulate, one for each kind.
attention_prefill, attention_decode, attention_mixed = (
    Mapper(kind) for kind in ("attention_prefill", "attention_decode", "attention_mixed")
)
