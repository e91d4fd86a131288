"""`hwsim.replay`: load the traffic, run it on a deployment, keep its trace."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Any

from hwsim.describe import restore
from hwsim.describe.model import Model
from hwsim.describe.plan import Plan
from hwsim.describe.software import Software
from hwsim.describe.system import System
from hwsim.errors import bad, check_path, check_type
from hwsim.serving.deployment import Deployment, Kind, among, deploy
from hwsim.serving.record import Recorder, provenance
from hwsim.serving.run import Run, Watch, run
from hwsim.trace import LEVELS, Trace
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
    failures: str = "refuse",
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
    limit, rate_scale, seed, failures
        As `hwsim.workload.load`: first requests only, arrivals scaled, seed of a recipe, rows without output tokens.
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
    check_type("deployment", deployment, Deployment, "what hwsim.compile gives")
    check_type("requests", requests, (str, PathLike, RequestTable), "a request file, a recipe's name or a RequestTable")
    check_type("limit", limit, (int, NoneType), "a whole number of requests")
    check_type("seed", seed, int, "a whole number")
    if output is not None:
        check_path("output", output)
    if watch is not None and not callable(watch):
        raise bad("watch", f"{watch!r:.60}", "a function of the finished requests and of all")
    among("--record", record, LEVELS)
    if record != LEVELS[0] and not output:
        raise bad("--record", record, "a file to keep it in", "add -o OUT.h5")
    started = time.process_time()
    table = requests if isinstance(requests, RequestTable) else load(requests, limit, rate_scale, seed, failures)
    parsed = time.process_time() - started
    options = {
        "router": router,
        "seed": seed,
        "requests": limit,
        "rate_scale": str(rate_scale or 1),
        "failures": failures,
        "record": record,
    }
    return replace(_recorded(deployment, table, options, output, watch), cpu_parse_s=parsed)


def _recorded(
    deployment: Deployment,
    table: RequestTable,
    options: Mapping[str, Any],
    output: str | Path | None,
    watch: Watch | None = None,
) -> Run:
    """Run, and keep the trace where an output is named."""
    attrs = provenance(deployment, table, options)
    recorder = Recorder(output, deployment, attrs, options["record"]) if output else nullcontext()
    with recorder as kept:
        done = run(deployment, table, router=options["router"], sink=kept.rows if kept else None, watch=watch)
        _refuse_nothing_served(done)
        if kept:
            kept.finish(done)
    return done


def _refuse_nothing_served(done: Run) -> None:
    """A run in which no request fits is a mistake in the plan, not a result."""
    if done.refused == len(done.table):
        tokens, context = (done.rules.kv_blocks - 1) * done.rules.block_tokens, done.rules.context
        if done.beyond_context == len(done.table):
            got = f"{len(done.table)} requests, each longer than the {context:,} tokens of the model's context"
            cure = "choose a model of longer context"
            raise bad(done.deployment.model.id, got, "at least one request that fits", cure)
        raise bad(
            "KV cache",
            f"{len(done.table)} requests, each longer than the {tokens:,} tokens of a replica's KV cache",
            "at least one request that fits",
            "use more devices a replica, a smaller model or precision, or fp8 KV",
        )


def rerun(old: Trace, output: str | Path, requests_from: str | Path | None = None) -> Run:
    """Repeat a recorded run from the descriptions, the options and the request file that its trace names.

    Raises
    ------
    InputError
        The request file is gone or is not the one that was replayed; the trace was not written by a replay.
    """
    attrs = old.attrs
    missing = [name for name in ("system", "model", "software", "plan", "options", "trace_source") if name not in attrs]
    if missing:
        raise bad(str(old.path), f"a trace without {', '.join(missing)}", "a trace of hwsim replay")
    deployment = deploy(
        _restored(System, old),
        _restored(Model, old),
        _restored(Software, old),
        _plan(old),
        attrs["precision"],
        attrs["kv_dtype"],
    )
    options = attrs["options"]
    source = requests_from or attrs["trace_source"]
    table = load(source, *(options[name] for name in ("requests", "rate_scale", "seed", "failures")))
    if table.sha256 != attrs["trace_sha256"]:
        got = f"requests with sha256 {table.sha256[:12]}..."
        raise bad(str(source), got, f"those of the recorded run, {attrs['trace_sha256'][:12]}...")
    return _recorded(deployment, table, options, output)


def _plan(old: Trace) -> Plan:
    values = dict(old.attrs["plan"])
    if "offload" in values:
        values["offload"] = restore("device", values["offload"], str(old.path))
    return Plan(**values)


def _restored(cls: type[Kind], old: Trace) -> Kind:
    found = restore(cls.kind, old.attrs[cls.kind], str(old.path))
    assert isinstance(found, cls)
    return found
