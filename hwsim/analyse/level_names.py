"""Names of horizontal levels on logarithmic axes, each above or below its own level where it covers no other name."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import log10
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = 7  # points
STEPS = 60  # places to try along a level
BORDER = 0.97  # share of the axes


class Label(NamedTuple):
    """A name, where its level begins and how high it is, in the axes' units."""

    text: str
    begin: float
    level: float
    colour: str


Box = tuple[float, float, float, float]  # left, right, bottom, top as shares of the axes


def name_levels(figure: Figure, axes: Axes, labels: list[Label]) -> None:
    """Write the names, from the right border inwards; called when the axes have their limits."""
    wide, high = (72 * inches for inches in figure.get_size_inches())
    size = SIZE * 1.3 / (high * 0.85)
    levels = [_share(axes.get_ylim(), label.level) for label in labels]
    taken: list[Box] = []
    for label, level in zip(labels, levels):
        length = (0.6 * SIZE * len(label.text) + 6) / (wide * 0.7)
        begin = min(_share(axes.get_xlim(), label.begin), BORDER - length)
        best = min(
            _boxes(begin, level, length, size),
            key=lambda box: 3 * sum(_meet(box, other) for other in taken) + sum(box[2] < y < box[3] for y in levels),
        )
        taken.append(best)
        place = best[1] - 0.003, (best[2] + best[3]) / 2
        told: dict[str, Any] = {"fontsize": SIZE, "color": label.colour, "ha": "right", "va": "center"}
        axes.text(*place, label.text, transform=axes.transAxes, **told)


def _boxes(begin: float, level: float, length: float, size: float) -> Iterator[Box]:
    """Places of a name above, then below its level; the right end first, left of points on the border."""
    for bottom, step in product((level + 0.002, level - size - 0.002), range(STEPS + 1)):
        right = BORDER - (BORDER - begin - length) * step / STEPS
        yield right - length, right, bottom, bottom + size


def _share(limits: tuple[float, float], value: float) -> float:
    """Where a value lies between two limits of a logarithmic axis."""
    low, high = map(log10, limits)
    return (log10(value) - low) / (high - low)


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]
