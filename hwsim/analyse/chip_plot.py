"""Drawings of chips and systems: boxes for units and tiers, arrows with rates between them, ways out (matplotlib)."""

from __future__ import annotations

from math import ceil, cos, pi, sin, sqrt
from textwrap import wrap
from typing import TYPE_CHECKING

from hwsim.analyse.blocks import Block, Picture, Topology
from hwsim.analyse.plots import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches; the axes count in them too, so that text and boxes agree.
WIDE, GAP, LINE, PAD = 2.1, 0.95, 0.17, 0.12
CHARACTERS = 27  # of a line of a box
LETTER, BUS = 0.108, 0.16  # width of a letter of the title; from the units to what joins them
COLOURS = {"units": "#cfe2f3", "tiers": "#d9ead3", "ways": "#fff2cc", "device": "#f7f7f7", "spare": "#b8b8b8"}
EDGE = "#444444"
MOST = {"torus": 64}  # devices of a system that are drawn one by one; else so many:
FEW = 24
PANEL = 3.4  # side of the drawing of a system

Place = tuple[float, float]


def draw(picture: Picture) -> Figure:
    """A figure of a device, and beside it of the system it is part of."""
    tall = max(sum(map(_height, picture.units)) + 0.3, *map(_height, picture.tiers))
    inside = WIDE * (1 + len(picture.tiers)) + GAP * len(picture.tiers)
    below = max(map(_height, picture.ways)) + 0.75
    width = inside + 0.6 + (PANEL + 0.5 if picture.topology else 0)
    title = wrap(picture.title, int(width / LETTER))
    head = 0.55 + 0.2 * (len(title) - 1)
    height = head + max(tall + below + 0.25, PANEL + 0.4 if picture.topology else 0)
    drawing = figure(width, height)
    drawing.set_layout_engine("none")
    axes = drawing.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.axis("off")
    for number, line in enumerate(title):
        axes.text(0.3, height - 0.3 - 0.2 * number, line, fontsize=11, weight="bold", va="center")
    _device(axes, picture, inside, height - head, tall)
    if picture.topology:
        _system(axes, picture.topology, (inside + 0.8 + PANEL / 2, height - head - 0.2 - PANEL / 2))
    return drawing


def _device(axes: Axes, picture: Picture, inside: float, top: float, tall: float) -> None:
    """Units to the left, tiers to the right of them, ways out below."""
    _frame(axes, 0.15, top - tall - 0.2, inside + 0.3, tall + 0.3)
    middle, at = top - tall / 2 - 0.05, top - (tall - sum(map(_height, picture.units)) - 0.3) / 2 - 0.05
    ports = []
    for block in picture.units:
        _box(axes, (0.3, at), block, "units")
        ports.append(at - _height(block) / 2)
        at -= _height(block) + 0.3
    _bus(axes, 0.3 + WIDE, ports)
    for number, block in enumerate(picture.tiers):
        left = 0.3 + (number + 1) * (WIDE + GAP)
        _box(axes, (left, middle + _height(block) / 2), block, "tiers")
        _arrow(axes, (left - GAP + (0 if number else BUS), middle), (left, middle), block.rate)
    bottom = top - tall - 0.2
    for number, block in enumerate(picture.ways):
        left = 0.3 + number * (WIDE + GAP)
        _box(axes, (left, bottom - 0.55), block, "ways")
        centre = left + WIDE / 2
        _arrow(axes, (centre, bottom), (centre, bottom - 0.55), f"{block.rate} each way", aside=True)


def _bus(axes: Axes, left: float, ports: list[float]) -> None:
    """What joins the units with the way to their SRAM."""
    axes.plot([left + BUS] * 2, [ports[0], ports[-1]], color=EDGE, linewidth=1)
    for port in ports:
        axes.plot([left, left + BUS], [port, port], color=EDGE, linewidth=1)


def _lines(block: Block) -> list[str]:
    return [part for line in block.lines for part in wrap(line, CHARACTERS)]


def _height(block: Block) -> float:
    return (len(_lines(block)) + 1.1) * LINE + 2 * PAD


def _box(axes: Axes, corner: Place, block: Block, kind: str) -> None:
    """A block whose left upper corner is at `corner`."""
    left, top = corner
    _frame(axes, left, top - _height(block), WIDE, _height(block), kind)
    axes.text(left + WIDE / 2, top - PAD, block.name, fontsize=9, weight="bold", ha="center", va="top")
    for number, line in enumerate(_lines(block)):
        axes.text(left + PAD, top - PAD - (number + 1.2) * LINE, line, fontsize=8, va="top")


def _frame(axes: Axes, left: float, bottom: float, width: float, height: float, kind: str = "device") -> None:
    from matplotlib.patches import FancyBboxPatch

    style = "round,pad=0,rounding_size=0.06"
    axes.add_patch(FancyBboxPatch((left, bottom), width, height, style, facecolor=COLOURS[kind], edgecolor=EDGE))


def _arrow(axes: Axes, start: Place, end: Place, text: str, aside: bool = False) -> None:
    """Both ways, its rate above it (aside: to the right of it)."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "<->", "color": EDGE, "shrinkA": 0, "shrinkB": 0})
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    if aside:
        axes.text(x + 0.08, y, text, fontsize=8, ha="left", va="center")
    else:
        axes.text(x, y + 0.05, text, fontsize=8, ha="center", va="bottom")


def _system(axes: Axes, topology: Topology, centre: Place) -> None:
    """Devices of a system, or groups of them where there are too many, joined as their links join them."""
    each = ceil(topology.count / MOST.get(topology.kind, FEW))
    if topology.node and each > 1:
        each = ceil(each / topology.node) * topology.node
    shown = ceil(topology.count / each)
    if len(topology.sides) > 2 and each == 1:
        places, lines = _planes(topology.sides)
    else:
        places, lines = _LAYOUTS[topology.kind](shown, topology.node if each == 1 else 0)
    spare = shown - topology.spares // each
    for a, b in lines:
        (x, y), (u, v) = (_at(centre, place) for place in (a, b))
        axes.plot([x, u], [y, v], color="#999999", linewidth=0.6 if len(lines) < 100 else 0.25, zorder=1)
    side = min(0.32, 1.6 / sqrt(shown) if topology.kind == "torus" else 5.5 / shown)
    side = min(side, 0.14) if len(lines) and topology.node and each == 1 < shown / topology.node else side
    for number, place in enumerate(places):
        x, y = _at(centre, place)
        colour = COLOURS["units"] if number < spare else COLOURS["spare"]
        axes.plot([x], [y], "s", markersize=side * 72, color=colour, markeredgecolor=EDGE, zorder=2)
    kind = topology.kind + (f" of {' x '.join(map(str, topology.sides))}" if topology.sides else "")
    words = f"{topology.count:,} devices, {kind}" + (f", {each} a square" if each > 1 else "")
    words += f"; {topology.spares} stand by (grey)" if topology.spares else ""
    axes.text(centre[0], centre[1] + PANEL / 2 + 0.12, words, fontsize=9, ha="center")


def _at(centre: Place, place: Place) -> Place:
    """From the square of -1 to 1 to inches."""
    return centre[0] + place[0] * PANEL / 2.3, centre[1] + place[1] * PANEL / 2.3


Layout = tuple[list[Place], list[tuple[Place, Place]]]


def _ring(count: int, radius: float = 1.0, centre: Place = (0.0, 0.0)) -> list[Place]:
    """Places on a circle."""
    if count == 1:
        return [centre]
    turns = (2 * pi * number / count + pi / 2 for number in range(count))
    return [(centre[0] + radius * cos(turn), centre[1] + radius * sin(turn)) for turn in turns]


def _star(count: int, node: int) -> Layout:
    """All to one point in the middle: a switch, a host's root."""
    places = _ring(count)
    return places, [(place, (0.0, 0.0)) for place in places]


def _mesh(count: int, node: int) -> Layout:
    """Each to each."""
    places = _ring(count)
    return places, [(a, b) for number, a in enumerate(places) for b in places[:number]]


def _cycle(count: int, node: int) -> Layout:
    """Neighbours alone, the last beside the first."""
    places = _ring(count)
    return places, [(places[number - 1], place) for number, place in enumerate(places)]


def _torus(count: int, node: int) -> Layout:
    """A grid; what joins its ends is drawn as stubs."""
    across = next(n for n in range(ceil(sqrt(count)), count + 1) if count % n == 0)
    return _grid(across, count // across)


def _grid(across: int, down: int) -> Layout:
    """Rows and columns, each a ring."""
    step = 1.7 / max(across - 1, down - 1, 1)
    left, top = -step * (across - 1) / 2, step * (down - 1) / 2
    places = [(left + step * column, top - step * row) for row in range(down) for column in range(across)]
    stub = 0.45 * step if across * down > 1 else 0.0
    lines = []
    for row in range(down if across > 1 else 0):
        y = top - step * row
        lines.append(((left - stub, y), (-left + stub, y)))
    for column in range(across if down > 1 else 0):
        x = left + step * column
        lines.append(((x, top + stub), (x, -top - stub)))
    return places, lines


def _planes(sides: tuple[int, ...]) -> Layout:
    """A box of three sides as planes beside one another; the third ring, through all planes, is said and not drawn."""
    across, down, deep = sides
    beside = ceil(sqrt(deep))
    places: list[Place] = []
    lines: list[tuple[Place, Place]] = []
    own, joined = _grid(across, down)
    for plane in range(deep):
        x, y = 2 * (plane % beside) - beside + 1, beside - 1 - 2 * (plane // beside)

        def at(place: Place, x: float = x, y: float = y) -> Place:
            return (0.78 * place[0] + x) / beside, (0.78 * place[1] + y) / beside

        places += map(at, own)
        lines += [(at(a), at(b)) for a, b in joined]
    return places, lines


def _dragonfly(count: int, node: int) -> Layout:
    """Rings of chips that are all joined, the rings joined with one another."""
    if not node or count <= node:
        return _mesh(count, node)
    nodes = ceil(count / node)
    centres = _ring(nodes, 0.78)
    radius = min(0.2, 2.0 / nodes)
    places: list[Place] = []
    lines = [(a, b) for number, a in enumerate(centres) for b in centres[:number]]
    for number, centre in enumerate(centres):
        places += _ring(min(node, count - number * node), radius, centre)
    return places, lines


_LAYOUTS = {
    "switch": _star,
    "pcie": _star,
    "mesh": _mesh,
    "ring": _cycle,
    "torus": _torus,
    "dragonfly": _dragonfly,
}
