"""`hwsim.replay`: requests through a deployment, step by step in the core, into a trace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hwsim._core import serve_types as types
from hwsim._core.serve import ServeRun
from hwsim.errors import HwsimError
from hwsim.serving.account import Account
from hwsim.serving.deployment import Deployment
from hwsim.units import ps_ceil
from hwsim.workload.table import RequestTable

STEP_ROWS, CHUNK_ROWS = 1 << 16, 1 << 16

Watch = Callable[[int, int], None]  # finished requests, all requests
Sink = Callable[[np.ndarray, np.ndarray], None]  # STEP_DTYPE rows, CHUNK_DTYPE rows


@dataclass
class Run:
    """What a replay gives.

    Attributes
    ----------
    deployment : Deployment
    table : RequestTable
    requests : REQUEST_DTYPE[n]
        Times of every request in picoseconds; -1 where it was refused.
    account : Account
        Sums over the steps.
    intervals_ps, weights : int64[steps]
        Time since the replica's last step, and how many decodes waited for it: the inter-token latencies.
    preemptions, refused : int
    cpu_sim_s, cpu_replay_s : float
        Process time spent in simulating samples, and in the rest.
    """

    deployment: Deployment
    table: RequestTable
    requests: np.ndarray
    account: Account
    intervals_ps: np.ndarray
    weights: np.ndarray
    preemptions: int
    refused: int
    cpu_sim_s: float
    cpu_replay_s: float

    @property
    def makespan_ps(self) -> int:
        """From the first arrival to the last token."""
        return int(self.requests["finish_ps"].max(initial=0))


@dataclass
class _Intervals:
    """Inter-token latencies from step rows that come in parts."""

    replicas: int
    last_end: np.ndarray = field(init=False)
    gaps: list[np.ndarray] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last_end = np.full(self.replicas, -1, np.int64)

    def add(self, steps: np.ndarray) -> None:
        for replica in range(self.replicas):
            rows = steps[steps["replica"] == replica] if self.replicas > 1 else steps
            if not len(rows):
                continue
            before = np.concatenate([self.last_end[replica : replica + 1], rows["end_ps"][:-1]])
            decoding = (rows["n_decode"] > 0) & (before >= 0)
            self.gaps.append((rows["end_ps"] - before)[decoding])
            self.weights.append(rows["n_decode"][decoding].astype(np.int64))
            self.last_end[replica] = rows["end_ps"][-1]


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
        async_depth=scheduler.async_depth,
        scheduler=scheduler.kind,
        reserve={"prompt+output": "output"}.get(scheduler.reserve, scheduler.reserve),
        prefix_caching=bool(scheduler.prefix_cache and table.prefix_block_tokens),
        replicas=placement.replicas,
        router=router,
        frontend_ps=ps_ceil(deployment.software.overheads.frontend),
        concurrency=concurrency,
    )


def run(
    deployment: Deployment,
    table: RequestTable,
    *,
    router: str = "round-robin",
    concurrency: int = 0,
    sink: Sink | None = None,
    watch: Watch | None = None,
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

    Raises
    ------
    HwsimError
        The core stopped for a reason that is an error of hwsim.
    """
    started = time.process_time()
    rules = rules_of(deployment, table, router, concurrency)
    costs = deployment.costs
    core = ServeRun(_core_requests(table), rules, costs.core(rules))
    account, intervals = Account(costs), _Intervals(rules.replicas)
    steps, chunks = np.zeros(STEP_ROWS, types.STEP_DTYPE), np.zeros(CHUNK_ROWS, types.CHUNK_DTYPE)
    simulating, status = 0.0, -1
    while status != types.DONE:
        status = core.run(steps, chunks)
        if core.n_steps or core.n_chunks:
            rows = steps[: core.n_steps], chunks[: core.n_chunks]
            account.add(*rows)
            intervals.add(rows[0])
            if sink is not None:
                sink(*rows)
        if status == types.MISSING:
            before = time.process_time()
            costs.fill(core.missing())
            simulating += time.process_time() - before
        elif status not in (types.DONE, types.BUFFER_FULL):
            raise HwsimError(f"the serving core stopped ({types.STATUS_NAMES[status]}) at {core.step_in_hand()}")
        if watch is not None:
            watch(core.finished, len(table))
    costs.flush()
    return Run(
        deployment,
        table,
        core.requests(),
        account,
        np.concatenate([*intervals.gaps, np.zeros(0, np.int64)]),
        np.concatenate([*intervals.weights, np.zeros(0, np.int64)]),
        core.preemptions,
        core.refused,
        simulating,
        time.process_time() - started - simulating,
    )


def _core_requests(table: RequestTable) -> types.Requests:
    return types.Requests(
        table.arrival_ps,
        table.prompt_tokens,
        table.output_tokens,
        table.prefix_offset,
        table.prefix_ids,
        table.prefix_block_tokens,
    )
