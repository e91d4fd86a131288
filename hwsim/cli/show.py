"""`hwsim show`: one description as it is after `extends`, references and overrides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from hwsim.describe import library
from hwsim.errors import bad


@click.command()
@click.argument("name")
@click.option("--kind", help="Kind of NAME, where several kinds have it.")
@click.option("--tree", "paths", is_flag=True, help="Of a study: print every path that an axis may change.")
@click.option("--provenance", is_flag=True, help="Print source and status of each number.")
@click.option("--draw", is_flag=True, help="Draw the blocks of an accelerator or a system (into NAME.svg unless -o).")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Picture to write: .svg, .png or .pdf.")
@click.option(
    "--set", "sets", multiple=True, metavar="PATH=VALUE", help="Override a value, e.g. clocks.core='1.5 GHz'."
)
def command(
    name: str,
    kind: str | None,
    paths: bool,
    provenance: bool,
    draw: bool,
    output: Path | None,
    sets: tuple[str, ...],
) -> None:
    """Print the description NAME (a name, a YAML file or a model's config.json), or draw it."""
    from hwsim.describe.loader import load

    description = load(name, "study" if paths else kind, sets)
    if draw:
        target = output or Path(f"{description.id}.svg")
        _draw(description, target)
        click.echo(f"{description.kind} {description.id}: {target}")
        return
    if output is not None:
        raise bad("-o", str(output), "--draw beside it: only pictures are written")
    _print(name, description, paths, provenance)


def _draw(description: Any, output: Path) -> None:
    """Write the picture of a description."""
    from hwsim.analyse.blocks import blocks
    from hwsim.analyse.chip_plot import draw
    from hwsim.analyse.plots import save

    save(draw(blocks(description)), output)


def _print(name: str, description: Any, paths: bool, provenance: bool) -> None:
    """The description as text."""
    from hwsim.describe.provenance import counts

    if paths:
        _paths(description)
        return
    alias = library.ALIASES.get((description.kind, name))
    click.echo(f"{description.kind} {description.id}" + (f" ('{name}' today)" if alias else ""))
    lines = _provenance(description) if provenance else _values(description.tree, description.tree.value, (), 0)
    for line in lines:
        click.echo(line)
    click.echo("numbers: " + ", ".join(f"{count} {status}" for status, count in counts(description).items()))


def _paths(study: Any) -> None:
    """One line a path of a study's tree, with the value it has unless an axis changes it."""
    from hwsim.sweep.variants import Variants, lines_of

    for path, value in lines_of(Variants(study)):
        click.echo(f"{path} = {value}")


def _provenance(description: Any) -> Iterator[str]:
    """One line a number with the mark of its source, then all sources."""
    from hwsim.describe.provenance import entries

    found = list(entries(description))
    width = max((len(entry.path) for entry in found), default=0)
    room = max((len(entry.value) for entry in found), default=0)
    sources: dict[tuple[str, str], int] = {}
    for entry in found:
        number = sources.setdefault((entry.source, entry.file), len(sources) + 1)
        yield f"{entry.path:<{width}}  {entry.value:>{room}}  {entry.status or 'unstated':<10}  [{number}]"
    yield "sources:"
    for (source, file), number in sources.items():
        yield f"  [{number}] {source or 'none'} ({file})"


def _values(tree: Any, value: Any, path: tuple[str | int, ...], depth: int) -> Iterator[str]:
    """The tree as YAML without sources."""
    for key, item in value.items():
        if key in ("source", "status", "id"):
            continue
        here = (*path, key)
        if isinstance(item, dict):
            yield f"{'  ' * depth}{key}:"
            yield from _values(tree, item, here, depth + 1)
        elif isinstance(item, list) and any(isinstance(one, dict) for one in item):
            yield f"{'  ' * depth}{key}:"
            for index, one in enumerate(item):
                yield f"{'  ' * depth}  -"
                yield from _values(tree, one, (*here, index), depth + 2)
        elif isinstance(item, list):
            yield f"{'  ' * depth}{key}: [{', '.join(map(str, item))}]"
        else:
            yield f"{'  ' * depth}{key}: {tree.mark(here).raw or item}"
