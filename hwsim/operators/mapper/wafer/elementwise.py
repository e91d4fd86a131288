"""Norms, softmax, activations, rotary embedding, embedding and sampling on a wafer.

Rows lie along one axis of the region, elements of a row along the other. What needs a whole row adds up along it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwsim.operators.candidates import Candidates, Programs
from hwsim.operators.mapper.refusals import larger, reasons
from hwsim.operators.mapper.streams import StreamMapper
from hwsim.operators.mapper.wafer import phases, regions
from hwsim.operators.mapper.wafer.machine import Machine
from hwsim.operators.mapper.wafer.phases import Phase
from hwsim.operators.mapper.wafer.regions import Dims
from hwsim.units import ceil_div

# All-reduces along a row: the sum of squares; maximum and sum; a draw, which is the maximum of logits with noise.
REDUCES: Mapping[str, int] = {"norm": 1, "softmax": 2, "sample": 1}


@dataclass(frozen=True)
class Mapper(StreamMapper):
    """On regions of cores; one program may stand for cases of both variants."""

    def _phases(self, side: int, dims: Dims) -> list[Phase]:
        rows, elements = ceil_div(dims["rows"], side), ceil_div(dims["cols"], side)
        share = rows * elements
        usual, other, second = self.streams[0], self.streams[-1], self.variants(dims) > 0
        flops = share * np.where(second, other.flops, usual.flops)
        special = share * np.where(second, other.special, usual.special)
        gather = share * (self.kind == "embed")
        reduces = REDUCES.get(self.kind, 0)
        first = Phase.of(vector=flops, special=special, partial=rows * (reduces > 0), gather=gather)
        return [first] + [Phase.of(partial=rows)] * (reduces - 1)

    def _way(self, machine: Machine, dtype: str) -> regions.Way:
        return regions.Way(
            "rows and columns",
            lambda side, d: phases.cycles(machine, side, self._phases(side, d), dtype),
            lambda side, d, index: phases.programs(machine, side, self._phases(side, d), dtype, index),
        )

    def propose(self, machine: Machine, dims: Dims, dtype: str) -> Candidates:
        """Every region, ranked by the closed form of its program."""
        return regions.propose(machine, dims, [self._way(machine, dtype)])

    def programs(self, machine: Machine, dims: Dims, dtype: str, chosen: Candidates) -> list[Programs]:
        """Programs of the chosen candidates."""
        return regions.programs(dims, chosen, [self._way(machine, dtype)])

    def refuse(self, machine: Machine, dims: Dims, dtype: str) -> list[str | None]:
        """Cases whose elements are more than the wafer's SRAM."""
        return reasons(larger(machine, 2.0 * dims["rows"] * dims["cols"], machine.room, "elements need"))

    def describe(self, chosen: Candidates, row: int) -> str:
        """A candidate in words: "rows and columns on 660 x 660 cores"."""
        return regions.describe(("rows and columns",), chosen, row)


norm = Mapper("norm", "residual")
activation = Mapper("activation", "gated")
softmax, rope, embed, sample = (Mapper(kind) for kind in ("softmax", "rope", "embed", "sample"))
