"""From a name or a path to a RequestTable: the format is told by the first line, never by the file's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from hwsim.errors import bad
from hwsim.workload import azure, mooncake
from hwsim.workload.table import RequestTable
from hwsim.workload.text import Source


class Format(NamedTuple):
    """A request format: how its first line is known, and its loader (source, failures) -> RequestTable."""

    detects: Callable[[str], bool]
    load: Callable[[Source, str], RequestTable]
    looks: str


FORMATS: dict[str, Format] = {
    azure.FORMAT: Format(azure.detects, azure.load, f"CSV with the header {','.join(azure.COLUMNS)}"),
    mooncake.FORMAT: Format(mooncake.detects, mooncake.load, f"JSON lines with {', '.join(mooncake.KEYS)}"),
}


def load(
    trace: str | Path,
    requests: int | None = None,
    rate_scale: Fraction | str | float | None = None,
    seed: int = 0,
    failures: str = "refuse",
) -> RequestTable:
    """Load request traffic.

    Parameters
    ----------
    trace : str or Path
        Path of a request file, or the name of a recipe.
    requests : int, optional
        Keep the first so many arrivals; for a recipe, how many to draw.
    rate_scale : Fraction, str or float, optional
        Requests arrive so many times as fast: `"3/2"`, `"1.5"`; read as written, exact.
    seed : int
        Seed of a recipe; a file ignores it.
    failures : {"refuse", "drop"}
        What to do with rows of a file that have 0 output tokens.

    Returns
    -------
    RequestTable
        Sorted by arrival, first arrival at 0 ps.

    Raises
    ------
    InputError
        Every bad line as `file:line:column`, or the one thing that is wrong with the file as a whole.
    """
    if failures not in ("refuse", "drop"):
        raise bad("failures", repr(failures), "'refuse' or 'drop'")
    scale = None if rate_scale is None else parse_rate_scale(rate_scale)
    path = Path(trace)
    if not path.exists():
        raise bad(str(trace), "no such file", "a request file", "look at the spelling")
    table = read(path, failures)
    if requests is not None:
        table = table.first(requests)
    return table if scale is None else table.scaled(scale)


def read(path: Path, failures: str = "refuse") -> RequestTable:
    """Read a request file of any known format."""
    source = Source.read(path)
    for form in FORMATS.values():
        if form.detects(source.first_line):
            table = form.load(source, failures)
            return replace(table, name=path.stem, source=str(path))
    line = source.first_line
    shown = repr(line if len(line) <= 80 else line[:77] + "...")
    raise bad(f"{path}:1:1", shown, "; or ".join(form.looks for form in FORMATS.values()))


def parse_rate_scale(value: Fraction | str | float) -> Fraction:
    """The exact factor a user wrote: '1.5', '3/2', 1.5 are all three halves."""
    try:
        scale = value if isinstance(value, Fraction) else Fraction(str(value).strip())
    except (ValueError, ZeroDivisionError):
        raise bad("--rate-scale", repr(value), "a number such as 1.5 or 3/2") from None
    return scale
