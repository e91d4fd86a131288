"""Operators that stream rows past the vector units: streams, special functions and arithmetic run side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from hwsim.operators.amounts import Ints, size_bytes
from hwsim.operators.candidates import Candidates, Programs, rates_of
from hwsim.operators.mapper.pipeline.machine import Machine
from hwsim.operators.mapper.streams import Stream, StreamMapper
from hwsim.operators.program import Template, TemplateBuilder

SIDES = (("streams", "sram", "B"), ("special", "vector", "cycle"), ("vector", "vector", "FLOP"))


@cache
def template() -> Template:
    """Fill, then streams and units at once: results leave as they come."""
    b = TemplateBuilder("pipeline-elementwise")
    fill, filled = b.resource("fill", bound="latency"), b.counter("filled")
    sides = [(b.resource(name, bound=bound), name, unit) for name, bound, unit in SIDES]
    q = b.queue("fill")
    q.run(fill, b.slot("fill"), done=filled)
    for resource, name, unit in sides:
        b.queue(name).run(resource, b.slot(name), wait=[(filled, 1)], unit=unit)
    return b.build()


@dataclass(frozen=True)
class Mapper(StreamMapper):
    """On the vector units of a statically scheduled chip."""

    def programs(self, machine: Machine, dims: Mapping[str, Ints], dtype: str, chosen: Candidates) -> list[Programs]:
        """One group of programs for each variant."""
        streams = self.by_stream(dims, chosen.columns["variant"], chosen.case)
        return [programs_of(machine, of, dtype, stream, rows) for stream, of, rows in streams]


def programs_of(machine: Machine, dims: Mapping[str, Ints], dtype: str, stream: Stream, index: Ints) -> Programs:
    """Programs of one stream for the chosen candidates at `index`, whose dimensions are given."""
    t, elements = template(), dims["rows"] * dims["cols"]
    amounts = {
        "fill": np.full_like(elements, machine.fill),
        "streams": size_bytes(elements * (stream.reads * stream.passes + stream.writes), dtype),
        "special": elements * stream.special,
        "vector": elements * stream.flops,
    }
    values = np.stack([amounts[name] for name in t.names["slots"]], axis=1)
    rates = {
        "streams": (machine.scheduled(machine.streams), 0),
        "special": (machine.scheduled(machine.special), 0),
        "vector": (machine.scheduled(machine.vector), 0),
    }
    return Programs(t, index, values, rates_of(t, rates))


norm = Mapper("norm", "residual")
activation = Mapper("activation", "gated")
softmax, rope, embed, sample = (Mapper(kind) for kind in ("softmax", "rope", "embed", "sample"))
