"""Attention of a scheduler's step: the question that every class of accelerators is asked, and who may answer it whole.

A step has prefill chunks and decodes. A class that runs them one after the other needs only the surfaces of its
operators; one on which they share the device offers a `StepSamples` (`Machine.step_surface`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hwsim._core.serve_types import Ints, StepTimes

if TYPE_CHECKING:
    from hwsim.memo import Table
    from hwsim.operators.simulate import OpResult


@dataclass(frozen=True)
class Step:
    """Attention work of one step: prefill chunks (new tokens, cached keys) and contexts of decodes."""

    chunks: Sequence[tuple[int, int]] = ()
    contexts: Sequence[int] = ()


@dataclass(frozen=True)
class StepShape:
    """What the steps of a deployment share.

    Attributes
    ----------
    heads, kv_heads, head_dim : int
        Of one device.
    most_tokens, most_decodes, longest : int
        Of a step: new tokens, decoding sequences, keys of a sequence.
    kv_dtype, dtype : str
        Of keys and values ("" = dtype), and of queries.
    """

    heads: int
    kv_heads: int
    head_dim: int
    most_tokens: int
    most_decodes: int
    longest: int
    kv_dtype: str = ""
    dtype: str = "bf16"


class StepSamples(StepTimes, Protocol):
    """Attention of whole steps, one layer, from samples simulated when a replay asks for them.

    Attributes
    ----------
    memo : Table or None
        Where samples are kept between runs.
    rows : mapping of int to int64[len(COLUMNS)]
        The whole sample of each cell simulated so far: time, energy, bytes and bounds of its standard step.
    """

    memo: Table | None

    @property
    def rows(self) -> Mapping[int, Ints]: ...

    def fill(self, cells: Ints) -> None:
        """Simulate the cells that have no sample yet, in one batch."""

    def simulate(self, steps: Sequence[Step]) -> OpResult:
        """Steps simulated whole, each with its own items: what the samples are held against."""
