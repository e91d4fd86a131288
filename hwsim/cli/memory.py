"""`hwsim memory`: requests through one channel of a memory, command by command; curves of memories and devices."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwsim.errors import bad

if TYPE_CHECKING:
    from hwsim.describe.device import Device
    from hwsim.describe.memory import Memory


@click.command()
@click.argument("memory")
@click.argument("requests", type=click.Path(path_type=Path), required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="CSV file to write.")
@click.option("--summary", is_flag=True, help="Print bandwidth, latencies, row hits, occupation and the bound.")
@click.option("--scheduler", metavar="NAME", help="frfcfs, or frfcfs-rowhit (waiting hits keep their row open).")
@click.option("--mapping", metavar="NAME", help="mop4clxor, robaracoch or a mapping of the description.")
@click.option("--queues", type=int, metavar="N", help="Entries of the read buffer and of the write buffer.")
@click.option("--refresh", metavar="MODE", help="none, all-bank or per-bank.")
@click.option("--row-policy", metavar="POLICY", help="open, closed or timeout.")
@click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="Override a value of MEMORY.")
@click.option("--curve", is_flag=True, help="Instead of REQUESTS: bandwidth and latency by load and mix.")
@click.option("--law", "is_law", is_flag=True, help="Instead of REQUESTS: the service law of each access pattern.")
@click.option("--plot", type=click.Path(path_type=Path), help="With --curve: draw it (.png, .svg, .pdf).")
@click.option(
    "--mix", "mixes", multiple=True, metavar="R:W", help="With --curve: reads to writes.  [default: six mixes]"
)
@click.option("--lines", type=int, metavar="N", help="With --curve: lines of each point.  [default: 20000]")
@click.option("--streams", type=int, metavar="N", help="With --curve: streams that take turns.  [default: 56]")
@click.option("--seed", type=int, metavar="N", help="With --curve: of places and arrival times.  [default: 0]")
def command(memory: str, requests: Path | None, **options: Any) -> None:
    """Run REQUESTS, lines "0xADDRESS READ|WRITE earliest_tick", through one channel of MEMORY.

    With --curve and --law, MEMORY may be a device behind a link too, e.g. cxl2-x8-expander.
    """
    of_curve = {name: options.pop(name) for name in ("plot", "mixes", "lines", "streams", "seed")}
    is_curve, is_law = options.pop("curve"), options.pop("is_law")
    controller = {name: options.pop(name) for name in ("scheduler", "mapping", "queues", "refresh", "row_policy")}
    if is_curve:
        _refuse("--curve", {"REQUESTS": requests, "--summary": options["summary"], **_flags(controller)})
        draw(memory, options["output"], options["sets"], **of_curve)
        return
    if is_law:
        other = {"REQUESTS": requests, "--summary": options["summary"], "--output": options["output"]}
        _refuse("--law", other | _flags(of_curve))
        tell_law(memory, options["sets"], controller)
        return
    _refuse("a run of requests", _flags(of_curve))
    if requests is None:
        raise bad("hwsim memory", "neither REQUESTS nor --curve nor --law", "one of them", "name a file of requests")
    run(memory, requests, **options, **controller)


def _flags(options: dict[str, Any]) -> dict[str, Any]:
    return {"--" + name.replace("_", "-"): value for name, value in options.items()}


def _refuse(what: str, given: dict[str, Any]) -> None:
    """Options that mean nothing here."""
    for name, value in given.items():
        if value:
            raise bad(f"hwsim memory {name}", value, f"no {name} with {what}")


def run(
    memory: str, requests: Path, output: Path | None, summary: bool, sets: tuple[str, ...], **controller: Any
) -> None:
    """Requests of a file through one channel."""
    from hwsim import files
    from hwsim.memory import request_file
    from hwsim.memory.channel import answers, memory_of, new_channel
    from hwsim.memory.channel_tables import Options, channel_tables
    from hwsim.memory.summary import Summary

    if output is None and not summary:
        raise bad("hwsim memory", "neither -o nor --summary", "one of them", "add -o OUT.csv")
    if output is not None and output.exists() and requests.exists() and output.samefile(requests):
        raise bad("-o", str(output), "another file than the requests", "the answers would replace them")
    described = memory_of(memory, sets)
    tables = channel_tables(described, Options(**controller))
    channel, totals = new_channel(tables), Summary()
    done = answers(channel, request_file.read(requests, tables))
    with contextlib.ExitStack() as stack:
        if output is not None:
            done = request_file.write(done, stack.enter_context(files.written(output)))
        for piece in done:
            totals.add(piece)
    count = files.counted(totals.reads + totals.writes, "request")
    click.echo(totals.text(tables, channel, described.energy) if summary else count)


def draw(
    memory: str, output: Path | None, sets: tuple[str, ...], plot: Path | None, mixes: tuple[str, ...], **given: Any
) -> None:
    """Curves of a device or of a channel: a CSV file, a picture, or a table."""
    from hwsim.files import check_target, counted
    from hwsim.memory.curve import MIXES, curve, heading, parse_mix, text, write

    found = device_or_memory(memory, sets, "--curve")
    if output is not None:
        check_target(output)
    if plot is not None:
        check_target(plot, "--plot")
    wanted = [parse_mix(mix) for mix in mixes] or MIXES
    points = list(curve(found, wanted, **{name: value for name, value in given.items() if value is not None}))
    if output is not None:
        write(points, output)
    if plot is not None:
        from hwsim.analyse.memory_plots import family
        from hwsim.analyse.plots import save

        save(family(points, heading(found)), plot)
    click.echo(text(points) if output is None and plot is None else counted(len(points), "point"))


def device_or_memory(name: str, sets: tuple[str, ...], what: str) -> Device | Memory:
    """The description of that name."""
    from hwsim.describe import load
    from hwsim.describe.device import Device
    from hwsim.describe.library import a
    from hwsim.describe.memory import Memory

    found = load(name, sets=sets)
    if not isinstance(found, Device | Memory):
        raise bad(f"hwsim memory {what}", f"{name}, {a(found.kind)}", "a device or a memory", "`hwsim list device`")
    return found


def tell_law(memory: str, sets: tuple[str, ...], controller: dict[str, Any]) -> None:
    """Service laws of a device or of a channel, by access pattern."""
    from hwsim.describe.device import Device
    from hwsim.memory.channel_tables import Options
    from hwsim.memory.law_text import text

    found = device_or_memory(memory, sets, "--law")
    if isinstance(found, Device):
        _refuse("--law of a device", _flags(controller))
    click.echo(text(found, Options(**controller)))
