"""Operators that stream rows through the vector units of a GPU: norm, activation, softmax, rotary embedding, sampler.

One kernel: its launch, then every vector unit (one an SM) reads its share through the fill port, computes and writes
it back, piece by piece, several pieces in flight. What the L2 does not hold comes from and goes to memory. A norm or
softmax keeps a row on one unit, so few rows use few; the others split rows as they like.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np

from hwsim.operators.amounts import Ints, put_shares, size_bytes
from hwsim.operators.candidates import Candidates, Programs, rates_of
from hwsim.operators.machine import per_cycle
from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.mapper.gpu.tiles import missing
from hwsim.operators.mapper.refusals import larger, reasons
from hwsim.operators.mapper.streams import STREAMS, Stream, StreamMapper
from hwsim.operators.operator import SIXTEENTH_BYTES
from hwsim.operators.program import Template, TemplateBuilder
from hwsim.units import ceil_div

SECTION = 2 << 10  # bytes worth a command of their own while fewer than DEPTH are in flight
DEPTH = 4  # pieces that a unit's bytes in flight are cut into
LEAST = 4 << 10  # bytes that are worth a unit of their own where rows may be split


@cache
def template() -> Template:
    """Launch; pieces through L2, port and vector unit of an SM; results back. All SMs are one group: they are equal."""
    b = TemplateBuilder("gpu-elementwise")
    launch, hbm, l2 = (b.resource(name, bound=name) for name in ("launch", "hbm", "l2"))
    port = b.resource("port", bound="sram", per_core=True)
    vector, special = (b.resource(name, bound="vector", per_core=True) for name in ("vector", "special"))
    there, loaded, taken, ready = (b.counter(name) for name in ("in l2", "loaded", "taken", "computed"))
    pieces, cores = b.slot("pieces"), b.cell("cores")

    q = b.queue("fill")
    q.run(launch, b.slot("launch"), sync=True)
    with q.loop(pieces, pace=True) as piece:
        last = [(piece, "last", 1)]
        q.run(hbm, b.slot("hbm.read", 2), wait=[(taken, 1 - DEPTH)], done=there, vary=last, unit="B")
    q = b.queue("load", mult=cores)
    with q.loop(pieces) as piece:
        last = [(piece, "last", 1)]
        hop = (port, b.slot("port.read", 2), {"done": loaded, "unit": "B"})
        q.run(
            l2, b.slot("l2.read", 2), wait=[(there, 1), (ready, 1 - DEPTH)], done=taken, vary=last, unit="B", then=[hop]
        )
    q = b.queue("compute", mult=cores)
    with q.loop(pieces) as piece:
        last = [(piece, "last", 1)]
        q.run(special, b.slot("special", 2), wait=[(loaded, 1)], vary=last)
        q.run(vector, b.slot("flops", 2), wait=[(loaded, 1)], done=ready, vary=last, unit="FLOP")
    q = b.queue("store", mult=cores)
    with q.loop(pieces) as piece:
        last = [(piece, "last", 1)]
        q.run(port, b.slot("port.write", 2), wait=[(ready, 1)], vary=last, sync=True, unit="B")
        q.run(l2, b.slot("l2.write", 2), vary=last, sync=True, unit="B")
        q.run(hbm, b.slot("hbm.write", 2), vary=last, unit="B")
    return b.build()


@dataclass(frozen=True)
class Mapper(StreamMapper):
    """On the SMs of a GPU."""

    def refuse(self, machine: Machine, dims: Mapping[str, Ints], dtype: str) -> list[str | None]:
        """Cases whose rows are more than the memory of the device."""
        each = max((stream.reads + stream.writes) * SIXTEENTH_BYTES[dtype] / 16 for stream in self.streams)
        need = dims["rows"].astype(np.float64) * dims["cols"] * each
        return reasons(larger(machine, need, machine.hbm))

    def programs(self, machine: Machine, dims: Mapping[str, Ints], dtype: str, chosen: Candidates) -> list[Programs]:
        """One group of programs for each variant."""
        streams = self.by_stream(dims, chosen.columns["variant"], chosen.case)
        return [programs_of(machine, of, dtype, stream, rows) for stream, of, rows in streams]


def programs_of(machine: Machine, dims: Mapping[str, Ints], dtype: str, stream: Stream, index: Ints) -> Programs:
    """Programs of one stream for the chosen candidates at `index`, whose dimensions are given."""
    t = template()
    amounts, cores = count(machine, dims, dtype, stream)
    values = np.zeros((len(index), t.size("slots")), np.int64)
    pieces = amounts.pop("pieces")
    for name, total in amounts.items():
        put_shares(values, t.slots[name].index, total, pieces)
    values[:, t.slots["pieces"].index] = pieces
    block = machine.kernels.elementwise
    values[:, t.slots["launch"].index] = machine.cycles(
        block.sampler or block.launch if stream is STREAMS["sample"] else block.launch
    )
    share = Fraction(machine.cores, machine.vectors)  # of what a core has
    rates = {
        "hbm": (per_cycle(machine.hbm_rate * block.efficiency), machine.hbm_latency),
        "l2": (machine.l2_rate, max(machine.l2_latency, 1)),
        "port": (per_cycle(machine.port * share), 0),
        "vector": (per_cycle(machine.vector * share), 0),
        "special": (per_cycle(machine.special * share), 0),
    }
    elements = dims["rows"] * dims["cols"]
    return Programs(t, index, values, rates_of(t, rates), cells=cores[:, None], flops=elements * stream.flops)


def count(machine: Machine, dims: Mapping[str, Ints], dtype: str, stream: Stream) -> tuple[dict[str, Ints], Ints]:
    """Amounts of the template by slot, and the vector units in use; int64 each."""
    rows, cols = dims["rows"], dims["cols"]
    elements = rows * cols
    source, result = size_bytes(elements * stream.reads, dtype), size_bytes(elements * stream.writes, dtype)
    whole = source + result
    cores = np.minimum(rows if stream.rows else ceil_div(whole, LEAST), machine.vectors)
    share = ceil_div(rows, machine.vectors) * cols if stream.rows else ceil_div(elements, cores)
    absent = missing(whole, machine.l2)
    read = source if stream.cold or not machine.timing.warm_activations else source * absent // 1024
    port = size_bytes(share * stream.reads, dtype) * stream.passes
    amounts = {
        "hbm.read": read,
        "l2.read": source * stream.passes,
        "port.read": port,
        "special": share * stream.special,
        "flops": share * stream.flops,
        "port.write": size_bytes(share * stream.writes, dtype),
        "l2.write": result,
        "hbm.write": result * absent // 1024,
        "pieces": np.maximum(ceil_div(port, ceil_div(machine.in_flight, DEPTH)), (port // SECTION).clip(1, DEPTH)),
    }
    return amounts, cores


norm = Mapper("norm", "residual")
activation = Mapper("activation", "gated")
softmax, rope, embed, sample = (Mapper(kind) for kind in ("softmax", "rope", "embed", "sample"))
