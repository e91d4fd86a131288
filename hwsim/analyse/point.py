"""One closed-loop serving point: so many users at once, each with a request of the same lengths after another.

The protocol of the usual serving benchmarks: all users ask at once, every completion is replaced at once, ten requests
a user are run and none is left out, so the mean time to first token has the initial burst in it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from math import ceil
from numbers import Integral
from typing import Any

import numpy as np

from hwsim import memo
from hwsim.analyse.of_run import measure
from hwsim.errors import Fault, InputError, bad
from hwsim.serving import closed_loop
from hwsim.serving.deployment import DEGREES, Deployment, compile
from hwsim.trace import BOUND_CLASSES

ROOMS = ("analyse", "trace", "workload")  # whose code a point depends on beside what all samples do
PS_PER_MS = 10**9
WHOLE = 10**12  # a share of 1 as it is kept
# Whole numbers of a case: the largest each may be.
MOST = dict.fromkeys(DEGREES, 1 << 20) | dict.fromkeys(("isl", "osl", "token_budget"), 1 << 24)
MOST |= dict.fromkeys(("concurrency", "max_num_seqs", "offload_layers"), 1 << 16)
# Demand for KV tokens over what there is: below the first nothing waits, above the second requests do; between them a
# few GB of memory decide.
BORDER = 0.75, 1.3


@dataclass(frozen=True)
class Case:
    """What is asked; 0 and empty mean the default of plan or software."""

    system: str
    model: str
    concurrency: int
    isl: int
    osl: int
    software: str = "ideal"
    precision: str = ""
    tp: int = 1
    pp: int = 1
    dp: int = 1
    ep: int = 1
    prefill_region: str = ""
    decode_region: str = ""
    routing: str = ""
    offload: str = ""
    offload_layers: int = 0
    kv_dtype: str = ""
    max_num_seqs: int = 0
    token_budget: int = 0

    @property
    def plan(self) -> str:
        """As `hwsim.compile` reads it."""
        names = ("tp", "pp", "dp", "ep", "prefill_region", "decode_region", "routing",
                 "offload", "offload_layers")  # fmt: skip
        return ",".join(f"{name}={getattr(self, name)}" for name in names if getattr(self, name))

    @property
    def deployment(self) -> tuple[object, ...]:
        """What points must have in common to share a deployment."""
        asked = ("concurrency", "isl", "osl")
        return tuple(getattr(self, field.name) for field in fields(self) if field.name not in asked)


@dataclass(frozen=True)
class Point:
    """What a point gives.

    Attributes
    ----------
    ttft_ms, tpot_ms : float
        Means over all requests; tpot is None for one output token.
    itl_p99_ms : float or None
        99th percentile of the time between two tokens of a user.
    tok_s, req_s : float
        Output tokens and requests a second of the whole system.
    tok_s_user : float or None
        1 / tpot.
    energy_j_token, power_w : float
        Of all accelerators: per output token; average.
    node_j_token, wall_j_token : float or None
        Per output token with hosts, and with the losses of supplies too; None where the system names no host.
    overload : str
        "no", "borderline" or "yes" with its rule: more KV tokens asked than there are, more users than slots.
    bound : str
        What limited most of the time.
    shares : dict of str to float
        Share of simulated time by bound class, summing to 1.
    parts : dict of str to float
        `energy_j_token` by part: static, active, bytes, flops.
    gating : str
        "unit": units without a program draw no active power. "none": all draw it as long as the system serves.
    """

    ttft_ms: float
    tpot_ms: float | None
    itl_p99_ms: float | None
    tok_s: float
    tok_s_user: float | None
    req_s: float
    energy_j_token: float
    power_w: float
    node_j_token: float | None
    wall_j_token: float | None
    overload: str
    bound: str
    shares: dict[str, float]
    parts: dict[str, float]
    gating: str


def point(system: str, model: str, concurrency: int, isl: int, osl: int, **more: object) -> Point:
    """Run one closed-loop point.

    Parameters
    ----------
    system, model : str
        Names of descriptions, e.g. "h100-sxm-x8", "llama-3.1-70b".
    concurrency : int
        Users.
    isl, osl : int
        Prompt and output tokens of every request.
    **more
        software ("ideal"), precision (of 16 bits), tp, pp, dp, ep (1), prefill_region, decode_region ("660x660"),
        routing ("uniform"), offload ("host-dram-pcie-5"), offload_layers, kv_dtype, max_num_seqs, token_budget.

    Raises
    ------
    InputError
        The point cannot run.

    Examples
    --------
    >>> import hwsim
    >>> found = hwsim.point("h100-sxm-x8", "llama-3.1-70b", 1, 64, 8, software="vllm", tp=8)  # doctest: +SKIP
    >>> found.bound  # doctest: +SKIP
    'hbm'
    """
    known = [field.name for field in fields(Case)]
    for name in more:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            cure = f"did you mean '{near[0]}'?" if near else ""
            raise bad("hwsim.point", f"'{name}'", "one of " + ", ".join(known), cure)
    case = Case(system, model, concurrency, isl, osl, **more)  # type: ignore[arg-type]
    _check_numbers(case)
    answer = next(iter(points([case])))[1]
    if isinstance(answer, InputError):
        raise answer
    return answer


def _check_numbers(case: Case) -> None:
    """Refuse numbers of a case that are none, or out of their range; a default may stay."""
    faults = []
    for field in fields(case):
        value, most = getattr(case, field.name), MOST.get(field.name)
        if most is None or (value == field.default and type(value) is int):
            continue
        is_whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not is_whole or not 1 <= int(value) <= most:
            got = repr(value) if isinstance(value, int) else f"{value!r:.60} of type {type(value).__name__}"
            faults.append(Fault(f"hwsim.point: {field.name}", got, f"a whole number from 1 to {most}"))
    if faults:
        raise InputError(faults)


def points(cases: Sequence[Case]) -> Iterator[tuple[int, Point | InputError]]:
    """Points with their numbers, deployment by deployment; those that cannot run come with the reason."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for number, case in enumerate(cases):
        groups.setdefault(case.deployment, []).append(number)
    for numbers in groups.values():
        try:
            served = Served(_compiled(cases[numbers[0]]))
        except InputError as error:
            yield from ((number, error) for number in numbers)
            continue
        for number in numbers:
            try:
                yield number, served.point(cases[number])
            except InputError as error:
                yield number, error
        served.kept.flush()


def _compiled(case: Case) -> Deployment:
    """The deployment of a case."""
    names = ("kv_dtype", "max_num_seqs", "token_budget")
    limits: dict[str, Any] = {name: getattr(case, name) or None for name in names}
    return compile(case.system, case.model, case.plan, case.software, precision=case.precision, **limits)


class Served:
    """A deployment and what is kept of its points: integers, from which a point's figures follow."""

    TIMES = ("ttft", "tpot", "itl", "makespan")
    PARTS = ("static", "active", "bytes", "flops")
    AROUND = ("host", "supply")

    def __init__(self, made: Deployment) -> None:
        self.made = made
        described = self.made.system, self.made.model, self.made.software, self.made.plan
        key = {"rounds": closed_loop.ROUNDS, "descriptions": [each.digest for each in described],
               "precision": self.made.precision, "kv_dtype": self.made.kv_dtype}  # fmt: skip
        energies = len(self.PARTS) + len(self.AROUND)
        self.kept = memo.Table(key, 3, len(self.TIMES) + energies + len(BOUND_CLASSES), ROOMS)

    def point(self, case: Case) -> Point:
        """A point from what is kept, else simulated; of the case, users and lengths count."""
        model = self.made.model
        if model.positions and case.isl + case.osl > model.positions:
            got = f"{case.isl} + {case.osl} tokens, prompt and output"
            raise bad("requests", got, f"at most the {model.positions} positions of {model.id}")
        question = np.array([[case.concurrency, case.isl, case.osl]], np.int64)
        found, numbers = self.kept.get(question)
        if not found[0]:
            numbers = self._simulated(case)[None]
            self.kept.put(question, numbers)
        first, last = len(self.TIMES), -len(BOUND_CLASSES)
        times, energies, around, bounds = np.split(numbers[0], (first, first + len(self.PARTS), last))
        ttft, tpot, itl, makespan = times.tolist()
        requests = closed_loop.ROUNDS * case.concurrency
        seconds, tokens = makespan / 1e12, requests * case.osl
        parts = {name: energy / 1e9 / tokens for name, energy in zip(self.PARTS, energies.tolist())}
        joules = int(energies.sum()) / 1e9
        node, wall = ((int(energies.sum()) + around.cumsum()) / 1e9 / tokens).tolist()
        known = self.made.system.host is not None
        return Point(
            ttft_ms=ttft / PS_PER_MS,
            tpot_ms=tpot / PS_PER_MS if tpot >= 0 else None,
            itl_p99_ms=itl / PS_PER_MS if itl >= 0 else None,
            tok_s=tokens / seconds,
            tok_s_user=1e12 / tpot if tpot > 0 else None,
            req_s=requests / seconds,
            energy_j_token=joules / tokens,
            power_w=joules / seconds,
            node_j_token=node if known else None,
            wall_j_token=wall if known else None,
            overload=overload(self.made, case),
            bound=BOUND_CLASSES[int(bounds.argmax())],
            shares={name: share / WHOLE for name, share in zip(BOUND_CLASSES, bounds.tolist())},
            parts=parts,
            gating=self.made.system.accelerator.power.gating,
        )

    def _simulated(self, case: Case) -> np.ndarray:
        """The numbers of a run: picoseconds, -1 where there is none; nanojoules; shares of time in 1e-12."""
        table = closed_loop.requests(case.concurrency, case.isl, case.osl)
        metrics = measure(closed_loop.serve(self.made, case.concurrency, table))
        times = (metrics.ttft.mean, metrics.tpot.mean, metrics.itl.p99)
        whole = [-1 if time is None else round(time) for time in times]
        energies = [metrics.energy_pj[name] // 1000 for name in self.PARTS]
        energies += [metrics.around_pj.get(name, 0) // 1000 for name in self.AROUND]
        bounds = [round(metrics.bound[name] * WHOLE) for name in BOUND_CLASSES]
        return np.array([*whole, metrics.makespan_ps, *energies, *bounds], np.int64)


def overload(deployment: Deployment, case: Case) -> str:
    """Whether requests of a point wait for KV blocks or slots whatever the speed, and by which rule."""
    placement, scheduler = deployment.placement, deployment.software.scheduler
    users = ceil(case.concurrency / placement.replicas)
    if users > scheduler.max_num_seqs:
        return f"yes: {users} users, {scheduler.max_num_seqs} slots"
    tokens = (placement.kv_blocks - 1) * scheduler.block_tokens
    asked = users * (case.isl + case.osl)
    if asked < BORDER[0] * tokens:
        return "no"
    word = "yes" if asked > BORDER[1] * tokens else "borderline"
    return f"{word}: {asked} of {tokens} KV tokens"
