"""`hwsim validate`: simulated times against measured ones."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hwsim.errors import bad

# A measured run of a server -> system, model and software that it ran.
RUNS = {"RTXPRO6000__Llama-3.1-8B": ("rtx-pro-6000", "llama-3.1-8b", "vllm-0.19")}
DRAWN = ("serving", "power")


@click.command()
@click.argument("suite", type=click.Choice(["operators", "serving", "points", "classes", "power"]), default="operators")
@click.option(
    "--measured",
    type=click.Path(path_type=Path),
    help="Folder of the measured tables; unset: `measured` in the folder that HWSIM_SHARED names.",
)
@click.option(
    "--dtype", "dtypes", multiple=True, default=("bf16",), show_default=True, help="Operand dtypes to compare."
)
@click.option("--only", "only", multiple=True, help="What to compare: sources, e.g. gemm, or words of groups.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw measured and simulated: serving and power.")
def command(
    suite: str, measured: Path | None, dtypes: tuple[str, ...], only: tuple[str, ...], plot: Path | None
) -> None:
    """Compare simulation with measurement: operators with tables of kernel times, serving with a server's log, serving
    points of many servers, classes of chips with published points, or power of servers with their measured power."""
    if plot is not None and suite not in DRAWN:
        raise bad("--plot", f"the suite {suite}", "one of " + ", ".join(DRAWN))
    measured = measured or measured_folder()
    tables = {
        "operators": lambda: operator_table(measured, dtypes, only),
        "serving": lambda: serving_text(measured, plot),
        "points": lambda: point_table(measured, only),
        "classes": lambda: class_table(measured),
        "power": lambda: power_text(measured, plot),
    }
    click.echo(tables[suite]())


def measured_folder() -> Path:
    """Folder of the measured tables as the environment names it."""
    shared = os.environ.get("HWSIM_SHARED")
    if not shared:
        cure = "name their folder, or the one around it in HWSIM_SHARED"
        raise bad("--measured", "no folder", "the measured tables", cure)
    return Path(shared) / "measured"


def operator_table(measured: Path, dtypes: tuple[str, ...], only: tuple[str, ...]) -> str:
    """Errors per chip, software and dtype."""
    from hwsim.validate import operators

    unknown = sorted(set(only) - set(operators.SOURCES))
    if unknown:
        raise bad("--only", repr(unknown[0]), "one of " + ", ".join(operators.SOURCES))
    found = []
    for name in only or operators.SOURCES:
        wanted = ("fp16", *dtypes) if name == "nccl" else dtypes
        found += list(operators.lines(operators.compare(measured, name, wanted)))
    return operators.table(found)


def class_table(measured: Path) -> str:
    """Errors of chips of every class and of single requests by software stack; rows that are not compared."""
    from hwsim.validate import classes, published, streams

    rows = published.read(measured / streams.FILE)
    found = published.answers([*classes.cases(measured), *streams.cases(rows)])
    return "\n".join([published.table(found), *streams.left_out(rows)])


def point_table(measured: Path, only: tuple[str, ...]) -> str:
    """Errors of serving points by group; with `only`, of the groups whose names have all of these words."""
    from hwsim.validate import points

    rows = [row for row in points.read(measured) if all(word in row.group for word in only)]
    if not rows:
        raise bad("--only", " ".join(only), "words of a group's name, e.g. --only vllm --only qwen3-32b")
    return points.table(points.answers(rows))


def serving_text(measured: Path, plot: Path | None) -> str:
    """Errors of every measured run of a server."""
    from hwsim.validate import serving

    text = []
    for name, (system, model, software) in RUNS.items():
        log = serving.read(measured / "vllm_runs" / name)
        done = serving.replay(log, system, model, software)
        text += [f"{model} on {system}, {software}, {len(log.table)} requests", *serving.lines(log, done)]
        if plot is not None:
            serving.plot(log, done, plot)
    return "\n".join(text)


def power_text(measured: Path, plot: Path | None) -> str:
    """Errors of the power of measured servers, and those measured at the wall."""
    from hwsim.validate import power, power_report

    found = list(power.answers(power.cases(measured)))
    if plot is not None:
        power_report.plot(found, plot)
    return power_report.text(found, power.walls(measured))
