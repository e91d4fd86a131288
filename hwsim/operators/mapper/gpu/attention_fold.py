"""Folding of SM slots with unequal loads into a few groups of equal ones.

The engine simulates one slot of a group; bytes and FLOPs of a group are conserved up to rounding up per tile. The first
group holds the slots that finish last (within one tile), since they decide the end; the others share what they contend
for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwsim.units import ceil_div

# Slots of a group move in step. With few groups whole waves of items meet the memory at once and leave it idle
# together: 4 are up to 8 % too slow, and up to 11 % slower with faster memory; 32 differ from 16 by 0.3 %.
GROUPS = 16


@dataclass(frozen=True)
class Groups:
    """Groups of equal slots; int64[P, G] for `mult`, int64[P, G, C] for C classes of items.

    Attributes
    ----------
    mult : slots of the group; 0 if a case needs fewer groups
    items, tiles : of one slot (the mean of the group, rounded up); items 0 where the class is absent
    number, share : items and tiles of all slots of the group together
    """

    mult: np.ndarray
    items: np.ndarray
    tiles: np.ndarray
    number: np.ndarray
    share: np.ndarray

    def joined(self) -> Groups:
        """All classes as one."""
        parts = (part.sum(axis=2, keepdims=True) for part in (self.items, self.tiles, self.number, self.share))
        return Groups(self.mult, *parts)

    def reversed(self) -> Groups:
        """The classes in the opposite order."""
        parts = (part[:, :, ::-1] for part in (self.items, self.tiles, self.number, self.share))
        return Groups(self.mult, *parts)


def fold(
    load: np.ndarray, items: np.ndarray, tiles: np.ndarray, slots: np.ndarray, tolerance: np.ndarray, count: int
) -> Groups:
    """Groups of slots.

    Parameters
    ----------
    load : int64[P, S]
        Time of each slot; -1 where a case has fewer than S slots.
    items, tiles : int64[P, S, C]
        Items and tiles of each class on each slot.
    slots, tolerance : int64[P]
        Slots of the case; loads within `tolerance` of the largest end together.
    count : int
        Groups to make.
    """
    order = np.argsort(-load, axis=1, kind="stable")
    sums = [_cumulate(np.take_along_axis(part, order[:, :, None], axis=1)) for part in (items, tiles)]
    most = load.max(axis=1)
    top = np.count_nonzero(load > (most - tolerance)[:, None], axis=1)
    busy = np.count_nonzero(load > 0, axis=1)
    cuts = _cuts(np.minimum(top, busy), busy, count)
    mult = np.diff(cuts, axis=1)
    group = [np.diff(np.take_along_axis(part, cuts[:, :, None], axis=1), axis=1) for part in sums]
    each = np.maximum(mult, 1)[:, :, None]
    number, depth = ceil_div(group[0], each), ceil_div(group[1], each)
    return Groups(mult, number, np.maximum(depth, number), group[0], group[1])


def _cumulate(part: np.ndarray) -> np.ndarray:
    """Sums over the first k slots, k = 0..S."""
    return np.concatenate([np.zeros_like(part[:, :1]), np.cumsum(part, axis=1)], axis=1)


def _cuts(top: np.ndarray, busy: np.ndarray, count: int) -> np.ndarray:
    """Ends of the groups of slots sorted by falling load, int64[P, G + 1]: none across `top` unless it is all."""
    rest = busy - top
    rounded = (2 * count * top + busy) // np.maximum(2 * busy, 1)
    first = np.where(rest == 0, count, np.clip(rounded, 1, count - 1))
    g = np.arange(count + 1)
    inside = ceil_div(top[:, None] * np.minimum(g, first[:, None]), first[:, None])
    beyond = ceil_div(np.maximum(g - first[:, None], 0) * rest[:, None], np.maximum(count - first, 1)[:, None])
    return inside + beyond
