"""`hwsim merge`: journals of a study, of any number of shards, become one file."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("study")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="HDF5 file.  [default: the study's name]")
@click.option("--plot", type=click.Path(), help="Draw it, as `hwsim sweep --plot`.")
def command(study: str, output: Path | None, plot: str | None) -> None:
    """Join what the workers of STUDY have answered so far into its HDF5 file."""
    from hwsim.cli.sweep import draw, said
    from hwsim.sweep.run import merged

    result = merged(study, output)
    click.echo(said(result))
    if plot:
        draw(result, plot)
