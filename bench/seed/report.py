"""What the points of `seed-comparison` are, as text: tables, what could not run, findings between them."""

from __future__ import annotations

from collections.abc import Iterator

from findings import correlations, crossover, spreads
from points import Row, chosen


def text(rows: list[Row]) -> str:
    """The whole report."""
    parts = [*tables(rows), correlations(rows), spreads(rows), crossover(rows), failures(rows)]
    return "\n\n".join(parts) + "\n"


def tables(rows: list[Row]) -> Iterator[str]:
    """A table for each kind of request and model."""
    for model, isl, osl in dict.fromkeys((row.model, row.isl, row.osl) for row in rows):
        ran = chosen(rows, model=model, isl=isl, osl=osl)
        if not ran:
            continue
        head = f"{model}, prompts of {isl:,}, {osl} output tokens"
        lines = [f"{'machine':22}{'users':>6}{'ttft ms':>11}{'tpot ms':>9}{'tok/s':>9}{'tok/s user':>11}"
                 f"{'J/token chips':>14}{'machine':>9}{'wall':>9}  bound   waits"]  # fmt: skip
        lines += [_line(row) for row in ran]
        yield "\n".join([head, *lines])


def _line(row: Row) -> str:
    waits = "" if row.overload == "no" else row.overload
    return (f"{row.label:22}{row.users:6}{row['ttft_ms']:11.4g} {row['tpot_ms']:8.4g} {row['tok_s']:8.5g}"
            f"{row['tok_s_user']:11.4g}{row['chips_j_token']:14.4g}{row['energy_j_token']:9.4g}"
            f"{row['wall_j_token']:9.4g}  {row.bound:8}{waits}").rstrip()  # fmt: skip


def failures(rows: list[Row]) -> str:
    """What could not run, and why."""
    found: dict[tuple[str, str, int], str] = {}
    for row in rows:
        if row.error:
            found.setdefault((row.label, row.model, row.isl + row.osl), row.error)
    lines = [f"  {label}, {model}, {tokens:,} tokens: {error}" for (label, model, tokens), error in found.items()]
    return "\n".join(["not run:", *lines])
