"""`hwsim cache`: what is kept of earlier simulations, and forgetting it."""

from __future__ import annotations

import click

from hwsim import memo
from hwsim.describe import kept_trees as trees

MIB = 1 << 20


@click.command()
@click.option("--clear", is_flag=True, help="Delete all kept results.")
def command(clear: bool) -> None:
    """Show the cache of simulated results (folder: HWSIM_CACHE, size limit in bytes: HWSIM_CACHE_BYTES)."""
    if clear:
        trees.clear()
    found = memo.clear() if clear else memo.usage()
    kept = f"{found.rows} results in {found.tables} tables, {found.size_bytes / MIB:.1f} MiB"
    if clear:
        click.echo(f"{found.folder}: deleted {kept}")
        return
    click.echo(f"{found.folder}: {kept} of at most {found.cap_bytes / MIB:.0f} MiB")
    if found.set_aside:
        click.echo(f"{found.set_aside} damaged shards set aside; --clear deletes them too")
