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

RECIPE_SUFFIXES = (".yaml", ".yml")


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
        Path of a request file, name or YAML file of a recipe, or name of a shipped sample.
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
        raise bad("--failures", repr(failures), "'refuse' or 'drop'")
    scale = None if rate_scale is None else parse_rate_scale(rate_scale)
    path = Path(trace)
    if path.exists() and path.suffix not in RECIPE_SUFFIXES:
        table = read(path, failures)
        table = table if requests is None else table.first(requests)
    else:
        table = _named(str(trace), requests, seed, failures)
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


def _named(name: str, requests: int | None, seed: int, failures: str) -> RequestTable:
    from hwsim import describe  # brings pydantic and ruamel.yaml; a request file needs neither
    from hwsim.describe import library
    from hwsim.describe.recipe import Recipe
    from hwsim.workload.recipe import draw

    shipped = library.root().parent / "traces" / f"{name}.csv"
    if "/" not in name and shipped.is_file():
        table = read(shipped, failures)
        return table if requests is None else table.first(requests)
    if Path(name).suffix not in RECIPE_SUFFIXES and library.file_of(name, "recipe") is None:
        recipes = ", ".join(library.names("recipe"))
        cure = f"recipes are {recipes}; `hwsim fetch` lists traces to download"
        raise bad(name, "no such file or recipe", "a request file or the name of a recipe", cure)
    recipe = describe.load(name, "recipe")
    assert isinstance(recipe, Recipe)
    return replace(draw(recipe, requests, seed), source=name)  # by which it can be drawn again


def parse_rate_scale(value: Fraction | str | float) -> Fraction:
    """The exact factor a user wrote: '1.5', '3/2', 1.5 are all three halves."""
    try:
        scale = value if isinstance(value, Fraction) else Fraction(str(value).strip())
    except (ValueError, ZeroDivisionError):
        raise bad("--rate-scale", repr(value), "a number such as 1.5 or 3/2") from None
    return scale
