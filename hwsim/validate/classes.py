"""Published points of chips of every class against simulation: single streams and single operators.

Two files of points: `class_points.csv` (papers and repositories, by software stack) and `llm_points.csv` (by system). A
function for each stack or system says how its rows become cases (`CLASS_POINTS`, `LLM_POINTS`); servers and benchmarks
that ran one request end to end are in `streams`. Rows that nobody claims are not compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hwsim.analyse.point import point
from hwsim.describe import load
from hwsim.describe.model import Model
from hwsim.errors import InputError, bad
from hwsim.operators.machine import Machine
from hwsim.operators.simulate import simulate
from hwsim.serving.deployment import Deployment, compile
from hwsim.serving.layers import Span, Use
from hwsim.serving.plan import Phase
from hwsim.units import ps_ceil
from hwsim.validate import streams
from hwsim.validate.published import Case, Role, Row, read

PS = 10**12


@dataclass(frozen=True)
class Stream:
    """One request alone on a system: names of descriptions, plan, what it asks.

    Attributes
    ----------
    context : int
        Keys that the (last) new token sees, itself included.
    new : int
        Tokens of the step: 1 in decode, the prompt in prefill.
    layers : int
        Layers that the system is given where it does not hold all of the model's; each of the others takes as long as
        one of these. 0 = all.
    """

    system: str
    model: str
    software: str
    precision: str
    plan: str = ""
    context: int = 1
    new: int = 1
    layers: int = 0

    def step_ps(self) -> int:
        """Picoseconds of one step through all stages: operators and what the software adds."""
        held = sum(self.stages_ps())
        if not self.layers:
            return held
        others = _layers(self.model) - self.layers
        return held + others * (held - sum(replace(self, layers=self.layers - 1).stages_ps()))

    def deployment(self) -> Deployment:
        """What it is compiled to."""
        kv = {"fp16": "fp16", "int4": "fp8"}.get(self.precision)
        sets = [f"model.layers={self.layers}"] * (self.layers > 0)
        return compile(
            self.system, self.model, self.plan, self.software, precision=self.precision, kv_dtype=kv, sets=sets
        )

    def fits(self) -> bool:
        """Whether the system holds the model and the context's keys and values."""
        try:
            deployment = self.deployment()
        except InputError:
            return False
        return (deployment.placement.kv_blocks - 1) * deployment.software.scheduler.block_tokens >= self.context

    def held(self) -> Stream:
        """The stream, on as many layers as the system holds where it does not hold all."""
        if self.fits():
            return self
        counts = range(_layers(self.model) - 1, 1, -1)
        return next(part for part in (replace(self, layers=count) for count in counts) if part.fits())

    def stages_ps(self) -> list[int]:
        """The same of every stage, in order; what the software adds to a step is the first one's."""
        deployment = self.deployment()
        placement, overheads = deployment.placement, deployment.software.overheads
        phase = placement.decode if self.new == 1 else placement.prefill
        shape = placement.attention
        dims = {"batch": 1, "q_len": self.new, "kv_len": self.context, "kv_dtype": shape.kv_dtype}
        dims |= {"heads": shape.heads, "kv_heads": shape.kv_heads, "head_dim": shape.head_dim}
        kind = "attention_decode" if self.new == 1 else "attention_prefill"
        counts = [(use, self.new) for use in placement.tokens] + [(use, 1) for use in placement.sequences]
        times = dict.fromkeys(phase.kinds, 0)
        for span in phase.kinds:
            times[span] = sum(_time(phase, use, count, span) for use, count in counts)
            if span.layers:
                layer = operator_ps(phase.machine, kind, dims, shape.dtype) + ps_ceil(overheads.layer_gap)
                times[span] += span.layers * layer
        first, *others = (times[span] for span in phase.spans)
        return [first + ps_ceil(overheads.step_gap + overheads.seq_gap), *others]

    def rate(self) -> float:
        """Tokens a second."""
        return self.new * PS / self.step_ps()


def _layers(model: str) -> int:
    found = load(model, "model")
    assert isinstance(found, Model)
    return found.layers


def _time(phase: Phase, use: Use, count: int, span: Span) -> int:
    """Picoseconds of an operator of a step with `count` tokens or sequences in a stage."""
    times = use.times(span)
    if not times:
        return 0
    return times * operator_ps(phase.machine, use.kind, use.dims | {use.varies: count * use.scale}, use.dtype)


def operator_ps(machine: Machine, kind: str, dims: Mapping[str, object], dtype: str) -> int:
    """Picoseconds of one operator."""
    result = simulate(machine, kind, dims, dtype)
    if result.error[0] is not None:
        raise bad(f"operator {kind}", result.error[0], "one that runs")
    return int(result.time_ps[0])


WAFERLLM_FIT = "llama-3-8b decode 540x540"  # the one row that the step of a message was fitted to


def _waferllm(row: Row) -> Iterator[Case]:
    """WaferLLM on a WSE-2; a product alone runs without what its stack needs between operators.

    The chip's products a cycle come from that very product.

    Regions that do not hold a model run as many of its layers as they do, and the time of a layer is scaled: the public
    decode program (MeshInfra/WaferLLM) is given the dimensions of a layer, not how many there are.
    """
    published = float(row["value"])
    if row["phase"] == "operator":
        n, k = (int(size) for size in row["model"].split()[1].split("x"))
        machine = Machine.of(row["system"], "ideal")
        dims = {"m": 1, "n": n, "k": k}
        yield Case("ideal", row["model"], row["metric"], published,
                   lambda: operator_ps(machine, "gemm", dims, row["precision"]) / 1e6, "fit")  # fmt: skip
        return
    prefill, tokens = row["phase"] == "prefill", int(row["input_len"])
    plan = f"{row['phase']}_region={row['region']}"
    stream = Stream(row["system"], row["model"], row["stack"], row["precision"], plan, tokens, tokens if prefill else 1)
    stream = stream.held()
    label = f"{row['model']} {row['phase']} {row['region']}"
    label += f", {stream.layers} layers scaled" * (stream.layers > 0)
    role: Role = "fit" if label == WAFERLLM_FIT else "scored"
    yield Case(row["stack"], label, row["metric"], published, stream.rate, role)


def _cerebras(row: Row) -> Iterator[Case]:
    """Cerebras' own points on WSE-3: contexts are not said; 1,000 tokens assumed."""
    stream = Stream("wse-3-x4", row["model"].lower(), "cerebras-2024-08", row["precision"], context=1000)
    label = f"{row['model']} on {stream.system}"
    yield Case(stream.software, label, "tok/s a user", float(row["value"]), stream.rate, "fit")


# Models that Groq served: system, context. A stated window is half full in the mean of a run that fills it.
GROQ: Mapping[str, tuple[str, int]] = {
    "Llama-2-70B": ("groq-576", 2048),
    "Llama-3.1-70B": ("groq-576", 2048),
    "Llama-2-7B": ("groq-72", 1024),
}
GROQ_FIT = ("Llama-2-70B", "Llama-2-7B")  # the two speeds of early 2024, to which the one number was fitted
# Systems that a model may have run on where its chips are not published: as few as hold it, and two racks.
GROQ_BAND: Mapping[str, tuple[str, str]] = {"Llama-2-7B": ("groq-lpu-x36", "groq-lpu-x144")}


def _groq(row: Row) -> Iterator[Case]:
    """Groq's public speeds, weights in int8; one with speculation is a bound, its notes tell the speed without."""
    if row["model"] not in GROQ:  # Mixtral: neither its chips nor its precision are published
        return
    system, context = GROQ[row["model"]]
    stream, metric = Stream(system, row["model"].lower(), "groq-2024", "int8", context=context), "tok/s a user"
    label, value = f"{stream.model} on {system}", float(row["value"])
    if base := re.search(r"spec decode; base (\d+)", row["notes"]):
        yield Case(stream.software, f"{label}, speculation", metric, value, stream.rate, "bound")
        value = float(base[1])
    yield Case(stream.software, label, metric, value, stream.rate, "in fit" if row["model"] in GROQ_FIT else "scored")
    for other in GROQ_BAND.get(row["model"], ()):
        on = replace(stream, system=other)
        yield Case(stream.software, f"{stream.model} on {other}", metric, value, on.rate, "band")


def _poptransformer(row: Row) -> Iterator[Case]:
    """PopTransformer on IPUs: the context is the mean over the generated tokens; its plan is told in words.

    Two numbers were fitted to times at batch 1 of this source, so its points are no test.
    """
    told = re.search(r"mean context about (\d+)", row["notes"])
    context = int(told[1]) if told else (int(row["input_len"]) + int(row["output_len"])) // 2
    shared = re.search(r"tensor parallel over (\d+)", row["notes"])
    system, plan = f"{row['system']}-x{row['devices']}", f"tp={shared[1]}" if shared else ""
    stream = Stream(system, row["model"], row["stack"], row["precision"], plan, context)
    label = " ".join((row["model"], "on", system, plan)).strip()
    yield Case(row["stack"], label, row["metric"], float(row["value"]), lambda: stream.step_ps() / 1e9, "fit")


def _northpole(row: Row) -> Iterator[Case]:
    """NorthPole cards in a pipeline: a token of one user a stage, as many users as keep all stages busy, or fewer."""
    stream = Stream(f"{row['system']}-x{row['devices']}", row["model"], row["stack"], row["precision"], context=1024)

    def rate() -> float:
        times = stream.stages_ps()
        return min(PS / max(times), int(row["batch"]) * PS / sum(times))

    yield Case(row["stack"], f"{row['model']} on {stream.system}", row["metric"], float(row["value"]), rate, "least")


def _mtia(row: Row) -> Iterator[Case]:
    """A product on MTIA as a share of the published peak, which the paper says it exceeds."""
    m, n, k = (int(size) for size in row["model"].split()[1].split("x"))
    machine = Machine.of(row["system"], row["stack"])
    peak = machine.chip.units.tensor.per_cycle[row["precision"]] * machine.cores * machine.clock

    def share() -> float:
        time_ps = operator_ps(machine, "gemm", {"m": m, "n": n, "k": k}, row["precision"])
        return float(2 * m * n * k * PS / (peak * time_ps))

    yield Case(row["stack"], row["model"], row["metric"], float(row["value"]), share, "least")


def _tpu(row: Row) -> Iterator[Case]:
    """vLLM on TPUs as a closed loop; Llama-3.3-70B has the dimensions of Llama-3.1-70B."""
    model = row["model"].replace("llama-3.3", "llama-3.1")
    users, isl, osl = (int(row[name]) for name in ("batch", "input_len", "output_len"))
    label = f"{model} on {row['system']}, {users} users, {isl} + {osl}"

    def tpot() -> float:
        more = {"software": "jax", "precision": row["precision"], "tp": int(row["devices"])}
        return point(row["system"], model, users, isl, osl, **more).tpot_ms or 0.0

    yield Case("jax", label, row["metric"], float(row["value"]), tpot)


# Stack of class_points.csv, system of llm_points.csv -> its rows as cases. A new stack is a line here.
CLASS_POINTS: Mapping[str, Callable[[Row], Iterator[Case]]] = {
    "waferllm": _waferllm,
    "poptransformer-2023": _poptransformer,
    "northpole-2024": _northpole,
    "mtia": _mtia,
    "jax (vLLM)": _tpu,
}
LLM_POINTS: Mapping[str, Callable[[Row], Iterator[Case]]] = {"WSE-3 (CS-3)": _cerebras, "Groq LPU v1": _groq}


def cases(folder: Path) -> Iterator[Case]:
    """Cases of both files of a folder with measured data."""
    for file, column, known in (("class_points.csv", "stack", CLASS_POINTS), (streams.FILE, "system", LLM_POINTS)):
        for row in read(folder / file):
            if row[column] in known:
                yield from known[row[column]](row)
