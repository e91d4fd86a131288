"""What `hwsim replay` says of a run: one screen of text, or the JSON object of --json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hwsim.analyse.metrics import Metrics
from hwsim.analyse.percentile import Spread

WIDTH = 110
NAME_WIDTH = 11
LATENCIES = ("ttft", "tpot", "itl", "e2e")
GATING = {"unit": "idle units are switched off", "none": "idle units draw as much as busy ones"}
CPU_PARTS = ("compile", "sim", "replay", "write")


@dataclass(frozen=True)
class Run:
    """What was run, for the head of the screen.

    Attributes
    ----------
    system, model, plan, software, trace : str
        One line each: name and the facts that matter ("8 x NVIDIA H100 SXM5 80GB, NVLink 4").
    defaults : mapping of str to str
        Every value that was taken because the user gave none: option or parameter -> value.
    notes : sequence of str
        What the reader must know: sorted requests, refused requests, assumed numbers.
    cpu_s : mapping of str to float
        CPU seconds: total, compile, sim, replay, write.
    output : str
        The file.
    """

    system: str
    model: str
    plan: str
    software: str
    trace: str
    defaults: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    output: str = ""


def text(run: Run, metrics: Metrics) -> str:
    """The screen: what was run, every default taken, latencies, rates, KV, energy, what limited the time."""
    lines = [_line(name, getattr(run, name)) for name in ("system", "model", "plan", "software", "trace")]
    lines += _wrapped("defaults", (f"{name} {value}" for name, value in run.defaults.items()))
    for note in run.notes:
        lines += _wrapped("note", note.split(), " ")
    lines += ["", *_latency_table(metrics), "", *_rates(metrics), *_use(metrics), *_energy(metrics), *_bounds(metrics)]
    lines += [_line("cpu", _cpu(run.cpu_s))] if run.cpu_s else []
    lines += [_line("file", run.output)] if run.output else []
    return "\n".join(lines)


def as_json(metrics: Metrics, cpu_s: Mapping[str, float]) -> dict[str, Any]:
    """The object of --json; its keys are part of the public surface."""
    result: dict[str, Any] = {
        "requests": metrics.requests,
        "prompt_tokens": metrics.prompt_tokens,
        "output_tokens": metrics.output_tokens,
        "cached_tokens": metrics.cached_tokens,
        "steps": metrics.steps,
        "preemptions": metrics.preemptions,
        "makespan_s": metrics.makespan_s,
        "cpu_s": cpu_s.get("total", sum(cpu_s.values())),
    }
    result |= {f"cpu_{part}_s": cpu_s.get(part, 0.0) for part in CPU_PARTS}
    result |= {
        "tokens_per_s": metrics.tokens_per_s,
        "requests_per_s": metrics.requests_per_s,
        "energy_j": metrics.energy_j,
    }
    result |= {f"{name}_ms": getattr(metrics, name).in_ms() for name in LATENCIES}
    return result | {"bound": metrics.bound} | energy_json(metrics)


def energy_json(metrics: Metrics) -> dict[str, Any]:
    """Energy by part and at the three places where it is measured, in joules; None where it is unknown."""
    parts = metrics.energy_pj | metrics.around_pj
    return {
        "energy_parts_j": {name: energy / 1e12 for name, energy in parts.items()},
        "node_j": metrics.node_j,
        "wall_j": metrics.wall_j,
        "gating": metrics.gating,
    }


def _line(name: str, value: str) -> str:
    return f"{name:<{NAME_WIDTH}}{value}"


def _wrapped(name: str, words: Iterable[str], separator: str = ", ") -> list[str]:
    """Words in lines no wider than the screen, the name before the first."""
    lines: list[str] = []
    for word in words:
        if lines and NAME_WIDTH + len(lines[-1]) + len(separator) + len(word) < WIDTH:
            lines[-1] += separator + word
        else:
            lines[-1:] = [*(line + separator.rstrip() for line in lines[-1:]), word]
    return [_line(name if i == 0 else "", line) for i, line in enumerate(lines)]


def _latency_table(metrics: Metrics) -> list[str]:
    head = _line("latency", "".join(f"{column:>12}" for column in ("p50", "p90", "p99", "mean")))
    return [head, *(_line(f"  {name}", _times(getattr(metrics, name))) for name in LATENCIES)]


def _times(spread: Spread) -> str:
    return "".join(f"{_time(value):>12}" for value in (spread.p50, spread.p90, spread.p99, spread.mean))


def _time(ps: float | None) -> str:
    """Three significant digits or more, in s, ms or us."""
    if ps is None:
        return "-"
    size, unit = (1e12, "s") if ps >= 1e12 else (1e9, "ms") if ps >= 1e9 else (1e6, "us")
    value = ps / size
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"


def _rates(metrics: Metrics) -> list[str]:
    refused = metrics.requests - metrics.finished
    count = f"{metrics.finished:,} requests" + (f" ({refused:,} refused)" if refused else "")
    tokens = f"{metrics.prompt_tokens:,} prompt + {metrics.output_tokens:,} output tokens"
    rates = f"{metrics.tokens_per_s:,.0f} output tokens/s, {metrics.prompt_tokens_per_s:,.0f} prompt tokens/s"
    lines = [
        _line("served", f"{count}, {tokens}, in {_time(metrics.makespan_ps)}"),
        _line("rate", f"{rates}, {metrics.requests_per_s:,.2f} requests/s"),
    ]
    good = metrics.goodput
    if good:
        rates = f"{good.requests_per_s:,.2f} requests/s, {good.tokens_per_s:,.0f} output tokens/s"
        lines.append(_line("goodput", f"{rates}: {good.share:.1%} of requests meet {good.slo.text}"))
    return lines


def _use(metrics: Metrics) -> list[str]:
    parts = [f"{metrics.steps:,} steps"] if metrics.steps else []
    if metrics.kv and metrics.kv.blocks:
        parts.append(f"KV {metrics.kv.mean_share:.1%} full on average, {metrics.kv.peak_share:.1%} at the peak")
    parts.append(f"{metrics.preemptions:,} preemptions")
    if metrics.cached_tokens:
        parts.append(f"{metrics.cached_tokens / metrics.prompt_tokens:.1%} of prompt tokens from the prefix cache")
    return _wrapped("use", parts)


def _energy(metrics: Metrics) -> list[str]:
    if metrics.energy_j is None:
        return []
    per_token = metrics.energy_j / max(metrics.output_tokens, 1)
    watts = metrics.energy_j / metrics.makespan_s if metrics.makespan_ps else 0.0
    total = sum(metrics.energy_pj.values())
    parts = ", ".join(f"{name} {value / max(total, 1):.0%}" for name, value in metrics.energy_pj.items())
    lines = [_line("energy", f"{per_token:.3g} J per output token, {watts:,.0f} W on average ({parts})")]
    more = []
    if metrics.node_j and metrics.wall_j:
        each = (f"{name} {energy / max(metrics.output_tokens, 1):.3g} J"
                for name, energy in (("node", metrics.node_j), ("wall", metrics.wall_j)))  # fmt: skip
        more.append(f"with hosts and supplies, per output token: {', '.join(each)}")
    if metrics.gating:
        more.append(GATING[metrics.gating])
    return lines + ([_line("", "; ".join(more))] if more else [])


def _bounds(metrics: Metrics) -> list[str]:
    named = sorted(((share, name) for name, share in metrics.bound.items() if share >= 0.0005), reverse=True)
    return _wrapped("limited by", (f"{name} {share:.1%}" for share, name in named))


def _cpu(cpu_s: Mapping[str, float]) -> str:
    parts = ", ".join(f"{part} {cpu_s[part]:.2f}" for part in CPU_PARTS if part in cpu_s)
    return f"{cpu_s.get('total', sum(cpu_s.values())):.2f} s" + (f" ({parts})" if parts else "")
