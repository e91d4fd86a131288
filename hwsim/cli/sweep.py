"""`hwsim sweep`: all points of a study, on processes, threads, Dask, MPI or SLURM."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hwsim.files import most_frequent

if TYPE_CHECKING:
    from hwsim.sweep.run import Result


@click.command()
@click.argument("study")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="HDF5 file.  [default: the study's name]")
@click.option("--executor", default="local", show_default=True, help="local, threads, dask[=ADDRESS], mpi or slurm.")
@click.option("--workers", type=int, help="Tasks at once.  [default: all cores]")
@click.option("--shard", default="", metavar="I/N", help="Run every N-th task from the I-th on; `hwsim merge` joins.")
@click.option("--shards", type=int, default=16, show_default=True, help="Of slurm: tasks of the job array.")
@click.option("--sbatch", default="", metavar="OPTIONS", help="Of slurm: '--partition=short --cpus-per-task=16'.")
@click.option("--wait", is_flag=True, help="Of slurm: return when the result is merged.")
@click.option("--resume", is_flag=True, help="Go on with what an earlier run answered.")
@click.option("--restart", is_flag=True, help="Forget what an earlier run answered.")
@click.option("--retry-failed", is_flag=True, help="As --resume, and try failed points again.")
@click.option("--dry-run", is_flag=True, help="Count the points and estimate their cost.")
@click.option("--plot", type=click.Path(), help="Draw the front, a map of two axes, sensitivities (.png, .svg, .pdf).")
@click.option("--quiet", is_flag=True, help="A line a minute instead of a bar.")
def command(study: str, output: Path | None, executor: str, workers: int | None, dry_run: bool, quiet: bool,
            plot: str | None, shards: int, sbatch: str, wait: bool, **options: object) -> None:  # fmt: skip
    """Run all points of STUDY (a file, or a name of descriptions/studies)."""
    from hwsim.sweep import run
    from hwsim.sweep.check import checked
    from hwsim.sweep.executors import cores
    from hwsim.sweep.progress import Progress

    if dry_run:
        from hwsim.sweep.estimate import estimate

        click.echo(estimate(checked(study)).text(workers or cores()))
        return
    if executor == "slurm":
        from hwsim.sweep import slurm

        place = output or run.default_output(checked(study))
        jobs = slurm.submit(study, place, run.folder_of(place), shards, sbatch, wait)
        click.echo(f"{place}: job array {jobs.array} of {shards} shards, merge {jobs.merge}; `hwsim status {study}`")
        return
    progress = Progress(quiet or None)
    try:
        result = run.sweep(study, executor, output=output, workers=workers, watch=progress, **options)  # type: ignore[arg-type]
    finally:
        progress.close()
    if result is None:
        return
    click.echo(said(result))
    if plot:
        draw(result, plot)


def draw(result: Result, path: str) -> None:
    """Draw a result; a panel that it has no numbers for is said."""
    from hwsim.sweep import plots

    if result.table is None:
        return
    for note in plots.plot(result.space, result.table, path):
        click.echo(f"no panel: {note}")


def said(result: Result) -> str:
    """What a study came to, in one line, and why points failed."""
    if not result.counts:
        return f"{result.output}: this shard is done; `hwsim merge` joins the shards"
    points = sum(result.counts.values())
    parts = [f"{count:,} {name.replace('_', ' ')}" for name, count in result.counts.items() if count]
    errors = list(result.table.errors.values()) if result.table else []
    where = f"; errors by point in the group `errors` of {result.output}:" if errors else ""
    return f"{result.output}: {points:,} points, {', '.join(parts)}{where}{most_frequent(errors)}"
