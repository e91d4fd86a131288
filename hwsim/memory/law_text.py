"""Service laws of a memory's channel or of a device, by access pattern, as a table for people."""

from __future__ import annotations

from collections.abc import Iterator

from hwsim.describe.device import Device
from hwsim.describe.memory import Memory
from hwsim.memory.channel_law import ChannelLaw, channel_law
from hwsim.memory.channel_tables import Options
from hwsim.memory.device_law import device_law
from hwsim.memory.law import ACCESS, PATTERNS

Row = tuple[str, ...]


def text(of: Device | Memory, options: Options) -> str:
    """A line for each pattern of `PATTERNS`.

    Raises
    ------
    InputError
        A memory without commands, an unknown option.
    """
    rows = list(_device(of) if isinstance(of, Device) else _channel(of, options))
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows)


def _device(device: Device) -> Iterator[Row]:
    yield "pattern", "GB/s", "idle ns"
    for pattern in PATTERNS:
        law = device_law(device, pattern)
        yield pattern, f"{float(law.rate) / 1e9:.2f}", f"{float(law.latency) * 1e9:.1f}"


def _channel(memory: Memory, options: Options) -> Iterator[Row]:
    """A channel; the error is that at 1 MiB, with the phase of the refresh known."""
    yield (
        "pattern", "GB/s", "of the rate", "refresh ns", "idle ns", "from B", "error: mean", "most",
        "p50 ns at 1/2", "p99 ns at 1/2", "window B",
    )  # fmt: skip
    for pattern in PATTERNS:
        yield pattern, *_cells(channel_law(memory, ACCESS[pattern], options))


def _cells(law: ChannelLaw) -> Row:
    tick = float(law.tick_ps) / 1000
    error, half = law.errors()[-1], next(load for load in law.loads() if 2 * load.share == 1)
    return (
        f"{float(law.rate) / 1e9:.2f}",
        f"{float(law.share):.1%}",
        f"{law.stall * tick:.1f}",
        f"{law.idle * tick:.1f}",
        f"{law.valid_from}",
        f"{float(error.mean):.2%}",
        f"{float(error.most):.2%}",
        f"{half.p50 * tick:.1f}",
        f"{half.p99 * tick:.1f}",
        f"{law.window_bytes}",
    )
