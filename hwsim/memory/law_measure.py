"""Streams through one channel under commands, and what a service law takes from them: slopes, latencies, errors."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from hwsim._core import dram_tables as rows
from hwsim._core.dram import Channel
from hwsim.describe.memory import Memory
from hwsim.memory.access import Access
from hwsim.memory.channel import tables_of
from hwsim.memory.channel_tables import Options
from hwsim.units import ceil_div

Ints = NDArray[np.int64]

SEEDS = 3
"""Streams a law is compared with."""
LAW_STREAMS = {"sequential": 3, "paged": 8, "random": 3}
"""Streams a law is computed from: blocks meet in banks by chance, single granules evenly."""
STREAM_BYTES = {"sequential": 1 << 20, "paged": 1 << 22, "random": 1 << 22}
"""Of each stream a law is computed from: where addresses are drawn, more of them."""
LOADS = (Fraction(1, 8), Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), Fraction(7, 8), Fraction(15, 16))
"""Shares of the sustained rate at which latency is looked at."""
SHORT_BYTES, SHORT_SEEDS = 1 << 17, 16
"""Short streams that give L0."""
LOAD_BYTES = 1 << 19
PER_MILLE = 1000
EDGE = 32
"""This part of a stream fills the channel at its start and drains it at its end."""


class Bench:
    """A channel to run streams on; every run starts a fresh one.

    Attributes
    ----------
    tables : ChannelTables
    interval : int
        Ticks between two refreshes of a pseudo-channel; 0 without refresh.
    round : int
        Ticks in which every bank is refreshed once.
    start : int
        Tick of the first refresh, by the description's choice.
    """

    def __init__(self, memory: Memory, options: Options) -> None:
        self.tables = tables_of(memory, options)
        self.interval = int(self.tables.settings["interval"][0]) if self.tables.settings["refresh"][0] else 0
        self.round = self.interval
        if self.tables.settings["refresh"][0] == rows.PER_BANK:
            self.round <<= int(self.tables.settings["shift"][0, 1])
        self.start = int(self.tables.settings["phase"][0])
        self._rules = self.tables.core_rules()
        quiet = self.tables.settings.copy()
        quiet["refresh"] = rows.NO_REFRESH
        self._quiet = replace(self.tables, settings=quiet)
        self._quiet_rules = self._quiet.core_rules()

    def stream(self, access: Access, size_bytes: int, seed: int) -> tuple[Ints, NDArray[np.uint8]]:
        """Addresses and writes of a stream of so many bytes."""
        count = ceil_div(size_bytes, self.tables.access)
        return access.requests(count, seed, self.tables.access, self.tables.capacity)

    def run(
        self, stream: tuple[Ints, NDArray[np.uint8]], earliest: Ints | None = None, *,
        phase: int | None = None, refresh: bool = True,
    ) -> tuple[Ints, NDArray[np.uint8]]:  # fmt: skip
        """Departures, and 1 where a refresh delayed one.

        Parameters
        ----------
        phase : int, optional
            Tick of the first refresh; the description's choice if not given.
        refresh : bool
            False: none at all.
        """
        tables, rules = (self.tables, self._rules) if refresh else (self._quiet, self._quiet_rules)
        settings = tables.settings
        if phase is not None:
            settings = settings.copy()
            settings["phase"] = phase
        address, is_write = stream
        arrive, depart = np.full((2, len(address)), -1, np.int64)
        delayed = np.zeros(len(address), np.uint8)
        given = np.zeros(len(address), np.int64) if earliest is None else earliest
        Channel(settings, rules, tables.decode).feed(address, is_write, given, arrive, depart, delayed, False)
        return depart, delayed

    def read_all(self, count: int, phase: int) -> tuple[int, int]:
        """Read so many granules from the channel's first byte on, the first refresh `phase` ticks later than described.

        Returns
        -------
        tuple of int, int
            Tick of the last data, and how many requests were added, not run one by one.
        """
        settings = self.tables.settings.copy()
        settings["phase"] = self.start + phase
        channel = Channel(settings, self._rules, self.tables.decode)
        return channel.stream(0, self.tables.access, count, False, 0, 0, self.tables.address_map.row_period())


def measure_law(bench: Bench, access: Access) -> list[int]:
    """s0 and s1 (numerator and denominator each), L0, its spread, ticks of a lone request."""
    count = LAW_STREAMS[access.kind]
    streams = [bench.stream(access, STREAM_BYTES[access.kind], seed) for seed in range(count)]
    free = kept = _slope([np.sort(bench.run(stream, refresh=False)[0]) for stream in streams])
    uneven = Fraction(0)
    if bench.interval:
        phases = [bench.round * (seed + 1) // count for seed in range(count)]
        late = [np.sort(bench.run(stream, phase=phase)[0]) for stream, phase in zip(streams, phases)]
        kept = max(free, _slope_of_rounds(bench.round, late, phases))
        uneven = _spread_of_rounds(bench.round, late, phases) * kept**2
    first, spread = _rest(bench, access, free, kept)
    if bench.round == bench.interval:  # else the short streams met refreshes
        rounds = SHORT_BYTES // bench.tables.access * kept / max(1, bench.round)
        spread = isqrt(spread**2 + int(uneven * rounds))
    lone = bench.run(bench.stream(access, 1, 0), refresh=False)[0]
    return [*free.as_integer_ratio(), *kept.as_integer_ratio(), first, spread, int(lone[0])]


def _rest(bench: Bench, access: Access, free: Fraction, kept: Fraction) -> tuple[int, int]:
    """L0, what short streams take beside their granules, and their standard deviation.

    A refresh of one bank at a time may hold the end of a stream up, so there they run with it.
    """
    by_bank = bench.round > bench.interval
    ticks = []
    for seed in range(SHORT_SEEDS):
        stream = bench.stream(access, SHORT_BYTES, LAW_STREAMS[access.kind] + seed)
        ticks.append(int(bench.run(stream, phase=1 + bench.round * seed // SHORT_SEEDS, refresh=by_bank)[0].max()))
    spread = isqrt(sum(each * each for each in ticks) * SHORT_SEEDS - sum(ticks) ** 2) // SHORT_SEEDS
    return round(Fraction(sum(ticks), SHORT_SEEDS) - len(stream[0]) * (kept if by_bank else free)), spread


def _slope(done: list[Ints]) -> Fraction:
    """Ticks a granule of sorted departures, less both ends, where the channel fills and drains."""
    count = len(done[0])
    early, late = (sum(int(each[at - 1]) for each in done) for at in (count // EDGE, count - count // EDGE))
    return Fraction(late - early, len(done) * (count - 2 * (count // EDGE)))


def _slope_of_rounds(size: int, done: list[Ints], phases: list[int]) -> Fraction:
    """Ticks a granule over whole rounds of refreshes, so that every bank was refreshed equally often."""
    count, ticks = 0, 0
    for each, start in zip(done, phases):
        last = int(each[-1])
        end = start + (last - start) // size * size
        rounds = (end - max(start, last // EDGE)) // size
        if rounds < 1:  # a round lasts longer than the stream
            count, ticks = count + len(each), ticks + last
            continue
        served = np.searchsorted(each, [end - rounds * size, end])
        count, ticks = count + int(served[1] - served[0]), ticks + rounds * size
    return Fraction(ticks, count)


def _spread_of_rounds(size: int, done: list[Ints], phases: list[int]) -> Fraction:
    """Variance of the granules served in a round, from pairs of rounds: refreshes do not cost all the same."""
    served: list[int] = []
    for each, start in zip(done, phases):
        begin = start + size * (1 + int(each[-1]) // EDGE // size)
        served += np.diff(np.searchsorted(each, np.arange(begin, int(each[-1]) + 1, 2 * size))).tolist()
    count = max(1, len(served))
    return Fraction(count * sum(each * each for each in served) - sum(served) ** 2, 2 * count**2)


def measure_loads(bench: Bench, access: Access, kept: Fraction) -> list[int]:
    """p50, mean, p99 in ticks and the share that a refresh delayed (in 1/1000), at each load."""
    stream = bench.stream(access, LOAD_BYTES, SEEDS)
    count = len(stream[0])
    row: list[int] = []
    for load in LOADS:
        step = kept / load
        earliest = np.arange(count, dtype=np.int64) * step.numerator // step.denominator
        depart, delayed = bench.run(stream, earliest)
        taken = np.sort(depart - earliest)
        p50, p99 = (int(taken[count * part // 100]) for part in (50, 99))
        row += [p50, int(taken.sum()) // count, p99, int(delayed.sum()) * PER_MILLE // count]
    return row


def measure_ticks(bench: Bench, access: Access, size_bytes: int, phases: Ints, seeds: range) -> Ints:
    """Ticks of streams of so many bytes under commands: int64[phases, seeds]."""
    streams = [bench.stream(access, size_bytes, seed) for seed in seeds]
    return np.array([[bench.run(stream, phase=int(phase))[0].max() for stream in streams] for phase in phases])
