"""`hwsim memory`: requests through one channel of a memory, command by command."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from hwsim.errors import bad


@click.command()
@click.argument("memory")
@click.argument("requests", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="CSV file to write: id,address,op,arrive,depart.")
@click.option("--summary", is_flag=True, help="Print bandwidth, latencies, row hits, occupation and the bound.")
@click.option("--scheduler", metavar="NAME", help="frfcfs, or frfcfs-rowhit (waiting hits keep their row open).")
@click.option("--mapping", metavar="NAME", help="mop4clxor, robaracoch or a mapping of the description.")
@click.option("--queues", type=int, metavar="N", help="Entries of the read buffer and of the write buffer.")
@click.option("--refresh", metavar="MODE", help="none, all-bank or per-bank.")
@click.option("--row-policy", metavar="POLICY", help="open, closed or timeout.")
@click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="Override a value of MEMORY.")
def command(
    memory: str,
    requests: Path,
    output: Path | None,
    summary: bool,
    scheduler: str | None,
    mapping: str | None,
    queues: int | None,
    refresh: str | None,
    row_policy: str | None,
    sets: tuple[str, ...],
) -> None:
    """Run REQUESTS, lines "0xADDRESS READ|WRITE earliest_tick", through one channel of MEMORY."""
    from hwsim.memory import request_file
    from hwsim.memory.channel import answers, new_channel, tables_of
    from hwsim.memory.channel_tables import Options
    from hwsim.memory.summary import Summary

    if output is None and not summary:
        raise bad("hwsim memory", "neither -o nor --summary", "one of them", "add -o OUT.csv")
    tables = tables_of(memory, Options(scheduler, mapping, queues, refresh, row_policy), sets)
    channel, totals = new_channel(tables), Summary()
    done = answers(channel, request_file.read(requests, tables))
    with contextlib.ExitStack() as stack:
        if output is not None:
            done = request_file.write(done, stack.enter_context(request_file.written(output)))
        for piece in done:
            totals.add(piece)
    click.echo(totals.text(tables, channel) if summary else f"{totals.reads + totals.writes} requests")
