"""`hwsim replay`: a request trace through a system, a model, a plan and a software stack."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click
from tqdm import tqdm

from hwsim.analyse.of_run import heading, measure, plot
from hwsim.analyse.slo import Slo
from hwsim.analyse.summary import as_json, text
from hwsim.errors import bad
from hwsim.serving.deployment import compile
from hwsim.serving.replay import replay
from hwsim.serving.run import Watch
from hwsim.trace import LEVELS


def cpu() -> float:
    """CPU seconds of this process and its children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def shown_in(bar: tqdm) -> Watch:
    """Progress of a replay in a bar: finished requests, rate and time left."""

    def watch(finished: int, total: int) -> None:
        bar.total = total
        bar.update(finished - bar.n)

    return watch


@click.command()
@click.argument("system")
@click.argument("model")
@click.argument("trace")
@click.option("--plan", default="", help="Degrees of parallelism, e.g. tp=8 or tp=4,dp=2.")
@click.option("--software", default="vllm", show_default=True, help="Software profile.")
@click.option("--precision", help="Of the weights.  [default: the chip's type of 16 bits]")
@click.option("--kv-dtype", help="Of the KV cache.  [default: bf16]")
@click.option("--max-num-seqs", type=int, help="Most running requests of a replica.  [default: the profile's]")
@click.option("--token-budget", type=int, help="Most tokens of a step.  [default: the profile's]")
@click.option("--router", default="round-robin", show_default=True, help="round-robin or least-loaded.")
@click.option("--requests", type=int, help="Replay the first N requests; of a recipe, draw N.")
@click.option("--rate-scale", help="Requests arrive so many times as fast, e.g. 1.5.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of a recipe.")
@click.option("--failures", default="refuse", show_default=True, help="Rows without output tokens: refuse or drop.")
@click.option("--slo", help="Objective for the goodput, e.g. ttft=2s,tpot=50ms.")
@click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="Override, e.g. model.layers=40.")
@click.option("--record", default="requests", show_default=True, help="What the file keeps: " + " | ".join(LEVELS))
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@click.option("--plot", type=click.Path(), help="Draw the run: requests, KV cache and latencies (.png, .svg, .pdf).")
@click.option("-o", "--output", type=click.Path(), help="HDF5 file of the result.")
def command(system, model, trace, **options) -> None:  # type: ignore[no-untyped-def]
    """Replay the requests of TRACE (a file or a recipe) on MODEL served by SYSTEM."""
    slo = Slo.parse(options["slo"]) if options["slo"] else None
    if options["plot"] and not Path(options["plot"]).absolute().parent.is_dir():
        raise bad("--plot", options["plot"], "a file in a folder that exists")
    started = cpu()
    deployment = compile(
        system, model, options["plan"], options["software"], sets=options["sets"],
        **{name: options[name] for name in ("precision", "kv_dtype", "max_num_seqs", "token_budget")},
    )  # fmt: skip
    compiled = cpu()
    with tqdm(unit="req", disable=not sys.stderr.isatty(), leave=False) as bar:
        run = replay(
            deployment, trace, output=options["output"], record=options["record"], router=options["router"],
            limit=options["requests"], watch=shown_in(bar),
            **{name: options[name] for name in ("rate_scale", "seed", "failures")},
        )  # fmt: skip
    parts = {"compile": compiled - started, "sim": run.cpu_sim_s, "replay": run.cpu_replay_s}
    spent = {"total": cpu() - started - run.cpu_parse_s, **parts}
    spent["write"] = max(0.0, spent["total"] - sum(parts.values()))
    metrics = measure(run, slo)
    if options["plot"]:
        plot(run, options["plot"], slo)
    if options["as_object"]:
        for note in run.table.notes:
            click.echo(f"note: {note}", err=True)
        click.echo(json.dumps(as_json(metrics, spent)))
    else:
        click.echo(text(heading(run, spent, options["output"] or ""), metrics))
