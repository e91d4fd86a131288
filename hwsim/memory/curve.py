"""Bandwidth-latency curves of a memory device or of one memory channel, by mix of reads and writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwsim._core.link_tables import TICKS
from hwsim.describe.device import Device
from hwsim.describe.memory import Memory
from hwsim.errors import bad
from hwsim.memory.channel_tables import channel_tables
from hwsim.memory.path import Answers, pool_bytes, run, run_channel
from hwsim.memory.path_tables import Requests, sizes
from hwsim.memory.traffic import Streams

MIXES = ((1, 0), (3, 1), (2, 1), (1, 1), (1, 2), (0, 1))
"""Reads and writes."""
LOADS = tuple(Fraction(n, 100) for n in (2, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100, 125))
"""Shares of the rate at which the memory is full."""
COLUMNS = ("reads", "writes", "offered_gbps", "achieved_gbps", "latency_p50_ns", "latency_mean_ns")

Times = NDArray[np.int64]
_SHORTEST = 50_000_000
"""Femtoseconds that a read of a chase takes at least, for a guess of how many are enough."""
_MOST_CHASED = 20_000


@dataclass(frozen=True)
class Point:
    """One load of one mix. Latencies are those of reads at random places that wait for each other, beside the load."""

    reads: int
    writes: int
    offered_gbps: float
    achieved_gbps: float
    latency_p50_ns: float
    latency_mean_ns: float


@dataclass(frozen=True)
class Subject:
    """What a curve is of: bytes of a line and of all, hosts, and what answers requests."""

    line: int
    size: int
    hosts: int
    answer: Callable[[Requests], Answers]


def subject(of: Device | Memory) -> Subject:
    """A device with its hosts, or one channel of a memory with a host that keeps its queues full."""
    if isinstance(of, Device):
        return Subject(int(of.line), pool_bytes(of), sizes(of)[0], lambda asked: run(of, asked))
    tables = channel_tables(of)
    limits = 2 * int(tables.settings["reads"][0]), 2 * int(tables.settings["writes"][0])
    return Subject(tables.access, tables.capacity, 1, lambda asked: run_channel(of, asked, limits))


LINES, STREAMS, SEEDS = (1000, 10**7), (1, 1 << 16), (0, (1 << 64) - 1)  # least and most


def curve(
    of: Device | Memory,
    mixes: Sequence[tuple[int, int]] = MIXES,
    loads: Sequence[Fraction] = LOADS,
    lines: int = 20_000,
    streams: int = 56,
    seed: int = 0,
) -> Iterator[Point]:
    """Points of a family of curves, by mix and then by load.

    A mix is first asked for all lines at once: the rate it reaches then is what loads are shares of. At a load lines
    come at random times (gaps evenly spread between nothing and twice their mean). Rates are taken between an eighth
    and seven eighths of the answers, latencies of the reads that were sent in that time.

    Parameters
    ----------
    of : Device or Memory
    mixes : pairs (reads, writes)
    loads : shares of the full rate
    lines : int
        Of each point.
    streams : int
        See `Streams`.
    seed : int
        Of the places and of the arrival times.

    Raises
    ------
    InputError
        A mix of nothing, a number out of its range.
    """
    for option, value, (least, most) in (
        ("--lines", lines, LINES),
        ("--streams", streams, STREAMS),
        ("--seed", seed, SEEDS),
    ):
        if not least <= value <= most:
            raise bad(option, value, f"{least} to {most}")
    found = subject(of)
    for reads, writes in mixes:
        if reads < 0 or writes < 0 or reads + writes == 0:
            raise bad("--mix", f"{reads}:{writes}", "READS:WRITES, e.g. 2:1")
        number, is_write = Streams(streams, reads=reads, writes=writes, seed=seed).lines(
            lines, found.size // found.line
        )
        host = np.arange(len(number)) % found.hosts
        asked = Requests(number * found.line, is_write, np.zeros(len(number), np.int64), host)
        full = _rate(found.answer(asked), found.line)
        for load in loads:
            yield _point(found, reads, writes, _loaded(found, asked, full * load, seed))


def _loaded(found: Subject, asked: Requests, rate: Fraction, seed: int) -> Requests:
    """The same requests at a rate, and a chase beside them that lasts as long."""
    draw = np.random.default_rng((seed, 1))
    mean = int(found.line * TICKS / rate)
    earliest = np.cumsum(draw.integers(0, 2 * mean, len(asked.address), endpoint=True))
    n = min(int(earliest[-1]) // _SHORTEST + 100, _MOST_CHASED)
    return replace(asked, earliest=earliest, chase=draw.integers(0, found.size // found.line, n) * found.line)


def _middle(done: Times) -> tuple[int, int, int]:
    """First and last time of the middle of the answers, and how many lie between."""
    times = np.sort(done)
    first, last = len(times) // 8, len(times) * 7 // 8
    return int(times[first]), int(times[last]), last - first


def _rate(answers: Answers, line: int) -> Fraction:
    """Bytes per second."""
    first, last, count = _middle(answers.done)
    return Fraction(count * line * TICKS, last - first)


def _point(found: Subject, reads: int, writes: int, asked: Requests) -> Point:
    answers = found.answer(asked)
    first, last, _ = _middle(answers.done)
    sent, back = answers.chase_issued, answers.chase_done
    during = (sent >= first) & (sent <= last)
    if not during.any():  # the first read waits longer than all the load lasts
        during = (sent <= last) & (back >= first)
    waited = (back - sent)[during] / 1e6
    offered = Fraction(len(asked.address) * found.line * TICKS, int(asked.earliest[-1]))
    return Point(
        reads,
        writes,
        offered_gbps=round(float(offered) / 1e9, 4),
        achieved_gbps=round(float(_rate(answers, found.line)) / 1e9, 4),
        latency_p50_ns=round(float(np.median(waited)), 3),
        latency_mean_ns=round(float(waited.mean()), 3),
    )


def heading(of: Device | Memory) -> str:
    """What a picture of its curves is called."""
    return (of.name or of.id) + (", one channel" if isinstance(of, Memory) else "")


def parse_mix(text: str) -> tuple[int, int]:
    """Reads and writes of "2:1"."""
    match = re.fullmatch(r"(\d{1,3}):(\d{1,3})", text)
    if match is None or not int(match[1]) + int(match[2]):
        raise bad("--mix", repr(text), "READS:WRITES, e.g. 2:1")
    return int(match[1]), int(match[2])


def text(points: Sequence[Point]) -> str:
    """Points as a table for people."""
    head = f"{'mix':>6}  {'offered GB/s':>12}  {'achieved GB/s':>13}  {'p50 ns':>8}  {'mean ns':>8}"
    return "\n".join(
        [head]
        + [
            f"{f'{point.reads}:{point.writes}':>6}  {point.offered_gbps:12.2f}  {point.achieved_gbps:13.2f}"
            f"  {point.latency_p50_ns:8.1f}  {point.latency_mean_ns:8.1f}"
            for point in points
        ]
    )


def write(points: Sequence[Point], file: Path) -> None:
    """CSV file of points with a header."""
    rows = [",".join(COLUMNS), *(",".join(str(getattr(point, name)) for name in COLUMNS) for point in points)]
    file.write_text("\n".join(rows) + "\n")
