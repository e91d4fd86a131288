"""Operators that stream rows through the vector units of a systolic accelerator: one fused loop each.

The loop starts, then every core reads its share into the scratchpad, computes and writes it back, piece by piece,
several in flight. What the scratchpads do not hold comes from and goes to memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from hwsim.operators.amounts import Ints, put_shares, size_bytes
from hwsim.operators.candidates import Candidates, Programs, rates_of
from hwsim.operators.machine import per_cycle
from hwsim.operators.mapper.streams import Stream, StreamMapper
from hwsim.operators.mapper.systolic.blocks import absent_1024
from hwsim.operators.mapper.systolic.machine import Machine
from hwsim.operators.program import Template, TemplateBuilder
from hwsim.units import ceil_div

PIECE = 256 << 10  # bytes from memory that are one command: what lies in the scratchpads waits for none
SECTION = 16 << 10  # bytes worth a command of their own while fewer than DEPTH are in flight
DEPTH = 4  # pieces in flight


@cache
def template() -> Template:
    """Launch; pieces through scratchpad and vector unit of a core, and back. Equal cores are one group."""
    b = TemplateBuilder("systolic-elementwise")
    launch, hbm = b.resource("launch", bound="launch"), b.resource("hbm", bound="hbm")
    port = b.resource("port", bound="sram", per_core=True)
    vector, special = (b.resource(name, bound="vector", per_core=True) for name in ("vector", "special"))
    there, loaded, ready = (b.counter(name) for name in ("there", "loaded", "computed"))
    pieces, cores = b.slot("pieces"), b.cell("cores")

    q = b.queue("read")
    q.run(launch, b.slot("launch"), sync=True)
    with q.loop(pieces, pace=True) as piece:
        last = [(piece, "last", 1)]
        q.run(hbm, b.slot("hbm.read", 2), wait=[(ready, 1 - DEPTH)], done=there, vary=last, unit="B")
    q = b.queue("load", mult=cores)
    with q.loop(pieces) as piece:
        q.run(port, b.slot("port.read", 2), wait=[(there, 1)], done=loaded, vary=[(piece, "last", 1)], unit="B")
    q = b.queue("compute", mult=cores)
    with q.loop(pieces) as piece:
        last = [(piece, "last", 1)]
        q.run(special, b.slot("special", 2), wait=[(loaded, 1)], vary=last)
        q.run(vector, b.slot("flops", 2), done=ready, vary=last, unit="FLOP")
    q = b.queue("write", mult=cores)
    with q.loop(pieces) as piece:
        last = [(piece, "last", 1)]
        q.run(port, b.slot("port.write", 2), wait=[(ready, 1)], vary=last, sync=True, unit="B")
        q.run(hbm, b.slot("hbm.write", 2), vary=last, unit="B")
    return b.build()


@dataclass(frozen=True)
class Mapper(StreamMapper):
    """On the vector units of a systolic accelerator."""

    def programs(self, machine: Machine, dims: Mapping[str, Ints], dtype: str, chosen: Candidates) -> list[Programs]:
        """One group of programs for each variant."""
        streams = self.by_stream(dims, chosen.columns["variant"], chosen.case)
        return [programs_of(machine, of, dtype, stream, rows) for stream, of, rows in streams]


def programs_of(machine: Machine, dims: Mapping[str, Ints], dtype: str, stream: Stream, index: Ints) -> Programs:
    """Programs of one stream for the chosen candidates at `index`, whose dimensions are given."""
    t = template()
    amounts, cores = count(machine, dims, dtype, stream)
    pieces = amounts.pop("pieces")
    values = np.zeros((len(index), t.size("slots")), np.int64)
    for name, total in amounts.items():
        put_shares(values, t.slots[name].index, total, pieces)
    kernel = machine.kernels.elementwise
    values[:, t.slots["pieces"].index] = pieces
    values[:, t.slots["launch"].index] = machine.cycles(kernel.launch)
    rates = {
        "hbm": (per_cycle(machine.hbm_rate * kernel.efficiency), machine.hbm_latency),
        "port": (machine.port, 0),
        "vector": (machine.vector, 0),
        "special": (machine.special, 0),
    }
    flops = dims["rows"] * dims["cols"] * stream.flops
    return Programs(t, index, values, rates_of(t, rates), cells=cores[:, None], flops=flops)


def count(machine: Machine, dims: Mapping[str, Ints], dtype: str, stream: Stream) -> tuple[dict[str, Ints], Ints]:
    """Amounts of the template by slot, and the cores in use; int64 each."""
    rows, cols = dims["rows"], dims["cols"]
    elements = rows * cols
    cores = np.minimum(rows, machine.cores) if stream.rows else np.full_like(rows, machine.cores)
    share = ceil_div(rows, cores) * cols if stream.rows else ceil_div(elements, cores)
    source, result = size_bytes(elements * stream.reads, dtype), size_bytes(elements * stream.writes, dtype)
    # A loop writes over what it has read: the larger of both has a place, not their sum.
    absent = absent_1024(np.maximum(source, result), machine.sram * machine.cores // 2)
    if not machine.timing.warm_activations:
        absent = np.full_like(absent, 1024)
    port = size_bytes(share * stream.reads, dtype) * stream.passes
    read = source if stream.cold else ceil_div(source * absent, 1024)
    amounts = {
        "hbm.read": read,
        "port.read": port,
        "special": share * stream.special,
        "flops": share * stream.flops,
        "port.write": size_bytes(share * stream.writes, dtype),
        "hbm.write": ceil_div(result * absent, 1024),
        "pieces": np.maximum(ceil_div(ceil_div(read, cores), PIECE), (port // SECTION).clip(1, DEPTH)),
    }
    return amounts, cores


norm = Mapper("norm", "residual")
activation = Mapper("activation", "gated")
softmax, rope, embed, sample = (Mapper(kind) for kind in ("softmax", "rope", "embed", "sample"))
