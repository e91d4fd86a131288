"""What a chip of tiles offers to its mappers beside what every accelerator does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

from hwsim.memory.law import ServiceLaw
from hwsim.operators import machine


@dataclass(frozen=True, kw_only=True)
class Machine(machine.Machine):
    """One chip of tiles; a core is a tile, `port` what the exchange brings to it.

    Attributes
    ----------
    read : Fraction
        Bytes per cycle that a tile reads from its own SRAM.
    shared : int
        Bytes of on-chip memory that tiles share; 0 where there is none.
    shared_rate : Fraction
        Bytes per cycle between it and all tiles.
    sync, buffers : int
        Cycles of a barrier; steps of operands that a tile holds.
    depth, columns : int
        Grain of a tensor unit.
    streamed : bool
        Weights, keys and values come from memory behind the chip; else they lie in the tiles.
    """

    read: Fraction
    shared: int
    shared_rate: Fraction
    sync: int
    buffers: int
    depth: int
    columns: int
    streamed: bool

    @classmethod
    def own(cls, chip: Any, service: Mapping[str, ServiceLaw], clock: int) -> dict[str, Any]:
        """Tiles and what joins them."""
        shared, superstep = chip.tiers.shared, chip.generation.superstep
        return {
            "read": machine.per_cycle(chip.tiers.sram.read),
            "shared": 0 if shared is None else int(shared.capacity),
            "shared_rate": Fraction(1) if shared is None else machine.per_cycle(shared.rate / clock),
            "sync": ceil(superstep.sync),
            "buffers": superstep.buffers,
            "depth": chip.units.tensor.depth,
            "columns": chip.units.tensor.columns,
            "streamed": chip.home == "hbm",
        }

    @property
    def prefill_keys(self) -> int:
        """Keys of a tile of prefill attention: every few keys are a little dearer, there are no stairs."""
        return 128

    @property
    def code(self) -> int:
        """Cycles of a superstep's code."""
        return ceil(self.kernels.superstep)

    @property
    def turn(self) -> int:
        """A step of a collective is a superstep whose exchange goes over the links."""
        return self.sync + self.code

    @property
    def workspace(self) -> int:
        """Bytes of a tile for the operands of one operator."""
        return self.sram if self.streamed else int(self.sram * self.kernels.workspace)

    @property
    def activations(self) -> int:
        """Bytes of activations that stay on the chip between operators: half of what is not the model's."""
        return (self.shared or self.workspace * self.cores) // 2
