"""What a run achieved: latencies, throughput, goodput, KV occupancy, energy, shares of time.

Definitions. ttft: arrival to first output token. tpot: (last - first output token) / (output tokens - 1), of requests
with two output tokens or more, rounded down to a picosecond. e2e: arrival to last output token. itl: time between two
output tokens of a request: from the end of one step of a replica to the end of its next, once for each decoding request
of the latter (a pause by preemption is not in it). makespan: first arrival to last output token; the rates divide by
it. Requests that never finished are counted, and left out of everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.analyse.percentile import Ints, Spread, spread
from hwsim.analyse.slo import Slo
from hwsim.trace import BOUND_CLASSES, Trace

# A dict of columns, or a structured array.
Columns = Mapping[str, Ints] | NDArray[np.void]


@dataclass(frozen=True)
class Goodput:
    """Requests that met a service-level objective."""

    slo: Slo
    requests: int
    share: float
    requests_per_s: float
    tokens_per_s: float


@dataclass(frozen=True)
class KvUse:
    """KV blocks in use on a replica: mean over the time of steps, peak, and both as shares of its blocks."""

    mean_blocks: float
    peak_blocks: int
    blocks: int | None

    @property
    def mean_share(self) -> float | None:
        """Mean use as a share of all blocks, 0 to 1; None where their number is unknown."""
        return self.mean_blocks / self.blocks if self.blocks else None

    @property
    def peak_share(self) -> float | None:
        """Peak use as a share of all blocks, 0 to 1; None where their number is unknown."""
        return self.peak_blocks / self.blocks if self.blocks else None


@dataclass(frozen=True)
class Metrics:
    """All figures of a run; times in picoseconds, energy in picojoules.

    Attributes
    ----------
    requests, finished : int
        Requests of the run, and those that got all their tokens.
    prompt_tokens, output_tokens, cached_tokens, preemptions, steps : int
        Sums over finished requests; `steps` over all replicas.
    makespan_ps : int
    ttft, tpot, itl, e2e : Spread
    goodput : Goodput or None
        None without an objective.
    kv : KvUse or None
        None without steps.
    energy_pj : dict of str to int
        Of the accelerators by part (static, active, flops, hbm, ...), empty if unknown.
    around_pj : dict of str to int
        Of what they stand in: their hosts, losses of supplies; empty if unknown.
    gating : str
        "unit": units without a program draw no active power. "none": all draw it as long as the system serves. Empty
        if unknown.
    bound : dict of str to float
        Share of simulated time by bound class, all 16, summing to 1; empty if unknown.
    """

    requests: int
    finished: int
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    preemptions: int
    steps: int
    makespan_ps: int
    ttft: Spread
    tpot: Spread
    itl: Spread
    e2e: Spread
    goodput: Goodput | None
    kv: KvUse | None
    energy_pj: dict[str, int]
    around_pj: dict[str, int]
    gating: str
    bound: dict[str, float]

    @property
    def makespan_s(self) -> float:
        """Seconds from the first arrival to the last token."""
        return self.makespan_ps / 1e12

    @property
    def tokens_per_s(self) -> float:
        """Output tokens a second."""
        return self._per_s(self.output_tokens)

    @property
    def prompt_tokens_per_s(self) -> float:
        """Prompt tokens of finished requests a second of the makespan."""
        return self._per_s(self.prompt_tokens)

    @property
    def requests_per_s(self) -> float:
        """Finished requests a second of the makespan."""
        return self._per_s(self.finished)

    @property
    def energy_j(self) -> float | None:
        """Energy of all accelerators, or None if unknown."""
        return sum(self.energy_pj.values()) / 1e12 if self.energy_pj else None

    @property
    def node_j(self) -> float | None:
        """Energy of accelerators and hosts, or None if unknown."""
        return self.energy_j + self.around_pj["host"] / 1e12 if self.energy_j and self.around_pj else None

    @property
    def wall_j(self) -> float | None:
        """Energy at the wall, losses of supplies included, or None if unknown."""
        return self.node_j + self.around_pj["supply"] / 1e12 if self.node_j else None

    def _per_s(self, count: int) -> float:
        return count / self.makespan_s if self.makespan_ps else 0.0


def measure(
    requests: Columns,
    steps: Columns | None = None,
    *,
    slo: Slo | str | None = None,
    bound_ps: Ints | None = None,
    energy_pj: Mapping[str, int] | None = None,
    around_pj: Mapping[str, int] | None = None,
    gating: str = "",
    kv_blocks: int | None = None,
    n_steps: int | None = None,
) -> Metrics:
    """Figures of a run.

    Parameters
    ----------
    requests : columns
        arrival_ps, first_token_ps, finish_ps, prompt_tokens, output_tokens, cached_tokens, preemptions: int64[n]. A
        finish_ps of -1 means the request never finished.
    steps : columns, optional
        replica, start_ps, end_ps, n_decode, kv_used_blocks and, where batches pass stages, lane and n_last: int64[m],
        of each replica in order. Without them itl and KV use are unknown.
    slo : Slo or str, optional
        Objective for the goodput, e.g. "ttft=2s,tpot=50ms".
    bound_ps : int64[16], optional
        Simulated time by what limited it, weighted by how often it ran.
    energy_pj, around_pj : mapping, optional
        Energy of the accelerators by part, and of what they stand in.
    gating : str, optional
        Whether idle units are switched off: unit or none.
    kv_blocks : int, optional
        Blocks of a replica.
    n_steps : int, optional
        Number of steps where `steps` is not given.
    """
    finish = np.asarray(requests["finish_ps"])
    done = finish >= 0
    arrival, first, finish = (
        np.asarray(requests[name])[done] for name in ("arrival_ps", "first_token_ps", "finish_ps")
    )
    output = np.asarray(requests["output_tokens"])[done]
    ttft, e2e = first - arrival, finish - arrival
    tpot = np.where(output > 1, (finish - first) // np.maximum(output - 1, 1), -1)
    makespan = int(finish.max() - np.asarray(requests["arrival_ps"]).min()) if done.any() else 0
    sums = {name: int(requests[name][done].sum()) for name in ("prompt_tokens", "cached_tokens", "preemptions")}
    return Metrics(
        requests=len(done),
        finished=int(done.sum()),
        output_tokens=int(output.sum()),
        steps=len(steps["end_ps"]) if steps is not None else n_steps or 0,
        makespan_ps=makespan,
        ttft=spread(ttft),
        tpot=spread(tpot[output > 1]),
        itl=_itl(steps) if steps is not None else spread(np.zeros(0, np.int64)),
        e2e=spread(e2e),
        goodput=_goodput(slo, ttft, tpot, e2e, output, makespan),
        kv=_kv_use(steps, kv_blocks) if steps is not None else None,
        energy_pj={name: int(value) for name, value in (energy_pj or {}).items()},
        around_pj={name: int(value) for name, value in (around_pj or {}).items()},
        gating=gating,
        bound=shares(bound_ps) if bound_ps is not None else {},
        **sums,
    )


def measure_trace(trace: Trace, slo: Slo | str | None = None) -> Metrics:
    """Figures of a trace on disk; attributes `bound_ps`, `energy_pj`, `kv_blocks`, `steps` are used if present."""
    bound = trace.attrs.get("bound_ps")
    return measure(
        trace.requests,
        trace.steps or None,
        slo=slo,
        bound_ps=None if bound is None else np.array(bound, np.int64),
        energy_pj=trace.attrs.get("energy_pj"),
        around_pj=trace.attrs.get("around_pj"),
        gating=trace.attrs.get("gating", ""),
        kv_blocks=trace.attrs.get("kv_blocks"),
        n_steps=trace.attrs.get("steps"),
    )


def shares(bound_ps: Ints) -> dict[str, float]:
    """Shares of time by bound class, from int64[16]."""
    total = int(np.sum(bound_ps))
    return {name: int(time) / total if total else 0.0 for name, time in zip(BOUND_CLASSES, bound_ps)}


def _itl(steps: Columns) -> Spread:
    replica, end = np.asarray(steps["replica"]), np.asarray(steps["end_ps"])
    decodes = np.asarray(steps["n_decode"])
    lane = np.asarray(steps["lane"]) if "lane" in steps else np.zeros_like(replica)
    last = np.asarray(steps["n_last"]) if "n_last" in steps else np.zeros_like(replica)
    group = replica * (lane.max(initial=0) + 2) + lane  # decodes of a lane get their tokens in the same steps
    if len(group) and group.min() != group.max():
        order = np.argsort(group, kind="stable")
        group, end, decodes, last = group[order], end[order], decodes[order], last[order]
    emptied = (decodes == last) & (decodes > 0)  # those that follow in the lane had their tokens before elsewhere
    follows = (group[1:] == group[:-1]) & ~emptied[:-1]
    return spread(np.diff(end)[follows], decodes[1:][follows].astype(np.int64))


def _kv_use(steps: Columns, blocks: int | None) -> KvUse | None:
    used = np.asarray(steps["kv_used_blocks"]).astype(float)
    time = (np.asarray(steps["end_ps"]) - np.asarray(steps["start_ps"])).astype(float)
    if not len(used):
        return None
    return KvUse(float(used @ time / max(time.sum(), 1.0)), int(used.max()), blocks)


def _goodput(slo: Slo | str | None, ttft: Ints, tpot: Ints, e2e: Ints, output: Ints, makespan: int) -> Goodput | None:
    if slo is None:
        return None
    slo = Slo.parse(slo) if isinstance(slo, str) else slo
    met: Any = slo.met(ttft, tpot, e2e)
    count, per_s = int(met.sum()), 1e12 / makespan if makespan else 0.0
    return Goodput(slo, count, count / max(len(ttft), 1), count * per_s, int(output[met].sum()) * per_s)
