"""Closed-loop serving points of real servers against simulation: `serving_points.csv`, models on one node.

The rows are NVIDIA aiconfigurator's (Apache-2.0). Their servers ran with a token budget near the prompt's length, which
is given to each row's deployment as a run's own setting; nothing else is set by row. Times to the first token are
scored where the prediction says that requests neither wait for KV blocks or slots nor come near to it, and where the
tokens streamed stay below what one front end passes on.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwsim.analyse.point import Case, Point, points
from hwsim.errors import InputError, bad

FILE = "serving_points.csv"
SYSTEMS = {f"{chip}_sxm": f"{chip}-sxm" for chip in ("a100", "h100", "h200", "b200")}
MODELS = {
    "Qwen/Qwen3-32B": "qwen3-32b",
    "nvidia/Qwen3-32B-NVFP4": "qwen3-32b",
    "meta-llama/Llama-3.1-70B": "llama-3.1-70b",
    "meta-llama/Llama-3.1-8B-Instruct": "llama-3.1-8b",
    "Qwen/Qwen3-235B-A22B-FP8": "qwen3-235b-a22b",
}
EXPERTS = ("qwen3-235b-a22b",)  # models that have some: the table names an ep for dense ones too
PRECISIONS = {"": "bf16", "bf16": "bf16", "fp8": "fp8", "fp4": "nvfp4"}
# Server and the begin of its version -> profile; the first that fits. Rows of other servers are not compared.
SOFTWARE = {("vllm", "0.12"): "vllm-0.12", ("vllm", ""): "vllm-0.19", ("trtllm", ""): "trtllm-1.3"}
LONG_OUTPUT = 1024  # rows of more output tokens are a group apart
FRONT_END = 8000  # streamed tokens a second above which a front end is what limits (TRT-LLM, Llama-3.1-8B, H100)


@dataclass(frozen=True)
class Row:
    """A measured point: what it asks, its group, and milliseconds."""

    case: Case
    group: str
    ttft_ms: float
    tpot_ms: float


@dataclass(frozen=True)
class Answer:
    """A measured point with the simulated one, or why there is none."""

    row: Row
    point: Point | None
    reason: str = ""

    @property
    def state(self) -> str:
        """ "scored"; else what keeps its time to first token from being compared."""
        if self.point is None:
            return "refused"
        streamed = self.row.case.concurrency * (self.point.tok_s_user or 0)
        if self.point.overload != "no":
            return self.point.overload.split(":")[0]
        return "front end" if streamed > FRONT_END else "scored"

    def error(self, name: str) -> float:
        """Relative error of a time, signed."""
        assert self.point is not None
        return float(getattr(self.point, name)) / getattr(self.row, name) - 1


def read(folder: Path) -> Iterator[Row]:
    """Rows of models that described servers ran on described chips."""
    path = folder / FILE
    if not path.is_file():
        raise bad(str(path), "no such file", "a folder with the measured tables", "name it with --measured")
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            software = _software(row)
            known = row["system"] in SYSTEMS and row["model_path"] in MODELS and row["precision"] in PRECISIONS
            if row["mode"] == "agg" and known and software:
                yield _row(row, software)


def _software(row: Mapping[str, str]) -> str:
    fits = (name for (server, version), name in SOFTWARE.items()
            if row["backend"] == server and row["backend_version"].startswith(version))  # fmt: skip
    return next(fits, "")


def _row(row: Mapping[str, str], software: str) -> Row:
    tp, pp, users = int(row["tp_size"]), int(row["pp_size"] or 1), int(row["batch_size"])
    chip, model, precision = SYSTEMS[row["system"]], MODELS[row["model_path"]], PRECISIONS[row["precision"]]
    fp8_kv = row["backend"] == "trtllm" and precision != "bf16"  # its quantised checkpoints have their KV in fp8
    case = Case(
        system=f"{chip}-x{tp * pp}" if tp * pp > 1 else chip,
        model=model,
        concurrency=users,
        isl=int(row["isl"]),
        osl=int(row["osl"]),
        software=software,
        precision=precision,
        tp=tp,
        pp=pp,
        ep=int(row["moe_ep_size"] or 1) if model in EXPERTS else 1,
        kv_dtype="fp8" if fp8_kv else "",
        token_budget=int(row["isl"]),
    )
    length = f", osl > {LONG_OUTPUT}" if case.osl > LONG_OUTPUT else ""
    group = f"{software} {model} {precision} {chip}{length}"
    return Row(case, group, float(row["silicon_ttft_ms"]), float(row["silicon_tpot_ms"]))


def answers(rows: Sequence[Row]) -> list[Answer]:
    """All rows simulated, in their order."""
    found: dict[int, Answer] = {}
    for number, point in points([row.case for row in rows]):
        if isinstance(point, InputError):
            found[number] = Answer(rows[number], None, str(point))
        else:
            found[number] = Answer(rows[number], point)
    return [found[number] for number in range(len(rows))]


def table(found: Sequence[Answer]) -> str:
    """Median and 90th percentile of the absolute error by group; times to first token of scored rows only."""
    lines = [
        f"{'software, model, precision, chip':<52} {'rows':>4} {'TPOT %':>13} {'scored':>6} {'TTFT %':>15}  not scored"
    ]
    groups = dict.fromkeys(answer.row.group for answer in found)
    return "\n".join(lines + [_line(group, [a for a in found if a.row.group == group]) for group in groups])


def _line(group: str, own: list[Answer]) -> str:
    ran = [answer for answer in own if answer.point is not None]
    scored = [answer for answer in ran if answer.state == "scored"]
    states = [answer.state for answer in own if answer.state != "scored"]
    apart = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    tpot, ttft = _spread([a.error("tpot_ms") for a in ran]), _spread([a.error("ttft_ms") for a in scored])
    return f"{group:<52} {len(own):>4} {tpot:>13} {len(scored):>6} {ttft:>15}  {apart}".rstrip()


def _spread(errors: list[float]) -> str:
    """Median and 90th percentile of absolute errors in per cent; the sign is the median's."""
    if not errors:
        return "-"
    each = 100 * np.abs(errors)
    sign = "+" if np.median(errors) > 0 else "-"
    return f"{np.median(each):.1f} / {np.percentile(each, 90):.0f} ({sign})"
