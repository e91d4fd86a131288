"""Columns that a point answers with: name, unit, meaning; a column of texts holds indices into its labels."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple

from hwsim._core.bounds import BOUND_CLASSES, TIERS


class Output(NamedTuple):
    """One column: its unit, what it is, and the texts its numbers stand for where it is no number."""

    units: str
    long_name: str
    labels: tuple[str, ...] = ()


Outputs = dict[str, Output]

OPERATOR: Outputs = {
    "time_ns": Output("ns", "time of the operator"),
    "energy_j": Output("J", "energy of the chip meanwhile, static power included"),
    "power_w": Output("W", "energy over time"),
    "flop": Output("FLOP", "operations issued, padding included"),
    "flop_s": Output("FLOP/s", "operations a second"),
    **{f"{tier}_bytes": Output("B", f"bytes that passed {tier}") for tier in TIERS},
    "bound": Output("", "what limited most of the time", BOUND_CLASSES),
}

_SPREADS = {
    "ttft": "arrival to first output token",
    "tpot": "time per output token of a request",
    "itl": "time between two output tokens",
    "e2e": "arrival to last output token",
}

_SHARES = {f"bound_{name}": Output("1", f"share of time limited by {name}") for name in BOUND_CLASSES}
ENERGY_PARTS = ("static", "active", "bytes", "flops")

CLOSED: Outputs = {
    "ttft_ms": Output("ms", "arrival to first output token, mean, the initial burst included"),
    "tpot_ms": Output("ms", "time per output token of a request, mean"),
    "itl_p99_ms": Output("ms", "time between two output tokens, 99th percentile"),
    "tok_s": Output("tokens/s", "output tokens a second"),
    "tok_s_user": Output("tokens/s", "output tokens a second that one user sees"),
    "req_s": Output("requests/s", "requests a second"),
    "energy_j_token": Output("J/token", "energy per output token"),
    "power_w": Output("W", "power of all accelerators, mean"),
    "node_j_token": Output("J/token", "energy per output token, hosts included"),
    "wall_j_token": Output("J/token", "energy per output token at the wall"),
    "overload": Output("", "whether requests wait for KV blocks or slots", ("no", "borderline", "yes")),
    "bound": Output("", "what limited most of the time", BOUND_CLASSES),
    **_SHARES,
    **{f"energy_{part}_j_token": Output("J/token", f"energy per output token, {part}") for part in ENERGY_PARTS},
}

SERVING: Outputs = {
    "requests": Output("1", "requests of the run"),
    "finished": Output("1", "requests that got all their tokens"),
    "prompt_tokens": Output("tokens", "prompt tokens of finished requests"),
    "output_tokens": Output("tokens", "output tokens of finished requests"),
    "cached_tokens": Output("tokens", "prompt tokens found in the prefix cache"),
    "steps": Output("1", "steps of all replicas"),
    "preemptions": Output("1", "times a request lost its KV blocks"),
    "makespan_s": Output("s", "first arrival to last output token"),
    "tokens_per_s": Output("tokens/s", "output tokens a second"),
    "requests_per_s": Output("requests/s", "finished requests a second"),
    "tokens_per_s_user": Output("tokens/s", "output tokens a second that one user sees: 1 / mean tpot"),
    "tokens_per_s_device": Output("tokens/s", "output tokens a second of one accelerator"),
    "energy_j": Output("J", "energy of all accelerators"),
    "energy_j_token": Output("J/token", "energy per output token"),
    "power_w": Output("W", "power of all accelerators, mean"),
    **{
        f"{name}_{part}_ms": Output("ms", f"{meaning}, {part}")
        for name, meaning in _SPREADS.items()
        for part in ("p50", "p90", "p99", "mean")
    },
    "goodput_requests_per_s": Output("requests/s", "requests a second that met the objective"),
    "goodput_tokens_per_s": Output("tokens/s", "their output tokens a second"),
    "goodput_share": Output("1", "share of requests that met the objective"),
    "kv_mean_share": Output("1", "KV blocks in use, mean over steps"),
    "kv_peak_share": Output("1", "KV blocks in use, peak"),
    "seed": Output("1", "seed of the recipe"),
    **_SHARES,
    "bound": Output("", "what limited most of the time", BOUND_CLASSES),
}

COLUMNS: dict[str, Outputs] = {"operator": OPERATOR, "trace": SERVING, "concurrency": CLOSED}

# What people call columns -> how the names of those begin.
_CALLED: dict[str, tuple[str, ...]] = {
    "latency": ("ttft", "tpot", "time_ns"),
    "throughput": ("tok_s", "tokens_per_s", "flop_s"),
    "duration": ("makespan_s", "time_ns"),
}


def near(name: str, columns: Iterable[str], outputs: Outputs) -> list[str]:
    """Columns that may be meant by a name, the likeliest first: by their names, or by what they are."""
    word, columns = name.lower().replace("_", " "), list(columns)
    called = _CALLED.get(word, ())
    found = [column for column in columns if any(column.startswith(each) for each in called)]
    found += [column for column in columns if word in column.replace("_", " ")]
    found += [column for column, output in outputs.items() if word in output.long_name]
    return list(dict.fromkeys([*found, *difflib.get_close_matches(name, columns, n=1)]))


def text() -> str:
    """All columns by the base of the study, with unit and meaning."""
    lines = []
    for base, outputs in COLUMNS.items():
        lines += [f"a study whose base has `{base}:`", *(_line(name, output) for name, output in outputs.items()), ""]
    return "\n".join(lines[:-1])


def _line(name: str, output: Output) -> str:
    labels = f": {', '.join(output.labels)}" if output.labels else ""
    return f"  {name:<24}{output.units:<12}{output.long_name}{labels}"
