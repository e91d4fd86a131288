"""Operators that stream elements through vector units: what an element costs, whatever the chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Stream:
    """What one element of (rows x cols) costs.

    Attributes
    ----------
    reads, writes : elements read and written for each
    passes : times the input is read (a second time out of the L2)
    flops, special : fp32 operations and special functions for each
    rows : a row stays on one SM
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
