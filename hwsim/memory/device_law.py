"""ServiceLaw of a device behind a link: what its own simulation reaches."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from hwsim._core.link_tables import TICKS
from hwsim.describe.device import Device
from hwsim.memory.law import Pattern, ServiceLaw
from hwsim.memory.path import pool_bytes, run
from hwsim.memory.path_tables import Requests
from hwsim.memory.traffic import Streams

LINES = 20_000
_CHASED = 200
# Streams and lines of a turn: one walk; blocks of 16 lines at random places (a KV page); one walk that writes.
_SHAPES: dict[Pattern, tuple[int, int]] = {"sequential": (1, 16), "paged": (56, 16), "write": (1, 16)}


def device_law(device: Device, pattern: Pattern = "sequential") -> ServiceLaw:
    """Rate and idle latency of a device for one host that keeps as many requests out as its description says.

    Rate: between an eighth and seven eighths of the answers to 20,000 lines. Latency: mean of 200 reads at random
    places, each after the last. Several hosts of a pool share the rate.
    """
    line, size = int(device.line), pool_bytes(device)
    streams, turn = _SHAPES[pattern]
    writes = pattern == "write"
    number, is_write = Streams(streams, turn, not writes, writes).lines(LINES, size // line)
    zero = np.zeros(len(number), np.int64)
    times = np.sort(run(device, Requests(number * line, is_write, zero, zero)).done)
    first, last = len(times) // 8, len(times) * 7 // 8
    chase = np.random.default_rng(0).integers(0, size // line, _CHASED) * line
    none = zero[:0]
    idle = run(device, Requests(none, is_write[:0], none, none, chase))
    waited = Fraction(int((idle.chase_done - idle.chase_issued).sum()), _CHASED)
    return ServiceLaw(
        device.tier,
        pattern,
        rate=Fraction((last - first) * line * TICKS, int(times[last] - times[first])),
        latency=waited / TICKS,
        status="derived",
        provenance=f"{device.id}: {LINES} lines and {_CHASED} idle reads simulated through its links and memory",
    )
