"""All-reduce along a line of cores: a tree of two levels, then a broadcast.

The line is cut into groups of `size` cores. In a group every core adds what its neighbour sent and sends it on, from
both ends towards the middle; then the middles of the groups do the same along the line. The middle of all sends the sum
back through the routers, which pass it on as it comes. A message costs its words, its hops and a step of the receiver.
Lines are equal and independent, and of a line the arm that ends last stands for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np

from hwsim.operators.amounts import Ints
from hwsim.operators.template import Cell, QueueBuilder, Resource, Slot, TemplateBuilder
from hwsim.units import ceil_div


@dataclass(frozen=True)
class Line:
    """Places of a tree on a line.

    Attributes
    ----------
    side, size, groups : cores; cores of a group (the last may have fewer), groups
    """

    side: int
    size: int
    groups: int

    @staticmethod
    def of(side: int, levels: int) -> Line:
        """The tree of a line: groups of about the root of its cores, even so that their arms differ in length."""
        root = isqrt(side - 1) + 1
        size = side if levels == 1 else min(side, root + root % 2)
        return Line(side, size, ceil_div(side, size))

    @property
    def last(self) -> int:
        """Cores of the last group."""
        return self.side - self.size * (self.groups - 1)

    def middle(self, group: int) -> int:
        """Core that adds up a group."""
        cores = self.last if group == self.groups - 1 else self.size
        return group * self.size + cores // 2

    @property
    def near(self) -> int:
        """Messages one after the other in the longest arm of a group."""
        return self.size // 2

    @property
    def far(self) -> int:
        """Messages one after the other between groups."""
        return self.groups // 2

    @property
    def far_hops(self) -> int:
        """Hops of a message between groups, in the arm that ends last."""
        return self.middle(1) - self.middle(0) if self.groups > 1 else 0

    @property
    def reach(self) -> int:
        """Hops of the broadcast to the farther end."""
        root = self.middle(self.far)
        return max(root, self.side - 1 - root)

    def near_turn(self, words: Ints, step: int) -> Ints:
        """Cycles that the second of two arms waits that reach the middle of a group together."""
        equal = self.size > 1 and self.size % 2 == 1
        return np.maximum(words, step) * equal

    def far_turn(self, words: Ints, step: int, hop: int) -> Ints:
        """The same between groups, where the arm from a shorter last group is ahead."""
        equal = self.groups > 1 and self.groups % 2 == 1
        ahead = (self.far_hops - (self.middle(self.groups - 1) - self.middle(self.groups - 2))) * hop if equal else 0
        return np.maximum(np.maximum(words, step) - ahead, 0) * equal

    def cycles(self, words: Ints, step: int, hop: int) -> Ints:
        """Closed form of an all-reduce of `words` cycles a message; 0 where there are none."""
        near = self.near * (words + hop + step) + self.near_turn(words, step)
        far = self.far * (words + self.far_hops * hop + step) + self.far_turn(words, step, hop)
        return (near + far + words + self.reach * hop) * (words > 0)


@dataclass(frozen=True)
class TreeRows:
    """What all all-reduces of a template share: resources, trips of the arms, hops."""

    ramp: Resource
    message: Resource
    near: Slot
    far: Slot
    hop: Cell
    far_hops: Cell
    reach: Cell

    @staticmethod
    def declare(b: TemplateBuilder, ramp: Resource) -> TreeRows:
        """Declare them; `ramp` is a core's way out of the fabric."""
        message = b.resource("message", bound="issue", per_core=True)
        slots, cells = (b.slot("near"), b.slot("far")), (b.cell("hop"), b.cell("far hops"), b.cell("reach"))
        return TreeRows(ramp, message, *slots, *cells)

    def rows(self, b: TemplateBuilder, q: QueueBuilder, name: str) -> None:
        """One all-reduce, message by message; without words it takes no time."""
        for arm, trips, hops in (("near", self.near, self.hop), ("far", self.far, self.far_hops)):
            with q.loop(trips):
                q.run(self.ramp, b.slot(f"words.{arm}.{name}"), delay=hops, sync=True)
                q.run(self.message, b.slot(f"step.{arm}.{name}"), sync=True)
            q.run(self.message, b.slot(f"turn.{arm}.{name}"), sync=True)
        q.run(self.ramp, b.slot(f"cast.{name}"), delay=self.reach, sync=True)


def values_of(line: Line, name: str, words: Ints, step: int, hop: int) -> dict[str, Ints]:
    """Values of one all-reduce of a template by slot; words of 0 leave it out."""
    some = (words > 0).astype(np.int64)
    near, far = some * (line.near > 0), some * (line.far > 0)
    return {
        f"words.near.{name}": words * near,
        f"step.near.{name}": step * near,
        f"turn.near.{name}": line.near_turn(words, step) * near,
        f"words.far.{name}": words * far,
        f"step.far.{name}": step * far,
        f"turn.far.{name}": line.far_turn(words, step, hop) * far,
        f"cast.{name}": words,
    }


def shared_values(line: Line) -> tuple[dict[str, int], dict[str, int]]:
    """Values and cells that all all-reduces of a line share."""
    return (
        {"near": max(line.near, 1), "far": max(line.far, 1)},
        {"far hops": line.far_hops, "reach": line.reach},
    )
