"""hwsim fetch: download a public request trace."""

from __future__ import annotations

from pathlib import Path

import click

from hwsim.workload import fetch


@click.command()
@click.argument("name", required=False)
@click.option(
    "-o", "--output", "folder", type=click.Path(path_type=Path), default=Path("."), help="Directory to put it in."
)
def command(name: str | None, folder: Path) -> None:
    """Download the public trace NAME; without a name, list them.

    Every file is compared with a sha256 known to hwsim. A download that stopped goes on where it was.
    """
    if name is None:
        for known, trace in fetch.TRACES.items():
            click.echo(f"{known:<23}{trace.license:<12}{trace.about}")
        return
    trace = fetch.find(name)
    path = fetch.fetch(trace, folder)
    click.echo(f"{path}: {trace.about}, {trace.license}")
