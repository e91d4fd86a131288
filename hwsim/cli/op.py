"""`hwsim op`: operators of a CSV file, one a row, with the time, bound and energy of each."""

from __future__ import annotations

from pathlib import Path

import click

from hwsim.errors import bad

# Where a path of --set starts in the resolved tree, and the kind of description that the rest of it is of.
ROOTS = {"system.accelerator.": "accelerator", "software.": "software", "protocol.": "protocol"}


@click.command()
@click.argument("cases", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="CSV file to write.")
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="PATH=VALUE",
    help="Override a value for all rows, e.g. system.accelerator.clocks.core='1.5 GHz'.",
)
def command(cases: Path, output: Path, sets: tuple[str, ...]) -> None:
    """Time the operators of CASES.

    Columns: accelerator, software (ideal), op, dtype (bf16), protocol (in-model) and the operator's dimensions; others
    pass through. Added: time_ns, bound, energy_j, error.
    """
    from hwsim.operators import cases as files

    if not output.parent.is_dir():
        raise bad("-o", f"{output}", "a file in a folder that exists")
    if output.exists() and output.samefile(cases):
        raise bad("-o", f"{output}", "another file than the cases", "the answers would replace them")
    overrides = split_sets(sets)
    table = files.read(cases)
    answers = dict(files.answer(table, overrides))
    files.write(table, answers, output)
    failed = sum(1 for texts in answers.values() if texts[-1])
    click.echo(
        f"{len(answers)} operators, {failed} of them cannot run (see the column error)"
        if failed
        else f"{len(answers)} operators"
    )


def split_sets(sets: tuple[str, ...]) -> dict[str, list[str]]:
    """Overrides by kind of description, their paths shortened to start at that description."""
    found: dict[str, list[str]] = {}
    for text in sets:
        root = next((root for root in ROOTS if text.startswith(root)), None)
        if root is None:
            raise bad("--set", text, "a path that starts with one of " + ", ".join(ROOTS))
        found.setdefault(ROOTS[root], []).append(text.removeprefix(root))
    return found
