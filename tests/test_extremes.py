"""Every number of a description at its ends and beyond them, and what must come of it: a result or an InputError."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pytest

from hwsim import units
from hwsim.analyse.of_run import measure
from hwsim.describe.loader import find, load
from hwsim.describe.quantity import RANGES
from hwsim.describe.tree import dotted, is_number
from hwsim.errors import InputError
from hwsim.memory import run as run_channel
from hwsim.memory.curve import curve, parse_mix
from hwsim.operators.machine import Machine
from hwsim.operators.simulate import simulate
from hwsim.serving.deployment import compile
from hwsim.serving.run import run
from hwsim.workload.recipe import draw
from hwsim.workload.table import RequestTable

WHOLE = (-1, 0, 1, 2, 3, 97, 2**20, 10**8, 2**31, 2**62, 10**30)
SHARES = ("-0.5", "0", "1e-30", "0.001", "0.999", "1", "1e30", "100 %")
BARE = ("-1", "0", "1e-30", "0.37", "1000", "1e9", "1e30")

CHIPS = {
    "h100-sxm": "hopper",
    "a100-sxm": "ampere",
    "l40s": "ada",
    "b200-sxm": "blackwell",
    "rtx-pro-6000": "blackwell-rtx",
    "tpu-v5e": "tpu-v5",
    "tpu-v6e": "tpu-v6",
    "tpu-v7": "tpu-v7",
    "wse-2": "wse-2",
}
# What is tried, kind by kind: a description, and what runs with it.
SUBJECTS = (
    ("accelerator", "h100-sxm"),
    ("accelerator", "b200-sxm"),
    ("accelerator", "rtx-pro-6000"),
    ("accelerator", "tpu-v6e"),
    ("accelerator", "wse-2"),
    ("software", "vllm"),
    ("software", "ideal"),
    ("software", "jax"),
    ("software", "waferllm"),
    ("model", "llama-3.1-8b"),
    ("model", "mistral-7b-v0.1"),
    ("plan", "tp=1"),
    ("protocol", "graph-replay"),
    ("memory", "hbm3-6400"),
    ("memory", "ddr5-4800"),
    ("device", "cxl2-x8-expander"),
    ("device", "cxl-pool"),
    ("recipe", "mooncake-conversation"),
)
OPERATORS = (
    ("gemm", {"m": [1, 300, 4096], "n": [4096, 512, 4096], "k": [4096, 100, 4096]}),
    ("attention_prefill", {"batch": 2, "q_len": [300, 1], "kv_len": 700, "heads": 8, "kv_heads": 2, "head_dim": 128}),
    ("attention_decode", {"batch": [4, 64], "kv_len": [1000, 7000], "heads": 8, "kv_heads": 2, "head_dim": 128}),
    ("all_reduce", {"devices": [2, 8, 8], "bytes": [1 << 12, 1 << 24, 1 << 40]}),
    ("norm", {"rows": [1, 5000], "cols": 4096, "residual": 1}),
    ("sample", {"rows": 16, "cols": 128256}),
)


class Case(NamedTuple):
    """One number of one description replaced."""

    kind: str
    name: str
    path: str
    value: str


def cases(kind: str, name: str) -> Iterator[Case]:
    """All replacements of all numbers."""
    if kind == "plan":
        for degree in ("tp", "pp", "dp", "ep"):
            yield from (Case(kind, name, degree, str(value)) for value in WHOLE)
        return
    for path, value in find(name, kind)[1].leaves():
        if is_number(value):
            yield from (Case(kind, name, dotted(path), text) for text in texts(value))


def texts(value: object) -> list[str]:
    """What is written in place of a number."""
    if isinstance(value, int):
        return [str(number) for number in WHOLE]
    if not isinstance(value, str):
        return [*BARE, *SHARES]
    symbol = value[len(units._NUMBER.match(value).group()) :].strip()
    if symbol == "%":
        return list(SHARES)
    dimension = units.unit(symbol)[0]
    low, high = RANGES[dimension]
    numbers = [f"{factor} {symbol}" for factor in ("-1", "0", "1e-30", "1e-6", "1e6", "1e30")]
    return numbers + [units.format(bound, dimension) for bound in (low, high) if bound]


def answer(case: Case) -> str:
    """Runs a case; what came of it in words. Anything but an InputError is raised."""
    try:
        return RUN[case.kind](case, f"{case.path}={case.value}")
    except InputError as error:
        assert error.faults
        assert "Fraction(" not in str(error)
        return f"refused: {error.faults[0]}"


def _operators(machine: Machine) -> str:
    told = []
    for kind, dims in OPERATORS:
        try:
            result = simulate(machine, kind, dims)
        except InputError as error:
            told.append(f"{kind} refused: {error.faults[0]}")
            continue
        ran = np.array([error is None for error in result.error])
        assert (result.time_ps[ran] > 0).all(), (kind, result.time_ps)
        assert (result.time_ps[ran] < 10**19 // 2).all(), (kind, result.time_ps)
        assert (result.bound[ran].sum(axis=1) == result.time_ps[ran]).all(), (kind, result.bound)
        for name, column in (
            ("bound", result.bound),
            ("energy", result.energy_pj),
            ("active", result.active_pj),
            ("flops", result.flops),
            *result.bytes.items(),
        ):
            assert (column[ran] >= 0).all(), (kind, name, column)
        told += [f"{kind} {error}" for error in result.error if error]
    return "; ".join(told)


def _served(system: str, model: str = "llama-3.1-8b", plan: str = "tp=1", sets: str = "", software="vllm") -> str:
    arrivals, prompts, outputs = [0, 10**9, 2 * 10**9], [30, 300, 500], [3, 9, 5]
    table = RequestTable.of(np.array(arrivals), np.array(prompts), np.array(outputs), name="three")
    deployment = compile(system, model, plan, software, sets=[sets] if sets else [])
    done = run(deployment, table)
    rows = done.requests
    kept = rows["finish_ps"] >= 0
    assert kept.sum() == len(table) - done.refused
    assert (rows["first_token_ps"][kept] > rows["arrival_ps"][kept]).all(), rows
    assert (rows["finish_ps"][kept] >= rows["first_token_ps"][kept]).all(), rows
    totals = done.account.bound_ps(done.operators)
    assert min(totals.values()) >= 0, totals
    assert sum(totals.values()) == done.account.busy_ps
    for row in done.operators:
        assert all(value >= 0 for value in row.values() if isinstance(value, int)), row
    assert measure(done).requests == len(table)
    return f"served, {done.refused} refused"


def _accelerator(case: Case, text: str) -> str:
    software = {"tpu-v6e": "jax", "wse-2": "waferllm"}.get(case.name, "vllm")
    told = _operators(Machine.of(case.name, software, sets={"accelerator": [text]}))
    return told + _served(case.name, software=software, sets=f"system.accelerator.{text}")


SRAM_CHIPS = {"wse-2": ("ideal", "llama-3-8b", 2, "pp=2", "fp16"), "groq-lpu": ("ideal", "llama-2-7b", 72, "", "int8")}
# Numbers of a described chip that no figure of a run depends on, and why.
TELLS_NOTHING = {
    "links.scale_up.devices": "only says how large a system may be",
    "links.host.link": "a model that lies on the chips asks its host for nothing",
    "power.exponent": "the limit is kept at the highest clock",
    "power.lowest_clock": "the limit is kept at the highest clock",
    "power.idle": "no chip stands by",
    "units.vector.per_cycle": "a wafer's cores work on 16 bits: units.vector.half",
    "generation.timing.patience": "in a model the limit acts from the start",
    "units.tensor.per_cycle.bf16": "the run is in fp16",
    "generation.tensor.efficiency.bf16": "the run is in fp16",
    "power.per_flop.bf16": "the run is in fp16",
}


def _figures(name: str, sets: list[str]) -> str:
    """Everything that a short run of a chip with these changes gives, as text; a refusal is an answer too."""
    software, model, count, plan, precision = SRAM_CHIPS[name]
    table = RequestTable.of(np.array([0, 10**9]), np.array([40, 300]), np.array([4, 9]), name="two")
    try:
        changed = [f"system.accelerator.{text}" for text in sets]
        done = run(compile(f"{name}-x{count}", model, plan, software, precision=precision, sets=changed), table)
    except InputError as error:
        return str(error)
    return str((done.requests.tolist(), done.rules.kv_blocks, measure(done).energy_pj))


@pytest.mark.parametrize("name", SRAM_CHIPS)
def test_every_number_of_a_chip_that_keeps_its_model_tells_in_a_figure(name: str) -> None:
    usual, silent = _figures(name, []), []
    for path, value in find(name, "accelerator")[1].leaves():
        where = dotted(path)
        if not is_number(value) or any(where.startswith(known) for known in TELLS_NOTHING):
            continue
        number = units._NUMBER.match(str(value)).group()
        rest = str(value)[len(number) :]
        tries = [f"{float(number) * by or 1e-6:.9g}{rest}" for by in (0.1, 0.5, 3)]
        if all(_figures(name, [f"{where}={text}"]) == usual for text in tries):
            silent.append(where)
    assert not silent


def _software(case: Case, text: str) -> str:
    chip = next((chip for chip, of in CHIPS.items() if f"kernels.{of}." in case.path), "h100-sxm")
    if case.name == "jax":
        chip = chip if chip.startswith("tpu") else "tpu-v6e"
    if case.name == "waferllm":
        chip = "wse-2"
    told = _operators(Machine.of(chip, case.name, sets={"software": [text]}))
    return told + _served(chip, software=case.name, sets=f"software.{text}")


def _model(case: Case, text: str) -> str:
    return _served("h100-sxm", model=case.name, sets=f"model.{text}")


def _plan(case: Case, text: str) -> str:
    return _served("h100-sxm-x8", plan=text)


def _protocol(case: Case, text: str) -> str:
    return _operators(Machine.of("h100-sxm", "vllm", case.name, sets={"protocol": [text]}))


def _memory(case: Case, text: str) -> str:
    address = np.arange(40) * 64 * 37
    ticks = run_channel(case.name, address, np.arange(40) % 3 == 0, np.arange(40) * 5, sets=(text,))
    assert (ticks.arrive >= 0).all() and (ticks.depart > ticks.arrive).all(), ticks
    return ""


def _device(case: Case, text: str) -> str:
    points = list(curve(load(case.name, sets=[text]), [parse_mix("2:1")], lines=1000, streams=4))
    assert points
    for point in points:
        assert all(not isinstance(v, int | float) or (v == v and v >= 0) for v in vars(point).values()), point
    return ""


def _recipe(case: Case, text: str) -> str:
    table = draw(load(case.name, "recipe", [text]), 50, 1)
    assert (
        (table.prompt_tokens >= 1).all() and (table.output_tokens >= 1).all() and (np.diff(table.arrival_ps) >= 0).all()
    )
    return ""


RUN = {
    "accelerator": _accelerator,
    "software": _software,
    "model": _model,
    "plan": _plan,
    "protocol": _protocol,
    "memory": _memory,
    "device": _device,
    "recipe": _recipe,
}


LONGEST = 60  # CPU seconds a case may take: a busy machine fails nobody


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail the test whose case computes for longer; the core looks at signals, so a hang ends as well."""

    def end(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"more than {seconds} CPU seconds")

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def test_a_case_without_end_fails_alone() -> None:
    with pytest.raises(TimeoutError, match=r"more than 0\.05 CPU seconds"), at_most(0.05):
        while True:
            pass
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


# One case of each kind that once ended in a traceback, a hang, a crash or a wrong number.
KNOWN = [
    Case("accelerator", "h100-sxm", "tiers.hbm.rate", "1e30 TB/s"),
    Case("accelerator", "h100-sxm", "tiers.hbm.latency", "1e30 s"),
    Case("accelerator", "h100-sxm", "units.tensor.count", "100000000"),
    Case("accelerator", "h100-sxm", "links.scale_up.count", "4611686018427387904"),
    Case("accelerator", "h100-sxm", "tiers.hbm.memory.commands.timings.REFI", "1e-6 ns"),
    Case("accelerator", "h100-sxm", "tiers.hbm.memory.commands.organisation.columns", "2147483648"),
    Case("memory", "ddr5-4800", "commands.lengths.ACT", "100000000"),
    Case("memory", "ddr5-4800", "commands.timings.RP", "1 s"),
    Case("software", "jax", "kernels.tpu-v6.gemm.efficiency", "0"),
    Case("accelerator", "tpu-v6e", "generation.tensor.efficiency.bf16", "1e-30"),
]


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: f"{case.path}={case.value}")
def test_a_number_of_no_machine_is_refused(case: Case) -> None:
    assert "refused: " in answer(case)


@pytest.mark.fuzz
@pytest.mark.parametrize("subject", SUBJECTS, ids=" ".join)
def test_any_number_gives_a_result_or_an_input_error(subject: tuple[str, str], fuzz_share: float) -> None:
    every = list(cases(*subject))
    for case in random.Random(7).sample(every, int(20 * fuzz_share)):
        with at_most(LONGEST):
            answer(case)
