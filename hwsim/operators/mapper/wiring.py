"""How the links of a system's chips lie, and the ways that a collective's parts take over them.

A route says how many hops follow one another, what a rank's links carry and how many of them carry it. In a switch, a
mesh of all with all and behind a host's root a part takes one hop. In a torus or a ring it takes as many as its rank is
away, and every one of them loads a link: an exchange of all with all is bound by the links in the middle, which the
bisection counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd, prod

import numpy as np

from hwsim.describe.accelerator import ScaleUp
from hwsim.operators.amounts import Ints
from hwsim.units import ceil_div


@dataclass(frozen=True)
class Route:
    """Ways of the parts of one rank, int64[P] each; a part is a group's buffer over its devices.

    Attributes
    ----------
    hops : that follow one another
    parts : that a rank's links carry in all of them
    used, links : the share of a rank's links that carry them, as if all carried the same
    """

    hops: Ints
    parts: Ints
    used: Ints
    links: Ints

    def twice(self) -> Route:
        """The same ways again, once the parts are there."""
        return Route(2 * self.hops, 2 * self.parts, self.used, self.links)


@dataclass(frozen=True)
class Wiring:
    """Links of a system where every chip reaches every other in one hop.

    Attributes
    ----------
    peers : int
        Others that a chip has links of its own to, an equal share of all; 0 where any link leads to any chip.
    """

    peers: int = 0

    def straight(self, devices: Ints, hops: int, parts: Ints) -> Route:
        """Every rank sends parts to all others at once."""
        used, links = np.ones_like(devices), np.ones_like(devices)
        if self.peers:
            used, links = np.clip(devices - 1, 1, self.peers), np.full_like(devices, self.peers)
        return Route(np.full_like(devices, hops), parts, used, links)

    def ring(self, devices: Ints) -> Route:
        """Every part passes every rank."""
        once = self.straight(devices, 1, devices - 1)
        return Route(np.maximum(devices - 1, 1), once.parts, once.used, once.links)

    def exchange(self, devices: Ints) -> Route:
        """Every rank has a part for every other."""
        return self.straight(devices, 1, devices - 1)

    def send(self, devices: Ints) -> Route:
        """A rank has a buffer for its neighbour."""
        return self.straight(devices, 1, devices)


@dataclass(frozen=True)
class Torus(Wiring):
    """Links to neighbours alone: a group is a box of the system, as cubic as its number of devices allows.

    Attributes
    ----------
    dimensions : int
    closes : callable
        Sides of a box -> which of its dimensions wrap around.
    """

    dimensions: int = 1
    closes: Callable[[tuple[int, ...]], tuple[bool, ...]] = lambda sides: (True,) * len(sides)

    def ring(self, devices: Ints) -> Route:
        """Half of every part goes each way around a dimension; a corner has the fewest links to take them in."""
        return self._each(devices, _around)

    def exchange(self, devices: Ints) -> Route:
        """A part goes on along one dimension after the other, the shorter way around each that wraps."""
        return self._each(devices, _across)

    def send(self, devices: Ints) -> Route:
        """The links of one direction."""
        one = np.ones_like(devices)
        return Route(one, devices, one, np.full_like(devices, 2 * self.dimensions))

    def _each(self, devices: Ints, count: Callable[[tuple[int, ...], tuple[bool, ...]], tuple[int, ...]]) -> Route:
        found = {n: self._one(n, count) for n in np.unique(devices).tolist()}
        return Route(*np.array([found[n] for n in devices.tolist()], np.int64).reshape(-1, 4).T)

    def _one(self, devices: int, count: Callable[..., tuple[int, ...]]) -> tuple[int, ...]:
        sides = box(devices, self.dimensions)
        return count(sides, self.closes(sides)) if devices > 1 else (1, 0, 1, 1)


def _around(sides: tuple[int, ...], closed: tuple[bool, ...]) -> tuple[int, ...]:
    """A corner has two ways on in a dimension that wraps, else one, of two a dimension that a chip has links for."""
    ways = sum((2 if wraps else 1) for side, wraps in zip(sides, closed, strict=True) if side > 1)
    return sum(side - 1 for side in sides), prod(sides) - 1, ways, 2 * len(sides)


def _across(sides: tuple[int, ...], closed: tuple[bool, ...]) -> tuple[int, ...]:
    """A line of k has (k / 2)^2 parts to carry across its middle each way for every line of the box, over one link, or
    over two where it wraps. All links of a chip take as long as the busiest: `middle` is twice what that carries.
    """
    devices, middle, carried = prod(sides), 0, 0
    for side, wraps in zip(sides, closed, strict=True):
        lines = devices // side
        middle = max(middle, lines * (side * side // 4) * (1 if wraps else 2))
        carried += lines * (side * side // 4) if wraps else ceil_div(lines * (side * side - 1), 3)
    links = middle * len(sides)
    shared = gcd(carried, links)
    hops = sum(side // 2 if wraps else side - 1 for side, wraps in zip(sides, closed, strict=True))
    return hops, carried, carried // shared, links // shared


def box(count: int, dimensions: int) -> tuple[int, ...]:
    """Sides of the most cubic box of so many devices, the longest first.

    Examples
    --------
    >>> box(64, 3), box(32, 2), box(8, 3)
    ((4, 4, 4), (8, 4), (2, 2, 2))
    """
    if dimensions == 1:
        return (count,)
    side = next(n for n in range(count, 0, -1) if count % n == 0 and n**dimensions <= count)
    return (*box(count // side, dimensions - 1), side)


def wiring_of(scale_up: ScaleUp) -> Wiring:
    """The wiring of a chip's largest system."""
    match scale_up.topology:
        case "mesh":
            return Wiring(max(scale_up.devices - 1, 1))
        case "ring":
            return Torus()
        case "torus":
            return Torus(dimensions=scale_up.sides, closes=_closes(scale_up))
    return Wiring()


def _closes(scale_up: ScaleUp) -> Callable[[tuple[int, ...]], tuple[bool, ...]]:
    """A dimension wraps where the box is as long as the system; all do in boxes of whole cubes, where it has them."""
    whole, cube = box(scale_up.devices, scale_up.sides), scale_up.cube

    def closes(sides: tuple[int, ...]) -> tuple[bool, ...]:
        if cube and all(side % cube == 0 for side in sides):
            return (True,) * len(sides)
        return tuple(side == longest for side, longest in zip(sides, whole, strict=True))

    return closes
