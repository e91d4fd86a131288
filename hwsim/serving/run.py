"""Requests through a deployment, step by step in the core; missing samples are simulated on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hwsim._core import serve_types as types
from hwsim._core.serve import ServeRun
from hwsim.errors import HwsimError
from hwsim.serving.account import Account
from hwsim.serving.costs import CostTables
from hwsim.serving.deployment import Deployment
from hwsim.units import ps_ceil
from hwsim.workload.table import RequestTable

STEP_ROWS, CHUNK_ROWS = 1 << 16, 1 << 16
LOOK_AHEAD = 32  # cells simulated on their own before the rest of the run is looked through for more

Ahead = Callable[[], np.ndarray]  # cells of the table of steps
Watch = Callable[[int, int], None]  # finished requests, all requests
Sink = Callable[[np.ndarray, np.ndarray], None]  # STEP_DTYPE rows, CHUNK_DTYPE rows


# Columns of the steps that every run keeps, whatever it records: metrics and pictures need them.
KEPT = ("replica", "lane", "start_ps", "end_ps", "n_decode", "n_last", "kv_used_blocks", "running", "waiting")


@dataclass
class Run:
    """What a replay gives.

    Attributes
    ----------
    deployment : Deployment
    table : RequestTable
    rules : serve_types.Rules
    requests : REQUEST_DTYPE[n]
        Times of every request in picoseconds; -1 where it was refused.
    steps : dict of str to int64[m]
        The columns `KEPT` of every step.
    account : Account
        Sums over the steps.
    preemptions, refused : int
    cpu_sim_s, cpu_replay_s, cpu_parse_s : float
        Process time spent in simulating samples, in the rest of the replay, and before it in reading the requests.
    """

    deployment: Deployment
    table: RequestTable
    rules: types.Rules
    requests: np.ndarray
    steps: dict[str, np.ndarray]
    account: Account
    preemptions: int
    refused: int
    cpu_sim_s: float
    cpu_replay_s: float
    cpu_parse_s: float = 0.0

    @property
    def beyond_context(self) -> int:
        """Requests that were refused since prompt and output are longer than the model's context."""
        return int(self.rules.beyond_context(self.table.prompt_tokens, self.table.output_tokens).sum())

    @cached_property
    def operators(self) -> list[dict[str, Any]]:
        """One row an operator, summed over the run: see `Account.operators`."""
        return self.account.operators()


def rules_of(
    deployment: Deployment, table: RequestTable, router: str = "round-robin", concurrency: int = 0
) -> types.Rules:
    """The scheduler's rules as the core takes them: the software profile's, with the KV blocks of the placement."""
    scheduler, placement = deployment.software.scheduler, deployment.placement
    return types.Rules(
        token_budget=scheduler.token_budget,
        max_num_seqs=scheduler.max_num_seqs,
        kv_blocks=placement.kv_blocks,
        block_tokens=scheduler.block_tokens,
        async_depth=scheduler.async_depth if placement.stages == 1 else placement.stages,
        stages=placement.stages,
        scheduler=scheduler.kind,
        reserve={"prompt+output": "output"}.get(scheduler.reserve, scheduler.reserve),
        prefix_caching=bool(scheduler.prefix_cache and table.prefix_block_tokens),
        replicas=placement.replicas,
        router=router,
        frontend_ps=ps_ceil(deployment.software.overheads.frontend),
        concurrency=concurrency,
        context=deployment.model.positions,
        micro_batches=scheduler.micro_batches,
    )


def run(
    deployment: Deployment,
    table: RequestTable,
    *,
    router: str = "round-robin",
    concurrency: int = 0,
    sink: Sink | None = None,
    watch: Watch | None = None,
    ahead: Ahead | None = None,
) -> Run:
    """Replay requests on a deployment.

    Parameters
    ----------
    deployment : Deployment
    table : RequestTable
    router : {"round-robin", "least-loaded"}
        How requests are split between replicas.
    concurrency : int
        0 = requests arrive as their table says; c = closed loop with c requests in flight.
    sink : callable, optional
        Gets the step and chunk rows as they come.
    watch : callable, optional
        Gets (finished, all) requests now and then.
    ahead : callable, optional
        Cells of steps to simulate when the first is missing, in place of those this run meets: other runs follow.

    Raises
    ------
    HwsimError
        The core stopped for a reason that is an error of hwsim.
    """
    started = time.process_time()
    rules = rules_of(deployment, table, router, concurrency)
    costs = deployment.costs
    core = ServeRun(_core_requests(table), rules, costs.core)
    account = Account(costs)
    kept: dict[str, list[np.ndarray]] = {name: [] for name in KEPT}
    steps, chunks = np.zeros(STEP_ROWS, types.STEP_DTYPE), np.zeros(CHUNK_ROWS, types.CHUNK_DTYPE)
    missing = _Missing(costs, lambda first: ahead() if ahead and first else cells_ahead(table, rules, costs))
    n_steps = n_chunks = 0
    status = -1
    while status != types.DONE:
        status = core.run(steps[n_steps:], chunks[n_chunks:])
        n_steps, n_chunks = n_steps + core.n_steps, n_chunks + core.n_chunks
        if status == types.MISSING:
            missing.fill(core.missing())
            continue
        if status not in (types.DONE, types.BUFFER_FULL):
            raise HwsimError(f"the serving core stopped ({types.STATUS_NAMES[status]}) at {core.step_in_hand()}")
        rows = steps[:n_steps], chunks[:n_chunks]
        account.add(*rows)
        for name in KEPT:
            kept[name].append(rows[0][name].copy())
        if sink is not None:
            sink(*rows)
        if watch is not None:
            watch(core.finished, len(table))
        n_steps = n_chunks = 0
    costs.flush()
    return Run(
        deployment=deployment,
        table=table,
        rules=rules,
        requests=core.requests(),
        steps={name: np.concatenate([*parts, np.zeros(0, np.int64)]) for name, parts in kept.items()},
        account=account,
        preemptions=core.preemptions,
        refused=core.refused,
        cpu_sim_s=missing.cpu_s,
        cpu_replay_s=time.process_time() - started - missing.cpu_s,
    )


@dataclass
class _Missing:
    """Simulates samples that a run lacks; now and then the cells of steps that the rest of it will meet beside them.

    Attributes
    ----------
    costs : CostTables
    foreseen : callable
        Cells that a run meets; its argument says whether they are asked for the first time.
    asked : int
        Times that cells of steps were missing.
    cpu_s : float
        Process time spent.
    """

    costs: CostTables
    foreseen: Callable[[bool], np.ndarray]
    asked: int = 0
    cpu_s: float = 0.0

    def fill(self, missing: np.ndarray) -> None:
        """Simulate samples, named as the core names them."""
        before = time.process_time()
        if self.costs.steps is not None and np.any(missing[:, 0] == types.STEP):
            if self.asked % LOOK_AHEAD == 0:
                self.costs.steps.fill(self.foreseen(not self.asked))
            self.asked += 1
        self.costs.fill(missing)
        self.cpu_s += time.process_time() - before


def cells_ahead(table: RequestTable, rules: types.Rules, costs: CostTables) -> np.ndarray:
    """Cells of the table of steps that a run meets, where those without a sample are guessed by the closed form.

    Simulating them in one batch costs a fifth of simulating each when the run comes to it. The true run asks for what
    this one did not foresee.
    """
    scout = ServeRun(_core_requests(table), rules, costs.core)
    scout.guess = True
    steps, chunks = np.zeros(STEP_ROWS, types.STEP_DTYPE), np.zeros(CHUNK_ROWS, types.CHUNK_DTYPE)
    cells, status = [np.zeros(0, np.int64)], -1
    while status != types.DONE:
        status = scout.run(steps, chunks)
        rows = steps[: scout.n_steps]
        cells += [np.unique(rows[name][rows[name] >= 0]) for name in ("cell", "decode_cell")]
        if status == types.MISSING:
            costs.fill(scout.missing())
    return np.unique(np.concatenate(cells))


def _core_requests(table: RequestTable) -> types.Requests:
    return types.Requests(
        table.arrival_ps,
        table.prompt_tokens,
        table.output_tokens,
        table.prefix_offset,
        table.prefix_ids,
        table.prefix_block_tokens,
    )
