"""Measured average power of serving GPUs against the energy counts of simulated steps.

A row of `llm_points.csv` is a server under a steady load: so many requests in flight, a mean output, tokens a second,
watts of all its GPUs. The same load is run in a closed loop. What it spent per output token beside static power (units
that hold kernels, FLOPs, bytes) gives two answers: the power at the MEASURED token rate, which tests the energy alone;
and the power at the simulated rate, end to end. Neither is more than the limit of the chips, and units cannot be busy
for longer than the time there is.

Only dense models are simulated. Prompt lengths are not in the data: PROMPT.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from hwsim.analyse.of_run import measure
from hwsim.errors import bad
from hwsim.serving.deployment import Deployment, compile
from hwsim.serving.run import run
from hwsim.workload.table import RequestTable

METRIC, RATE_METRIC = "avg_power_W", "median_itl_ms"
PROMPT = 350  # tokens, assumed for chats and questions alike
ROUNDS = 3  # requests a user
FULL = 0.9  # share of the limit above which a row tells little: any model of a limit is right there
AGREES = 1.5  # simulated over measured rate, either way: beyond it the server ran another step than ours
CLOSE = 0.2
NAIVE = 0.7  # of the limit: what somebody without a model would say
GOLDEN = 0.6180339887498949  # fractions of its multiples fill 0..1 evenly

CHIPS = {"A100": "a100-sxm", "H100-SXM": "h100-sxm", "B200-SXM": "b200-sxm"}
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
    devices, users, prompt, output : int
        GPUs of one tensor-parallel group; requests in flight in the mean; tokens of a request in the mean.
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
    users: int
    prompt: int
    output: int
    rate: float
    watts: float

    @property
    def deployment(self) -> tuple[object, ...]:
        """What cases must have in common to share a deployment."""
        return (self.chip, self.model, self.precision, self.software, self.devices)


def cases(folder: Path) -> list[Case]:
    """Rows of dense models with measured power of a folder's `llm_points.csv`."""
    path = folder / "llm_points.csv"
    if not path.is_file():
        raise bad(str(path), "no such file", "a folder with the measured tables", "name it with --measured")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rates = {_key(row): row["notes"] for row in rows if row["metric"] == RATE_METRIC}
    known = (row for row in rows if row["metric"] == METRIC and row["model"] in MODELS and row["system"] in CHIPS)
    return [case for row in known for case in _case(row, rates.get(_key(row), ""))]


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in KEY)


def _case(row: Mapping[str, str], beside: str) -> Iterator[Case]:
    """A row as a case, with the notes of its row of times; rows without a rate are left out."""
    common = CHIPS[row["system"]], MODELS[row["model"]], PRECISIONS[row["precision"]]
    devices, batch, output = (int(row[name]) for name in ("n_devices", "batch_or_concurrency", "output_len"))
    watts = float(row["value"])
    if found := re.search(r"avg running batch ([\d.]+).* ([\d.]+) output tok/s", beside):
        users, rate = max(1, round(float(found[1]))), float(found[2])
        yield Case("ml.energy", *common, "vllm", row["scenario"], devices, users, PROMPT, output, rate, watts)
    elif found := re.search(r"e2e latency ([\d.]+)s", row["notes"]):
        software = "trtllm" if "TensorRT" in row["scenario"] else "vllm"
        rate = batch * output / float(found[1])
        prompt = int(row["input_len"])
        yield Case("static batch", *common, software, row["scenario"], devices, batch, prompt, output, rate, watts)


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
    """

    case: Case
    limit: float
    static: float
    busiest: float
    active: float
    flops: float
    bytes: float
    rate: float

    def watts(self, rate: float) -> float:
        """Power at a token rate."""
        return min(self.limit, self.static + min(self.busiest, self.active * rate) + (self.flops + self.bytes) * rate)

    @property
    def errors(self) -> tuple[float, float, float]:
        """Relative errors: at the measured rate, end to end, of a constant share of the limit."""
        said = self.watts(self.case.rate), self.watts(self.rate), NAIVE * self.limit
        return tuple(watts / self.case.watts - 1 for watts in said)  # type: ignore[return-value]

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
        yield from map(loads.answer, group)


class _Loads:
    """Loads of one deployment, sized for the largest of them."""

    def __init__(self, group: list[Case]) -> None:
        self.first, self.most = group[0], max(case.users for case in group)

    @cached_property
    def made(self) -> Deployment:
        case = self.first
        system, plan = f"{case.chip}-x{case.devices}", f"tp={case.devices}"
        return compile(
            system, case.model, plan, case.software, precision=case.precision, max_num_seqs=max(self.most, 64)
        )

    def answer(self, case: Case) -> Answer:
        """Run a load and read its energy counts."""
        found = measure(run(self.made, requests(case), concurrency=case.users))
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
    if case.source == "static batch":
        output = np.full(case.users, case.output)
    else:
        spread = np.arange(1, case.users * ROUNDS + 1) * GOLDEN % 1
        output = np.rint(case.output * (0.5 + spread)).astype(np.int64)
    zero = np.zeros(len(output), np.int64)
    return RequestTable.of(zero, zero + case.prompt, output, name=f"{case.users} users", format="closed-loop")


def table(found: list[Answer]) -> str:
    """A line a row, then the errors of groups of rows."""
    head = f"{'source':<12} {'system':<12} {'model':<14} {'dtype':<5} {'users':>5} {'rate t/s':>9} {'sim t/s':>9} "
    lines = [head + f"{'W':>7} {'of limit':>8} {'at rate':>8} {'%':>6} {'e2e':>7} {'%':>6}  scenario"]
    lines += [_line(answer) for answer in found]
    return "\n".join([*lines, "", *summary(found)])


def _line(answer: Answer) -> str:
    case, (measured, simulated, _) = answer.case, answer.errors
    watts = f"{answer.watts(case.rate):>8.0f} {100 * measured:>+6.1f} {answer.watts(answer.rate):>7.0f}"
    return (
        f"{case.source:<12} {f'{case.chip}-x{case.devices}':<12} {case.model:<14} {case.precision:<5} {case.users:>5} "
        f"{case.rate:>9.0f} {answer.rate:>9.0f} {case.watts:>7.0f} {case.watts / answer.limit:>8.2f} "
        f"{watts} {100 * simulated:>+6.1f}  {case.scenario}"
    )


def summary(found: list[Answer]) -> Iterator[str]:
    """Median and 90th percentile of absolute errors by group of rows, one line each."""
    head = f"{'median / p90 % [within 20 %] of rows':<40} {'n':>4}"
    yield f"{head} {'measured rate':>19} {'end to end':>19} {'0.7 of limit':>19}"
    for name, rows in groups(found).items():
        if rows:
            columns = np.abs([answer.errors for answer in rows]).T
            yield f"{name:<40} {len(rows):>4} " + " ".join(f"{_spread(column):>19}" for column in columns)


def groups(found: list[Answer]) -> dict[str, list[Answer]]:
    """Rows by what they can tell."""
    steady = [answer for answer in found if answer.case.source == "ml.energy"]
    low = [answer for answer in steady if not answer.full]
    chips = dict.fromkeys(answer.case.chip for answer in steady)
    return {
        "below 0.9 of the limit": low,
        **{f"  {chip}": [answer for answer in low if answer.case.chip == chip] for chip in chips},
        f"  rate within {AGREES} times": [a for a in low if 1 / AGREES < a.rate / a.case.rate < AGREES],
        "above 0.9 of the limit": [answer for answer in steady if answer.full],
        "all": steady,
        "static batches, another laboratory": [answer for answer in found if answer.case.source != "ml.energy"],
    }


def _spread(column: np.ndarray) -> str:
    within = np.mean(column < CLOSE)
    return f"{100 * np.median(column):.1f} / {100 * np.quantile(column, 0.9):.1f} [{within:.0%}]"
