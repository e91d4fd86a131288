"""A replay against a real server: the requests of a measured vLLM run, with its own arrivals and settings.

The log is LLMServingSim's (MIT): arrival, queued, scheduled, first and last token of every request, and the running and
waiting requests each second. Times count from a request's arrival.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwsim.errors import bad
from hwsim.serving.deployment import compile
from hwsim.serving.run import Run, run
from hwsim.workload.table import RequestTable

PS = 10**12
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """A measured run: times in seconds since the first arrival.

    Attributes
    ----------
    table : RequestTable
        Its requests as they arrived.
    ttft_s, tpot_s, e2e_s : float64[n]
    clock_s, running, waiting : float64[m]
        The server's own count of requests.
    """

    table: RequestTable
    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    clock_s: Floats
    running: Floats
    waiting: Floats
    max_num_seqs: int
    token_budget: int


def read(folder: Path) -> Measured:
    """Read requests.jsonl, timeseries.csv and meta.json of a run.

    The wall clock of the arrivals and the monotonic clock of the rest are aligned by the least queueing time.
    """
    log = folder / "requests.jsonl"
    if not log.is_file():
        raise bad(str(folder), "no requests.jsonl", "the folder of a measured vLLM run")
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    rows.sort(key=lambda row: row["arrival_time"])
    column = {name: np.array([row[name] for row in rows]) for name in rows[0] if name != "request_id"}
    shift = np.min(column["queued_ts"] - column["arrival_time"])
    arrival = column["arrival_time"] + shift
    exact = [Fraction(row["arrival_time"]) - Fraction(rows[0]["arrival_time"]) for row in rows]
    table = RequestTable.of(
        np.array([int(time * PS) for time in exact], np.int64),
        column["input_toks"],
        column["output_toks"],
        name=folder.name,
        format="vllm-log",
        source=str(log),
    )
    last, first, output = column["last_token_ts"], column["first_token_ts"], column["output_toks"]
    with (folder / "timeseries.csv").open(newline="") as file:
        series = list(csv.DictReader(file))
    settings = json.loads((folder / "meta.json").read_text())["engine_kwargs"]
    return Measured(
        table,
        first - arrival,
        (last - first) / np.maximum(output - 1, 1),
        last - arrival,
        np.array([float(row["t"]) for row in series]),
        np.array([float(row["running"]) for row in series]),
        np.array([float(row["waiting"]) for row in series]),
        settings["max_num_seqs"],
        settings["max_num_batched_tokens"],
    )


def replay(measured: Measured, system: str, model: str, software: str = "vllm") -> Run:
    """The same requests through hwsim."""
    limits = measured.max_num_seqs, measured.token_budget
    deployment = compile(system, model, "tp=1", software, max_num_seqs=limits[0], token_budget=limits[1])
    return run(deployment, measured.table)


def counts(done: Run, clock_s: Floats) -> tuple[Floats, Floats]:
    """Running and waiting requests of a replay at some times."""
    times = [np.sort(done.requests[name]) / PS for name in ("arrival_ps", "admitted_ps", "finish_ps")]
    arrived, admitted, finished = (np.searchsorted(time, clock_s, side="right") for time in times)
    return (admitted - finished).astype(float), (arrived - admitted).astype(float)


@dataclass(frozen=True)
class Errors:
    """Simulated against measured, a time.

    Attributes
    ----------
    median : float
        Error of the median, signed.
    mean : float
        Error of the mean, signed.
    each : float
        Median over requests of the absolute error.
    """

    median: float
    mean: float
    each: float


def compare(measured: Measured, done: Run) -> dict[str, Errors]:
    """Errors of ttft, tpot and e2e."""
    rows = done.requests
    output = np.maximum(rows["output"] - 1, 1)
    simulated = {
        "ttft": (rows["first_token_ps"] - rows["arrival_ps"]) / PS,
        "tpot": (rows["finish_ps"] - rows["first_token_ps"]) / PS / output,
        "e2e": (rows["finish_ps"] - rows["arrival_ps"]) / PS,
    }
    return {name: _errors(values, getattr(measured, f"{name}_s")) for name, values in simulated.items()}


def _errors(simulated: Floats, measured: Floats) -> Errors:
    return Errors(
        float(np.median(simulated) / np.median(measured) - 1),
        float(simulated.mean() / measured.mean() - 1),
        float(np.median(np.abs(simulated / measured - 1))),
    )


def lines(measured: Measured, done: Run) -> list[str]:
    """The comparison as text."""
    head = f"{'':6}{'median':>10}{'mean':>10}{'per request':>14}"
    rows = [
        f"{name:6}{error.median:>+10.1%}{error.mean:>+10.1%}{error.each:>14.1%}"
        for name, error in compare(measured, done).items()
    ]
    running, waiting = counts(done, measured.clock_s)
    off = [np.abs(mine - theirs).mean() for mine, theirs in ((running, measured.running), (waiting, measured.waiting))]
    return [head, *rows, f"mean error of running requests {off[0]:.2f}, of waiting requests {off[1]:.2f}"]


def plot(measured: Measured, done: Run, path: Path) -> None:
    """Running and waiting requests over time, measured and simulated, as a picture (needs hwsim[analysis])."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    clock = np.linspace(0, measured.clock_s.max(), 1000)
    running, waiting = counts(done, clock)
    figure, axes = pyplot.subplots(figsize=(9, 4), layout="constrained")
    for name, real, mine, color in (
        ("running", measured.running, running, "C0"),
        ("waiting", measured.waiting, waiting, "C1"),
    ):
        axes.plot(measured.clock_s, real, "o", color=color, markersize=3, label=f"{name}, measured")
        axes.plot(clock, mine, color=color, linewidth=1, label=f"{name}, hwsim")
    axes.set_xlabel("time since the first arrival (s)")
    axes.set_ylabel("requests")
    axes.set_title(f"{measured.table.name}: {done.deployment.software.name} against hwsim")
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
