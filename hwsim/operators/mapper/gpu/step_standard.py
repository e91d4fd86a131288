"""The standard step of a cell: one with given sums, as spread as the lengths of real traffic are.

One chunk or more of a width, and decodes whose lengths rise as a power of their place, so that their number, sum,
longest and second moment are those asked for. All arithmetic is in integers.
"""

from __future__ import annotations

import numpy as np

from hwsim._core.serve_types import Ints
from hwsim._core.step_tables import QUARTERS, TILE
from hwsim.units import ceil_div

BITS = 20  # of a power of i / n behind the point
TILE_PARTS = 64
MIX = 16  # steps from one power to the next
POWERS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55)


def chunk_sizes(tokens: int, share: int) -> list[int]:
    """Chunks of a standard step: as wide as `share` quarters of them make up the tokens, and what is left."""
    widest = max(ceil_div(QUARTERS * tokens, share), 1)
    return [widest] * (tokens // widest) + [tokens % widest] * (tokens % widest > 0)


def standard_lengths(decodes: int, tiles: int, longest: int, moment: int) -> list[int]:
    """Contexts with that number, sum, longest and second moment as far as possible, in a scattered order, in integers.

    The i-th of n rises as a mix of two neighbouring powers of i / n, cut off at the longest: the steeper, the larger
    the moment. A context ends in the middle of its last tile.

    Parameters
    ----------
    tiles, longest : int
        Of all together, and of the longest.
    moment : int
        Mean square over squared mean, in 1/16.
    """
    longest = max(min(longest, tiles - decodes + 1), ceil_div(tiles, decodes))
    fine, top = (tiles - longest) * TILE_PARTS, longest * TILE_PARTS
    wanted = moment * tiles * tiles * TILE_PARTS * TILE_PARTS // (16 * decodes) - top * top
    place = (np.arange(1, decodes, dtype=np.int64) << BITS) // decodes
    curves = [_power(place, exponent) for exponent in POWERS]
    low, high = 0, (len(curves) - 1) * MIX
    while high - low > 1 and decodes > 1:
        middle = (low + high) // 2
        each = _cut_off(_mixed(curves, middle), fine, top)
        low, high = (middle, high) if int((each * each).sum()) <= wanted else (low, middle)
    each = _cut_off(_mixed(curves, low), fine, top)
    ends = (np.cumsum(each) + TILE_PARTS // 2) // TILE_PARTS
    whole = np.append(np.clip(np.diff(ends, prepend=0), 1, longest), longest)
    order = np.argsort(np.arange(decodes) * 0x9E3779B1 % (1 << 32), kind="stable")
    return (whole[order] * TILE - TILE // 2).tolist()


def _power(base: Ints, exponent: int) -> Ints:
    result = np.full_like(base, 1 << BITS)
    for _ in range(exponent):
        result = result * base >> BITS
    return result


def _mixed(curves: list[Ints], at: int) -> Ints:
    """Between two neighbouring powers, `at` in 1/MIX of a step; never 0."""
    number, part = divmod(at, MIX)
    steep = curves[min(number + 1, len(curves) - 1)]
    return (curves[number] * (MIX - part) + steep * part) // MIX + 1


def _cut_off(weights: Ints, total: int, top: int) -> Ints:
    """Weights scaled to a sum of about `total`, none above `top`: what is cut off goes to the others."""
    each = np.zeros_like(weights)
    free = np.ones(len(weights), bool)
    for _ in range(6):
        rest = total - int(each[~free].sum())
        each = np.where(free, weights * rest // max(int(weights[free].sum()), 1), each)
        over = free & (each > top)
        if not over.any():
            break
        each[over] = top
        free &= ~over
    return each
