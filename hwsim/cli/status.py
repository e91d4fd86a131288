"""`hwsim status`: how far a study is, while it runs."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("study")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="HDF5 file.  [default: the study's name]")
def command(study: str, output: Path | None) -> None:
    """Points answered, failed and in hand, workers and rate of STUDY, from its journals."""
    from hwsim.sweep.check import checked
    from hwsim.sweep.progress import status
    from hwsim.sweep.run import default_output, folder_of

    space = checked(study)
    click.echo(status(space, folder_of(output or default_output(space))).text())
