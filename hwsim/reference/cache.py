"""Least recently used caches, by definition: the order of last uses, kept as a list."""

from __future__ import annotations

from collections.abc import Sequence


def stack_distances(lines: Sequence[int]) -> list[int]:
    """Different lines used since each line's last use, -1 the first time.

    A cache of c lines that evicts the least recently used hits exactly where 0 <= distance < c (Mattson et al., 1970).
    """
    last_used: list[int] = []  # oldest first
    found = []
    for line in lines:
        if line in last_used:
            found.append(len(last_used) - 1 - last_used.index(line))
            last_used.remove(line)
        else:
            found.append(-1)
        last_used.append(line)
    return found


def set_associative(
    lines: Sequence[int], writes: Sequence[bool], sets: int, ways: int
) -> tuple[list[bool], list[bool]]:
    """Whether each line was there, and whether a dirty one left for it.

    A line hits where fewer than `ways` others of its set were used since its last use; a miss evicts, if the set is
    full, the line of the set whose last use is oldest.
    """
    hits, cleaned = [False] * len(lines), [False] * len(lines)
    for number in range(sets):
        own = [i for i, line in enumerate(lines) if line % sets == number]
        distances = stack_distances([lines[i] for i in own])
        last_use: dict[int, int] = {}  # line in the cache -> position of its last use
        dirty: set[int] = set()
        for position, (i, distance) in enumerate(zip(own, distances)):
            hits[i] = 0 <= distance < ways
            if not hits[i] and len(last_use) == ways:
                oldest = min(last_use, key=lambda line: last_use[line])
                cleaned[i] = oldest in dirty
                dirty.discard(oldest)
                del last_use[oldest]
            assert hits[i] == (lines[i] in last_use)
            last_use[lines[i]] = position
            if writes[i]:
                dirty.add(lines[i])
    return hits, cleaned
