"""Systolic accelerators: folds against SCALE-Sim and closed forms, programs against the reference, laws, refusals."""

import csv
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tick_by_tick import bound_of, check, shapes

import hwsim
from hwsim.cli.op import command
from hwsim.errors import InputError
from hwsim.operators.account import Runs
from hwsim.operators.machine import Machine
from hwsim.operators.mapper.systolic import folds, gemm
from hwsim.operators.operator import complete, kind_of
from hwsim.operators.simulate import mapper_of, simulate

CHIPS = ("tpu-v5e", "tpu-v5p", "tpu-v6e", "tpu-v7")
HEADS = {"heads": 32, "kv_heads": 8, "head_dim": 128}
FEW = {"heads": 4, "kv_heads": 2, "head_dim": 16}
# A chip small enough for the reference: 2 arrays of 8 x 8 in each of 2 cores, short fixed times.
SMALL = {
    "accelerator": (
        "units.tensor.count=2",
        "units.tensor.arrays=2",
        "units.tensor.rows=8",
        "units.tensor.cols=8",
        "units.tensor.per_cycle.bf16=256 FLOP",
        "tiers.hbm.latency=20 ns",
        "tiers.sram.usable=8 KiB",
        "generation.timing.launch=10 ns",
    ),
    "software": (
        "kernels.tpu-v6.gemm.rows=[16, 64]",
        "kernels.tpu-v6.gemm.columns=[16, 64]",
        "kernels.tpu-v6.gemm.depths=[16, 64]",
        "kernels.tpu-v6.attention.launch=10 ns",
        "kernels.tpu-v6.attention.sequence=5 ns",
        "kernels.tpu-v6.attention.block=5 ns",
        "kernels.tpu-v6.attention.small_block=5 ns",
        "kernels.tpu-v6.elementwise.launch=10 ns",
    ),
}


# folds


@pytest.mark.shared
def test_cycles_equal_those_of_scale_sim_in_all_84_cases(shared: Path) -> None:
    with (shared / "golden/systolic/scalesim_cycles.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 84
    for row in rows:
        sizes = (int(row[name]) for name in ("m", "n", "k", "rows", "cols"))
        assert hwsim.systolic_cycles(*sizes, row["dataflow"]) == int(row["total_cycles_reported"]), row


def serial(m: int, n: int, k: int, rows: int, cols: int, dataflow: str) -> int:
    """Index of the last cycle of serial folds, by the formulas of SCALE-Sim's fold model."""
    across, along, moved, kept = {
        "ws": (k, n, m, rows),
        "is": (k, m, n, rows),
        "os": (m, n, k, 0),
    }[dataflow]
    return -(-across // rows) * -(-along // cols) * (kept + moved + rows + cols - 2) - 1


def double_buffered(m: int, n: int, k: int, rows: int, cols: int, dataflow: str) -> int:
    """The first operand is waited for; then a fold takes what moves or what the next one keeps; the way out is last."""
    across, along, moved, kept = {
        "ws": (k, n, m, rows),
        "is": (k, m, n, rows),
        "os": (m, n, k, 0),
    }[dataflow]
    count = -(-across // rows) * -(-along // cols)
    return kept + (count - 1) * max(moved, kept) + moved + rows + cols - 2 - 1


@pytest.mark.parametrize("dataflow", folds.DATAFLOWS)
def test_folds_take_their_closed_forms_and_a_second_set_of_registers_is_never_slower(dataflow: str) -> None:
    rng = np.random.Generator(np.random.PCG64(5))
    for sizes in rng.integers(1, [300, 300, 300, 33, 33], (60, 5)).tolist():
        one = hwsim.systolic_cycles(*sizes, dataflow)
        two = hwsim.systolic_cycles(*sizes, dataflow, "double-buffered")
        assert one == serial(*sizes, dataflow), sizes
        assert two == double_buffered(*sizes, dataflow), sizes
        assert two <= one


def test_a_cube_of_512_on_128_x_128_hides_its_weights() -> None:
    assert 8192 <= hwsim.systolic_cycles(512, 512, 512, 128, 128, "ws", "double-buffered") <= 9000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 1, 1, 8, 8, "ws"), "systolic_cycles: m: got 0, expected a whole number from 1"),
        ((1, 1, 1.5, 8, 8, "ws"), "systolic_cycles: k: got 1.5, expected a whole number from 1"),
        ((1, 1, 1, 8, 8, "rs"), "systolic_cycles: dataflow: got 'rs', expected one of ws, is, os"),
        ((1, 1, 1, 8, 8, "ws", "triple"), "weights: got 'triple', expected one of serial, double-buffered"),
    ],
)
def test_a_wrong_argument_is_named(arguments: tuple, words: str) -> None:
    with pytest.raises(InputError) as caught:
        hwsim.systolic_cycles(*arguments)
    assert words in str(caught.value)


# programs equal the reference


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("dataflow", folds.DATAFLOWS)
def test_folds_equal_the_reference(dataflow: str, double: bool) -> None:
    for m, n, k in ((1, 1, 1), (20, 17, 9), (3, 40, 40)):
        check(folds.bound_folds({"m": m, "n": n, "k": k}, 8, 4, dataflow, double))


CASES: dict[str, dict[str, object]] = {
    "gemm": {"m": [1, 7, 40, 90], "n": [100, 33, 40, 70], "k": [90, 8, 50, 65], "batch": [1, 2, 1, 1]},
    "attention_decode": {"batch": [1, 3], "kv_len": [5, 60], **FEW},
    "attention_prefill": {
        "batch": [1, 2, 1],
        "q_len": [1, 40, 70],
        "kv_len": [9, 90, 70],
        "window": [0, 0, 16],
        **FEW,
    },
    "attention_mixed": {"prefill_chunk": [40, 0], "kv_prefill": 20, "n_decode": [2, 3], "kv_decode": 60, **FEW},
    "norm": {"rows": [1, 30], "cols": [64, 200], "residual": [0, 1]},
    "activation": {"rows": 20, "cols": 300, "gated": [0, 1]},
    "sample": {"rows": 3, "cols": 1000},
}


@pytest.mark.parametrize("kind", CASES)
def test_programs_equal_the_reference_on_a_small_machine(kind: str) -> None:
    machine = Machine.of("tpu-v6e", "jax", sets=SMALL)
    dims = complete(kind_of(kind), CASES[kind])
    mapper = mapper_of(machine, kind)
    for group in mapper.programs(machine, dims, "bf16", mapper.propose(machine, dims, "bf16").best(2)):
        check(bound_of(group))


# laws


@pytest.mark.parametrize("chip", CHIPS)
def test_no_gemm_is_faster_than_its_arrays_or_its_memory(chip: str) -> None:
    machine, dims = Machine.of(chip), shapes(100, seed=1, octaves=(14, 9))
    result = simulate(machine, "gemm", dims)
    flops, weights = 2 * dims["m"] * dims["n"] * dims["k"], 2 * dims["n"] * dims["k"]
    assert (result.flops >= flops).all()
    assert (result.bytes["hbm"] >= weights).all()
    for time_ps, work, size in zip(result.time_ps.tolist(), flops.tolist(), weights.tolist()):
        seconds = Fraction(time_ps, 10**12)
        assert seconds >= Fraction(work) / (machine.tensor["bf16"] * machine.cores * machine.clock)
        assert seconds >= Fraction(size) / (machine.hbm_rate * machine.clock)
    assert (result.bound.sum(axis=1) == result.time_ps).all()


@pytest.mark.parametrize(("software", "arrays"), [("jax", 1), ("ideal", 4)])
def test_no_attention_is_faster_than_its_keys_take_to_enter_the_arrays(software: str, arrays: int) -> None:
    machine = Machine.of("tpu-v6e", software)
    keys = np.array([100, 1000, 10000])
    times = simulate(machine, "attention_decode", {"batch": 4, "kv_len": keys, **HEADS}).time_ps
    assert (times >= machine.ps(2 * 4 * keys * 8 // arrays)).all()


MORE: dict[str, Callable[[Machine], Machine]] = {
    "hbm rate": lambda m: replace(m, hbm_rate=m.hbm_rate * Fraction(5, 4)),
    "array rate": lambda m: replace(m, rate={"bf16": m.rate["bf16"] * Fraction(5, 4)}),
    "arrays": lambda m: replace(m, arrays=2 * m.arrays),
    "scratchpad": lambda m: replace(m, sram=2 * m.sram),
    "cores": lambda m: replace(m, cores=2 * m.cores),
}


@pytest.mark.parametrize("what", ["hbm rate", "array rate"])
def test_more_of_a_resource_is_never_slower_on_the_same_programs(what: str) -> None:
    machine, dims = Machine.of("tpu-v6e", "jax"), shapes(60, seed=2, octaves=(14, 9))
    chosen = gemm.propose(machine, dims, "bf16").best(2)

    def ends(of: Machine) -> np.ndarray:
        runs = Runs(len(chosen.case))
        for group in gemm.programs(of, dims, "bf16", chosen):
            runs.add(group)
        return runs.end

    before, after = ends(machine), ends(MORE[what](machine))
    assert (after <= before + np.maximum(2, before // 500)).all()


@pytest.mark.parametrize("software", ["ideal", "jax"])
@pytest.mark.parametrize("what", MORE)
def test_more_of_a_resource_is_at_most_one_percent_slower_after_choosing_again(what: str, software: str) -> None:
    machine, dims = Machine.of("tpu-v6e", software), shapes(80, seed=3, octaves=(14, 9))
    before, after = (simulate(of, "gemm", dims).time_ps for of in (machine, MORE[what](machine)))
    assert (after <= before * 1.01).all(), float((after / before).max())


@pytest.mark.parametrize("kind", ["attention_decode", "attention_prefill"])
@pytest.mark.parametrize("what", ["hbm rate", "array rate", "scratchpad"])
def test_more_of_a_resource_makes_no_attention_slower(kind: str, what: str) -> None:
    machine = Machine.of("tpu-v6e", "jax")
    new = {"q_len": [64, 256, 1]} if kind == "attention_prefill" else {}
    dims = {"batch": [1, 4, 64], "kv_len": [64, 5000, 900], **HEADS, **new}
    before, after = (simulate(of, kind, dims).time_ps for of in (machine, MORE[what](machine)))
    assert (after <= before).all()


def test_three_candidates_are_as_good_as_all() -> None:
    machine, dims = Machine.of("tpu-v6e", "jax"), shapes(40, seed=4, octaves=(14, 9))
    regret = simulate(machine, "gemm", dims).time_ps / simulate(machine, "gemm", dims, best=1000).time_ps - 1
    assert regret.mean() <= 0.005
    assert regret.max() <= 0.05


def test_a_product_of_one_fold_takes_its_way_by_hand() -> None:
    """Launch, weights from memory (activations are there), both through the array, results stay; one cycle more."""
    machine = Machine.of("tpu-v6e")
    time_ps = simulate(machine, "gemm", {"m": 256, "n": 256, "k": 256}).time_ps[0]
    rate = float(machine.rate["bf16"])
    weights = 2 * 256 * 256 / float(machine.hbm_rate)
    hand = machine.launch + machine.hbm_latency + weights + 256 / rate + 1 + 256 + 256 - 2
    assert hand <= time_ps * machine.clock / 1e12 <= hand + 8


def test_deep_products_of_few_rows_run_on_one_array_as_measured() -> None:
    """The compiler keeps the activations: weights stream through one array, at the same time for 2 and 256 rows."""
    machine = Machine.of("tpu-v6e", "jax")
    result = simulate(machine, "gemm", {"m": [1, 2, 256, 320], "n": 4096, "k": 14336})
    assert [choice.split()[0] for choice in result.choice][1:3] == ["is", "is"]
    assert result.time_ps[1] == result.time_ps[2] > 1.5 * result.time_ps[0]
    assert result.time_ps[3] < result.time_ps[2]


def test_a_thousand_operators_take_less_than_two_seconds_cold() -> None:
    start = time.process_time()
    simulate(Machine.of("tpu-v6e", "jax"), "gemm", shapes(1000, seed=6, octaves=(14, 9)))
    assert time.process_time() - start < 2


# command line, serving


HEADER = "accelerator,software,op,m,n,k,rows,cols,batch,kv_len,heads,kv_heads,head_dim,devices,bytes\n"


def test_hwsim_op_answers_for_every_kind_of_a_tpu(tmp_path: Path) -> None:
    rows = [f"{chip},{software},gemm,16,4096,4096,,,,,,,,," for chip in CHIPS for software in ("", "jax")]
    rows += [f"tpu-v6e,jax,{kind},,,,64,4096,,,,,,," for kind in ("norm", "activation", "rope", "embed", "sample")]
    rows += ["tpu-v6e,jax,attention_decode,,,,,,8,1000,32,8,128,,", "tpu-v6e,jax,all_reduce,,,,,,,,,,,8,1048576"]
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(HEADER + "\n".join(rows))
    result = CliRunner().invoke(command, [str(source), "-o", str(target)], standalone_mode=False)
    assert result.exception is None
    with target.open(newline="") as file:
        answers = list(csv.DictReader(file))
    assert len(answers) == len(rows)
    for answer in answers:
        assert answer["error"] == ""
        assert float(answer["time_ns"]) > 500


@pytest.mark.parametrize(
    ("kind", "dims", "dtype", "words"),
    [
        ("gemm", {"m": 16, "n": 16, "k": 16}, "fp8", "tpu-v6e has no fp8; it has bf16, int8"),
        ("gemm", {"m": 1, "n": 1 << 20, "k": 1 << 20}, "bf16", "needs 2199 GB, tpu-v6e has 32 GB"),
        (
            "attention_decode",
            {"batch": 1, "kv_len": 9, "heads": 12, "kv_heads": 8, "head_dim": 64},
            "bf16",
            "do not divide",
        ),
        ("attention_decode", {"batch": 1, "kv_len": 9, "q_len": 2, **HEADS}, "bf16", "attention_prefill"),
        ("attention_prefill", {"batch": 1, "kv_len": 9, "q_len": 10, **HEADS}, "bf16", "is below q_len 10"),
        (
            "attention_mixed",
            {"prefill_chunk": 0, "kv_prefill": 0, "n_decode": 0, "kv_decode": 0, **HEADS},
            "bf16",
            "nothing",
        ),
    ],
)
def test_what_cannot_run_says_why(kind: str, dims: dict[str, object], dtype: str, words: str) -> None:
    result = simulate(Machine.of("tpu-v6e", "jax"), kind, dims, dtype)
    assert result.time_ps[0] == -1
    assert words in str(result.error[0])


def test_software_of_another_class_is_refused() -> None:
    with pytest.raises(InputError, match="no kernels for tpu-v6"):
        Machine.of("tpu-v6e", "vllm")
    with pytest.raises(InputError, match="no kernels for hopper"):
        Machine.of("h100-sxm", "jax")


def test_a_deployment_on_tpus_compiles_and_answers() -> None:
    deployment = hwsim.compile("tpu-v6e-x8", "llama-3.1-8b", "tp=8", "jax")
    deployment.costs.phases[0].tokens.fill(np.array([1]))
    assert deployment.costs.token_time[0, 1] > 0
