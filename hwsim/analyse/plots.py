"""Pictures of a run: what was in the system over time, and how latencies spread (matplotlib, hwsim[analysis])."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwsim.analyse.metrics import Columns
from hwsim.analyse.slo import Slo
from hwsim.errors import bad

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 600  # of a line; more are averaged over equal times
COLOURS = {
    "running": "#0072b2",
    "waiting": "#d55e00",
    "kv": "#009e73",
    "ttft": "#0072b2",
    "tpot": "#d55e00",
    "e2e": "#009e73",
}


def overview(requests: Columns, steps: Columns, kv_blocks: int | None = None, slo: Slo | None = None) -> Figure:
    """Timeline and latencies of a run in one figure.

    Parameters
    ----------
    requests, steps : columns
        As `hwsim.analyse.metrics.measure`; steps also with running and waiting.
    kv_blocks : int, optional
        Blocks of a replica, for KV use as a share.
    slo : Slo, optional
        Limits to draw.
    """
    drawing = figure(10, 6.5)
    upper, middle, lower = drawing.subplots(3, 1, height_ratios=(3, 2, 4))
    timeline(upper, middle, steps, kv_blocks)
    latencies(lower, requests, slo)
    return drawing


def timeline(counts: Axes, kv: Axes, steps: Columns, kv_blocks: int | None = None) -> None:
    """Requests running and waiting, and KV blocks in use, summed over replicas, against time."""
    for name in ("running", "waiting"):
        time, value = _over_time(steps, name)
        counts.plot(time, value, color=COLOURS[name], linewidth=1.2, label=name)
    counts.set_ylabel("requests")
    counts.legend(loc="upper left", frameon=False, ncols=2)
    time, value = _over_time(steps, "kv_used_blocks")
    replicas = len(np.unique(steps["replica"]))
    share = value / (kv_blocks * replicas) * 100 if kv_blocks else value
    kv.fill_between(time, share, color=COLOURS["kv"], alpha=0.35, linewidth=0)
    kv.set_ylabel("KV in use, %" if kv_blocks else "KV blocks in use")
    kv.set_xlabel("time, s")
    counts.sharex(kv)
    for axes in (counts, kv):
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, max(time[-1], 1e-9))
        axes.grid(alpha=0.25)
    counts.tick_params(labelbottom=False)


def latencies(axes: Axes, requests: Columns, slo: Slo | None = None) -> None:
    """Share of requests that are at least as quick, against the logarithm of ttft, tpot and e2e."""
    for name, times in _times(requests).items():
        if not len(times):
            continue
        values, first = np.unique(times, return_index=True)
        share = np.append(first[1:], len(times)) / len(times) * 100
        axes.step(values / 1e9, share, where="post", color=COLOURS[name], linewidth=1.4, label=name)
        limit = getattr(slo, name) if slo else None
        if limit is not None:
            axes.axvline(limit / 1e9, color=COLOURS[name], linewidth=1, linestyle=":", label=f"{name} limit")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("ms")
    axes.set_ylabel("requests, %")
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", frameon=False)


FORMS = ("svg", "png", "pdf")


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure; the suffix says the form (.png, .pdf, .svg)."""
    suffix = Path(path).suffix.lstrip(".")
    if suffix not in FORMS:
        raise bad(str(path), f"the suffix '.{suffix}'", f"one of {', '.join(FORMS)}")
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise bad(str(path), (error.strerror or str(error)).lower(), "a place that can be written") from None


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    try:
        from matplotlib.figure import Figure  # not pyplot: no window, no global state
    except ImportError:
        raise bad("plots", "no matplotlib", "hwsim[analysis]", "pip install 'hwsim[analysis]'") from None
    return Figure(figsize=(width, height), layout="constrained")


def _times(requests: Columns) -> dict[str, NDArray[Any]]:
    """Sorted picoseconds of ttft, tpot and e2e of finished requests."""
    done = np.asarray(requests["finish_ps"]) >= 0
    arrival, first, finish = (
        np.asarray(requests[name])[done] for name in ("arrival_ps", "first_token_ps", "finish_ps")
    )
    output = np.asarray(requests["output_tokens"])[done]
    many = output > 1
    tpot = (finish - first)[many] // (output[many] - 1)
    return {"ttft": np.sort(first - arrival), "tpot": np.sort(tpot), "e2e": np.sort(finish - arrival)}


def _over_time(steps: Columns, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """A column as (seconds, value summed over replicas): its mean in at most POINTS equal stretches of time.

    The value of a step holds from its start to the start of the next step of its replica.
    """
    start, replica = np.asarray(steps["start_ps"]), np.asarray(steps["replica"])
    values = np.asarray(steps[name]).astype(np.float64)
    end = float(np.asarray(steps["end_ps"]).max(initial=1))
    edges = np.linspace(0, end, POINTS + 1)
    total = np.zeros(POINTS)
    for one in np.unique(replica):
        own = replica == one
        until = np.append(start[own][1:], end)
        # Integral of the staircase up to each edge; its difference over a stretch is the mean there.
        area = np.concatenate(([0.0], np.cumsum(values[own] * (until - start[own]))))
        at = np.interp(edges, np.append(start[own], end), area)
        total += np.diff(at) / np.diff(edges)
    return (edges[:-1] + edges[1:]) / 2e12, total
