"""Operators that stream elements through vector units: what an element costs, whatever the chip."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwsim.operators.amounts import Ints
from hwsim.operators.candidates import Candidates, Programs


@dataclass(frozen=True)
class Stream:
    """What one element of (rows x cols) costs.

    Attributes
    ----------
    reads, writes : elements read and written for each
    passes : times the input is read (where a chip has a cache, from the second time on out of it)
    flops, special : fp32 operations and special functions for each
    rows : a result needs its whole row
    cold : the input comes from memory (weights)
    """

    reads: int
    writes: int
    flops: int
    special: int
    passes: int = 1
    rows: bool = False
    cold: bool = False


STREAMS: Mapping[str, Stream] = {
    "norm": Stream(reads=1, writes=1, flops=6, special=0, rows=True),
    "norm+residual": Stream(reads=2, writes=2, flops=7, special=0, rows=True),
    "activation": Stream(reads=1, writes=1, flops=8, special=1),
    "activation+gated": Stream(reads=2, writes=1, flops=6, special=1),
    "softmax": Stream(reads=1, writes=1, flops=6, special=1, rows=True),
    "rope": Stream(reads=1, writes=1, flops=6, special=0),
    "embed": Stream(reads=1, writes=1, flops=0, special=0, cold=True),
    # Logits become fp32 (two elements written) and are read again for the softmax and the draw.
    "sample": Stream(reads=1, writes=2, flops=8, special=1, passes=5),
}


@dataclass(frozen=True)
class StreamMapper(ABC):
    """Mapper of one kind of stream; its 0/1 dimension, if it has one, names the variant.

    A class of accelerators says in `programs` how streams run on it.
    """

    kind: str
    variant: str = ""

    @property
    def streams(self) -> list[Stream]:
        """Stream of the plain kind, then of its variant."""
        names = [self.kind] + [f"{self.kind}+{self.variant}"] * bool(self.variant)
        return [STREAMS[name] for name in names]

    def variants(self, dims: Mapping[str, Ints]) -> Ints:
        """Place in `streams` of each case."""
        return dims.get(self.variant, np.zeros_like(dims["rows"]))

    def propose(self, machine: Any, dims: Mapping[str, Ints], dtype: str) -> Candidates:
        """One candidate a case: there is one way to stream."""
        return Candidates.one_each(dims, variant=self.variants(dims))

    @abstractmethod
    def programs(self, machine: Any, dims: Mapping[str, Ints], dtype: str, chosen: Candidates) -> list[Programs]:
        """Programs of the chosen candidates."""

    def by_stream(
        self, dims: Mapping[str, Ints], variants: Ints, case: Ints
    ) -> Iterator[tuple[Stream, dict[str, Ints], Ints]]:
        """Each stream with the dimensions and the rows of the candidates of `case` that are of its variant."""
        for value, stream in enumerate(self.streams):
            rows = np.flatnonzero(variants == value)
            if len(rows):
                yield stream, {name: column[case[rows]] for name, column in dims.items()}, rows

    def describe(self, chosen: Candidates, row: int) -> str:
        """A candidate in words."""
        return f"{self.kind} stream" + f", {self.variant}" * bool(chosen.columns["variant"][row])
