"""`hwsim op`: operators of a CSV file, one a row, with the time, bound and energy of each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from hwsim.errors import bad
from hwsim.files import check_target, counted

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
@click.option(
    "--memory",
    type=click.Choice(["law", "commands"]),
    default="law",
    show_default=True,
    help="commands: send each operator's bytes through all channels of the memory, command by command.",
)
def command(cases: Path, output: Path, sets: tuple[str, ...], memory: Literal["law", "commands"]) -> None:
    """Time the operators of CASES.

    Columns: accelerator, software (ideal), op, dtype (bf16), protocol (in-model) and the operator's dimensions; others
    pass through. Added: time_ns, bound, energy_j, warning (where the law of the memory may be wrong), error.
    """
    from hwsim.operators import cases as files

    check_target(output)
    if output.exists() and cases.exists() and output.samefile(cases):
        raise bad("-o", f"{output}", "another file than the cases", "the answers would replace them")
    overrides = split_sets(sets)
    table = files.read(cases)
    answers = dict(files.answer(table, overrides, memory))
    files.write(table, answers, output)
    failed, warned = (sum(1 for texts in answers.values() if texts[place]) for place in (-1, -2))
    told = [counted(len(answers), "operator")]
    told += [f"{failed} of them cannot run (see the column error)"] if failed else []
    told += [f"{warned} outside the range of their memory's law (see the column warning)"] if warned else []
    click.echo(", ".join(told))


def split_sets(sets: tuple[str, ...]) -> dict[str, list[str]]:
    """Overrides by kind of description, their paths shortened to start at that description."""
    from hwsim.describe.kinds import starting

    found: dict[str, list[str]] = {}
    for text in sets:
        root = next((root for root in ROOTS if text.startswith(root)), None)
        if root is None:
            near = starting(text, {"system.": "system", **ROOTS})
            cure = f"did you mean {near!r}?" if near else ""
            raise bad("--set", text, "a path that starts with one of " + ", ".join(ROOTS), cure)
        found.setdefault(ROOTS[root], []).append(text.removeprefix(root))
    return found
