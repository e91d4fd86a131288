"""Memory on the chip: banked SRAM with ports, and a last-level cache with least recently used lines."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwsim._core import cache as core
from hwsim.errors import bad
from hwsim.units import ceil_div


@dataclass(frozen=True)
class Banks:
    """A scratchpad of banks that work side by side.

    Word w lies in bank w mod `count`. A bank gives `ports` different words a cycle; lanes that ask for the same word
    share it.

    Attributes
    ----------
    count : int
        Banks.
    word : int
        Bytes a bank holds side by side.
    ports : int
        Different words of a bank in one cycle.
    """

    count: int
    word: int
    ports: int = 1

    def __post_init__(self) -> None:
        for name in ("count", "word", "ports"):
            if getattr(self, name) < 1:
                raise bad(f"banks: {name}", getattr(self, name), "at least 1")

    def cycles(self, address: ArrayLike) -> NDArray[np.int64]:
        """Cycles of groups of lanes that each touch one word.

        Parameters
        ----------
        address : int array of shape (groups, lanes)
            Bytes; a negative one is a lane that asks for nothing.

        Returns
        -------
        int64[groups]
            The most different words any bank has to give, over its ports; 0 for a group that asks for nothing.
        """
        words = np.sort(np.asarray(address, np.int64) // self.word, axis=1)
        new = words >= 0
        new[:, 1:] &= words[:, 1:] != words[:, :-1]
        group = np.broadcast_to(np.arange(len(words))[:, None], words.shape)
        of_bank = np.bincount((group * self.count + words % self.count)[new], minlength=len(words) * self.count)
        return ceil_div(of_bank.reshape(len(words), self.count).max(axis=1, initial=0), self.ports)

    def strided(self, lanes: int, stride: int) -> int:
        """Cycles of lanes whose addresses lie `stride` bytes apart, a whole number of words (0: all the same word)."""
        if stride % self.word:
            raise bad("stride", stride, f"a multiple of the word of {self.word} B")
        if stride == 0 or lanes == 0:
            return min(lanes, 1)
        reached = self.count // gcd(stride // self.word, self.count)
        return ceil_div(ceil_div(lanes, reached), self.ports)


@dataclass(frozen=True)
class Passed:
    """What came of lines that went through a cache.

    Attributes
    ----------
    hit : bool[n]
        The line was there.
    hits, misses, written_back : int
        Lines; of those that missed, so many pushed out one that had been written.
    busiest : int
        Lines of the partition that had most.
    """

    hit: NDArray[np.bool_]
    hits: int
    misses: int
    written_back: int
    busiest: int


class Cache:
    """A last-level cache: partitions with a share of the lines each, sets of ways; the least recently used line leaves.

    Consecutive lines go round the partitions. Writes allocate and stay until they are pushed out. A set is scanned for
    its line: for thousands of ways `miss_curve` is quicker.

    Parameters
    ----------
    capacity, line : int
        Bytes.
    ways : int
        Lines of a set; 0: every line of a partition (fully associative).
    partitions : int
    rate : Fraction
        Bytes per second of one partition.
    """

    def __init__(
        self, capacity: int, line: int, ways: int = 16, partitions: int = 1, rate: Fraction = Fraction(0)
    ) -> None:
        lines = capacity // (line * partitions)
        self.ways = ways or lines
        if not 1 <= self.ways <= lines:
            raise bad("cache: ways", ways, f"1 to {lines}", f"a partition holds {lines} lines of {line} B")
        self.line, self.partitions, self.rate = line, partitions, rate
        self.sets = lines // self.ways
        self.tags = np.full((partitions, self.sets, self.ways), -1, np.int64)
        self.dirty = np.zeros((partitions, self.sets, self.ways), np.uint8)

    @property
    def capacity(self) -> int:
        """Bytes of whole sets."""
        return self.partitions * self.sets * self.ways * self.line

    def access(self, address: ArrayLike, is_write: ArrayLike | None = None) -> Passed:
        """Pass accesses through the cache, in order; it keeps its lines for the next call.

        Parameters
        ----------
        address : int array of shape (n,)
            Bytes.
        is_write : bool array of shape (n,), optional
        """
        lines = np.ascontiguousarray(address, dtype=np.int64) // self.line
        writes = np.zeros(len(lines), np.uint8) if is_write is None else np.asarray(is_write).astype(np.uint8)
        if len(lines) and lines.min() < 0:
            raise bad("cache: address", int(lines.min()) * self.line, "addresses that are not negative")
        hit, cleaned = np.zeros((2, len(lines)), np.uint8)
        where = lines % self.partitions
        for partition in range(self.partitions):
            own = np.flatnonzero(where == partition)
            found, left = np.zeros((2, len(own)), np.uint8)
            tags, dirty = self.tags[partition], self.dirty[partition]
            core.access(tags, dirty, lines[own] // self.partitions, np.ascontiguousarray(writes[own]), found, left)
            hit[own], cleaned[own] = found, left
        hits, busiest = int(hit.sum()), int(np.bincount(where, minlength=1).max())
        return Passed(hit.astype(bool), hits, len(lines) - hits, int(cleaned.sum()), busiest)

    def seconds(self, passed: Passed, memory_rate: Fraction) -> Fraction:
        """Time of accesses in a stream: the busiest partition, or misses and written lines at the memory's rate."""
        below = Fraction((passed.misses + passed.written_back) * self.line) / memory_rate
        return max(below, Fraction(passed.busiest * self.line) / self.rate if self.rate else Fraction(0))


def miss_curve(address: ArrayLike, line: int) -> NDArray[np.int64]:
    """Misses of a fully associative LRU cache of 0, 1, 2, ... lines, all from one pass.

    Returns
    -------
    int64[different lines + 1]
        A larger cache misses no less than the last.
    """
    _, lines = np.unique(np.asarray(address, np.int64) // line, return_inverse=True)
    lines = lines.astype(np.int64).reshape(-1)
    n_lines = int(lines.max(initial=-1)) + 1
    distances = core.stack_distances(lines, n_lines)
    hits = np.bincount(distances[distances >= 0], minlength=n_lines)[:n_lines]
    return len(lines) - np.concatenate(([0], np.cumsum(hits)))
