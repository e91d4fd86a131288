"""Synthetic traffic: how requests arrive, how long they are, how they share prefixes.

Every distribution is a table of quantiles, `percent: value`, straight between its points: 50 is the median, 0 and 100
are the ends. Requests are drawn from the tables in integers (hwsim/workload/recipe.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, Field

from hwsim.describe.block import Block, Description
from hwsim.describe.quantity import Count, Factor, LongSeconds, Natural, Ratio, refuse

Value = TypeVar("Value", int, Fraction)


def percents(table: Mapping[str, int] | Mapping[str, Fraction]) -> list[Fraction]:
    """Percents of a quantile table as exact numbers; a PydanticCustomError where one is none."""
    wrong = [percent for percent in table if not percent.replace(".", "", 1).isdigit()]
    if wrong:
        raise refuse(repr(wrong[0]), "percents from 0 to 100 as keys", f"'{wrong[0]}' is none")
    return [Fraction(percent) for percent in table]


def _rising(table: dict[str, Value]) -> dict[str, Value]:
    keys, values, names = percents(table), list(table.values()), list(table)
    if len(keys) < 2 or keys[0] != 0 or keys[-1] != 100:
        raise refuse(f"percents {', '.join(names)}", "a table from 0 to 100 percent", "the least and the largest value")
    for place in range(1, len(keys)):
        if keys[place - 1] >= keys[place]:
            raise refuse(names[place], "rising percents", f"{names[place]} stands after {names[place - 1]}")
        if values[place - 1] > values[place]:
            raise refuse(names[place], "values that do not fall", f"that of {names[place]} does")
    return table


def _pace(levels: list[Fraction]) -> list[Fraction]:
    if not levels or min(levels) <= 0 or sorted(levels) != levels:
        raise refuse("levels", "at least one number above zero, in rising order")
    return levels


def _rows(rows: list[Outputs]) -> list[Outputs]:
    bounds = [row.prompt_up_to for row in rows]
    rising = all(low is not None and (high is None or low < high) for low, high in pairwise(bounds))
    if not rows or not rising or bounds[-1] is not None:
        raise refuse("rows", "rows with a rising prompt_up_to, the last without one")
    return rows


TokenTable = Annotated[dict[str, Count], AfterValidator(_rising)]
AddedTable = Annotated[dict[str, Natural], AfterValidator(_rising)]
FactorTable = Annotated[dict[str, Factor], AfterValidator(_rising)]
RatioTable = Annotated[dict[str, Ratio], AfterValidator(_rising)]
TimeTable = Annotated[dict[str, LongSeconds], AfterValidator(_rising)]


class Arrivals(Block):
    """Gaps between requests; their local mean wanders between levels, which makes traffic bursty over minutes."""

    gap: LongSeconds = Field(description="mean time between two requests")
    shape: FactorTable = Field(description="gap as a multiple of its local mean")
    run: Count = Field(1, description="requests in a row that share a local mean")
    pace: Annotated[list[Factor], AfterValidator(_pace)] = Field(
        default=[Fraction(1)], description="local means as multiples of `gap`, equally frequent, rising"
    )
    move: Ratio = Field(Fraction(0), description="chance that a run goes to a neighbouring level")


class Outputs(Block):
    """Output lengths of requests whose prompts are no longer than `prompt_up_to` (and longer than the row before)."""

    prompt_up_to: Count | None = Field(None, description="longest prompt of the row, tokens; unset in the last row")
    tokens: TokenTable = Field(description="output tokens")


class Lengths(Block):
    """Lengths of requests; the output depends on the prompt."""

    prompt: TokenTable = Field(description="prompt tokens of requests that start a session")
    outputs: Annotated[list[Outputs], AfterValidator(_rows)] = Field(
        description="output tokens by prompt length, shortest prompts first"
    )


class Cut(Block):
    """Follow-ups of long sessions that keep only part of the history (edited, summed up or trimmed)."""

    above: Count = Field(description="tokens of a history that may be cut")
    share: Ratio = Field(description="share of their follow-ups that is cut")
    kept: RatioTable = Field(description="part of the history that stays, counted from its start")
    prompt: TokenTable = Field(description="prompt tokens after the cut")


class Sessions(Block):
    """Requests that continue an earlier one: their prompt is its prompt, its output and something new."""

    block: Count = Field(description="tokens of a block of the prefix")
    shared: Natural = Field(0, description="tokens at the start of every prompt that all share")
    follow: Ratio = Field(description="share of requests that continue an earlier one")
    goes_on: list[Ratio] = Field(
        min_length=1, description="share of requests of turn 1, 2, ... that may be continued; the last repeats"
    )
    starts_at: Natural = Field(0, description="tokens of the shortest first prompt that may be continued")
    pause: TimeTable = Field(description="time from a request to its continuation")
    added: AddedTable = Field(description="tokens a continuation adds to prompt and output before it")
    longest: Count = Field(description="longest prompt")
    cut: Cut | None = None


class Recipe(Description):
    """Synthetic request traffic."""

    kind: ClassVar[str] = "recipe"

    requests: Count = Field(description="requests of a run that does not say how many")
    arrivals: Arrivals
    lengths: Lengths
    sessions: Sessions | None = Field(None, description="unset: no request shares a prefix with another")
