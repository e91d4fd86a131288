"""What a channel did with its requests, in a screen: bandwidth, latency, hits, occupation and what bound it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hwsim._core import dram_tables as rows
from hwsim._core.dram import Channel
from hwsim.memory.channel import Piece
from hwsim.memory.channel_tables import ChannelTables
from hwsim.units import ceil_div

_EXACT = 12
"""Bits of a latency the histogram keeps: below 2^12 ticks it is exact, above to one part in 2^11."""
_SHARES = (50, 90, 99)


class Histogram:
    """Latencies in constant memory: exact below 4096 ticks, above rounded down to one part in 2048."""

    def __init__(self) -> None:
        self.counts = np.zeros((64 - _EXACT) << _EXACT, np.int64)
        self.total = self.n = self.most = 0

    def add(self, latency: NDArray[np.int64]) -> None:
        """Note latencies (ticks, not negative)."""
        if not len(latency):
            return
        shift = np.maximum(np.frexp(latency.astype(float))[1] - _EXACT, 0).astype(np.int64)
        places, counts = np.unique((shift << _EXACT) + (latency >> shift), return_counts=True)
        self.counts[places] += counts
        self.total += int(latency.sum())
        self.n += len(latency)
        self.most = max(self.most, int(latency.max()))

    def percentile(self, share: int) -> int:
        """Smallest latency that so many percent do not exceed."""
        place = int(np.searchsorted(np.cumsum(self.counts), ceil_div(self.n * share, 100)))
        return (place & ((1 << _EXACT) - 1)) << (place >> _EXACT)


@dataclass
class Summary:
    """Totals of a run.

    Attributes
    ----------
    reads, writes : int
        Requests.
    last : int
        Tick of the last departure.
    held : int
        Requests accepted later than they came: the requester waited for the channel.
    plain, refreshed : Histogram
        Latency (arrive to depart) of reads that no refresh delayed, and of those that one did.
    """

    reads: int = 0
    writes: int = 0
    last: int = 0
    held: int = 0
    plain: Histogram = field(default_factory=Histogram)
    refreshed: Histogram = field(default_factory=Histogram)

    def watch(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Note requests as they pass."""
        for piece in pieces:
            self.add(piece)
            yield piece

    def add(self, piece: Piece) -> None:
        """Note a piece of answered requests."""
        reads = piece.is_write == 0
        self.reads += int(reads.sum())
        self.writes += int(len(piece) - reads.sum())
        self.last = max(self.last, int(piece.depart.max()))
        self.held += int((piece.arrive > piece.earliest).sum())
        latency, delayed = (piece.depart - piece.arrive)[reads], piece.delayed[reads] != 0
        self.plain.add(latency[~delayed])
        self.refreshed.add(latency[delayed])

    def occupation(self, tables: ChannelTables, channel: Channel) -> dict[str, Fraction]:
        """Shares of the time, 0 to 1, that each part of the channel was taken by what it did."""
        counts, ticks, settings = channel.counts, tables.timings, tables.settings[0]
        units = 1 << int(settings["shift"][0] - settings["shift"][1])
        banks = 1 << int(settings["shift"][0])
        columns = sum(counts[name] for name in ("RD", "WR", "RDA", "WRA"))
        buses = 1 if settings["shared"] else units
        unit_time = max(self.last, 1) * units
        refreshed = counts["REF"] * ticks.get("RFC", 0) * (banks // units)
        refreshed += counts["REFPB"] * ticks.get("RFCPB", 0)
        return {
            "data bus": Fraction(columns * ticks["BL"], max(self.last, 1) * buses),
            "column commands": Fraction(columns * tables.lengths[rows.RD], max(self.last, 1)),
            "activates": Fraction(counts["ACT"] * ticks.get("FAW", 0), 4 * unit_time),
            "banks": Fraction(counts["ACT"] * ticks.get("RC", 0), max(self.last, 1) * banks),
            "refresh": Fraction(refreshed, max(self.last, 1) * banks),
        }

    def bound(self, occupation: dict[str, Fraction]) -> str:
        """What kept the run from being shorter.

        The requester, if most requests were accepted as soon as they came; the fullest part of the channel, if it was
        busy four fifths of the time that refresh left; else the waits between commands of few banks or of both
        directions, which fill no part.
        """
        if 2 * self.held < self.reads + self.writes:
            return "the requests: most were accepted as they came"
        parts = {name: share for name, share in occupation.items() if name != "refresh"}
        fullest = max(parts, key=lambda name: parts[name])
        if parts[fullest] >= Fraction(4, 5) * (1 - occupation["refresh"]):
            return fullest
        return "waits between commands: bank conflicts and turns between reads and writes"

    def text(self, tables: ChannelTables, channel: Channel, byte_joules: Fraction) -> str:
        """The screen; `byte_joules` is what the memory's description says a byte takes."""
        taken = (self.reads + self.writes) * tables.access * byte_joules
        lines = [*self._lines(tables, channel), ("energy", f"{float(taken) * 1e6:.3f} uJ of the bytes moved")]
        return "\n".join(f"{name:16} {value}" for name, value in lines)

    def _lines(self, tables: ChannelTables, channel: Channel) -> Iterator[tuple[str, str]]:
        counts, n = channel.counts, self.reads + self.writes
        occupation = self.occupation(tables, channel)
        settings = tables.settings[0]
        units = 1 << int(settings["shift"][0] - settings["shift"][1])
        buses = 1 if settings["shared"] else units
        peak = Fraction(tables.access * buses * 1000, 1) / (tables.timings["BL"] * tables.tick_ps)
        reached = Fraction(n * tables.access * 1000, 1) / (max(self.last, 1) * tables.tick_ps)
        columns = max(1, sum(counts[name] for name in ("RD", "WR", "RDA", "WRA")))
        yield "requests", f"{n} ({self.reads} reads, {self.writes} writes) of {tables.access} B"
        yield "time", f"{self.last} ticks = {float(self.last * tables.tick_ps) / 1e6:.3f} us"
        yield "bandwidth", f"{float(reached):.2f} GB/s, {_percent(reached / peak)} of {float(peak):.2f}"
        yield "read latency", self._latency(self.plain, tables)
        yield "  with refresh", self._latency(self.refreshed, tables)
        yield "row hits", f"{_percent(Fraction(counts['hits'], columns))} of {columns} column commands"
        yield "answered early", f"{counts['forwarded']} reads from the write buffer, {counts['merged']} writes merged"
        for name, share in occupation.items():
            yield name, f"{_percent(share)} of the time"
        open_share = Fraction(counts["open_ticks"], max(channel.now, 1) << int(settings["shift"][0]))
        yield "open rows", f"{_percent(open_share)} of the banks' time"
        yield "bound", self.bound(occupation)

    def _latency(self, histogram: Histogram, tables: ChannelTables) -> str:
        if not histogram.n:
            return "none"
        tick = float(tables.tick_ps) / 1000
        parts = [f"p{share} {histogram.percentile(share) * tick:.1f}" for share in _SHARES]
        mean = histogram.total / histogram.n * tick
        parts += [f"mean {mean:.1f}", f"max {histogram.most * tick:.1f} ns"]
        return ", ".join(parts) + f" ({histogram.n} reads)"


def _percent(share: Fraction) -> str:
    return f"{float(share) * 100:.1f} %"
