"""`hwsim schema`: JSON schema of a kind of descriptions."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("kind")
def command(kind: str) -> None:
    """Print the JSON schema of the files of a KIND, for editors; `columns` lists what points of studies answer with."""
    if kind == "columns":
        from hwsim.sweep.outputs import text

        click.echo(text())
        return
    from hwsim.describe.schema import json_schema

    click.echo(json.dumps(json_schema(kind), indent=2))
