"""Attention on a systolic accelerator: prefill, decode and mixed batches by one kernel over paged keys and values.

Every key and value enters one array of a core, a row a cycle, for every block of queries that sees it: with few queries
a block the arrays are bound by that, whatever their peak. KV heads are shared out over the cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwsim.operators.amounts import Ints, size_bytes
from hwsim.operators.candidates import Candidates, Programs, rates_of
from hwsim.operators.mapper.refusals import attention, heads_divide, larger, reasons
from hwsim.operators.mapper.systolic.attention_program import template
from hwsim.operators.mapper.systolic.machine import Machine
from hwsim.operators.operator import DTYPES, SIXTEENTH_BYTES
from hwsim.units import ceil_div

SOFTMAX = 6  # fp32 operations for each score, beside its exponential


@dataclass(frozen=True)
class Items:
    """Work of one phase, int64[P] each, all sequences of a case together.

    Attributes
    ----------
    items, blocks : how many; blocks of keys of all items
    keys : keys that items see, summed
    queries : query tokens of an item
    tokens : query tokens of all
    start, block : cycles that an item and a block take to start
    """

    items: Ints
    blocks: Ints
    keys: Ints
    queries: Ints
    tokens: Ints
    start: Ints
    block: Ints


@dataclass(frozen=True)
class Heads:
    """Heads of a case: query heads and KV heads of a core, elements of a head, bytes of a key and value of all."""

    cores: Ints
    kv_heads: Ints
    group: Ints
    slices: Ints
    all_heads: Ints
    head_dim: Ints
    kv_bytes: Ints

    @staticmethod
    def of(machine: Machine, dims: Mapping[str, Ints]) -> Heads:
        kv_heads, head_dim = dims["kv_heads"], dims["head_dim"]
        own = ceil_div(kv_heads, machine.cores)
        sizes = np.array([SIXTEENTH_BYTES[name] for name in DTYPES], np.int64)[dims["kv_dtype"]]
        return Heads(
            cores=ceil_div(kv_heads, own),
            kv_heads=own,
            group=dims["heads"] // kv_heads,
            slices=ceil_div(head_dim, machine.cols),
            all_heads=dims["heads"],
            head_dim=head_dim,
            kv_bytes=ceil_div(2 * kv_heads * head_dim * sizes, 16),
        )


def decode_items(machine: Machine, heads: Heads, sequences: Ints, keys: Ints) -> Items:
    """A sequence is an item; a batch of few keys takes small blocks, each with a start of its own."""
    kernel = machine.kernels.attention
    small = sequences * keys < kernel.small
    size = np.where(small, kernel.small_keys, kernel.keys)
    return Items(
        items=sequences,
        blocks=sequences * ceil_div(keys, size),
        keys=sequences * keys,
        queries=np.ones_like(keys),
        tokens=sequences,
        start=machine.cycles(kernel.sequence) * heads.kv_heads,
        block=np.where(small, machine.cycles(kernel.small_block), 0) * heads.kv_heads,
    )


def prefill_items(machine: Machine, heads: Heads, sequences: Ints, new: Ints, visible: Ints, window: Ints) -> Items:
    """A block of queries of a sequence is an item; it sees the keys up to its last query, inside its window."""
    kernel = machine.kernels.attention
    count = ceil_div(new, kernel.queries)
    case = np.repeat(np.arange(len(new)), count)
    index = np.arange(len(case)) - np.repeat(np.cumsum(count) - count, count)
    first = (visible - new)[case] + index * kernel.queries
    last = np.minimum(first + kernel.queries, visible[case])
    begin = np.where(window[case] > 0, np.maximum(first + 1 - window[case], 0), 0)
    starts = np.cumsum(count) - count
    keys = np.add.reduceat(last - begin, starts)
    blocks = np.add.reduceat(ceil_div(last - begin, kernel.keys), starts)
    return Items(
        items=sequences * count,
        blocks=sequences * blocks,
        keys=sequences * keys,
        queries=np.minimum(new, kernel.queries),
        tokens=sequences * new,
        # A sequence starts once; its blocks carry a share of it each.
        start=(machine.cycles(kernel.block) + ceil_div(machine.cycles(kernel.sequence), count)) * heads.kv_heads,
        block=np.zeros_like(new),
    )


@dataclass(frozen=True)
class Mapper:
    """Mapper of one kind of attention."""

    kind: str

    def refuse(self, machine: Machine, dims: Mapping[str, Ints], dtype: str) -> list[str | None]:
        """Cases that are none: heads that do not divide, more new tokens than keys, more keys than the memory holds."""
        phases, kv_bytes = self.lengths(dims), Heads.of(machine, dims).kv_bytes
        need = sum((n.astype(np.float64) * keys * kv_bytes for n, _, keys in phases), np.zeros(len(kv_bytes)))
        return reasons(
            heads_divide(dims), *attention(self.kind, dims), larger(machine, need, machine.hbm, "keys and values need")
        )

    def lengths(self, dims: Mapping[str, Ints]) -> list[tuple[Ints, Ints, Ints]]:
        """(sequences, new tokens, keys of the last query) of each phase: prefill, decode."""
        none = np.zeros_like(dims["heads"])
        if self.kind == "attention_mixed":
            chunk, decodes = dims["prefill_chunk"], dims["n_decode"]
            keys = np.where(decodes > 0, np.maximum(dims["kv_decode"], 1), 1)
            prefill = np.minimum(chunk, 1), np.maximum(chunk, 1), dims["kv_prefill"] + np.maximum(chunk, 1)
            return [prefill, (decodes, np.ones_like(keys), keys)]
        new, keys = dims["q_len"], dims["kv_len"]
        single = (new == 1) | (self.kind == "attention_decode")
        return [(np.where(single, none, dims["batch"]), new, keys), (np.where(single, dims["batch"], none), new, keys)]

    def propose(self, machine: Machine, dims: Mapping[str, Ints], dtype: str) -> Candidates:
        """One candidate a case: the kernel has one way for a batch."""
        return Candidates.one_each(dims)

    def programs(self, machine: Machine, dims: Mapping[str, Ints], dtype: str, chosen: Candidates) -> list[Programs]:
        """Programs by which phases a case has."""
        of = {name: column[chosen.case] for name, column in dims.items()}
        prefill, decode = (sequences > 0 for sequences, _, _ in self.lengths(of))
        found = []
        for wanted in ((True, False), (False, True), (True, True)):
            rows = np.flatnonzero((prefill == wanted[0]) & (decode == wanted[1]))
            if len(rows):
                found.append(self._programs(machine, {name: c[rows] for name, c in of.items()}, dtype, rows, wanted))
        return found

    def _programs(
        self, machine: Machine, dims: Mapping[str, Ints], dtype: str, index: Ints, wanted: tuple[bool, bool]
    ) -> Programs:
        heads = Heads.of(machine, dims)
        window = dims.get("window", np.zeros_like(dims["heads"]))
        phases = []
        (chunks, new, seen), (decodes, several, keys) = self.lengths(dims)
        if wanted[0]:
            phases.append(prefill_items(machine, heads, chunks, new, seen, window))
        if wanted[1]:
            visible = np.where(window > 0, np.minimum(keys, window + several - 1), keys)
            phases.append(decode_items(machine, heads, decodes, visible))
        return programs_of(machine, heads, phases, dtype, index)

    def describe(self, chosen: Candidates, row: int) -> str:
        """A candidate in words."""
        return "keys and values stationary"


def programs_of(machine: Machine, heads: Heads, phases: list[Items], dtype: str, index: Ints) -> Programs:
    """Programs of cases with the same phases."""
    t = template(len(phases))
    values = np.zeros((len(index), t.size("slots")), np.int64)
    kernel = machine.kernels.attention
    arrays = min(kernel.arrays, machine.arrays)
    flops = np.zeros(len(index), np.int64)

    def put(slot: str, *columns: Ints | int) -> None:
        for offset, column in enumerate(columns):
            values[:, t.slots[slot].index + offset] = column

    tokens, blocks = np.zeros_like(flops), np.zeros_like(flops)
    for number, p in enumerate(phases):
        rows = ceil_div(2 * p.keys * heads.kv_heads * heads.slices, arrays)
        scores = p.keys * p.queries * heads.kv_heads * heads.group
        amounts = {
            "bytes": p.keys * heads.kv_bytes,
            "kept": rows,
            "moved": ceil_div(rows * p.queries * heads.group, machine.rows),
            "special": scores,
            "flops": scores * SOFTMAX,
        }
        each = p.blocks // p.items
        put(f"items.{number}", p.items)
        put(f"blocks.{number}", each, p.blocks - each * (p.items - 1))
        put(f"item.{number}", p.start)
        put(f"block.{number}", p.block)
        for name, total in amounts.items():
            share = total // p.blocks
            put(f"{name}.{number}", share, share, share, total - share * (p.blocks - 1))
        flops += 4 * p.keys * p.queries * heads.all_heads * heads.head_dim
        tokens, blocks = tokens + p.tokens, blocks + p.blocks
    put("launch", machine.cycles(kernel.launch))
    put("out", size_bytes(2 * tokens * heads.all_heads * heads.head_dim, dtype) * (not machine.timing.warm_activations))
    rate = machine.rate[dtype]
    rates = {
        "hbm": (machine.hbm_rate, machine.hbm_latency),
        "keep": (rate / machine.physics.tensor.efficiency[dtype], 0),
        "array": (rate, machine.rows + machine.cols - 2),
        "vector": (machine.vector, 0),
        "special": (machine.special, 0),
    }
    return Programs(t, index, values, rates_of(t, rates), cells=blocks[:, None], flops=flops)


# Named by hwsim.operators.simulate, one for each kind.
attention_prefill, attention_decode, attention_mixed = (
    Mapper(kind) for kind in ("attention_prefill", "attention_decode", "attention_mixed")
)
