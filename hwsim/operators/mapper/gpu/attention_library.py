"""What attention mappers need of a device, a library and a protocol, in cycles, bytes and exact rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hwsim.describe.gpu_kernels import Attention
from hwsim.memory.law import laws
from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.operator import DTYPES, SIXTEENTH_BYTES
from hwsim.units import ceil_div

GRAIN = 1 << 10  # parts of a resident share, and of a rate per cycle


@dataclass(frozen=True)
class Device:
    """A GPU as attention kernels see it.

    Attributes
    ----------
    clock : core clock, Hz
    cores : SMs
    tensor : sustained FLOP per cycle of one SM, by dtype
    special : special functions per cycle of one SM
    hbm : bytes per cycle that the memory's law sustains for paged reads
    hbm_latency, l2_latency : cycles to the first byte of the memory, of the L2
    l2_rate : bytes per cycle out of the whole L2
    port : bytes per cycle into one SM at the wire rate of small kernels
    kept : bytes of a repeated footprint of which the L2 keeps half
    warm : the protocol leaves keys and values in the L2 as far as they fit
    library : constants of the attention kernels
    """

    clock: int
    cores: int
    tensor: Mapping[str, Fraction]
    special: Fraction
    hbm: Fraction
    hbm_latency: int
    l2_latency: int
    l2_rate: Fraction
    port: Fraction
    kept: int
    warm: bool
    library: Attention

    @staticmethod
    def of(machine: Machine) -> Device:
        """The machine's chip with the attention kernels of its software, timed as its protocol says."""
        chip, kernels = machine.chip, machine.kernels.attention
        return Device(
            clock=machine.clock,
            cores=machine.cores,
            tensor={dtype: chip.units.tensor.per_cycle[dtype] * kernels.prefill.tensor for dtype in machine.tensor},
            special=machine.special,
            hbm=laws(chip, "paged")["hbm"].rate / machine.clock,
            hbm_latency=machine.hbm_latency,
            l2_latency=machine.l2_latency,
            l2_rate=machine.l2_rate,
            port=machine.port,
            kept=min(machine.l2 * 3 // 2, int(chip.tiers.l2.capacity)),
            warm=machine.timing.warm_kv,
            library=kernels,
        )

    def cycles(self, seconds: Fraction) -> int:
        """Whole cycles that cover `seconds`."""
        return ceil_div(seconds.numerator * self.clock, seconds.denominator)

    def out_of_l2(self, own: Fraction | None) -> Fraction:
        """Bytes per cycle of a library out of the L2: no more than the chip's; `own` is per SM."""
        return rate(self.l2_rate if own is None else min(own * self.cores, self.l2_rate))

    def exposed(self, own: int, elements: np.ndarray | int, tensor: np.ndarray) -> np.ndarray:
        """Cycles of a tile beside its matrix products: the library's own, or what exponentials need beyond those."""
        needed = ceil_div(np.asarray(elements) * self.special.denominator, self.special.numerator)
        return np.maximum(own, needed - tensor)


def rate(value: Fraction) -> Fraction:
    """A rate with a small denominator, rounded down so that rounding never makes anything faster."""
    return max(Fraction(int(value * GRAIN), GRAIN), Fraction(1, GRAIN))


def missing(footprint: np.ndarray, kept: int) -> np.ndarray:
    """1024ths of a repeated footprint that the L2 does not keep: 1 / (1 + (footprint / kept)^-8).

    Replays read the same bytes in the same order, which an LRU-like cache either keeps or loses whole: measured times
    go from all hits to none within a factor 1.5 of size, as those of matrix products do: none is lost up to the usable
    L2, everything from twice its size. Squared three times, so no power function rounds differently.
    """
    x = np.minimum(footprint / kept, 1e6)
    for _ in range(3):
        x = x * x
    return np.floor(GRAIN * (x / (1 + x))).astype(np.int64)


def sixteenths(dtype: str, codes: np.ndarray) -> np.ndarray:
    """Sixteenths of a byte per element of dtype columns, int64; -1 is the operator's own dtype."""
    table = np.array([SIXTEENTH_BYTES[name] for name in DTYPES] + [SIXTEENTH_BYTES[dtype]], np.int64)
    return table[codes]
