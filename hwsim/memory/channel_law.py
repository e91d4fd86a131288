"""Service law of ONE memory channel, computed from its commands: T(N) = L0 + N s0 + S k(phase).

N granules take T0 = L0 + N s0 ticks without refresh. A refresh costs S ticks, more than the standard's recovery time:
rows are closed before it and opened again after it. With the next refresh phi ticks away a stream meets k = 0 of them
if T0 <= phi, else ceil((T0 - phi) / (interval - S)); the mean of k over the spread of T0 where streams differ.

Design: s0 is the slope of the sorted departures of streams without refresh; s1, the same with it, is counted over
whole rounds of refreshes, so that no round is cut. Both are exact fractions. What a program needs (s0, s1, S, L0) is
computed first and quickly; what only a reader asks for (latency by load, measured error) on request. All is kept on
disk by content: the memory's description, the channel's options, the pattern and the code.
Rejected: a fit of T over many sizes and phases (36 times the work for the same slope).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import astuple, dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hwsim.describe.memory import Memory
from hwsim.memo import Table
from hwsim.memory import law_measure
from hwsim.memory.access import Access
from hwsim.memory.channel_tables import AS_DESCRIBED, Options
from hwsim.memory.law_measure import LOADS, PER_MILLE, SEEDS, SHORT_BYTES, Bench
from hwsim.units import ceil_div, ceil_fraction

Ints = NDArray[np.int64]

SIZES = (1 << 16, 1 << 17, 1 << 18, 1 << 20)
"""Bytes a channel at which a law is compared with commands."""
PHASES = 12
CHECKED = 1000
"""First seed of the streams a law is compared with; it was made of others."""
WITHIN = Fraction(2, 100)
"""What a law promises from `valid_from` on."""
_MILLION = 10**6


@dataclass(frozen=True)
class Load:
    """Latency at one load, in ticks from the request to its last data.

    Attributes
    ----------
    share : Fraction
        Offered rate, as a share of the sustained one.
    p50, mean, p99 : int
    refreshed : Fraction
        Share of the requests that a refresh delayed after the channel had accepted them.
    """

    share: Fraction
    p50: int
    mean: int
    p99: int
    refreshed: Fraction


@dataclass(frozen=True)
class Error:
    """Law against commands at one size, over PHASES phases of the refresh and SEEDS streams that made no law.

    Attributes
    ----------
    size : int
        Bytes in the channel.
    mean, most : Fraction
        Mean and largest |error| of the law with its phase known.
    averaged : Fraction
        |error| of the phase-averaged form against the mean of all phases.
    """

    size: int
    mean: Fraction
    most: Fraction
    averaged: Fraction


@dataclass(frozen=True)
class ChannelLaw:
    """How long a stream takes in one channel, for one access pattern. Ticks are the channel's own.

    Attributes
    ----------
    memory : Memory
    options : Options
        Choices beside the description's; the phase is a question, not a choice.
    access : Access
    granule : int
        Bytes of one request.
    tick_ps : Fraction
    free, kept : Fraction
        s0 and s1: ticks a granule without refresh and with it.
    interval : int
        Ticks between two refreshes of a pseudo-channel; 0 without.
    first : int
        L0 in ticks; below 0 where the first granules are faster than the rest.
    idle : int
        Ticks of a lone request.
    recovery : int
        Ticks for which one refresh can hold the end of a stream up.
    spread : int
        Standard deviation, in ticks, of streams of SHORT_BYTES, uneven refreshes included; that of longer ones grows
        with the root of their size.
    """

    memory: Memory
    options: Options
    access: Access
    granule: int
    tick_ps: Fraction
    free: Fraction
    kept: Fraction
    interval: int
    first: int
    idle: int
    recovery: int
    spread: int

    @property
    def stall(self) -> int:
        """S: ticks a refresh costs."""
        return round(self.interval * (1 - self.free / self.kept))

    def granules(self, size_bytes: Ints | int) -> Ints:
        """Requests that move so many bytes."""
        return ceil_div(np.asarray(size_bytes, np.int64), self.granule)

    def ticks(self, size_bytes: Ints | int, phase: Ints | int) -> Ints:
        """Ticks of streams of so many bytes, the next refresh `phase` ticks away."""
        count = self.granules(size_bytes)
        work = self.first + _times(count, self.free)
        if not self.interval:
            return work
        # Streams of the pattern, and what refreshes cost, differ: a refresh near the end is met in part of the cases.
        wide = np.maximum(1, np.ceil(2 * self.spread * np.sqrt(count * self.granule / SHORT_BYTES))).astype(np.int64)
        step = self.interval - self.stall
        met = _summed_stairs(work - phase + wide, step) - _summed_stairs(work - phase - wide, step)
        return work + self.stall * met // (2 * wide)

    def averaged_ticks(self, size_bytes: Ints | int) -> Ints:
        """Ticks of streams of so many bytes when nobody knows the phase: what programs use.

        A stream that starts at any tick may start inside a refresh, so it meets a little less than its share of them.
        """
        saved = self.stall**2 // (2 * (self.interval - self.stall)) if self.interval else 0
        return self.first - saved + _times(self.granules(size_bytes), self.kept)

    @property
    def rate(self) -> Fraction:
        """Sustained bytes per second, refresh included."""
        return self.granule * 10**12 / (self.kept * self.tick_ps)

    @property
    def share(self) -> Fraction:
        """The rate as a share of the channel's published one."""
        return self._share(self.rate)

    def share_within(self, window_bytes: int) -> Fraction:
        """The same for a requester that keeps so many bytes in flight in the channel."""
        return min(self.share, self._share(self.rate_by_outstanding(max(1, window_bytes // self.granule))))

    def _share(self, rate: Fraction) -> Fraction:
        assert self.memory.commands is not None
        return min(Fraction(1), rate * self.memory.commands.channels / self.memory.law.rate)

    @property
    def valid_from(self) -> int:
        """Bytes in a channel from which the phase-averaged form is within 2 %: one refresh more or less is no more."""
        return max(SIZES[1], self.granule * ceil_fraction(max(self.stall, self.recovery) / WITHIN / self.kept))

    @property
    def window_bytes(self) -> int:
        """Bytes to keep in flight a channel, so that one channel's refresh does not starve the others.

        A requester with a smaller window, which hands out its requests in order over channels that refresh in turn, is
        slower than this law.
        """
        return self.granule * ceil_fraction(self.stall / self.free)

    def loads(self) -> tuple[Load, ...]:
        """Latency by load."""
        row = self._kept(
            "loads", 4 * len(LOADS), lambda bench: law_measure.measure_loads(bench, self.access, self.kept)
        )
        parts = [row[4 * i : 4 * i + 4] for i in range(len(LOADS))]
        rows = zip(LOADS, parts)
        return tuple(Load(at, p50, mean, p99, Fraction(hit, PER_MILLE)) for at, (p50, mean, p99, hit) in rows)

    def rate_by_outstanding(self, outstanding: int) -> Fraction:
        """Bytes per second with so many requests in flight: Little's law on `loads`, straight in between."""
        points = [(Fraction(1), self._rate_of_one())]
        points += [(load.mean * load.share / self.kept, self.rate * load.share) for load in self.loads()]
        for (few, slow), (many, fast) in pairwise(points):
            if few <= outstanding < many:
                return slow + (fast - slow) * (outstanding - few) / (many - few)
        return min(self.rate, points[-1][1] * outstanding / points[-1][0])

    def _rate_of_one(self) -> Fraction:
        return self.granule * 10**12 / (self.idle * self.tick_ps)

    def errors(self) -> tuple[Error, ...]:
        """Error of the law against commands, by size."""
        row = self._kept("errors", 3 * len(SIZES), self._compare)
        parts = [[Fraction(part, _MILLION) for part in row[3 * i : 3 * i + 3]] for i in range(len(SIZES))]
        return tuple(Error(size, *part) for size, part in zip(SIZES, parts))

    def phases(self) -> Ints:
        """PHASES equally likely ticks of the next refresh."""
        return (2 * np.arange(PHASES, dtype=np.int64) + 1) * max(1, self.interval) // (2 * PHASES)

    def _compare(self, bench: Bench) -> list[int]:
        row: list[int] = []
        for size in SIZES:
            found = law_measure.measure_ticks(bench, self.access, size, self.phases(), range(CHECKED, CHECKED + SEEDS))
            off = np.abs(self.ticks(size, self.phases())[:, None] - found) * _MILLION // found
            total = int(found.sum())
            averaged = abs(int(self.averaged_ticks(size)) * found.size - total) * _MILLION // total
            row += [int(off.sum()) // off.size, int(off.max()), averaged]
        return row

    def _kept(self, what: str, columns: int, make: Callable[[Bench], list[int]]) -> list[int]:
        return _kept(what, self.memory, self.options, self.access, columns, make)


@functools.lru_cache(maxsize=256)
def channel_law(memory: Memory, access: Access, options: Options = AS_DESCRIBED) -> ChannelLaw:
    """The law of one channel of a memory whose commands are described, from the cache or computed (below 0.2 s).

    Raises
    ------
    InputError
        A memory without commands, an unknown option, a pattern the channel cannot serve.
    """

    def make(bench: Bench) -> list[int]:
        tables = bench.tables
        tick = Fraction(tables.tick_ps).as_integer_ratio()
        recovery = int(tables.settings["recovery"][0]) if bench.interval else 0
        return [tables.access, *tick, bench.interval, *law_measure.measure_law(bench, access), recovery]

    row = _kept("law", memory, options, access, 12, make)
    granule, ps, per, interval, free, of, kept, of_kept, first, spread, idle, recovery = row
    rates = Fraction(free, of), Fraction(kept, of_kept)
    rest = interval, first, idle, recovery, spread
    return ChannelLaw(memory, options, access, granule, Fraction(ps, per), *rates, *rest)


def _kept(
    what: str, memory: Memory, options: Options, access: Access, columns: int, make: Callable[[Bench], list[int]]
) -> list[int]:
    """A row of numbers of one law, from the disk if it is there."""
    key = {"law": what, "memory": memory.digest, "options": [str(each) for each in astuple(options)]}
    question = np.array([access.columns()], np.int64)
    table = Table(key, question.shape[1], columns)
    found, samples = table.get(question)
    if not found[0]:
        samples = np.array([make(Bench(memory, options))], np.int64)
        table.put(question, samples)
        table.flush()
    return [int(each) for each in samples[0]]


def _summed_stairs(late: Ints, step: int) -> Ints:
    """Sum of ceil(t / step) over whole t from 1 to `late`; 0 below."""
    whole, rest = np.divmod(np.maximum(late, 0), step)
    return step * whole * (whole + 1) // 2 + rest * (whole + 1)


def _times(count: Ints, ticks: Fraction) -> Ints:
    """Whole ticks of so many granules, rounded up."""
    whole, rest = divmod(ticks.numerator, ticks.denominator)
    return count * whole + ceil_div(count * rest, ticks.denominator)
