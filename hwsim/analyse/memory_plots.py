"""Pictures of a memory: latency against bandwidth, one line for each mix of reads and writes (matplotlib)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from hwsim.analyse.plots import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TALLEST = 8
"""The highest latency drawn, as a multiple of the lowest: reads beside nothing but writes may wait a hundred times."""


class Point(Protocol):
    """One load of one mix, as `hwsim.memory.curve.Point`."""

    @property
    def reads(self) -> int:
        """Reads of the mix."""
        ...

    @property
    def writes(self) -> int:
        """Writes of the mix."""
        ...

    @property
    def achieved_gbps(self) -> float:
        """Bandwidth reached, GB/s."""
        ...

    @property
    def latency_mean_ns(self) -> float:
        """Mean latency, ns."""
        ...


def family(points: Sequence[Point], title: str) -> Figure:
    """Mean latency over achieved bandwidth, from reads alone (dark) to writes alone (light)."""
    from matplotlib import colormaps

    drawing = figure(8, 5)
    axes = drawing.subplots()
    mixes = list(dict.fromkeys((point.reads, point.writes) for point in points))
    shade = colormaps["viridis"]
    for number, mix in enumerate(mixes):
        own = [point for point in points if (point.reads, point.writes) == mix]
        axes.plot(
            [point.achieved_gbps for point in own],
            [point.latency_mean_ns for point in own],
            color=shade(0.9 * number / max(1, len(mixes) - 1)),
            marker="o",
            markersize=3.5,
            linewidth=1.4,
            label=f"{mix[0]}:{mix[1]}",
        )
    axes.set_xlabel("achieved bandwidth, GB/s")
    axes.set_ylabel("mean latency of a read, ns")
    axes.set_title(title, fontsize="medium")
    axes.set_xlim(left=0)
    lowest, highest = (f(point.latency_mean_ns for point in points) for f in (min, max))
    axes.set_ylim(0, min(1.05 * highest, TALLEST * lowest))
    axes.grid(alpha=0.25)
    drawing.legend(title="reads:writes", loc="outside right upper", frameon=False)
    return drawing
