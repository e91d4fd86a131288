"""What the points of `seed-comparison` say about the paper's figures: correlation, spreads, crossover."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from points import GROUPS, Row, chosen, memory_rate

# Bytes a second that the paper prints for a chip, in TB/s.
PAPER_TB_S = {
    "b200": 8.0, "gb200": 8.0, "mi300x": 5.3, "tpu": 7.37, "ipu": 45.0, "mtia": 0.2048, "wse": 220.0, "groq": 80.0,
}  # fmt: skip
SIXTEEN = ("bf16", "fp16", "int8")  # int8: Groq's machines, which hold the models in no other way
CROSSOVER = (1, 8, 32, 128)
SPREADS = {
    "tok_s_user": "tok/s user",
    "tok_s": "tok/s",
    "tok_s_chip": "tok/s chip",
    "chips_j_token": "J chips",
    "energy_j_token": "J machine",
    "wall_j_token": "J wall",
}
MEASURED = {
    "tok_s_user": "tokens/s of a user",
    "chips_j_token": "J/token at the chips that serve",
    "energy_j_token": "J/token at all chips of the machine",
    "wall_j_token": "J/token at the wall",
}
AMONG = {
    "GPUs and TPU": ("gpu", "systolic"),
    "all classes": ("gpu", "systolic", "manycore", "wafer", "pipeline"),
}


def paper_rate(row: Row) -> float:
    """Bytes a second of a chip as the paper has them."""
    return 1e12 * next(rate for name, rate in PAPER_TB_S.items() if row.system.startswith(name))


RATES: dict[str, Callable[[Row], float]] = {
    "of a chip, the paper's figures": paper_rate,
    "of a chip, as described": lambda row: memory_rate(row.system, row.plan, False),
    "of all chips that serve the stream": lambda row: memory_rate(row.system, row.plan, True),
}


def correlations(rows: list[Row]) -> str:
    """Memory bandwidth against the speed of one stream."""
    lines = ["bandwidth and the speed of one stream (tokens/s, prompts of 1,024); the paper: r = 0.88"]
    for model in ("llama-2-70b", "llama-3.1-8b"):
        ran = [row for row in streams(rows, model) if row.system != "gb200-nvl72"]
        for name, rate in RATES.items():
            x, y = np.array([rate(row) for row in ran]), np.array([row["tok_s_user"] for row in ran])
            lines.append(f"  {model}, {len(ran)} machines, {name}: {correlation(x, y)}")
    return "\n".join(lines)


def streams(rows: list[Row], model: str) -> list[Row]:
    """One stream on each machine, prompts of 1,024."""
    return sixteen(rows, model=model, isl=1024, users=1)


def sixteen(rows: list[Row], **wanted: Any) -> list[Row]:
    """Rows that ran, of 16-bit weights (of Groq's machines int8)."""
    return [row for row in chosen(rows, **wanted) if row.precision in SIXTEEN]


def correlation(x: np.ndarray, y: np.ndarray) -> str:
    """Pearson's r, the same of logarithms, of ranks, and what leaving one out makes of the first."""

    def pearson(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(a, b)[0, 1])

    out = [pearson(np.delete(x, at), np.delete(y, at)) for at in range(len(x))]
    ranks = [np.argsort(np.argsort(values)).astype(float) for values in (x, y)]
    return (f"r = {pearson(x, y):.2f} ({min(out):.2f} to {max(out):.2f} with one left out), "
            f"of logarithms {pearson(np.log(x), np.log(y)):.2f}, of ranks {pearson(*ranks):.2f}")  # fmt: skip


def spread(rows: list[Row], figure: str) -> tuple[float, Row, Row]:
    """Largest over smallest, and where they are (smallest first); machines without a figure are left out."""
    order = sorted((row for row in rows if not np.isnan(row[figure])), key=lambda row: row[figure])
    return order[-1][figure] / order[0][figure], order[0], order[-1]


def spreads(rows: list[Row]) -> str:
    """Spreads of speed and energy between machines, each with what it depends on."""
    lines = ["spreads between machines, 16-bit weights (Groq: int8); the paper: 3.7x in speed, 18.5x in energy"]
    lines.append(
        f"  {'regime, machines':36}{'tok/s user':>12}{'tok/s':>8}{'tok/s chip':>12}{'J chips':>9}{'J machine':>11}"
    )
    for model, isl, osl, users in dict.fromkeys((row.model, row.isl, row.osl, row.users) for row in rows):
        ran = sixteen(rows, model=model, isl=isl, osl=osl, users=users)
        if len(ran) > 1:
            cells = [spread(ran, figure)[0] for figure in SPREADS]
            regime = f"{model} {isl}+{osl}, {users} users, {len(ran)}"
            lines.append(
                f"  {regime:36}" + "".join(f"{cell:{width}.3g}" for cell, width in zip(cells, (12, 8, 12, 9, 11)))
            )
    return "\n".join([*lines, *between(rows), *over_users(rows), extremes(rows)])


def between(rows: list[Row]) -> Iterator[str]:
    """Between machines at one load: what is compared, of which machines, and where it was measured."""
    for users, (figure, where), (who, classes) in product((1, 32, 256), MEASURED.items(), AMONG.items()):
        ran = [row for row in sixteen(rows, model="llama-2-70b", isl=1024, users=users) if row.class_ in classes]
        ratio, least, most = spread(ran, figure)
        ends = f"{least.label} {least[figure]:.3g} to {most.label} {most[figure]:.3g}"
        yield f"  llama-2-70b 1024+128, {users} users, {who}, {where}: {ratio:.3g}x, {ends}"


def over_users(rows: list[Row]) -> Iterator[str]:
    """Energy of each machine alone, from one user to many."""
    ran = chosen(rows, model="llama-2-70b", isl=1024)
    for label in dict.fromkeys(row.label for row in ran):
        ratio, least, most = spread([row for row in ran if row.label == label], "energy_j_token")
        ends = (
            f"{most['energy_j_token']:.3g} ({most.users} users) to {least['energy_j_token']:.3g} ({least.users} users)"
        )
        yield f"  llama-2-70b 1024+128, {label} alone, J/token at all chips of the machine: {ratio:.3g}x, {ends}"


def extremes(rows: list[Row]) -> str:
    """The widest spread there is: any machine, precision and users."""
    ratio, least, most = spread(chosen(rows, model="llama-2-70b", isl=1024), "energy_j_token")
    ends = ", ".join(f"{row.label} at {row.users} users {row['energy_j_token']:.3g}" for row in (most, least))
    return f"  llama-2-70b 1024+128, any precision and users, J/token at all chips: {ratio:.3g}x, {ends}"


def crossover(rows: list[Row]) -> str:
    """Shares of time limited by memory, compute, links and software over the users."""
    lines = [f"what limits, shares of time at {', '.join(map(str, CROSSOVER))} users"]
    for isl, osl in ((128, 896), (1024, 128)):
        for label, model in dict.fromkeys((row.label, row.model) for row in chosen(rows, isl=isl)):
            ran = {row.users: row for row in chosen(rows, isl=isl, model=model) if row.label == label}
            cells = [" ".join(f"{ran[users].shares[name]:4.0%}" for users in CROSSOVER) for name in GROUPS]
            shares = "".join(f"  {name} {cell}" for name, cell in zip(GROUPS, cells))
            lines.append(f"  {isl}+{osl:<5}{label:22}{model:13}{shares}")
    return "\n".join(lines)
