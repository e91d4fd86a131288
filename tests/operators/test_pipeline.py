"""Statically scheduled chips: programs against closed forms and the reference, laws, no variance, refusals."""

import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from tick_by_tick import bound_of, check, shapes

from hwsim.describe import load
from hwsim.errors import InputError
from hwsim.operators.machine import Machine
from hwsim.operators.mapper.pipeline.machine import kept_planes
from hwsim.operators.operator import complete, kind_of
from hwsim.operators.simulate import mapper_of, simulate

HEADS = {"heads": 11, "kv_heads": 3, "head_dim": 128}
FEW = {"heads": 5, "kv_heads": 2, "head_dim": 12}
# A chip small enough for the reference: four planes of 8 x 8 behind streams of 64 bytes.
SMALL = {
    "accelerator": (
        "units.tensor.rows=8",
        "units.tensor.cols=8",
        "units.tensor.streams=64 B/cycle",
        "units.tensor.per_cycle.fp16=128 FLOP",
        "units.tensor.per_cycle.int8=512 FLOP",
        "units.vector.per_cycle.fp32=16 FLOP",
        "units.vector.special=4 FLOP/cycle",
        "links.scale_up.link.latency=20 ns",
        "generation.timing.fill=5 cycles",
    )
}


# the chip as published


def test_planes_and_streams_make_the_published_peaks() -> None:
    chip = load("groq-lpu")
    tensor, clock = chip.units.tensor, chip.clocks.core
    assert tensor.per_cycle["int8"] == 2 * tensor.planes * tensor.rows * tensor.cols
    assert float(tensor.per_cycle["int8"]) * 915e6 == pytest.approx(750e12, rel=0.001)
    assert float(tensor.per_cycle["fp16"]) * 915e6 == pytest.approx(188e12, rel=0.005)
    assert float(tensor.streams * clock) == pytest.approx(18.4e12, rel=0.002)


def test_systems_say_how_many_chips_stand_by() -> None:
    assert [(load(name).count, load(name).active) for name in ("groq-72", "groq-576", "groq-lpu-x8")] == [
        (72, 64),
        (576, 512),
        (8, 8),
    ]
    with pytest.raises(InputError, match="spares: got 72, expected fewer than the 72 accelerators"):
        load("groq-72", sets=["spares=72"])


# closed forms


def cycles(amount: int, rate: Fraction) -> Fraction:
    """Cycles of an amount, in sixteenths as the engine counts, rounded up."""
    return Fraction(ceil(amount * 16 / rate), 16)


@pytest.mark.parametrize("software", ["ideal", "groq-2024"])
@pytest.mark.parametrize("dtype", ["fp16", "int8"])
def test_a_product_of_few_rows_takes_what_its_weights_take_to_be_installed(software: str, dtype: str) -> None:
    machine, share = Machine.of("groq-lpu", software), load(software).kernels["tsp-1"].efficiency
    n, k = 9000, 8192
    time_ps = simulate(machine, "gemm", {"m": 1, "n": n, "k": k}, dtype).time_ps[0]
    size = {"fp16": 2, "int8": 1}[dtype]
    through_streams = n * k * size / (20480 * share)
    converted = n * k / (5120 * share) if (software, dtype) == ("groq-2024", "int8") else 0
    hand = machine.fill + max(through_streams, converted)
    assert hand <= time_ps * machine.clock / 1e12 <= 1.02 * hand


def test_int8_weights_multiplied_in_fp16_are_bound_by_conversions_not_by_the_port_of_the_sram() -> None:
    machine = Machine.of("groq-lpu", "groq-2024")
    result = simulate(machine, "gemm", {"m": 1, "n": 8192, "k": 8192}, "int8")
    assert result.bound_name(0) == "vector"
    at_the_port = 8192 * 8192 / 80e12
    assert result.time_ps[0] / 1e12 > 10 * at_the_port


def test_a_product_of_many_rows_takes_what_the_planes_take_to_multiply() -> None:
    machine = Machine.of("groq-lpu")
    for dtype, kept, pace in (("fp16", 2, 2), ("int8", 4, 1)):
        sets = ceil(ceil(4096 / 320) * ceil(4096 / 320) / kept)
        end = simulate(machine, "gemm", {"m": 2048, "n": 4096, "k": 4096}, dtype)
        assert end.bound_name(0) == "tensor"
        hand = machine.fill + sets * 2048 * pace
        assert hand <= end.time_ps[0] * machine.clock / 1e12 <= hand * 1.02


def test_one_set_of_weights_takes_its_way_by_hand() -> None:
    """Fill, weights and activations through the streams, conversion behind them by a cycle, rows through the planes."""
    machine = Machine.of("groq-lpu", "groq-2024")
    time_ps = simulate(machine, "gemm", {"m": 3, "n": 320, "k": 320}, "int8").time_ps[0]
    converted = cycles(320 * 320, machine.scheduled(machine.vector))
    rows = cycles(3, machine.scheduled(machine.pace["fp16"]))
    hand = machine.fill + 1 + ceil(converted) + ceil(rows)
    assert hand <= time_ps * machine.clock / 1e12 <= hand + 3


def test_streams_special_functions_and_arithmetic_of_a_row_run_side_by_side() -> None:
    machine = Machine.of("groq-lpu")
    rows, cols = 64, 8192
    result = simulate(machine, "norm", {"rows": rows, "cols": cols}, "fp16")
    hand = machine.fill + max(rows * cols * 4 / machine.streams, rows * cols * 6 / machine.vector)
    assert hand <= result.time_ps[0] * machine.clock / 1e12 <= hand + 2


@pytest.mark.parametrize("devices", [1, 2, 7, 8, 24, 64])
def test_an_all_reduce_is_hops_and_the_bytes_of_one_link(devices: int) -> None:
    machine, size = Machine.of("groq-lpu"), 1 << 20
    local, nodes = min(devices, 8), ceil(devices / 8)
    inside = 2 * (machine.hop + size / local / machine.link) * (local > 1)
    far = 1 if nodes - 1 <= 4 else 2  # a chip has links to four other nodes
    between = 2 * (far * machine.hop + size / local / nodes * (nodes - 1) / 4 / machine.link) * (nodes > 1)
    time_ps = simulate(machine, "all_reduce", {"devices": devices, "bytes": size}, "fp16").time_ps[0]
    assert inside + between <= time_ps * machine.clock / 1e12 <= inside + between + 8


# programs equal the reference

CASES: dict[str, dict[str, object]] = {
    "gemm": {"m": [1, 7, 40, 9], "n": [100, 33, 40, 70], "k": [90, 8, 50, 65], "batch": [1, 2, 1, 1]},
    "attention_decode": {"batch": [1, 3], "kv_len": [5, 60], "kv_dtype": ["fp8", "fp16"], **FEW},
    "attention_prefill": {"batch": [1, 2, 1], "q_len": [1, 40, 70], "kv_len": [9, 90, 70], "window": [0, 0, 16], **FEW},
    "attention_mixed": {"prefill_chunk": [40, 0, 9], "kv_prefill": 20, "n_decode": [2, 3, 0], "kv_decode": 60, **FEW},
    "norm": {"rows": [1, 30], "cols": [64, 200], "residual": [0, 1]},
    "activation": {"rows": 20, "cols": 300, "gated": [0, 1]},
    "sample": {"rows": 3, "cols": 1000},
    "all_reduce": {"devices": [1, 8, 20], "bytes": 5000},
    "all_to_all": {"devices": [4, 16], "bytes": 5000},
    "send": {"bytes": [1, 5000]},
}


@pytest.mark.parametrize("dtype", ["fp16", "int8"])
@pytest.mark.parametrize("kind", CASES)
def test_programs_equal_the_reference_on_a_small_machine(kind: str, dtype: str) -> None:
    machine = Machine.of("groq-lpu", "groq-2024", sets=SMALL)
    dims = complete(kind_of(kind), CASES[kind], dtype)
    mapper = mapper_of(machine, kind)
    for group in mapper.programs(machine, dims, dtype, mapper.propose(machine, dims, dtype)):
        check(bound_of(group))


# laws


@pytest.mark.parametrize("software", ["ideal", "groq-2024"])
@pytest.mark.parametrize("dtype", ["fp16", "int8"])
def test_no_product_is_faster_than_any_of_its_resources(software: str, dtype: str) -> None:
    machine, dims = Machine.of("groq-lpu", software), shapes(80, seed=1, octaves=(12, 7), dtype="fp16")
    taken = machine.multiplied(dtype)
    result = simulate(machine, "gemm", dims, dtype)
    weights = dims["n"] * dims["k"]
    size = weights * {"fp16": 2, "int8": 1}[dtype]
    assert (result.flops >= 2 * dims["m"] * weights).all()
    assert (result.bytes["sram"] >= size).all()
    assert (result.bound.sum(axis=1) == result.time_ps).all()
    at_least = machine.fill + np.maximum(
        size / float(machine.streams), 2 * dims["m"] * weights / float(machine.tensor[taken])
    )
    if taken != dtype:
        at_least = np.maximum(at_least, weights / float(machine.vector))
    assert (result.time_ps * (machine.clock / 1e12) >= at_least).all()


def test_no_attention_is_faster_than_its_keys_and_values_through_the_streams() -> None:
    machine = Machine.of("groq-lpu")
    keys = np.array([100, 1000, 10000])
    result = simulate(machine, "attention_decode", {"batch": 4, "kv_len": keys, **HEADS}, "fp16")
    moved = 4 * keys * 2 * 3 * 128 * 2
    assert (result.bytes["sram"] >= moved).all()
    assert (result.time_ps * (machine.clock / 1e12) >= machine.fill + moved / float(machine.streams)).all()


def test_a_window_and_the_past_bound_what_a_prompt_reads() -> None:
    """Queries see the keys before them: half of the products of all pairs; a window leaves a band of them."""
    machine = Machine.of("groq-lpu")
    dims = {"batch": 1, "q_len": 6400, "kv_len": 6400, "window": [0, 640], **HEADS}
    full, band = simulate(machine, "attention_prefill", dims, "fp16").flops.tolist()
    pairs = 4 * 6400 * 6400 * 11 * 320  # planes are as deep as 320, heads have 128
    assert pairs / 2 <= full <= 1.1 * pairs / 2
    assert 640 * 6400 <= band / 4 / 11 / 320 <= 1.6 * 640 * 6400


# Not the planes: they are units, and more of them wait for a larger first set (waves).
MORE: dict[str, Callable[[Machine], Machine]] = {
    "streams": lambda m: replace(m, streams=m.streams * Fraction(5, 4)),
    "vector units": lambda m: replace(m, vector=m.vector * Fraction(5, 4), special=m.special * Fraction(5, 4)),
    "pace": lambda m: replace(m, pace={dtype: rate * Fraction(5, 4) for dtype, rate in m.pace.items()}),
    "links": lambda m: replace(m, link=2 * m.link, between=2 * m.between),
    "hop": lambda m: replace(m, hop=m.hop // 2),
}
ASKED: list[tuple[str, dict[str, object], str]] = [
    ("gemm", shapes(40, seed=2, octaves=(12, 7), dtype="fp16"), "fp16"),
    ("gemm", shapes(40, seed=3, octaves=(12, 7), dtype="fp16"), "int8"),
    ("attention_decode", {"batch": [1, 4, 64], "kv_len": [64, 5000, 900], **HEADS}, "fp16"),
    ("attention_prefill", {"batch": 1, "q_len": [64, 256, 1], "kv_len": [64, 5000, 900], **HEADS}, "fp16"),
    ("activation", {"rows": [1, 64], "cols": 28672}, "fp16"),
    ("all_reduce", {"devices": [6, 8, 64], "bytes": 1 << 20}, "fp16"),
]


@pytest.mark.parametrize("what", MORE)
def test_more_of_a_resource_is_never_slower(what: str) -> None:
    machine = Machine.of("groq-lpu", "groq-2024")
    for kind, dims, dtype in ASKED:
        before, after = (simulate(of, kind, dims, dtype).time_ps for of in (machine, MORE[what](machine)))
        assert (after <= before).all(), (kind, dtype)


def test_times_have_no_variance() -> None:
    """The same operator takes the same time, alone or among others, in any order: the schedule is the machine."""
    machine, dims = Machine.of("groq-lpu", "groq-2024"), shapes(20, seed=4, octaves=(12, 7), dtype="fp16")
    times = simulate(machine, "gemm", dims, "int8").time_ps
    again = simulate(machine, "gemm", {name: np.tile(column[::-1], 3) for name, column in dims.items()}, "int8").time_ps
    alone = [simulate(machine, "gemm", {name: column[i] for name, column in dims.items()}, "int8") for i in range(20)]
    assert np.var(again.reshape(3, 20)[:, ::-1], axis=0).max() == 0
    assert (again.reshape(3, 20)[:, ::-1] == times).all()
    assert [int(one.time_ps[0]) for one in alone] == times.tolist()


def test_a_chip_multiplies_in_the_type_its_energy_is_charged_for() -> None:
    dims = {"m": 512, "n": 4096, "k": 4096}
    converted, native = (
        simulate(Machine.of("groq-lpu", software), "gemm", dims, "int8").energy_pj[0]
        for software in ("groq-2024", "ideal")
    )
    assert converted > 2 * native


@pytest.mark.parametrize("kind", ["gemm", "attention_prefill", "activation"])
def test_full_rates_stay_within_the_power_limit(kind: str) -> None:
    dims = {"gemm": {"m": 4096, "n": 4096, "k": 4096}, "activation": {"rows": 4096, "cols": 4096},
            "attention_prefill": {"batch": 1, "q_len": 4096, "kv_len": 4096, **HEADS}}[kind]  # fmt: skip
    machine = Machine.of("groq-lpu")
    result = simulate(machine, kind, dims, "fp16")
    watts = float(machine.power.static) + (result.energy_pj + result.active_pj)[0] / result.time_ps[0]
    assert watts <= machine.power.limit


def test_a_thousand_operators_take_less_than_two_seconds_cold() -> None:
    start = time.process_time()
    simulate(Machine.of("groq-lpu", "groq-2024"), "gemm", shapes(1000, seed=6, octaves=(12, 7), dtype="fp16"), "int8")
    assert time.process_time() - start < 2


def test_the_planes_keep_as_many_blocks_as_the_type_is_wide() -> None:
    assert [kept_planes(4, dtype) for dtype in ("int8", "fp16", "int4")] == [4, 2, 4]
    assert kept_planes(1, "fp16") == 1


# refusals


@pytest.mark.parametrize(
    ("kind", "dims", "dtype", "words"),
    [
        ("gemm", {"m": 16, "n": 16, "k": 16}, "bf16", "groq-lpu has no bf16; it has fp16, int8"),
        ("gemm", {"m": 1, "n": 28672, "k": 8192}, "int8", "weights of 234.9 MB, groq-lpu holds 230.7 MB"),
        ("attention_decode", {"batch": 1, "kv_len": 1 << 20, **HEADS}, "fp16", "keys and values need 1.611 GB"),
        ("attention_decode", {"batch": 1, "kv_len": 9, **HEADS, "kv_heads": 12}, "fp16", "fewer query heads"),
        ("attention_decode", {"batch": 1, "kv_len": 9, "q_len": 2, **HEADS}, "fp16", "attention_prefill"),
        ("attention_prefill", {"batch": 1, "kv_len": 9, "q_len": 10, **HEADS}, "fp16", "is below q_len 10"),
        (
            "attention_mixed",
            {"prefill_chunk": 0, "kv_prefill": 0, "n_decode": 0, "kv_decode": 0, **HEADS},
            "fp16",
            "nothing",
        ),
        ("all_reduce", {"devices": 20000, "bytes": 8}, "fp16", "a system of groq-lpu has at most 10440"),
    ],
)  # fmt: skip
def test_what_cannot_run_says_why(kind: str, dims: dict[str, object], dtype: str, words: str) -> None:
    result = simulate(Machine.of("groq-lpu"), kind, dims, dtype)
    assert result.time_ps[0] == -1
    assert words in str(result.error[0])


def test_a_type_that_the_compiler_converts_to_must_be_one_of_the_chip() -> None:
    machine = Machine.of("groq-lpu", "groq-2024", sets={"software": ("kernels.tsp-1.convert.int8=fp8",)})
    error = simulate(machine, "gemm", {"m": 1, "n": 8, "k": 8}, "int8").error[0]
    assert error == "groq-2024 multiplies int8 in fp8, but groq-lpu has fp16, int8"


def test_software_of_another_class_is_refused() -> None:
    for chip, software in (("groq-lpu", "vllm"), ("groq-lpu", "jax"), ("h100-sxm", "groq-2024")):
        with pytest.raises(InputError, match="no kernels for"):
            Machine.of(chip, software)
