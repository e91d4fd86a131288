"""Measured average power of serving GPUs against the energy counts of simulated steps.

A row of `llm_points.csv` is a server under a steady load: so many requests in flight, a mean output, tokens a second,
watts of all its GPUs. The same load is run in a closed loop. What it spent per output token beside static power (units
that hold kernels, FLOPs, bytes) gives two answers: the power at the MEASURED token rate, which tests the energy alone;
and the power at the simulated rate, end to end. Neither is more than the limit of the chips, and units cannot be busy
for longer than the time there is.

At the measured rate it is open how long kernels ran within a measured step: only the step's time is known. Rows of one
server that differ in users alone tell: what grows with the kernels' work is kernels, what does not is the host. So
units were busy for `stretch` times what was simulated, the slope of measured steps over simulated busy time. It is a
number a server, from times and never from power; it is not below 1. Errors as `counted` go without it.

Models of experts are those that hwsim serves: Qwen3's. Prompt lengths are not in the data: PROMPT.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hwsim.analyse.of_run import measure
from hwsim.describe import load
from hwsim.serving import closed_loop
from hwsim.serving.deployment import Deployment, compile
from hwsim.validate.published import read
from hwsim.workload.table import RequestTable

METRIC, RATE_METRIC, WALL_METRIC = "avg_power_W", "median_itl_ms", "system_power_W"
FILE = "llm_points.csv"
STEADY, STATIC = "ml.energy", "static batch"
PROMPT = 350  # tokens, assumed for chats and questions alike
ROUNDS = 3  # requests a user
FULL = 0.9  # share of the limit above which a row tells little: any model of a limit is right there
AGREES = 1.5  # simulated over measured rate, either way: beyond it the server ran another step than ours
CLOSE = 0.2
NAIVE = 0.7  # of the limit: what somebody without a model would say
GOLDEN = 0.6180339887498949  # fractions of its multiples fill 0..1 evenly

CHIPS = {"A100": "a100-sxm-40gb", "H100-SXM": "h100-sxm", "B200-SXM": "b200-sxm"}
WALL_SYSTEMS = {"NVIDIA B200-SXM-180GB": "b200-sxm-x8"}
MODELS = {
    "Llama-2-7b-hf": "llama-2-7b",
    "Meta-Llama-3-8B": "llama-3-8b",
    "Llama-3.1-8B-Instruct": "llama-3.1-8b",
    "Llama-3.1-70B-Instruct": "llama-3.1-70b",
    "Llama-3.3-70B-Instruct": "llama-3.1-70b",  # the same dimensions
    "Llama-3.1-405B-Instruct": "llama-3.1-405b",
    "Llama-3.1-405B-Instruct-FP8": "llama-3.1-405b",
    "Qwen3-8B": "qwen3-8b",
    "Qwen3-32B": "qwen3-32b",
}
EXPERTS = {
    "Qwen3-30B-A3B-Instruct-2507": "qwen3-30b-a3b",
    "Qwen3-235B-A22B-Instruct-2507": "qwen3-235b-a22b",
    "Qwen3-235B-A22B-Instruct-2507-FP8": "qwen3-235b-a22b",
}
PRECISIONS = {"bfloat16": "bf16", "fp8": "fp8", "fp16": "fp16"}
KEY = ("system", "n_devices", "model", "precision", "parallelism", "scenario", "batch_or_concurrency")


@dataclass(frozen=True)
class Case:
    """A measured row.

    Attributes
    ----------
    source : str
        "ml.energy": a server under steady load. "static batch": a batch alone from start to end.
    chip, model, precision, software : str
        Names of descriptions.
    devices, ep, users, prompt, output : int
        GPUs of one tensor-parallel group and how many of them share whole experts; requests in flight in the mean;
        tokens of a request in the mean.
    rate : float
        Output tokens a second, measured.
    watts : float
        Of all GPUs.
    """

    source: str
    chip: str
    model: str
    precision: str
    software: str
    scenario: str
    devices: int
    ep: int
    users: int
    prompt: int
    output: int
    rate: float
    watts: float

    @property
    def deployment(self) -> tuple[object, ...]:
        """What cases must have in common to share a deployment."""
        return (self.chip, self.model, self.precision, self.software, self.devices, self.ep)

    @property
    def experts(self) -> bool:
        """Whether the model has experts."""
        return self.model in EXPERTS.values()

    @property
    def server(self) -> tuple[object, ...]:
        """What rows have in common that differ in users alone."""
        return (*self.deployment, self.scenario)


def cases(folder: Path) -> list[Case]:
    """Rows of models that are served, with measured power of a folder's `llm_points.csv`."""
    rows = read(folder / FILE)
    rates = {_key(row): row["notes"] for row in rows if row["metric"] == RATE_METRIC}
    models = MODELS | EXPERTS
    known = (row for row in rows if row["metric"] == METRIC and row["model"] in models and row["system"] in CHIPS)
    return [case for row in known for case in _case(row, rates.get(_key(row), ""))]


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in KEY)


def _case(row: Mapping[str, str], beside: str) -> Iterator[Case]:
    """A row as a case, with the notes of its row of times; rows without a rate are left out."""
    common = CHIPS[row["system"]], (MODELS | EXPERTS)[row["model"]], PRECISIONS[row["precision"]]
    devices, batch, output = (int(row[name]) for name in ("n_devices", "batch_or_concurrency", "output_len"))
    shared = re.search(r"EP(\d+)", row["parallelism"])
    shares, watts = (devices, int(shared[1]) if shared else 1), float(row["value"])
    if found := re.search(r"avg running batch ([\d.]+).* ([\d.]+) output tok/s", beside):
        users, rate = max(1, round(float(found[1]))), float(found[2])
        yield Case(STEADY, *common, "vllm-0.11", row["scenario"], *shares, users, PROMPT, output, rate, watts)
    elif found := re.search(r"e2e latency ([\d.]+)s", row["notes"]):
        software = "trtllm-2024" if "TensorRT" in row["scenario"] else "vllm-2024"
        rate = batch * output / float(found[1])
        prompt = int(row["input_len"])
        yield Case(STATIC, *common, software, row["scenario"], *shares, batch, prompt, output, rate, watts)


class Errors(NamedTuple):
    """Relative errors of power: at the measured rate, there with units as busy as counted, end to end, of a guess."""

    rate: float
    counted: float
    whole: float
    naive: float


@dataclass(frozen=True)
class Answer:
    """A case with what was simulated.

    Attributes
    ----------
    limit, static, busiest : float
        Watts of all devices: their limit, static power, all units busy.
    active, flops, bytes : float
        Joules per output token: of units that hold kernels, of FLOPs, of bytes.
    rate : float
        Output tokens a second, simulated.
    stretch : float
        How many times as long kernels ran as simulated, in the server that was measured.
    """

    case: Case
    limit: float
    static: float
    busiest: float
    active: float
    flops: float
    bytes: float
    rate: float
    stretch: float = 1.0

    def watts(self, rate: float, stretch: float = 1.0) -> float:
        """Power at a token rate, units busy for so many times as long as simulated."""
        active = min(self.busiest, stretch * self.active * rate)
        return min(self.limit, self.static + active + (self.flops + self.bytes) * rate)

    @property
    def measured_rate(self) -> float:
        """Power at the measured rate."""
        return self.watts(self.case.rate, self.stretch)

    @property
    def errors(self) -> Errors:
        """Against the measured power."""
        said = self.measured_rate, self.watts(self.case.rate), self.watts(self.rate), NAIVE * self.limit
        return Errors(*(watts / self.case.watts - 1 for watts in said))

    @property
    def step(self) -> tuple[float, float]:
        """Seconds a step: that units were busy, simulated, and whole, measured."""
        return self.case.users * self.active / self.busiest, self.case.users / self.case.rate

    @property
    def full(self) -> bool:
        """Whether the measured row is near the limit."""
        return self.case.watts > FULL * self.limit


def answers(of: Iterable[Case]) -> Iterator[Answer]:
    """All cases simulated, those of a deployment together."""
    groups: dict[tuple[object, ...], list[Case]] = {}
    for case in of:
        groups.setdefault(case.deployment, []).append(case)
    for group in groups.values():
        loads = _Loads(group)
        found = [loads.answer(case) for case in group]
        for answer in found:
            own = [other.step for other in found if other.case.server == answer.case.server]
            yield replace(answer, stretch=stretch(own))


def stretch(steps: list[tuple[float, float]]) -> float:
    """How many times as fast measured steps grow as the busy time simulated: the median of all pairs, 1 or more."""
    pairs = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(steps, 2) if a[0] != b[0]]
    return max(1.0, float(np.median(pairs))) if pairs else 1.0


class _Loads:
    """Loads of one deployment, sized for the largest of them."""

    def __init__(self, group: list[Case]) -> None:
        self.first, self.most = group[0], max(case.users for case in group)

    @cached_property
    def made(self) -> Deployment:
        case = self.first
        system, plan = f"{case.chip}-x{case.devices}", f"tp={case.devices},ep={case.ep}"
        return compile(
            system, case.model, plan, case.software, precision=case.precision, max_num_seqs=max(self.most, 64)
        )

    def answer(self, case: Case) -> Answer:
        """Run a load and read its energy counts."""
        found = measure(closed_loop.serve(self.made, case.users, requests(case)))
        power, parts = self.made.system.accelerator.power, found.energy_pj
        units = self.made.system.accelerator.units.tensor.count
        per_token = 1e12 * found.output_tokens
        return Answer(
            case,
            limit=case.devices * float(power.limit),
            static=case.devices * float(power.static),
            busiest=case.devices * float(power.active_per_unit * units),
            active=parts["active"] / per_token,
            flops=parts["flops"] / per_token,
            bytes=parts["bytes"] / per_token,
            rate=found.tokens_per_s,
        )


def requests(case: Case) -> RequestTable:
    """The load of a case: outputs between half and one and a half of their mean, so that prompts come at all times."""
    if case.source == STATIC:
        output = np.full(case.users, case.output)
    else:
        spread = np.arange(1, case.users * ROUNDS + 1) * GOLDEN % 1
        output = np.rint(case.output * (0.5 + spread)).astype(np.int64)
    return closed_loop.requests(case.users, case.prompt, output)


@dataclass(frozen=True)
class Wall:
    """A measured server at the wall, and the most that hwsim has for it: chips at their limit, the host at work."""

    label: str
    watts: float
    most: float


def walls(folder: Path) -> list[Wall]:
    """Servers measured at the wall (MLPerf); how much of it their chips drew is not published."""
    rows = (row for row in read(folder / FILE) if row["metric"] == WALL_METRIC and row["system"] in WALL_SYSTEMS)
    return [_wall(row) for row in rows]


def _wall(row: Mapping[str, str]) -> Wall:
    name = WALL_SYSTEMS[row["system"]]
    system: Any = load(name, "system")
    chips = float(system.count * system.accelerator.power.limit)
    around = float(system.nodes * (system.host.idle + system.host.active))
    label = f"{name}, {row['model']}, {row['scenario']}"
    return Wall(label, float(row["value"]), (chips + around) / float(system.host.supply))
