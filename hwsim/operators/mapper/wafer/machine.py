"""What a wafer offers to its mappers beside what every accelerator does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, isqrt
from typing import Any

from hwsim.errors import bad
from hwsim.memory.law import ServiceLaw
from hwsim.operators import machine
from hwsim.operators.operator import SIXTEENTH_BYTES


@dataclass(frozen=True, kw_only=True)
class Machine(machine.Machine):
    """One wafer, or a square region of it.

    Attributes
    ----------
    half : Fraction
        16-bit FLOP per cycle of one core outside matrix products: one operand of each multiply-add comes from SRAM.
    fabric : Fraction
        Bytes per cycle between a core and its router.
    hop : int
        Cycles from one router to the next.
    side : int or None
        Cores on a side of the region; None: an operator takes the best of those the software tries.
    """

    half: Fraction
    fabric: Fraction
    hop: int
    side: int | None = None

    @classmethod
    def own(cls, chip: Any, service: Mapping[str, ServiceLaw], clock: int) -> dict[str, Any]:
        """The fabric."""
        beside = Fraction(chip.units.vector.count, chip.units.tensor.count)
        port = machine.per_cycle(service["sram"].rate / clock)
        half = min(machine.per_cycle(chip.units.vector.half * beside), port)  # two bytes for two operations
        return {"half": half, "fabric": machine.per_cycle(chip.fabric.rate), "hop": ceil(chip.fabric.hop)}

    def products(self, dtype: str) -> Fraction:
        """FLOP per cycle of one core in matrix products: one operand of each multiply-add comes from SRAM."""
        return min(self.tensor[dtype], 2 * 16 * self.port / SIXTEENTH_BYTES[dtype])

    def products_bound(self, dtype: str) -> str:
        """What limits them: the unit, or the port of its SRAM."""
        return "tensor" if self.products(dtype) == self.tensor[dtype] else "sram"

    @property
    def step(self) -> int:
        """Cycles that a message costs a core beside its words."""
        return ceil(self.kernels.step)

    @property
    def largest(self) -> int:
        """Cores on a side of the largest square."""
        return isqrt(self.cores)

    @property
    def sides(self) -> list[int]:
        """Regions an operator may take."""
        if self.side is not None:
            return [self.side]
        return sorted({min(side, self.largest) for side in self.kernels.sides} or {self.largest})

    @property
    def prefill_keys(self) -> int:
        """Keys that one more key of a core stands for."""
        return self.side or self.largest

    def on(self, side: int) -> Machine:
        """A region of this wafer: `side` x `side` cores for every operator, and no others that draw active power.

        Raises
        ------
        InputError
            More cores than the wafer has.
        """
        if not 1 <= side <= self.largest:
            raise bad("region", f"{side}x{side}", f"1x1 to {self.largest}x{self.largest}, the cores of a wafer")
        return replace(self, side=side, cores=side**2, key=f"{self.key}/{side}")
