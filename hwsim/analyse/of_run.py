"""Figures and summary of a run in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import NoneType

import numpy as np

from hwsim.analyse import summary as screen
from hwsim.analyse.metrics import Metrics
from hwsim.analyse.metrics import measure as measure_columns
from hwsim.analyse.slo import Slo
from hwsim.errors import check_path, check_type
from hwsim.serving.plan import Placement
from hwsim.serving.record import request_columns, summary_totals
from hwsim.serving.run import Run


def measure(run: Run, slo: Slo | str | None = None) -> Metrics:
    """Figures of a run: latencies, rates, goodput, KV use, energy, bounds.

    Parameters
    ----------
    run : Run
        Of `hwsim.replay`.
    slo : Slo or str, optional
        Objective of the goodput, e.g. "ttft=2s,tpot=50ms".

    Returns
    -------
    Metrics
        Times in picoseconds, energy in picojoules; percentiles over finished requests.

    Raises
    ------
    InputError
        `run` is no run, or the objective cannot be read.
    """
    check_type("run", run, Run, "what hwsim.replay gives")
    check_type("slo", slo, (Slo, str, NoneType), "an objective such as 'ttft=2s,tpot=50ms'")
    totals = summary_totals(run)
    columns = request_columns(run)
    return measure_columns(
        columns,
        run.steps,
        slo=slo,
        bound_ps=np.array(totals["bound_ps"], np.int64),
        energy_pj=totals["energy_pj"],
        around_pj=totals["around_pj"],
        gating=totals["gating"],
        kv_blocks=totals["kv_blocks"],
    )


def summary(
    run: Run, slo: Slo | str | None = None, *, cpu_s: Mapping[str, float] | None = None, output: str = ""
) -> str:
    """The one screen that `hwsim replay` prints.

    Parameters
    ----------
    run : Run
        Of `hwsim.replay`.
    slo : Slo or str, optional
        Objective of the goodput, e.g. "ttft=2s,tpot=50ms".
    cpu_s : mapping of str to float, optional
        CPU seconds by part ("total", "compile", "sim", "replay", "write"), for the last line.
    output : str
        File of the result, named in the last line.

    Returns
    -------
    str

    Raises
    ------
    InputError
        `run` is no run, or the objective cannot be read.
    """
    check_type("run", run, Run, "what hwsim.replay gives")
    return screen.text(heading(run, cpu_s or {}, output), measure(run, slo))


def plot(run: Run, path: str | Path, slo: Slo | str | None = None) -> None:
    """Draw a run: requests and KV cache over time, and how latencies spread (needs hwsim[analysis]).

    Parameters
    ----------
    run : Run
        Of `hwsim.replay`.
    path : str or Path
        Picture to write; its suffix (.png, .svg, .pdf) is the format.
    slo : Slo or str, optional
        Limits to draw, e.g. "ttft=2s,tpot=50ms".

    Raises
    ------
    InputError
        `run` is no run, a suffix that cannot be drawn, matplotlib is not installed.
    """
    check_type("run", run, Run, "what hwsim.replay gives")
    check_path("path", path)
    from hwsim.analyse import plots

    limits = Slo.parse(slo) if isinstance(slo, str) else slo
    plots.save(plots.overview(request_columns(run), run.steps, run.rules.kv_blocks - 1, limits), path)


def heading(run: Run, cpu_s: Mapping[str, float], output: str) -> screen.Run:
    """What was run, for the head of the screen."""
    deployment, table, placement = run.deployment, run.table, run.deployment.placement
    accelerator, model = deployment.system.accelerator, deployment.model
    link = accelerator.links.scale_up.link
    replicas = f"{placement.replicas} replica" + ("s" if placement.replicas > 1 else "")
    kv_tokens = (placement.kv_blocks - 1) * run.rules.block_tokens
    notes = [f"changed: {text}" for text in deployment.sets] + list(table.notes)
    if run.beyond_context:
        context = f"the {run.rules.context:,} tokens of the model's context"
        notes.append(f"{run.beyond_context} requests, prompt and output, are longer than {context}: refused")
    if large := run.refused - run.beyond_context:
        notes.append(f"{large} requests need more than the {kv_tokens:,} tokens of a replica's KV cache: refused")
    return screen.Run(
        system=f"{deployment.system.id}: {deployment.system.count} x {accelerator.name}, {link.name}",
        model=f"{model.id}: {model.params / 1e9:.1f} B parameters, {deployment.precision} weights",
        plan=f"{_shares(placement)}, {replicas}; a device holds {_size(placement.weight_bytes)} of weights and "
        f"{_size(placement.kv_bytes)} of KV cache ({kv_tokens:,} tokens a replica)",
        software=f"{deployment.software.id}: {deployment.software.name}",
        trace=f"{table.name}: {len(table):,} requests over {table.span_ps / 1e12:,.0f} s, {table.format}",
        defaults=deployment.defaults,
        notes=tuple(notes),
        cpu_s=cpu_s,
        output=output,
    )


def _shares(placement: Placement) -> str:
    """How a model is shared out, in words."""
    shares = f"tp={placement.tp}" if isinstance(placement.tp, int) else f"{float(placement.tp):.2f} devices a layer"
    ep = max((use.dims["ep"] for use in placement.tokens if use.kind == "moe"), default=1)
    shares += f", ep={ep}" if ep > 1 else ""
    return shares + (f", {placement.stages} stages" if placement.stages > 1 else "")


def _size(count: int) -> str:
    """Bytes in GB, or in MB where that says more."""
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.0f} MB"
