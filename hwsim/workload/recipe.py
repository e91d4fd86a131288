"""Draw requests from a recipe: 64-bit words through integer quantile tables, equal bits on every machine.

A request's draws depend on the recipe, the seed and its own number alone, so the first N requests of a longer run are
the run of N requests.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hwsim.describe.recipe import Arrivals, Cut, Lengths, Recipe, Sessions, percents
from hwsim.errors import bad
from hwsim.units import ceil_div
from hwsim.workload.table import MAX_SPAN_PS, Ints, RequestTable

FORMAT = "recipe"
MAX_REQUESTS = 10**7
Words = NDArray[np.uint64]

# One stream of words for each thing that is drawn; a new one gets a new number.
STREAMS = {
    name: number
    for number, name in enumerate(
        ("gap", "pace", "prompt", "output", "follow", "goes_on", "pause", "added", "cut", "kept", "cut_prompt")
    )
}
_GOLDEN, _MIX1, _MIX2 = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_MILLION = 10**6  # fixed point of factors and shares


def _mix(words: Words) -> Words:
    words = (words ^ (words >> np.uint64(30))) * _MIX1
    words = (words ^ (words >> np.uint64(27))) * _MIX2
    return words ^ (words >> np.uint64(31))


def words(seed: int, stream: str, count: int) -> Words:
    """The first `count` words of a stream, uint64: SplitMix64 (Steele, Lea, Flood 2014), one start for each stream."""
    start = _mix(_mix(np.array([seed], np.uint64)) + np.array([STREAMS[stream] + 1], np.uint64) * _GOLDEN)
    return _mix(start + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)


def upper(random: Words) -> Ints:
    """The upper 32 bits of each word."""
    return (random >> np.uint64(32)).astype(np.int64)


@dataclass(frozen=True)
class Table:
    """A quantile table in integers: value[i] belongs to level[i] / 2^32."""

    level: Ints
    value: Ints

    @classmethod
    def of(cls, table: Mapping[str, int] | Mapping[str, Fraction], scale: int = 1) -> Table:
        """From `percent: value`; values are multiplied by `scale` and rounded down, and stay below 2^30."""
        level = [int(percent * 2**32 / 100) for percent in percents(table)]
        value = [int(value * scale) for value in table.values()]
        if value[-1] >= 2**30:
            raise bad("recipe", f"a value of {value[-1]} in a table of quantiles", f"at most {2**30 // scale}")
        return cls(np.array(level, np.int64), np.array(value, np.int64))

    def draw(self, random: Words) -> Ints:
        """One value for each word, straight between the points, to the nearest integer."""
        place = upper(random)
        part = np.searchsorted(self.level, place, side="right") - 1
        low, width = self.value[part], self.level[part + 1] - self.level[part]
        drawn: Ints = low + ((place - self.level[part]) * (self.value[part + 1] - low) + width // 2) // width
        return drawn


def draw(recipe: Recipe, requests: int | None = None, seed: int = 0) -> RequestTable:
    """Draw traffic.

    Parameters
    ----------
    recipe : Recipe
    requests : int, optional
        How many; the recipe's own number by default.
    seed : int
        0 to 2^64 - 1.

    Returns
    -------
    RequestTable
        With prefix ids if the recipe has sessions.

    Raises
    ------
    InputError
        Number or seed out of range; arrivals beyond the 53 days of a request table.
    """
    count = recipe.requests if requests is None else requests
    if not 1 <= count <= MAX_REQUESTS:
        raise bad("--requests", count, f"1 to {MAX_REQUESTS}")
    if not 0 <= seed < 2**64:
        raise bad("--seed", seed, "0 to 2^64 - 1")
    arrival = _arrivals(recipe.arrivals, count, seed, recipe.id)
    prompt = Table.of(recipe.lengths.prompt).draw(words(seed, "prompt", count))
    counts: Ints | None = None
    ids: Ints | None = None
    if recipe.sessions is None:
        bounds, drawn = _outputs(recipe.lengths, count, seed)
        output = drawn[np.searchsorted(bounds, prompt), np.arange(count)]
    else:
        prompt, output, counts, ids = _Chains(recipe.sessions, recipe.lengths, arrival, prompt, seed).run()
    return RequestTable.of(
        arrival,
        prompt,
        output,
        counts,
        ids,
        recipe.sessions.block if recipe.sessions else 0,
        name=recipe.id,
        format=FORMAT,
        sha256=hashlib.sha256(f"{recipe.digest} {seed} {count}".encode()).hexdigest(),
        source=recipe.id,
    )


def _arrivals(arrivals: Arrivals, count: int, seed: int, name: str) -> Ints:
    """Picoseconds of each arrival, the first at 0."""
    runs = ceil_div(count, arrivals.run)
    mean_ps = np.array([int(arrivals.gap * pace * 10**12) for pace in arrivals.pace], np.int64)
    local_ps = np.repeat(mean_ps[_walk(words(seed, "pace", runs), len(mean_ps), arrivals.move)], arrivals.run)[:count]
    factor = Table.of(arrivals.shape, _MILLION).draw(words(seed, "gap", count))
    if float(local_ps @ factor.astype(float)) > MAX_SPAN_PS * _MILLION:
        raise bad(name, f"{count} requests {float(arrivals.gap):g} s apart", "arrivals within 53 days")
    # local_ps * factor // 10^6 in two parts, so that neither overflows
    high, low = np.divmod(local_ps, _MILLION)
    gap = high * factor + low * factor // _MILLION
    gap[0] = 0
    return np.cumsum(gap)


def _walk(random: Words, levels: int, move: Fraction) -> Ints:
    """Levels of a walk that stays, or goes one up or down; at the ends it stays instead. Every level is as likely."""
    start = int(random[0] % np.uint64(levels))
    moves = upper(random) < int(move * 2**32)
    step = np.where(moves, 1 - 2 * (random & np.uint64(1)).astype(np.int64), 0)
    step[0] = 0
    # Reflect a free walk: positions -1 and 0, levels - 1 and levels, ... are the same level.
    free = (start + np.cumsum(step)) % (2 * levels)
    result: Ints = np.where(free < levels, free, 2 * levels - 1 - free)
    return result


def _outputs(lengths: Lengths, count: int, seed: int) -> tuple[list[int], Ints]:
    """Prompt bounds of the rows of outputs, and what each request would draw from each row: int64[rows, count]."""
    random = words(seed, "output", count)
    bounds = [row.prompt_up_to for row in lengths.outputs[:-1] if row.prompt_up_to is not None]
    return bounds, np.stack([Table.of(row.tokens).draw(random) for row in lengths.outputs])


class _Chains:
    """Sessions as chains: a follow-up continues the request that came a drawn pause before it and still goes on.

    `open` requests go on and have no continuation yet; `jump` leads from any request to the last open one before it.
    """

    def __init__(self, sessions: Sessions, lengths: Lengths, arrival: Ints, prompt: Ints, seed: int) -> None:
        self.sessions, self.lengths, self.seed = sessions, lengths, seed
        self.count = len(arrival)
        self.prompt = prompt
        self.follows = self._chance("follow", sessions.follow)
        pause_ps = Table.of(sessions.pause, 1000).draw(self._words("pause")) * 10**9
        self.wished = np.searchsorted(arrival, arrival - pause_ps, side="right") - 1
        self.added = Table.of(sessions.added).draw(self._words("added"))

    def run(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Prompt tokens, output tokens, ids of each request, all ids."""
        source = self._sources()
        prompt, output, kept = self._lengths(source)
        counts, ids = self._ids(source, prompt, kept)
        return prompt, output, counts, ids

    def _words(self, stream: str) -> Words:
        return words(self.seed, stream, self.count)

    def _chance(self, stream: str, share: Fraction) -> NDArray[np.bool_]:
        chosen: NDArray[np.bool_] = upper(self._words(stream)) < int(share * 2**32)
        return chosen

    def _sources(self) -> list[int]:
        """The request each one continues, or -1."""
        limits = [int(chance * 2**32) for chance in self.sessions.goes_on]
        random = np.where(self.prompt < self.sessions.starts_at, 2**32, upper(self._words("goes_on"))).tolist()
        turn, jump = [0] * self.count, list(range(self.count))
        found = [-1] * self.count
        for request, (follows, wished) in enumerate(zip(self.follows.tolist(), self.wished.tolist())):
            if follows:
                source = _last_open(jump, min(wished, request - 1))
                if source < 0:  # all before the wished one have continuations: the oldest open one, if any
                    source = next((other for other in range(max(wished, 0), request) if jump[other] == other), -1)
                if source >= 0:
                    found[request], turn[request] = source, turn[source] + 1
                    jump[source] = source - 1
            if random[request] >= limits[min(turn[request], len(limits) - 1)]:
                jump[request] = request - 1
        return found

    def _lengths(self, source: list[int]) -> tuple[Ints, Ints, list[int]]:
        """Prompt and output tokens, and the blocks each request shares with the one before it in its session."""
        block, cuts = self.sessions.block, _Cuts(self.sessions.cut, self.count, self.seed)
        bounds, drawn = _outputs(self.lengths, self.count, self.seed)
        by_row, prompt, added = drawn.tolist(), self.prompt.tolist(), self.added.tolist()
        output, kept = [0] * self.count, [0] * self.count
        for request, before in enumerate(source):
            length, blocks = prompt[request], self.sessions.shared // block
            if before >= 0:
                blocks = prompt[before] // block
                length = prompt[before] + output[before] + added[request]
                if cuts.apply(request, prompt[before]):
                    blocks = cuts.blocks(request, blocks)
                    length = max(int(cuts.prompt[request]), blocks * block + 1)
            prompt[request] = min(length, self.sessions.longest)
            kept[request] = min(blocks, prompt[request] // block)
            output[request] = by_row[bisect_left(bounds, prompt[request])][request]
        return np.array(prompt, np.int64), np.array(output, np.int64), kept

    def _ids(self, source: list[int], prompt: Ints, kept: list[int]) -> tuple[Ints, Ints]:
        counts = ceil_div(prompt, self.sessions.block)
        start = np.concatenate(([0], np.cumsum(counts)))
        ids = np.arange(start[-1], dtype=np.int64) + self.sessions.shared // self.sessions.block
        first = start.tolist()
        for request, (before, blocks) in enumerate(zip(source, kept)):
            at = first[request]
            ids[at : at + blocks] = ids[first[before] : first[before] + blocks] if before >= 0 else np.arange(blocks)
        return counts, ids


@dataclass
class _Cuts:
    """Draws for the follow-ups that keep only part of the history."""

    cut: Cut | None
    count: int
    seed: int

    def __post_init__(self) -> None:
        if self.cut:
            self.chosen = upper(words(self.seed, "cut", self.count))
            self.limit = int(self.cut.share * 2**32)
            self.kept = Table.of(self.cut.kept, _MILLION).draw(words(self.seed, "kept", self.count))
            self.prompt = Table.of(self.cut.prompt).draw(words(self.seed, "cut_prompt", self.count))

    def apply(self, request: int, history: int) -> bool:
        """Whether a request cuts a history of so many tokens."""
        return self.cut is not None and history > self.cut.above and int(self.chosen[request]) < self.limit

    def blocks(self, request: int, blocks: int) -> int:
        """Blocks of the history that a cut leaves."""
        return int(self.kept[request]) * blocks // _MILLION


def _last_open(jump: list[int], request: int) -> int:
    """The last open request up to `request`, or -1; paths walked are made shorter."""
    while request >= 0 and jump[request] != request:
        following = jump[request]
        if following >= 0:
            jump[request] = jump[following]
        request = following
    return request
