"""What a point is: a single operator, or requests through a deployment. A kind answers many points of one hardware.

Paths are *light* or *heavy*. Points that differ in light paths alone share what is dear: operators of one machine and
dtype run as one batch of programs, loads of one deployment share its cost tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hwsim._core.bounds import BOUND_CLASSES, TIERS
from hwsim.analyse.metrics import Metrics
from hwsim.analyse.of_run import measure
from hwsim.analyse.point import Case, Served
from hwsim.analyse.point_file import FIGURES
from hwsim.describe.plan import Plan
from hwsim.describe.study import Workload
from hwsim.errors import HwsimError, bad
from hwsim.operators.machine import Machine
from hwsim.operators.operator import DTYPES, kind_of
from hwsim.operators.simulate import OpResult, simulate
from hwsim.serving.deployment import Deployment, deploy
from hwsim.serving.run import Run, cells_ahead, rules_of, run
from hwsim.sweep.outputs import CLOSED, OPERATOR, SERVING, Outputs
from hwsim.sweep.variants import Assigned, Cache, Variants, root_of
from hwsim.workload import load
from hwsim.workload.recipe import draw
from hwsim.workload.table import RequestTable

# Roots that make a deployment.
DEPLOYED = ("system", "model", "software", "plan", "precision", "kv_dtype")
SCHEDULERS = 256  # deployments of one hardware that a worker keeps, which share all tables

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Answer(NamedTuple):
    """Values of the columns of a point (nan = none), and why it has none."""

    values: Floats
    error: str = ""


class Kind(Protocol):
    """A kind of points."""

    outputs: Outputs
    batch: int  # most points of one batch: what a kill can lose
    chunk: int  # most points of one task

    def is_light(self, path: str) -> bool:
        """Whether points that differ in this path share what is dear."""

    def content(self, assigned: Assigned) -> tuple[object, ...]:
        """What the answer of a point depends on; refuses what cannot be."""

    def expect(self, points: Sequence[Assigned]) -> None:
        """Hear which points will be asked next; answers do not depend on it."""

    def answer(self, heavy: Assigned, light: Sequence[Assigned]) -> Iterator[Answer]:
        """Answers of points that share their heavy values."""


def nothing(outputs: Outputs, error: str) -> Answer:
    """The answer of a point that failed."""
    return Answer(np.full(len(outputs), np.nan), error)


def reason(error: Exception) -> str:
    """Why a point failed, in one line."""
    text = str(error) if isinstance(error, HwsimError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


@dataclass
class OperatorPoints:
    """Single operators."""

    variants: Variants
    outputs: Outputs = field(default_factory=lambda: OPERATOR)
    batch: int = 512
    chunk: int = 512
    machines: Cache = field(default_factory=lambda: Cache(64))

    def is_light(self, path: str) -> bool:
        """The operator's dimensions."""
        return root_of(path) == "operator" and path not in ("operator.op", "operator.dtype")

    def content(self, assigned: Assigned) -> tuple[object, ...]:
        """Machine and operator."""
        op, dtype, dims = self._operator(assigned)
        return self.machine(assigned).key, op, dtype, tuple(sorted(dims.items()))

    def machine(self, assigned: Assigned) -> Machine:
        """The machine of a point."""
        system, software, protocol = (
            self.variants.description(root, assigned) for root in ("system", "software", "protocol")
        )
        key = tuple(each.digest for each in (system, software, protocol) if each)
        return self.machines.get(key, lambda: Machine.of(system.accelerator, software, protocol))  # type: ignore[union-attr]

    def expect(self, points: Sequence[Assigned]) -> None:
        """Nothing to prepare: a batch is simulated whole."""

    def _operator(self, assigned: Assigned) -> tuple[str, str, dict[str, Any]]:
        """Kind, dtype and dimensions of a point."""
        columns = dict(self.variants.plain("operator", assigned))
        op, dtype = str(columns.pop("op")), str(columns.pop("dtype", "bf16"))
        kind = kind_of(op, "operator.op")
        if dtype not in DTYPES:
            raise bad("operator.dtype", repr(dtype), "one of " + ", ".join(DTYPES))
        for name, value in columns.items():
            dim = next((dim for dim in kind.dims if dim.name == name), None)
            if dim is None and name not in kind.dtypes:
                known = ", ".join([dim.name for dim in kind.dims] + list(kind.dtypes))
                raise bad(f"operator.{name}", f"'{name}'", f"a dimension of {op}: {known}")
            if dim is not None and not dim.holds(value):
                raise bad(f"operator.{name}", repr(value), dim.wanted)
        missing = [dim for dim in kind.dims if dim.default is None and dim.name not in columns]
        if missing:
            raise bad("operator", f"no {missing[0].name}", f"{op} needs {missing[0].name} ({missing[0].meaning})")
        return op, dtype, columns

    def answer(self, heavy: Assigned, light: Sequence[Assigned]) -> Iterator[Answer]:
        """Answers of operators of one machine, kind and dtype, all in one batch."""
        try:
            machine = self.machine(heavy)
            op, dtype, _ = self._operator(heavy + light[0])
            rows = [self.variants.plain("operator", heavy + each) for each in light]
            names = [name for name in rows[0] if name not in ("op", "dtype")]
            dims = {name: np.array([row[name] for row in rows]) for name in names}
            result = simulate(machine, op, dims, dtype)
        except Exception as error:
            if len(light) == 1:
                yield nothing(self.outputs, reason(error))
                return
            for each in light:  # one of them is to blame: the others have answers
                yield from self.answer(heavy, [each])
            return
        values = _operator_values(machine, result)
        for row, error_text in zip(values, result.error):
            yield nothing(self.outputs, error_text) if error_text else Answer(row)


def _operator_values(machine: Machine, result: OpResult) -> Floats:
    """Columns of `OPERATOR`, float64[P, columns]."""
    time_s = result.time_ps / 1e12
    energy = result.energy_j(machine)
    none = np.zeros(len(time_s))
    columns = {
        "time_ns": result.time_ps / 1e3,
        "energy_j": energy,
        "power_w": energy / time_s,
        "flop": result.flops.astype(float),
        "flop_s": result.flops / time_s,
        **{f"{tier}_bytes": result.bytes.get(tier, none).astype(float) for tier in TIERS},
        "bound": np.argmax(result.bound, axis=1).astype(float),
    }
    return np.stack([columns[name] for name in OPERATOR], axis=1)


@dataclass
class ServingPoints:
    """Requests of a trace through a deployment: as they arrive, or in a closed loop of so many users."""

    variants: Variants
    outputs: Outputs = field(default_factory=lambda: SERVING)
    batch: int = 1
    chunk: int = 32
    costs: Cache = field(default_factory=lambda: Cache(4))
    machines: Cache = field(default_factory=lambda: Cache(4))
    deployments: Cache = field(default_factory=lambda: Cache(4))
    tables: Cache = field(default_factory=lambda: Cache(32))
    expected: list[Assigned] = field(default_factory=list)

    def is_light(self, path: str) -> bool:
        """What the requests are, and how they are scheduled; hardware and its cost tables stay."""
        scheduled = path.startswith("software.scheduler.")
        return scheduled or root_of(path) in ("workload", "trace", "recipe", "concurrency")

    def expect(self, points: Sequence[Assigned]) -> None:
        """Points whose steps are looked through for samples when one is missing."""
        self.expected = list(points)

    def ahead(self, first: Assigned) -> Ints:
        """Cells of steps that this point and all expected ones of its cost tables meet: simulated in one batch."""
        points, self.expected = [first, *self.expected], []
        steps, cells = self.deployment(first).costs.steps, []
        for point in points:
            try:
                made, table = self.deployment(point), self.table(point)
                rules = rules_of(made, table, *self._how(point))
            except HwsimError:  # its own answer will say so
                continue
            if made.costs.steps is steps:
                cells.append(cells_ahead(table, rules, made.costs))
        return np.unique(np.concatenate(cells))

    def _how(self, assigned: Assigned) -> tuple[str, int]:
        """Router and closed loop of a point."""
        return self.variants.plain("workload", assigned).router, self.variants.plain("concurrency", assigned) or 0

    def content(self, assigned: Assigned) -> tuple[object, ...]:
        """Descriptions and workload."""
        found = [self.variants.description(root, assigned) for root in ("system", "model", "plan", "software")]
        digests = tuple(each.digest for each in found if each)
        plain = tuple(self.variants.plain(root, assigned) for root in ("precision", "kv_dtype", "concurrency"))
        return digests, plain, self._traffic(assigned), self.variants.plain("workload", assigned)

    def _traffic(self, assigned: Assigned) -> tuple[str, str]:
        recipe = self.variants.description("recipe", assigned)
        return (recipe.digest if recipe else "", self.variants.plain("trace", assigned))

    def deployment(self, assigned: Assigned) -> Deployment:
        """The deployment of a point, with the cost tables that earlier points filled."""
        own = [item for item in assigned if root_of(item[0]) in DEPLOYED]
        heavy = tuple(item for item in own if not self.is_light(item[0]))
        of_hardware: Cache = self.deployments.get(heavy, lambda: Cache(SCHEDULERS))
        return of_hardware.get(tuple(own), lambda: self._deployed(own))

    def _deployed(self, assigned: Sequence[tuple[str, Any]]) -> Deployment:
        system, model, software, plan = (
            self.variants.description(root, assigned) for root in ("system", "model", "software", "plan")
        )
        precision, kv_dtype = (self.variants.plain(root, assigned) for root in ("precision", "kv_dtype"))
        chip = system.accelerator  # type: ignore[union-attr]
        runs = software.kernels_for(chip.generation), software.collectives  # type: ignore[union-attr]
        # The machine holds all three, so that no other object takes their place in memory.
        machine = self.machines.get((id(chip), *map(id, runs)), lambda: Machine.of(chip, software))
        return deploy(system, model, software, plan or Plan(), precision, kv_dtype, self.costs.get, machine)  # type: ignore[arg-type]

    def table(self, assigned: Assigned) -> RequestTable:
        """Requests of a point."""
        workload: Workload = self.variants.plain("workload", assigned)
        traffic = self._traffic(assigned)
        drawn = (*traffic, workload.requests, workload.seed, workload.failures)
        whole = self.tables.get(drawn, lambda: self._drawn(workload, assigned))
        return whole if workload.rate_scale == 1 else whole.scaled(Fraction(workload.rate_scale))

    def _drawn(self, workload: Workload, assigned: Assigned) -> RequestTable:
        recipe, trace = self.variants.description("recipe", assigned), self.variants.plain("trace", assigned)
        if recipe is not None:
            return draw(recipe, workload.requests, workload.seed)  # type: ignore[arg-type]
        return load(trace, workload.requests, None, workload.seed, workload.failures)

    def answer(self, heavy: Assigned, light: Sequence[Assigned]) -> Iterator[Answer]:
        """Answers of the loads of one deployment, one after the other."""
        for each in light:
            try:
                yield Answer(self._one(heavy + each))
            except Exception as error:
                yield nothing(self.outputs, reason(error))

    def _one(self, assigned: Assigned) -> Floats:
        workload: Workload = self.variants.plain("workload", assigned)
        deployment, table = self.deployment(assigned), self.table(assigned)
        router, users = self._how(assigned)
        done = run(deployment, table, router=router, concurrency=users, ahead=lambda: self.ahead(assigned))
        if done.refused == len(table):
            raise bad("KV cache", f"{len(table)} requests, none of which fits", "at least one request that fits")
        return _serving_values(done, measure(done, workload.slo or None), workload.seed)


def _serving_values(done: Run, found: Metrics, seed: int) -> Floats:
    """Columns of `SERVING`, float64[columns]."""
    nan = float("nan")
    energy, tokens = found.energy_j or nan, found.output_tokens
    shares = [found.bound.get(name, nan) for name in BOUND_CLASSES]
    columns: dict[str, float | int | None] = {
        name: getattr(found, name)
        for name in ("requests", "finished", "prompt_tokens", "output_tokens", "cached_tokens", "steps", "preemptions",
                     "makespan_s", "tokens_per_s", "requests_per_s")
    }  # fmt: skip
    columns |= {
        "tokens_per_s_user": 1e12 / found.tpot.mean if found.tpot.mean else nan,
        "tokens_per_s_device": found.tokens_per_s / done.deployment.system.count,
        "energy_j": energy,
        "energy_j_token": energy / tokens if tokens else nan,
        "power_w": energy / found.makespan_s if found.makespan_ps else nan,
        "kv_mean_share": found.kv.mean_share if found.kv else nan,
        "kv_peak_share": found.kv.peak_share if found.kv else nan,
        "seed": seed,
        "bound": int(np.argmax(shares)),
    }
    for name in ("ttft", "tpot", "itl", "e2e"):
        columns |= {f"{name}_{part}_ms": value for part, value in getattr(found, name).in_ms().items()}
    good = found.goodput
    columns |= {f"goodput_{name}": getattr(good, name, nan) for name in ("requests_per_s", "tokens_per_s", "share")}
    columns |= {f"bound_{name}": share for name, share in zip(BOUND_CLASSES, shares)}
    return np.array([nan if columns[name] is None else columns[name] for name in SERVING], float)


@dataclass
class ClosedPoints(ServingPoints):
    """Closed loops of requests of one length each: the points of `hwsim point`, equal to the bit."""

    outputs: Outputs = field(default_factory=lambda: CLOSED)
    served: Cache = field(default_factory=lambda: Cache(4))

    def _one(self, assigned: Assigned) -> Floats:
        workload: Workload = self.variants.plain("workload", assigned)
        made = self.deployment(assigned)
        served = self.served.get(id(made), lambda: Served(made))
        users = self.variants.plain("concurrency", assigned)
        found = served.point(Case("", "", users, workload.isl or 1, workload.osl or 1))
        served.kept.flush()
        columns: dict[str, Any] = {f"bound_{name}": share for name, share in found.shares.items()}
        columns |= {f"energy_{name}_j_token": energy for name, energy in found.parts.items()}
        columns |= {name: getattr(found, name) for name in FIGURES}
        columns["overload"] = CLOSED["overload"].labels.index(found.overload.partition(":")[0])
        columns["bound"] = BOUND_CLASSES.index(found.bound)
        return np.array([float("nan") if columns[name] is None else columns[name] for name in CLOSED], float)


KINDS_OF_POINTS: dict[str, type[Any]] = {
    "operator": OperatorPoints,
    "trace": ServingPoints,
    "concurrency": ClosedPoints,
}
