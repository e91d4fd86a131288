"""The one form every request file and every recipe ends in: flat integer columns sorted by arrival."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hwsim.errors import bad

Ints = NDArray[np.int64]

PS_PER_SECOND = 10**12
MAX_SPAN_PS = 2**62  # 53 days: arrivals take half of the picoseconds an int64 holds, the replay has the other half
MAX_TOKENS = 10**8  # ten times the longest context window published; a larger length is a damaged file


@dataclass(frozen=True, eq=False)
class RequestTable:
    """Requests of a run, sorted by arrival (equal arrivals keep the order of the file).

    Parameters
    ----------
    arrival_ps : int64[n]
        Picoseconds since the first arrival, which is 0.
    prompt_tokens, output_tokens : int64[n]
        Lengths, at least 1.
    prefix_offset : int64[n+1], prefix_ids : int64[prefix_offset[-1]]
        Ids of the prompt's blocks, request i has `prefix_ids[prefix_offset[i]:prefix_offset[i+1]]`. Equal ids are equal
        blocks after equal prefixes. Ids are dense, in order of first use. A request without ids shares nothing.
    prefix_block_tokens : int
        Tokens of one id; 0 where the trace has no ids.
    name, format, sha256, source : str
        What was loaded, its format ("azure-csv", "mooncake-jsonl", "recipe"), hash of its bytes, path or recipe name.
    notes : tuple of str
        What was done beyond reading (sorted, dropped, cut, scaled): printed with the defaults, stored in the trace.
    """

    arrival_ps: Ints
    prompt_tokens: Ints
    output_tokens: Ints
    prefix_offset: Ints
    prefix_ids: Ints
    prefix_block_tokens: int = 0
    name: str = ""
    format: str = ""
    sha256: str = ""
    source: str = ""
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def of(
        cls,
        arrival_ps: Ints,
        prompt_tokens: Ints,
        output_tokens: Ints,
        prefix_counts: Ints | None = None,
        prefix_ids: Ints | None = None,
        prefix_block_tokens: int = 0,
        notes: tuple[str, ...] = (),
        **names: str,
    ) -> RequestTable:
        """A table of columns in any order: sorted by arrival (stable), first arrival at 0, ids renumbered densely.

        `prefix_counts` int64[n] is the number of ids of each request, `prefix_ids` their concatenation.
        """
        n = len(arrival_ps)
        counts = np.zeros(n, np.int64) if prefix_counts is None else prefix_counts
        ids = np.zeros(0, np.int64) if prefix_ids is None else prefix_ids
        offset = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        table = cls(
            np.asarray(arrival_ps, np.int64) - (np.min(arrival_ps) if n else 0),
            np.asarray(prompt_tokens, np.int64),
            np.asarray(output_tokens, np.int64),
            offset,
            np.asarray(ids, np.int64),
            prefix_block_tokens,
            notes=notes,
            **names,
        )
        late = int(np.count_nonzero(np.diff(table.arrival_ps) < 0))
        if late:
            table = table._take(np.argsort(table.arrival_ps, kind="stable"))
            table = table._noted(f"{late} requests stood behind a later one: sorted, equal arrivals in file order")
        return replace(table, prefix_ids=_dense(table.prefix_ids))

    def __len__(self) -> int:
        return len(self.arrival_ps)

    @property
    def span_ps(self) -> int:
        """Picoseconds from the first to the last arrival."""
        return int(self.arrival_ps[-1]) if len(self) else 0

    @property
    def total_prompt_tokens(self) -> int:
        """Prompt tokens of all requests."""
        return int(self.prompt_tokens.sum())

    @property
    def total_output_tokens(self) -> int:
        """Output tokens of all requests."""
        return int(self.output_tokens.sum())

    def first(self, requests: int) -> RequestTable:
        """The first `requests` arrivals; more than there are is refused."""
        if not 1 <= requests <= len(self):
            raise bad("--requests", requests, f"1 to {len(self)}, the requests of {self.name or 'the trace'}")
        if requests == len(self):
            return self
        cut = self._take(np.arange(requests))._noted(f"first {requests} of {len(self)} requests")
        return replace(cut, prefix_ids=_dense(cut.prefix_ids))

    def scaled(self, rate_scale: Fraction) -> RequestTable:
        """Requests `rate_scale` times as fast: each arrival becomes floor(arrival_ps / rate_scale), exactly."""
        if not Fraction(1, 10**6) <= rate_scale <= 10**6:
            raise bad("--rate-scale", rate_scale, "a number from 1e-6 to 1e6", "2 makes requests arrive twice as fast")
        if rate_scale == 1:
            return self
        if self.span_ps / rate_scale > MAX_SPAN_PS:
            raise bad("--rate-scale", rate_scale, f"arrivals within {MAX_SPAN_PS // PS_PER_SECOND // 86400} days")
        top, bottom = rate_scale.numerator, rate_scale.denominator
        if max(top, bottom) < 2**31:  # a * bottom // top in two parts that cannot overflow
            quotient, rest = np.divmod(self.arrival_ps, top)
            arrival = quotient * bottom + rest * bottom // top
        else:
            arrival = np.array([int(a) * bottom // top for a in self.arrival_ps], np.int64)
        return replace(self, arrival_ps=arrival)._noted(f"arrivals {rate_scale} times as fast")

    def _take(self, order: Ints) -> RequestTable:
        counts = np.diff(self.prefix_offset)[order]
        offset = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        within = np.arange(offset[-1]) - np.repeat(offset[:-1], counts)
        ids = self.prefix_ids[np.repeat(self.prefix_offset[:-1][order], counts) + within]
        return replace(
            self,
            arrival_ps=self.arrival_ps[order],
            prompt_tokens=self.prompt_tokens[order],
            output_tokens=self.output_tokens[order],
            prefix_offset=offset,
            prefix_ids=ids,
        )

    def _noted(self, note: str) -> RequestTable:
        return replace(self, notes=(*self.notes, note))


def _dense(ids: Ints) -> Ints:
    """The same ids renumbered 0, 1, 2, ... in order of first use."""
    values, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    rank = np.empty(len(values), np.int64)
    rank[np.argsort(first)] = np.arange(len(values))
    return rank[inverse]
