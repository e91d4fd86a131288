"""A run into its trace: rows as they come, totals and everything needed to run it again at the end."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from hwsim import __version__
from hwsim._core.bounds import BOUND_CLASSES, TIERS
from hwsim._core.serve_types import CHUNK_COLUMNS, REQUEST_COLUMNS, STEP_COLUMNS
from hwsim.describe import resolve
from hwsim.describe.plain import to_plain
from hwsim.serving.deployment import DEGREES, REGIONS, Deployment
from hwsim.serving.energy import around_pj, energy_pj, ways_j
from hwsim.serving.layers import Devices
from hwsim.serving.run import Run
from hwsim.trace import TABLES, Writer
from hwsim.units import pj_ceil
from hwsim.workload.table import RequestTable

COMPILER_FLAGS = "-O3 -ffp-contract=off"
# Columns of the core's request rows under the names of a trace.
RENAMED = {"prompt_tokens": "prompt", "output_tokens": "output", "cached_tokens": "cached"}


def provenance(deployment: Deployment, table: RequestTable, options: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes that let `hwsim rerun` repeat the run: resolved descriptions, trace, options, versions."""
    return {
        "hwsim_version": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "compiler_flags": COMPILER_FLAGS,
        "system": deployment.system.resolved(),
        "model": deployment.model.resolved(),
        "software": deployment.software.resolved(),
        "plan": plan_of(deployment),
        "precision": deployment.precision,
        "kv_dtype": deployment.kv_dtype,
        "trace_name": table.name,
        "trace_source": table.source,
        "trace_sha256": table.sha256,
        "trace_notes": list(table.notes),
        "options": dict(options),
        "defaults": dict(deployment.defaults),
    }


def plan_of(deployment: Deployment) -> dict[str, Any]:
    """The plan as `Plan` takes it, replicas counted, without what nobody asked for."""
    plan = deployment.plan
    asked = plan.model_dump(include={*DEGREES, *REGIONS, "routing", "offload_layers"}, exclude_none=True)
    if plan.offload is not None:
        asked["offload"] = to_plain(plan.offload._tree or resolve.part(plan.tree, ("offload",)))
    return asked | {"dp": deployment.placement.replicas}


class Recorder:
    """Writes the trace of a run.

    Parameters
    ----------
    path : str or Path
    deployment : Deployment
    attrs : mapping
        Of `provenance`.
    level : {"requests", "steps", "operators", "events"}
    """

    def __init__(self, path: str | Path, deployment: Deployment, attrs: Mapping[str, Any], level: str) -> None:
        self.deployment = deployment
        self.writer = Writer(path, attrs, level)

    def __enter__(self) -> Recorder:
        self.writer.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.writer.__exit__(*error)

    def rows(self, steps: np.ndarray, chunks: np.ndarray) -> None:
        """Take step and chunk rows as the core gives them."""
        if self.writer.wants("steps"):
            columns = {name: steps[name] for name in TABLES["steps"].columns if name in STEP_COLUMNS}
            self.writer.append("steps", columns)
        if self.writer.wants("events"):
            self.writer.append("events", {name: chunks[name] for name in CHUNK_COLUMNS})

    def finish(self, run: Run) -> dict[str, Any]:
        """Write requests, operators, tiers and KV pools; the totals that go with them are returned too."""
        totals = summary_totals(run)
        self.writer.append("requests", request_columns(run))
        self.writer.append("operators", operator_columns(run))
        self.writer.append("tiers", tier_columns(run))
        self.writer.append("kv", kv_columns(run))
        self.writer.set(totals)
        return totals


def request_columns(run: Run) -> dict[str, np.ndarray]:
    """Columns of the group `requests`: the core's, under the names of a trace."""
    of_core = {name: RENAMED.get(name, name) for name in TABLES["requests"].columns}
    return {name: run.requests[column] for name, column in of_core.items() if column in REQUEST_COLUMNS}


def summary_totals(run: Run) -> dict[str, Any]:
    """Totals that metrics need besides the rows: bound, energy, KV blocks, steps."""
    deployment = run.deployment
    makespan = int(run.requests["finish_ps"].max(initial=0))
    system, placement = deployment.system, deployment.placement
    bound = run.account.bound_ps(run.operators)
    chips = energy_pj(
        system.accelerator, run.operators, system.active, placement.tp, makespan, system.spares, placement.offload
    )
    busy = run.account.busy_ps // (placement.replicas * placement.stages)
    return {
        "bound_ps": [bound[name] for name in BOUND_CLASSES],
        "energy_pj": chips,
        "around_pj": around_pj(system, sum(chips.values()), makespan, busy),
        "gating": system.accelerator.power.gating,
        "kv_blocks": placement.kv_blocks - 1,
        "steps": run.account.steps,
    }


def operator_columns(run: Run) -> dict[str, Any]:
    """Columns of the group `operators`."""
    rows, tp = run.operators, run.deployment.placement.tp
    home = run.deployment.system.accelerator.home
    return {
        "name": [row["name"] for row in rows],
        "kind": [row["kind"] for row in rows],
        "calls": np.array([row["calls"] for row in rows], np.int64),
        "time_ps": np.array([row["time_ps"] for row in rows], np.int64),
        "energy_pj": np.array([ceil(row["energy_pj"] * tp) for row in rows], np.int64),
        "flops": _of_all([row["flops"] for row in rows], tp),
        "bytes": _of_all([row[f"{home}_bytes"] or row["link_bytes"] for row in rows], tp),
        "samples": np.array([row["samples"] for row in rows], np.int64),
        "bound_ps": np.array([[row[f"bound_{name}_ps"] for name in BOUND_CLASSES] for row in rows], np.int64),
    }


def tier_columns(run: Run) -> dict[str, Any]:
    """Columns of the group `tiers`: what passed each memory and the links to the other devices."""
    accelerator, placement = run.deployment.system.accelerator, run.deployment.placement
    tp = placement.tp
    capacity = accelerator.capacities()
    if placement.offload is not None:
        capacity[placement.offload.device.tier] = int(placement.offload.device.capacity)
    names = [tier for tier in TIERS if tier in capacity or tier in ("link", "host")]
    moved = {tier: sum(row[f"{tier}_bytes"] for row in run.operators) for tier in names}
    joules = ways_j(accelerator, run.operators, placement.offload)
    energies = [pj_ceil(joules[tier] * tp) for tier in names]
    return {
        "name": names,
        "capacity_bytes": _of_all([capacity.get(tier, 0) for tier in names], placement.devices * placement.replicas),
        "bytes": _of_all([moved[tier] for tier in names], tp),
        "energy_pj": np.array(energies, np.int64),
    }


def _of_all(amounts: Sequence[int], devices: Devices) -> np.ndarray:
    """Amounts of so many devices together, rounded up; what int64 cannot hold is its largest number."""
    return np.array([min(ceil(amount * devices), 2**63 - 1) for amount in amounts], np.int64)


def kv_columns(run: Run) -> dict[str, Any]:
    """Columns of the group `kv`: one pool a replica."""
    rules = run.rules
    replicas = np.arange(rules.replicas)
    peak, hits = np.zeros(rules.replicas, np.int64), np.zeros(rules.replicas, np.int64)
    np.maximum.at(peak, run.steps["replica"], run.steps["kv_used_blocks"])
    served = run.requests["cached"] > 0
    np.add.at(hits, run.requests["replica"][served], run.requests["cached"][served])
    return {
        "replica": replicas,
        "tier": [run.deployment.system.accelerator.home] * rules.replicas,
        "block_tokens": np.full(rules.replicas, rules.block_tokens),
        "blocks": np.full(rules.replicas, rules.kv_blocks - 1),
        "peak_blocks": peak,
        "hit_tokens": hits,
    }
