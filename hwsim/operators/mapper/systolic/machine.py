"""What a systolic accelerator offers to its mappers beside what every accelerator does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hwsim.memory.law import ServiceLaw
from hwsim.operators import machine


@dataclass(frozen=True, kw_only=True)
class Machine(machine.Machine):
    """One systolic accelerator; a core is a few arrays with a vector unit and a scratchpad.

    Attributes
    ----------
    arrays, rows, cols : int
        Arrays of one core, and their size.
    rate : mapping of str to Fraction
        Rows of the moving operand that one array takes each cycle, by dtype, as long kernels sustain it.
    """

    arrays: int
    rows: int
    cols: int
    rate: Mapping[str, Fraction]

    @classmethod
    def own(cls, chip: Any, service: Mapping[str, ServiceLaw], clock: int) -> dict[str, Any]:
        """The arrays."""
        tensor, efficiency = chip.units.tensor, chip.generation.tensor.efficiency
        one_row = 2 * tensor.rows * tensor.cols * tensor.arrays
        rate = {
            dtype: machine.per_cycle(peak / one_row * efficiency[dtype])
            for dtype, peak in tensor.per_cycle.items()
            if dtype in efficiency
        }
        return {"arrays": tensor.arrays, "rows": tensor.rows, "cols": tensor.cols, "rate": rate}

    @property
    def prefill_keys(self) -> int:
        """Keys of a tile of prefill attention."""
        return int(self.kernels.attention.keys)
