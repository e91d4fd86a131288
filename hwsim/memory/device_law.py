"""ServiceLaw of a device behind a link: what its own simulation reaches, kept on disk by content."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hwsim._core.link_tables import TICKS
from hwsim.describe.device import Device
from hwsim.memo import Table
from hwsim.memory.law import PATTERNS, Pattern, ServiceLaw
from hwsim.memory.path import pool_bytes, run
from hwsim.memory.path_tables import Requests
from hwsim.memory.traffic import Streams

LINES = 20_000
_CHASED = 200
# One walk; blocks of 16 lines at random places (a KV page); one walk that writes; walks that read twice and write once.
_STREAMS: dict[Pattern, Streams] = {
    "sequential": Streams(1, 16),
    "paged": Streams(56, 16),
    "write": Streams(1, 16, reads=0, writes=1),
    "mixed": Streams(56, 4, reads=2, writes=1),
}


def device_law(device: Device, pattern: Pattern = "sequential") -> ServiceLaw:
    """Rate and idle latency of a device for one host that keeps as many requests out as its description says.

    Rate: between an eighth and seven eighths of the answers to 20,000 lines. Latency: mean of 200 reads at random
    places, each after the last. Several hosts of a pool share the rate.
    """
    question = np.array([[PATTERNS.index(pattern)]], np.int64)
    table = Table({"law": "device", "device": device.digest}, 1, 3)
    found, samples = table.get(question)
    if not found[0]:
        samples = np.array([_measure(device, pattern)], np.int64)
        table.put(question, samples)
        table.flush()
    moved, ticks, waited = (int(each) for each in samples[0])
    return ServiceLaw(
        device.tier,
        pattern,
        rate=Fraction(moved * TICKS, ticks),
        latency=Fraction(waited, _CHASED * TICKS),
        status="derived",
        provenance=f"{device.id}: {LINES} lines and {_CHASED} idle reads simulated through its links and memory",
    )


def _measure(device: Device, pattern: Pattern) -> tuple[int, int, int]:
    """Bytes of the middle of the answers, the ticks they took, and ticks of all idle reads together."""
    line, size = int(device.line), pool_bytes(device)
    number, is_write = _lines(pattern, size // line)
    zero = np.zeros(len(number), np.int64)
    times = np.sort(run(device, Requests(number * line, is_write, zero, zero)).done)
    first, last = len(times) // 8, len(times) * 7 // 8
    chase = np.random.default_rng(0).integers(0, size // line, _CHASED) * line
    none = zero[:0]
    idle = run(device, Requests(none, is_write[:0], none, none, chase))
    waited = int((idle.chase_done - idle.chase_issued).sum())
    return (last - first) * line, int(times[last] - times[first]), waited


def _lines(pattern: Pattern, total: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Lines of a pattern in a device of `total` lines, and whether each is written."""
    if pattern == "random":
        return np.random.default_rng(0).integers(0, total, LINES), np.zeros(LINES, np.bool_)
    return _STREAMS[pattern].lines(LINES, total)
