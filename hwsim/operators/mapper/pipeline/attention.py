"""Attention on a statically scheduled chip: keys and values are weights too, installed out of the SRAM for every step.

For every sequence and KV head the keys enter the planes, block by block (as many keys as a plane has columns), and the
queries that see a block pass it; the vector units take the scores; the values follow in the same way. Keys and values
of a cache of another type pass the vector units first, one conversion each. Queues and loops are those of the products
with a third step for the scores; all blocks of a phase are equal but the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from hwsim.operators.amounts import Ints, put_shares, size_bytes
from hwsim.operators.candidates import Candidates, Programs, rates_of
from hwsim.operators.mapper.pipeline.gemm import SETS
from hwsim.operators.mapper.pipeline.machine import Machine, kept_planes
from hwsim.operators.mapper.refusals import attention, larger, reasons
from hwsim.operators.operator import DTYPES, SIXTEENTH_BYTES
from hwsim.operators.program import Template, TemplateBuilder
from hwsim.units import ceil_div

SOFTMAX = 6  # fp32 operations for each score, beside its exponential
AMOUNTS = ("streams", "rows", "special", "vector")


@cache
def template(phases: int) -> Template:
    """The template with `phases` kinds of sequences, one after the other."""
    b = TemplateBuilder(f"pipeline-attention-p{phases}")
    fill, streams = b.resource("fill", bound="latency"), b.resource("streams", bound="sram")
    planes = b.resource("planes", bound="tensor")
    special, vector = b.resource("special", bound="vector"), b.resource("vector", bound="vector")
    there, free, scored = b.counter("there"), b.counter("free"), b.counter("scored")
    slots = {name: [b.slot(f"{name}.{p}", 2) for p in range(phases)] for name in AMOUNTS}
    sets = [b.slot(f"sets.{p}") for p in range(phases)]
    q = b.queue("install")
    q.run(fill, b.slot("fill"), sync=True)
    for p, trips in enumerate(sets):
        with q.loop(trips, pace=True) as each:
            last = [(each, "last", 1)]
            q.run(streams, slots["streams"][p], wait=[(free, 1 - SETS)], done=there, vary=last, unit="B")
    q = b.queue("multiply")
    for p, trips in enumerate(sets):
        with q.loop(trips) as each:
            last = [(each, "last", 1)]
            q.run(planes, slots["rows"][p], wait=[(there, 1)], freed=free, done=scored, vary=last)
    q = b.queue("score")
    for p, trips in enumerate(sets):
        with q.loop(trips) as each:
            last = [(each, "last", 1)]
            q.run(special, slots["special"][p], wait=[(scored, 1)], vary=last)
            q.run(vector, slots["vector"][p], vary=last, unit="FLOP")
    return b.build()


@dataclass(frozen=True)
class Phase:
    """Sequences of a case that have as many new tokens and see as many keys, int64[P] each."""

    sequences: Ints
    new: Ints
    keys: Ints

    def seen(self, window: Ints, block: int) -> tuple[Ints, Ints, Ints]:
        """Of ONE sequence: blocks of keys that a query sees, queries that pass them (summed), keys of them.

        A block is passed by the queries from its first key on, inside the window of the last.
        """
        count = ceil_div(self.keys, block)
        case = np.repeat(np.arange(len(count)), count)
        first = (np.arange(len(case)) - np.repeat(np.cumsum(count) - count, count)) * block
        keys, new, width = self.keys[case], self.new[case], window[case]
        end = np.minimum(first + block, keys)
        last = np.where(width > 0, np.minimum(keys - 1, end + width - 2), keys - 1)
        passed = (last - np.maximum(keys - new, first) + 1).clip(0)
        starts = np.cumsum(count) - count
        columns = ((passed > 0).astype(np.int64), passed, (end - first) * (passed > 0))
        blocks, queries, of_keys = (np.add.reduceat(column, starts) for column in columns)
        return blocks, queries, of_keys


def lengths(kind: str, dims: Mapping[str, Ints]) -> list[Phase]:
    """Prefill and decode of the cases; a phase that a case does not have has no sequences."""
    if kind != "attention_mixed":
        return [Phase(dims["batch"], dims["q_len"], dims["kv_len"])]
    chunk, decodes = dims["prefill_chunk"], dims["n_decode"]
    new, one = np.maximum(chunk, 1), np.ones_like(chunk)
    prefill = Phase(np.minimum(chunk, 1), new, dims["kv_prefill"] + new)
    return [prefill, Phase(decodes, one, np.maximum(dims["kv_decode"], 1))]


def amounts_of(machine: Machine, dims: Mapping[str, Ints], phase: Phase, dtype: str) -> dict[str, Ints]:
    """Sets of planes of a phase, and what all of them together move and compute, int64[P] each."""
    kv_heads, head_dim, heads = dims["kv_heads"], dims["head_dim"], dims["heads"]
    stored = np.array([SIXTEENTH_BYTES[name] for name in DTYPES], np.int64)[dims["kv_dtype"]]
    converted = np.array([name != dtype for name in DTYPES], np.int64)[dims["kv_dtype"]]
    window = dims.get("window", np.zeros_like(heads))
    blocks, queries, keys = phase.seen(window, machine.cols)
    many = phase.sequences * kv_heads
    deep = ceil_div(head_dim, machine.rows)  # blocks of a plane along a head; keys and values take one each
    kept = kept_planes(machine.planes, dtype)
    installed = 2 * many * blocks * deep
    passes = 2 * phase.sequences * heads * queries * deep
    elements = 2 * many * keys * head_dim
    scores = phase.sequences * heads * queries * machine.cols
    inputs = 2 * phase.sequences * phase.new * heads * head_dim
    return {
        "sets": ceil_div(installed, kept),
        "streams": ceil_div(elements * stored, 16) + size_bytes(inputs, dtype),
        "rows": ceil_div(passes, kept),
        "special": scores,
        "vector": scores * SOFTMAX + elements * converted,
    }


@dataclass(frozen=True)
class Mapper:
    """Mapper of one kind of attention."""

    kind: str

    def refuse(self, machine: Machine, dims: Mapping[str, Ints], dtype: str) -> list[str | None]:
        """Cases that are none: fewer query heads than KV heads, more new tokens than keys, more keys than fit."""
        sizes = np.array([SIXTEENTH_BYTES[name] for name in DTYPES], np.int64)[dims["kv_dtype"]]
        row = ceil_div(2 * dims["kv_heads"] * dims["head_dim"] * sizes, 16).astype(np.float64)
        need = np.sum([phase.sequences * phase.keys * row for phase in lengths(self.kind, dims)], axis=0)
        few = dims["heads"] < dims["kv_heads"], "fewer query heads than KV heads"
        return reasons(few, *attention(self.kind, dims), larger(machine, need, machine.room, "keys and values need"))

    def propose(self, machine: Machine, dims: Mapping[str, Ints], dtype: str) -> Candidates:
        """One candidate a case: a schedule has one way through the planes."""
        return Candidates.one_each(dims)

    def programs(self, machine: Machine, dims: Mapping[str, Ints], dtype: str, chosen: Candidates) -> list[Programs]:
        """Programs by which phases a case has."""
        of = {name: column[chosen.case] for name, column in dims.items()}
        has = np.stack([phase.sequences > 0 for phase in lengths(self.kind, of)])
        found = []
        for wanted in np.unique(has.T, axis=0):
            rows = np.flatnonzero((wanted == has.T).all(axis=1))
            own = {name: column[rows] for name, column in of.items()}
            phases = [phase for phase, there in zip(lengths(self.kind, own), wanted, strict=True) if there]
            found.append(programs_of(machine, own, phases, dtype, rows))
        return found

    def describe(self, chosen: Candidates, row: int) -> str:
        """A candidate in words."""
        return "keys and values installed through the streams"


def programs_of(machine: Machine, dims: Mapping[str, Ints], phases: list[Phase], dtype: str, index: Ints) -> Programs:
    """Programs of cases with the same phases."""
    t = template(len(phases))
    values = np.zeros((len(index), t.size("slots")), np.int64)
    values[:, t.slots["fill"].index] = machine.fill
    flops = np.zeros(len(index), np.int64)
    kept = kept_planes(machine.planes, dtype)
    for p, phase in enumerate(phases):
        amounts = amounts_of(machine, dims, phase, dtype)
        values[:, t.slots[f"sets.{p}"].index] = amounts["sets"]
        for name in AMOUNTS:
            put_shares(values, t.slots[f"{name}.{p}"].index, amounts[name], amounts["sets"])
        flops += 2 * machine.rows * machine.cols * kept * amounts["rows"]
    rates = {
        "streams": (machine.scheduled(machine.streams), 0),
        "planes": (machine.scheduled(machine.pace[dtype]), 0),
        "special": (machine.scheduled(machine.special), 0),
        "vector": (machine.scheduled(machine.vector), 0),
    }
    return Programs(t, index, values, rates_of(t, rates), flops=flops)


# Named by hwsim.operators.simulate, one for each kind.
attention_prefill, attention_decode, attention_mixed = (
    Mapper(kind) for kind in ("attention_prefill", "attention_decode", "attention_mixed")
)
