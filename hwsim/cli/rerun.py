"""`hwsim rerun`: repeat a recorded run from what its file holds, and compare every number."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np

from hwsim.errors import HwsimError
from hwsim.serving.replay import rerun
from hwsim.trace import TABLES, Trace, open_trace


@click.command()
@click.argument("trace", type=click.Path())
@click.option("--requests-from", metavar="FILE", help="The request file, where it is not in its old place.")
@click.option("-o", "--output", type=click.Path(), help="Keep the new file.")
def command(trace: str, requests_from: str | None, output: str | None) -> None:
    """Run TRACE again; exit code 1 if any number differs."""
    old = open_trace(trace)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(output) if output else Path(folder) / "rerun.h5"
        rerun(old, path, requests_from)
        differences = compare(old, open_trace(path))
    if differences:
        raise HwsimError(f"{trace}: the new run differs in {', '.join(differences)}")
    count = sum(len(getattr(old, group)) for group in old.groups)
    click.echo(f"{trace}: equal in all {count} columns of {', '.join(old.groups)}")


def compare(old: Trace, new: Trace) -> list[str]:
    """Names "group.column" that differ; of a run that was killed, the rows it committed count."""
    different = []
    for group in TABLES:
        before, after = getattr(old, group), getattr(new, group)
        rows = old.rows.get(group, 0)
        different += [
            f"{group}.{name}"
            for name in sorted(before.keys() | after.keys())
            if name not in before or name not in after or not np.array_equal(before[name], after[name][:rows])
        ]
    return different
