"""What attention works on: heads, decoding sequences and prefill chunks of a batch of cases, as columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwsim.operators.mapper.gpu.attention_library import sixteenths
from hwsim.units import ceil_div

ACTIVATION = 2  # bytes of a query or output element


@dataclass(frozen=True)
class Heads:
    """Dimensions that all sequences share, int64[P] each; `kv_width` in 1/16 byte an element of keys and values."""

    heads: np.ndarray
    kv_heads: np.ndarray
    head_dim: np.ndarray
    kv_width: np.ndarray

    @staticmethod
    def of(dims: Mapping[str, np.ndarray], dtype: str) -> Heads:
        """From the columns heads, kv_heads, head_dim and kv_dtype of an attention kind."""
        return Heads(dims["heads"], dims["kv_heads"], dims["head_dim"], sixteenths(dtype, dims["kv_dtype"]))

    def query_output(self, tokens: np.ndarray) -> np.ndarray:
        """Bytes of the queries, or of the outputs, of `tokens` tokens."""
        return tokens * self.heads * self.head_dim * ACTIVATION

    def cache(self, keys: np.ndarray) -> np.ndarray:
        """Bytes of `keys` cached keys with their values."""
        return ceil_div(keys * self.kv_heads * self.head_dim * 2 * self.kv_width, 16)

    def take(self, index: np.ndarray) -> Heads:
        """The cases at `index`."""
        return Heads(self.heads[index], self.kv_heads[index], self.head_dim[index], self.kv_width[index])


def rows_of(first: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the cases at `index`, and where each of these cases begins among them."""
    count = np.diff(first)[index]
    begin = np.concatenate([[0], np.cumsum(count)])
    return np.arange(begin[-1]) + np.repeat(first[index] - begin[:-1], count), begin


@dataclass(frozen=True)
class Lengths:
    """Sequences of every case: `first` int64[P + 1] into `keys` int64[N], each for `count` int64[N] equal ones."""

    first: np.ndarray
    keys: np.ndarray
    count: np.ndarray

    @property
    def case(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))

    def sum(self, per_sequence: np.ndarray) -> np.ndarray:
        """Sum over the sequences of a case, int64[P]."""
        return np.add.reduceat(per_sequence * self.count, self.first[:-1])

    def take(self, index: np.ndarray) -> Lengths:
        """The cases at `index`."""
        rows, first = rows_of(self.first, index)
        return Lengths(first, self.keys[rows], self.count[rows])

    def longest(self) -> np.ndarray:
        return np.maximum.reduceat(self.keys, self.first[:-1])


@dataclass(frozen=True)
class Chunks:
    """Prefill chunks of every case: `first` int64[P + 1] into columns int64[N], each for `count` equal ones.

    tokens : new tokens; cached : keys that were there before them.
    """

    first: np.ndarray
    tokens: np.ndarray
    cached: np.ndarray
    count: np.ndarray

    @property
    def case(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))

    def sum(self, per_chunk: np.ndarray) -> np.ndarray:
        """Sum over the chunks of a case, int64[P]."""
        return np.add.reduceat(per_chunk * self.count, self.first[:-1])

    def take(self, index: np.ndarray) -> Chunks:
        """The cases at `index`."""
        rows, first = rows_of(self.first, index)
        return Chunks(first, self.tokens[rows], self.cached[rows], self.count[rows])


@dataclass(frozen=True)
class Worklist:
    """Items in order of dispatch, int64[N]: case, KV tiles, head, and the tiles of their sequence's shortest item."""

    case: np.ndarray
    depth: np.ndarray
    head: np.ndarray
    shortest: np.ndarray

    def sorted(self) -> Worklist:
        """The sequences with the longest items first, as FlashAttention 3 sorts a batch (by the shortest member)."""
        order = np.lexsort((-self.shortest, self.case))
        return Worklist(self.case[order], self.depth[order], self.head[order], self.shortest[order])


def sequence_items(
    lengths: Lengths, heads: np.ndarray, parts: np.ndarray, depth: np.ndarray, tiles: np.ndarray
) -> Worklist:
    """Items of decoding sequences: sequence by sequence, head by head, part by part.

    Parameters
    ----------
    heads, parts, depth, tiles : int64[N]
        Of a sequence: heads that have items, parts of each, tiles of a part and of the whole.
    """
    number = lengths.count * heads * parts
    owner = np.repeat(np.arange(len(number)), number)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(number) - number, number)
    part, head = place % parts[owner], place // parts[owner] % heads[owner]
    here = np.clip(tiles[owner] - part * depth[owner], 1, depth[owner])
    return Worklist(lengths.case[owner], here, head, depth[owner])
