"""What a statically scheduled chip offers to its mappers beside what every accelerator does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

from hwsim.memory.law import ServiceLaw, link_law
from hwsim.operators import machine
from hwsim.operators.operator import SIXTEENTH_BYTES


def kept_planes(planes: int, dtype: str) -> int:
    """Blocks of rows x cols weights that planes of one byte keep at a time."""
    return max(1, planes * 16 // max(16, SIXTEENTH_BYTES[dtype]))


@dataclass(frozen=True, kw_only=True)
class Machine(machine.Machine):
    """One chip whose streams bring every operand out of its SRAM past the units, as one schedule says.

    Attributes
    ----------
    planes, rows, cols : int
        Planes of weights of one byte, and their size.
    streams : Fraction
        Bytes per cycle of all streams, never more than the SRAM gives.
    pace : mapping of str to Fraction
        Rows of activations that all installed planes take each cycle, by the type they are multiplied in.
    fill, hop : int
        Cycles: an operator's launch and way through the slices; a byte's from chip to chip.
    link : Fraction
        Bytes per cycle of one link, one direction.
    node, between : int
        Chips of a node, links of a chip to other nodes.
    """

    planes: int
    rows: int
    cols: int
    streams: Fraction
    pace: Mapping[str, Fraction]
    fill: int
    hop: int
    link: Fraction
    node: int
    between: int

    @classmethod
    def own(cls, chip: Any, service: Mapping[str, ServiceLaw], clock: int) -> dict[str, Any]:
        """Planes, streams and links."""
        tensor, generation, scale_up = chip.units.tensor, chip.generation, chip.links.scale_up
        one = link_law(scale_up.link, 1)
        plane = 2 * tensor.rows * tensor.cols
        return {
            "planes": tensor.planes,
            "rows": tensor.rows,
            "cols": tensor.cols,
            "streams": machine.per_cycle(min(tensor.streams, service["sram"].rate / clock)),
            "pace": {
                dtype: machine.per_cycle(
                    peak * generation.tensor.efficiency[dtype] / plane / kept_planes(tensor.planes, dtype)
                )
                for dtype, peak in tensor.per_cycle.items()
                if dtype in generation.tensor.efficiency
            },
            "fill": ceil(generation.timing.fill + generation.timing.launch * clock),
            "hop": one.latency_cycles(clock),
            "link": Fraction(*one.per_cycle(clock)),
            "node": scale_up.node,
            "between": scale_up.between,
        }

    def multiplied(self, dtype: str) -> str:
        """The type that operands stored as `dtype` are multiplied in."""
        return str(self.kernels.convert.get(dtype, dtype))

    def scheduled(self, rate: Fraction) -> Fraction:
        """What is left of a rate in the cycles that a schedule uses."""
        return machine.per_cycle(rate * self.kernels.efficiency)

    @property
    def prefill_keys(self) -> int:
        """Keys of a tile of prefill attention: those of one plane."""
        return self.cols
