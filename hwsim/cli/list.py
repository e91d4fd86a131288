"""`hwsim list`: names of descriptions."""

from __future__ import annotations

import click

from hwsim.describe import library


@click.command()
@click.argument("kind", required=False)
def command(kind: str | None) -> None:
    """Print the names of all descriptions, or of one KIND."""
    kinds = [library.check_kind(kind, "KIND")] if kind else list(library.FOLDERS)
    for each in kinds:
        names = library.names(each)
        if not names and not kind and each != "system":
            continue
        if not kind:
            click.secho(each, bold=True)
        for name in names:
            shorts = [short for (of, short), target in library.ALIASES.items() if (of, target) == (each, name)]
            alias = f"  (also {', '.join(shorts)})" if shorts else ""
            click.echo(("" if kind else "  ") + name + alias)
        if each == "system":
            click.echo(("" if kind else "  ") + "ACCELERATOR-xCOUNT, derived from any accelerator, e.g. h100-sxm-x8")
