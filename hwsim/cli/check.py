"""`hwsim check`: all faults of description files."""

from __future__ import annotations

import sys

import click

from hwsim.errors import InputError


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--kind", help="Kind of the files, where they do not say it themselves.")
def command(files: tuple[str, ...], kind: str | None) -> None:
    """Check description files (or names): every fault with its line, exit code 2 if there is one."""
    from hwsim.describe.loader import load
    from hwsim.describe.provenance import counts

    faults = 0
    for file in files:
        try:
            description = load(file, kind)
            if description.kind == "study":
                from hwsim.sweep.check import checked

                checked(description)  # type: ignore[arg-type]
        except InputError as error:
            faults += len(error.faults)
            print(error, file=sys.stderr)
        else:
            told = {"unstated": "without a stated source"} if description.needs_source else {"unstated": "of its own"}
            numbers = ", ".join(f"{count} {told.get(status, status)}" for status, count in counts(description).items())
            click.echo(f"{file}: {description.kind} {description.id}, numbers: {numbers or 'none'}")
    if faults:
        print(f"hwsim: {faults} fault{'s' if faults > 1 else ''}", file=sys.stderr)
        sys.exit(InputError.exit_code)
