"""`hwsim validate`: simulated times against measured ones."""

from __future__ import annotations

from pathlib import Path

import click

SUITES = ("operators",)


@click.command()
@click.argument("suite", type=click.Choice(SUITES), default="operators")
@click.option(
    "--measured",
    type=click.Path(path_type=Path),
    default=Path("../shared/measured"),
    show_default=True,
    help="Folder of the measured tables.",
)
@click.option(
    "--dtype", "dtypes", multiple=True, default=("bf16",), show_default=True, help="Operand dtypes to compare."
)
@click.option("--only", "only", multiple=True, help="Sources to compare, e.g. gemm; all by default.")
def command(suite: str, measured: Path, dtypes: tuple[str, ...], only: tuple[str, ...]) -> None:
    """Compare the operators of measured tables with their simulation, per chip, software and dtype."""
    from hwsim.errors import bad
    from hwsim.validate import operators

    unknown = sorted(set(only) - set(operators.SOURCES))
    if unknown:
        raise bad("--only", repr(unknown[0]), "one of " + ", ".join(operators.SOURCES))
    found = []
    for name in only or operators.SOURCES:
        wanted = ("fp16", *dtypes) if name == "nccl" else dtypes
        found += list(operators.lines(operators.compare(measured, name, wanted)))
    click.echo(operators.table(found))
