"""`hwsim search`: the best points of a study, found without running all of them."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("study")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="HDF5 file.  [default: NAME-search.h5]")
@click.option("--trials", type=int, default=100, show_default=True, help="Points to look at.")
@click.option("--sampler", default="tpe", show_default=True, help="tpe, nsga2, gp or random.")
@click.option("--seed", type=int, default=0, show_default=True, help="Equal seeds search equally.")
@click.option("--executor", default="local", show_default=True, help="local, threads or dask[=ADDRESS].")
@click.option("--workers", type=int, help="Trials at once.  [default: all cores]")
@click.option("--resume", is_flag=True, help="Go on with what an earlier search answered.")
@click.option("--plot", type=click.Path(), help="Draw the front and the search (.png, .svg, .pdf).")
def command(study: str, output: Path | None, resume: bool, plot: str | None, **options: object) -> None:
    """Search the axes of STUDY for the points that are best in its objectives."""
    from tqdm import tqdm

    from hwsim.sweep.run import search

    with tqdm(unit="trial", disable=not sys.stderr.isatty(), leave=False) as bar:

        def watch(done: int, trials: int) -> None:
            bar.total = trials
            bar.update(done - bar.n)

        found, place = search(study, output=output, resume=resume, watch=watch, **options)  # type: ignore[arg-type]
    for line in lines(found):
        click.echo(line)
    if plot:
        from hwsim.sweep import plots

        for note in plots.plot(found.space, found.table, plot, found.hypervolume):
            click.echo(f"no panel: {note}")
    click.echo(f"{place}: {len(found.pareto)} trials")


def lines(found) -> list[str]:  # type: ignore[no-untyped-def]
    """The Pareto front, a line a point."""
    import numpy as np

    from hwsim.sweep.axes import shown

    objectives = found.space.study.objectives
    first = next(iter(objectives))
    axis = found.space.axes[0]
    order = sorted(np.flatnonzero(found.pareto), key=lambda row: found.table.values[first][row])
    rows = {axis.rows[row]: row for row in order}
    said = [f"{len(rows)} points on the front of {', '.join(f'{way} {name}' for name, way in objectives.items())}"]
    for values, row in rows.items():
        achieved = ", ".join(f"{name} = {found.table.values[name][row]:.6g}" for name in objectives)
        said.append(
            f"  {achieved}: " + ", ".join(f"{path} = {shown(value)}" for path, value in zip(axis.paths, values))
        )
    return said
