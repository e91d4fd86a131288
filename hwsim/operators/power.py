"""The power limit: the clock an operator can hold for long, and the energy it takes by part.

A chip draws static power as long as it is on and active power on each unit that holds a program; FLOPs and bytes cost
energy each. Units of a chip that gates nothing draw active power whatever they do, at the rate of the highest clock. Of
what the limit leaves, a region of a chip has its share, since all regions may work at once. Where an operator draws
more than that over its time, the clock falls: work that was limited by something of the core's clock takes longer,
while energy of units and FLOPs falls with voltage. Memory, links and static power keep theirs. Below the lowest clock
the chip pauses between instructions until the average holds.

Design: the engine gives the time at the highest clock, says what limited each part of it and how long each resource
worked. The parts limited by a clocked unit stretch; the work of a unit that memory hides stretches too, until it shows.
Running the engine again at that clock would take several simulations of each operator to find it. Clocks are whole
1/1024 of the highest; all comparisons are of integers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

import numpy as np

from hwsim._core.bounds import BOUND_INDEX
from hwsim.operators.account import Runs
from hwsim.operators.machine import Machine
from hwsim.units import ceil_div

ONE = 1024  # the highest clock
UNCLOCKED = np.array([BOUND_INDEX[name] for name in ("hbm", "dram", "cxl", "flash", "link", "host")])
STEPS = 10  # of a bisection between 1 and ONE
CLOCKED = np.array([BOUND_INDEX[name] for name in ("tensor", "vector", "sram", "l2", "issue")])
MILLI = 1000  # of a watt
ROOT = 8  # largest denominator of an exponent


@dataclass(frozen=True)
class Load:
    """Time and energy of operators: as long as nothing limits them, or as `limited` returns them.

    Attributes
    ----------
    bound : int64[P, 16]
        Picoseconds by what limited them; a row sums to the operator's time.
    busy : int64[P, 16]
        Picoseconds at the highest clock that the busiest resource of each class worked.
    active, flops, bytes : int64[P]
        Picojoules of units that hold a program, of FLOPs, of bytes.
    """

    bound: np.ndarray
    busy: np.ndarray
    active: np.ndarray
    flops: np.ndarray
    bytes: np.ndarray

    @property
    def time(self) -> np.ndarray:
        """Picoseconds, int64[P]."""
        return self.bound.sum(axis=1)

    def rows(self, index: np.ndarray) -> Load:
        """Some of the operators."""
        return Load(self.bound[index], self.busy[index], self.active[index], self.flops[index], self.bytes[index])


def load_of(machine: Machine, dtype: str, runs: Runs) -> Load:
    """Time and energy of programs at the highest clock."""
    pico, power = 10**12, machine.power
    bound = np.diff(machine.ps(np.cumsum(runs.bound, axis=1)), axis=1, prepend=0)
    moved = np.zeros_like(runs.flops)
    for tier, amount in runs.bytes.items():
        moved += times(amount, machine.chip.energy_per_byte(tier) * pico)
    return Load(
        bound=bound,
        busy=machine.ps(runs.busy),
        active=times(bound.sum(axis=1), power.active_per_unit * machine.cores),
        flops=times(runs.flops, power.per_flop.get(dtype, Fraction(0)) * pico),
        bytes=moved,
    )


def limited(machine: Machine, load: Load, copies: np.ndarray | int = 1) -> Load:
    """The load under the power limit, over the part of the timed run in which it acts.

    Parameters
    ----------
    copies : int or int64[P]
        Operators of one replay, for protocols whose load is not long enough from the start.
    """
    spare, drawn = spare_watts(machine), _drawn(machine, load)
    over = np.flatnonzero(drawn.active + drawn.flops + drawn.bytes > times(load.time, spare, up=False))
    if not len(over):
        return load
    hot = drawn.rows(over)
    share = acting(machine, hot.time * (copies if isinstance(copies, int) else copies[over]))
    cold = _slowed(machine, hot, spare)
    result = Load(load.bound.copy(), load.busy, load.active.copy(), load.flops.copy(), load.bytes)
    result.bound[over] += (cold.bound - hot.bound) * share[:, None] // ONE
    result.active[over] += (cold.active - hot.active) * share // ONE
    result.flops[over] += (cold.flops - hot.flops) * share // ONE
    return result


def spare_watts(machine: Machine) -> Fraction:
    """Power that the limit leaves to operators on the machine, whole milliwatts."""
    power, units = machine.power, machine.chip.units.tensor.count
    spare = (power.limit - power.standing(units)) / max(units // machine.cores, 1)
    return Fraction(max(floor(spare * MILLI), 1), MILLI)


def _drawn(machine: Machine, load: Load) -> Load:
    """The load with the active power that an operator adds: none where nothing is gated."""
    return load if machine.power.gating == "unit" else replace(load, active=np.zeros_like(load.active))


def acting(machine: Machine, replay_ps: np.ndarray) -> np.ndarray:
    """Share, in 1/1024, of the timed replays in which the limit acts: all of them, or what is behind the patience."""
    timing = machine.timing
    if timing.sustained:
        return np.full_like(replay_ps, ONE)
    late = (timing.warmups + timing.replays) * replay_ps - timing.patience_ps
    return (ONE * late.clip(0) // (timing.replays * np.maximum(replay_ps, 1))).clip(0, ONE)


def _slowed(machine: Machine, hot: Load, spare: Fraction) -> Load:
    """The load at the highest clock that keeps the limit, or at the lowest one with pauses."""
    factors = energy_factors(machine.power.exponent)
    lowest = max(1, ceil(machine.power.lowest_clock * ONE))
    low, high = np.full(len(hot.active), lowest), np.full(len(hot.active), ONE)
    for _ in range(STEPS):  # `high` is too fast, `low` holds or is the lowest
        middle = (low + high) // 2
        trial = _at(hot, middle, factors)
        holds = trial.active + trial.flops + trial.bytes <= times(trial.time, spare, up=False)
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    cold = _at(hot, low, factors)
    needed = ceil_div((cold.active + cold.flops + cold.bytes) * spare.denominator, spare.numerator)
    cold.bound[:, BOUND_INDEX["idle"]] += (needed - cold.time).clip(0)
    return cold


def _at(hot: Load, clock: np.ndarray, factors: np.ndarray) -> Load:
    """The load at `clock`, int64[P] in 1/1024."""
    bound = hot.bound.copy()
    bound[:, CLOCKED] = ceil_div(bound[:, CLOCKED] * ONE, clock[:, None])
    hidden = (hot.busy[:, CLOCKED] - hot.bound[:, CLOCKED].sum(axis=1, keepdims=True)).clip(0)  # behind memory
    behind = np.maximum(hidden, hot.bound[:, UNCLOCKED].sum(axis=1, keepdims=True))
    shows = ceil_div(hidden * ONE, clock[:, None]) - behind
    rows, most = np.arange(len(shows)), shows.argmax(axis=1)
    bound[rows, CLOCKED[most]] += shows[rows, most].clip(0)
    factor = factors[clock]
    return Load(bound, hot.busy, _scaled(hot.active, factor), _scaled(hot.flops, factor), hot.bytes)


def _scaled(energy: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """energy x factor / 2**20, rounded up, in two parts so that no product passes 63 bits."""
    whole, rest = energy >> 20, energy & (1 << 20) - 1
    return whole * factor + -(-rest * factor >> 20)


@lru_cache(maxsize=16)
def energy_factors(exponent: Fraction) -> np.ndarray:
    """(clock / 1024)**exponent in 2**-20, rounded up, for every clock, int64[1025]: roots of integers, exact."""
    power = exponent.limit_denominator(ROOT)
    p, q = power.numerator, power.denominator
    factors = [_root(ceil_div(clock**p << 20 * q, ONE**p), q) for clock in range(ONE + 1)]
    return np.array(factors, np.int64)


def _root(value: int, degree: int) -> int:
    """The least integer whose `degree`-th power is at least `value`, which is at most that of 2**20."""
    low, high = 0, 1 << 20
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if middle**degree >= value else (middle + 1, high)
    return low


def times(amount: np.ndarray, factor: Fraction, up: bool = True) -> np.ndarray:
    """amount x factor, rounded up or down; factors of descriptions have few digits: this stays far inside int64."""
    factor = factor.limit_denominator(1000)
    product = amount * factor.numerator
    return ceil_div(product, factor.denominator) if up else product // factor.denominator
