"""`hwsim roofline`: rooflines of systems, with simulated operators of a model on them."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("systems", nargs=-1, required=True)
@click.option("--model", help="Model whose operators are simulated at some batches.")
@click.option("--plan", default="", help='How it is spread, e.g. "tp=8"; for all SYSTEMS.')
@click.option("--software", default="ideal", show_default=True, help="Software profile that has the kernels.")
@click.option("--precision", default="", help="Of the weights; the chip's type of 16 bits unless stated.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Picture to write: .svg, .png or .pdf.")
def command(
    systems: tuple[str, ...], model: str | None, plan: str, software: str, precision: str, output: Path | None
) -> None:
    """Print (and draw) what one device of each of SYSTEMS can do at best: peaks, memory rate, the ridge between them.

    With --model its matrix products and attention are simulated at 1 to 128 decodes of 2048 keys and at 512 and 2048
    prompt tokens, and shown below the roofs.
    """
    from hwsim.analyse import roofline
    from hwsim.describe import load
    from hwsim.describe.system import System

    found = []
    for name in systems:
        system = load(name, "system")
        assert isinstance(system, System)
        roof = roofline.Roof.of(name, system.accelerator)
        found.append(roofline.placed(roof, model, plan, software, precision) if model else (roof, []))
    click.echo(roofline.table(found))
    if output is not None:
        from hwsim.analyse.plots import save

        title = f"{model}, {software}" + (f", {plan}" if plan else "") if model else "rooflines of one device"
        save(roofline.draw(found, title), output)
