"""`hwsim.replay`: load the traffic, run it on a deployment, keep its trace."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from hwsim.errors import bad
from hwsim.serving.deployment import Deployment
from hwsim.serving.record import Recorder, provenance
from hwsim.serving.run import Run, Watch, run
from hwsim.workload import load
from hwsim.workload.table import RequestTable


def replay(
    deployment: Deployment,
    requests: str | Path | RequestTable,
    *,
    output: str | Path | None = None,
    record: str = "requests",
    limit: int | None = None,
    rate_scale: Fraction | str | float | None = None,
    seed: int = 0,
    router: str = "round-robin",
    watch: Watch | None = None,
) -> Run:
    """Replay requests on a deployment.

    Parameters
    ----------
    deployment : Deployment
        Of `hwsim.compile`.
    requests : str, Path or RequestTable
        A request file, the name of a recipe, or a table that was loaded before.
    output : str or Path, optional
        HDF5 file of the result; none is written without it.
    record : {"requests", "steps", "operators", "events"}
        What the file keeps, each level all of the one before.
    limit, rate_scale, seed
        As `hwsim.workload.load`: first requests only, arrivals scaled, seed of a recipe.
    router : {"round-robin", "least-loaded"}
        How requests are split between replicas.
    watch : callable, optional
        Gets (finished, all) requests now and then.

    Returns
    -------
    Run
        `hwsim.measure(run)` gives its figures, `hwsim.summary(run)` the screen of `hwsim replay`.

    Raises
    ------
    InputError
        The traffic, the record level or the output cannot be used; nothing is written.
    """
    started = time.process_time()
    table = requests if isinstance(requests, RequestTable) else load(requests, limit, rate_scale, seed)
    parsed = time.process_time() - started
    options = {"router": router, "seed": seed, "requests": limit, "rate_scale": str(rate_scale or 1), "record": record}
    recorder = Recorder(output, deployment, provenance(deployment, table, options), record) if output else nullcontext()
    with recorder as kept:
        done = run(deployment, table, router=router, sink=kept.rows if kept else None, watch=watch)
        _refuse_nothing_served(done)
        if kept:
            kept.finish(done)
    return replace(done, cpu_parse_s=parsed)


def _refuse_nothing_served(done: Run) -> None:
    """A run in which no request fits is a mistake in the plan, not a result."""
    if done.refused == len(done.table):
        tokens = (done.rules.kv_blocks - 1) * done.rules.block_tokens
        raise bad(
            "KV cache",
            f"{len(done.table)} requests, each longer than the {tokens:,} tokens of a replica's KV cache",
            "at least one request that fits",
            "use more devices a replica, a smaller model or precision, or fp8 KV",
        )


def options_of(attrs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `replay` that a trace's attributes hold."""
    options = attrs["options"]
    return {
        "router": options["router"],
        "seed": options["seed"],
        "limit": options["requests"],
        "rate_scale": options["rate_scale"],
        "record": options["record"],
    }
