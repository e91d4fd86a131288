"""Single requests of published benchmarks: rows of `llm_points.csv` at batch 1 as points that hwsim runs end to end.

How a row's metric is compared:

========================  ==========================================================================================
e2e_latency_s             of isl and osl tokens: milliseconds an output token, prompt included
the same, MI300X          the difference of two lengths of one series over the difference of their output tokens,
                          since each of its rows holds up to a second that no token takes (two differences of a
                          series agree within 3 % in the mean, what is left at 128 tokens is 0.4 to 1.1 s)
tpot_ms                   the mean time between output tokens
decode_tok_s_user         one over that time
output_tok_s_user         the same, a bound: speculation was or may have been used (but see `UNAIDED`)
ttft_ms, prompt_latency   time to the first token, reported beside
========================  ==========================================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from hwsim.analyse import point
from hwsim.describe.loader import load
from hwsim.describe.model import Model
from hwsim.errors import InputError
from hwsim.validate.published import Case, Role, Row

FILE = "llm_points.csv"
VLLM, TRTLLM = "static batch (vLLM)", "static batch (TensorRT-LLM)"
# System and scenario -> chip, software.
RAN: Mapping[tuple[str, str], tuple[str, str]] = {
    ("A100", VLLM): ("a100-sxm-40gb", "vllm-2024"),
    ("H100-SXM", VLLM): ("h100-sxm", "vllm-2024"),
    ("GH200-480GB", VLLM): ("gh200", "vllm-2024"),
    ("A100", TRTLLM): ("a100-sxm-40gb", "trtllm-2024"),
    ("H100-SXM", TRTLLM): ("h100-sxm", "trtllm-2024"),
    ("GH200-480GB", TRTLLM): ("gh200", "trtllm-2024"),
    ("A100-80G-SXM", "TTFT"): ("a100-sxm", "trtllm-2024"),
    ("H100-SXM", "TTFT"): ("h100-sxm", "trtllm-2024"),
    ("A100-80G-SXM", "DGX measured"): ("a100-sxm", "vllm-2023"),
    ("A100-80G-SXM", "single-stream decode"): ("a100-sxm", "ideal"),
    ("MI250X-1GCD", "single-stream decode"): ("mi250x-gcd", "ideal"),
    ("MI250", VLLM): ("mi250", "lib-vllm-2024"),
    ("MI300X", VLLM): ("mi300x", "lib-vllm-2024"),
    ("Gaudi2", "static batch (Deepspeed)"): ("gaudi-2", "lib-gaudi2"),
    ("Gaudi2", "TTFT"): ("gaudi-2", "lib-gaudi2"),
    ("SN40L", "static batch (sambaflow)"): ("sn40l", "sambaflow-2024"),
    ("SN40L", "AA endpoint single-user"): ("sn40l", "sambaflow-2024"),
}
MODELS = {
    "Llama-2-7b-hf": "llama-2-7b",
    "Llama-2-7B": "llama-2-7b",
    "LLaMA-7B": "llama-2-7b",  # the same dimensions
    "Llama-2-70b-hf": "llama-2-70b",
    "Llama-2-70B": "llama-2-70b",
    "LLaMA-70B": "llama-2-70b",  # there was no other of 70 B
    "llama2-70b": "llama-2-70b",
    "Meta-Llama-3-8B": "llama-3-8b",
    "Meta-Llama-3-70B": "llama-3-70b",
    "Llama-3.1-8B": "llama-3.1-8b",
    "Llama-3.1-70B": "llama-3.1-70b",
    "Mixtral-8x7B-v0.1": "mixtral-8x7b",
}
PRECISIONS = {"fp16/bf16": "bf16", "bf16": "bf16", "fp16": "bf16", "fp8": "fp8"}  # 16-bit types take the same time
METRICS = {
    "e2e_latency_s": "e2e ms/token",
    "tpot_ms": "ms between tokens",
    "decode_tok_s_user": "decode tok/s",
    "output_tok_s_user": "tok/s a user",
    "ttft_ms": "ms to first token",
    "prompt_latency_ms": "ms to first token",
}
# System, prompt tokens: rows that a number was fitted to alone, all lengths where none is said.
ALONE = (("MI250X-1GCD", ""), ("SN40L", "128"))
# Software -> the chip to whose rows its numbers were fitted.
FITTED_ON = {
    "trtllm-2024": "h100-sxm",
    "vllm-2024": "h100-sxm",
    "vllm-2023": "a100-sxm",
    "lib-vllm-2024": "mi300x",
    "lib-gaudi2": "gaudi-2",
}
# System, model: endpoints whose speed needs no speculation, unlike what `output_tok_s_user` is in general.
UNAIDED = (("SN40L", "Llama-3.1-8B"),)
ENDPOINT = "500"  # tokens of prompt and answer where an endpoint's row says nothing
START_UP = "MI300X"  # the system whose end-to-end times hold what no token takes
HELD = "end-to-end times of this series hold 0.4 to 1.1 s beside the tokens; differences of its lengths are scored"
FIRST = "times to the first token: no number was fitted to them"


@dataclass(frozen=True)
class Asked:
    """A row and what it asks."""

    row: Row
    case: point.Case

    @property
    def label(self) -> str:
        """Model, system and lengths."""
        return f"{self.case.model} on {self.case.system}, {self.case.isl} + {self.case.osl}"


class Runs:
    """Points of all rows, simulated together when the first is asked for: those of a deployment share it."""

    def __init__(self, asked: Sequence[Asked]) -> None:
        self.cases = [each.case for each in asked]

    @cached_property
    def _found(self) -> dict[int, point.Point | InputError]:
        return dict(point.points(self.cases))

    def point(self, number: int) -> point.Point:
        """The point of a row; raises its InputError."""
        found = self._found[number]
        if isinstance(found, InputError):
            raise found
        return found

    def e2e_ms(self, number: int) -> float:
        """Milliseconds of a request."""
        found = self.point(number)
        return found.ttft_ms + (self.cases[number].osl - 1) * (found.tpot_ms or 0.0)

    def value(self, number: int, metric: str) -> float:
        """A row's metric."""
        if metric == "e2e_latency_s":
            return self.e2e_ms(number) / self.cases[number].osl
        found = self.point(number)
        if metric.endswith("tok_s_user"):
            return found.tok_s_user or 0.0
        return (found.tpot_ms or 0.0) if metric == "tpot_ms" else found.ttft_ms


def asked(rows: Iterable[Row]) -> list[Asked]:
    """Rows of one request whose system, software and model are described."""
    return [Asked(row, _point(row, *RAN[row["system"], row["scenario"]])) for row in rows if not _missing(row)]


def left_out(rows: Iterable[Row]) -> list[str]:
    """How many rows of the systems that are compared are not, by the reason."""
    systems = {system for system, _ in RAN}
    why = Counter((row["system"], _missing(row)) for row in rows if row["system"] in systems)
    return [f"{system}: {count} rows not compared, {reason}" for (system, reason), count in why.items() if reason]


def _missing(row: Row) -> str:
    """Why a row is not compared, or nothing."""
    if row["metric"] not in METRICS:
        return f"{row['metric']} is not a time of one request"
    if row["batch_or_concurrency"] != "1":
        return "several requests at once"
    if row["model"] not in MODELS:
        return f"no description of {row['model']}"
    if (row["system"], row["scenario"]) not in RAN:
        return f"no description of what ran ({row['scenario']})"
    case = _point(row, *RAN[row["system"], row["scenario"]])
    model = load(case.model)
    assert isinstance(model, Model)
    positions = model.positions
    return f"beyond the {positions} positions of {case.model}" if case.isl + case.osl > positions else ""


def _point(row: Row, chip: str, software: str) -> point.Case:
    count = int(row["n_devices"])
    return point.Case(
        system=f"{chip}-x{count}" if count > 1 else chip,
        model=MODELS[row["model"]],
        concurrency=1,
        isl=int(row["input_len"] or ENDPOINT),
        osl=int(row["output_len"] or ENDPOINT),
        software=software,
        precision=PRECISIONS[row["precision"]],
        tp=count,
    )


def cases(rows: Sequence[Row]) -> Iterator[Case]:
    """All rows that ask for one request as cases."""
    known = asked(rows)
    runs = Runs(known)
    for number, each in enumerate(known):
        yield _case(runs, number, each)
    numbers = [number for number, each in enumerate(known) if _starts_up(each)]
    for first, second in pairwise(numbers):
        one, other = known[first].case, known[second].case
        if one.deployment == other.deployment and other.osl > one.osl:
            yield _difference(runs, known, first, second)


def _starts_up(each: Asked) -> bool:
    return each.row["system"] == START_UP and each.row["metric"] == "e2e_latency_s"


def _case(runs: Runs, number: int, each: Asked) -> Case:
    metric, software = each.row["metric"], each.case.software
    published = float(each.row["value"])
    if metric == "e2e_latency_s":
        published *= 1000 / each.case.osl
    case = Case(software, each.label, METRICS[metric], published, lambda: runs.value(number, metric))
    case = replace(case, system=each.case.system)
    if metric == "output_tok_s_user" and (each.row["system"], each.row["model"]) not in UNAIDED:
        return replace(case, role="bound")
    if metric in ("ttft_ms", "prompt_latency_ms"):
        return replace(case, role="reported", reason=FIRST)
    if (each.row["system"], "") in ALONE or (each.row["system"], each.row["input_len"]) in ALONE:
        return replace(case, role="fit")
    return replace(case, role="reported", reason=HELD) if _starts_up(each) else replace(case, role=_scored(each))


def _scored(each: Asked) -> Role:
    """ "in fit" where numbers of its software were fitted to rows of its chip; to models of experts none was."""
    chip, model = each.case.system.rsplit("-x", 1)[0], load(each.case.model)
    assert isinstance(model, Model)
    return "in fit" if FITTED_ON.get(each.case.software) == chip and not model.experts else "scored"


def _difference(runs: Runs, known: Sequence[Asked], first: int, second: int) -> Case:
    """Milliseconds an output token by the difference of two lengths of a series."""
    one, other = known[first], known[second]
    more = other.case.osl - one.case.osl
    published = 1000 * (float(other.row["value"]) - float(one.row["value"])) / more
    label = f"{other.label} less {one.case.isl} + {one.case.osl}"

    def simulated() -> float:
        return (runs.e2e_ms(second) - runs.e2e_ms(first)) / more

    case = Case(other.case.software, label, "difference, ms/token", published, simulated)
    return replace(case, role=_scored(other), system=other.case.system)
