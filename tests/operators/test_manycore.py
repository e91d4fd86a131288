"""Chips of tiles: programs against the reference and closed forms of supersteps, laws, refusals."""

import csv
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tick_by_tick import bound_of, check, shapes

import hwsim
from hwsim.cli.op import command
from hwsim.errors import InputError
from hwsim.operators.account import Runs
from hwsim.operators.candidates import Programs
from hwsim.operators.machine import Machine
from hwsim.operators.mapper.manycore import attention, elementwise, gemm, program, split
from hwsim.operators.mapper.manycore.program import ARITHMETIC, Work
from hwsim.operators.mapper.streams import STREAMS
from hwsim.operators.operator import complete, kind_of
from hwsim.operators.program import bind, run_many
from hwsim.operators.simulate import mapper_of, simulate

CHIPS = {"ipu-gc200": "poptransformer-2023", "ipu-bow": "ideal", "ipu-c600": "poptransformer-2023", "mtia-v2": "mtia",
         "northpole": "northpole-2024", "wormhole": "ideal"}  # fmt: skip
HEADS = {"heads": 32, "kv_heads": 8, "head_dim": 128}
FEW = {"heads": 4, "kv_heads": 2, "head_dim": 16}
# Chips small enough for the reference: turns of exchange and compute; a shared memory, streams, two steps at once.
SMALL = {
    "ipu-gc200": (
        "units.tensor.count=6",
        "units.tensor.depth=4",
        "units.tensor.columns=4",
        "tiers.sram.capacity=32 KiB",
        "tiers.sram.usable=30 KiB",
        "generation.superstep.sync=7 cycles",
    ),
    "mtia-v2": (
        "units.tensor.count=4",
        "units.tensor.depth=4",
        "units.tensor.columns=4",
        "tiers.sram.capacity=4 KiB",
        "tiers.sram.usable=3 KiB",
        "tiers.shared.capacity=6 KiB",
        "tiers.hbm.latency=20 ns",
        "generation.timing.launch=10 ns",
        "generation.superstep.sync=3 cycles",
    ),
}
CASES: dict[str, dict[str, object]] = {
    "gemm": {"m": [1, 7, 40, 30], "n": [100, 33, 40, 70], "k": [90, 8, 50, 65], "batch": [1, 2, 1, 1]},
    "attention_decode": {"batch": [1, 3, 9], "kv_len": [70, 60, 33], **FEW},
    "attention_prefill": {"batch": [1, 2, 1], "q_len": [1, 40, 50], "kv_len": [9, 60, 50], "window": [0, 0, 16], **FEW},
    "attention_mixed": {"prefill_chunk": [40, 0], "kv_prefill": 20, "n_decode": [2, 3], "kv_decode": 60, **FEW},
    "norm": {"rows": [1, 2, 30], "cols": [900, 64, 200], "residual": [0, 1, 1]},
    "activation": {"rows": 20, "cols": 300, "gated": [0, 1]},
    "sample": {"rows": 3, "cols": 1000},
    "embed": {"rows": 3, "cols": 64},
}


def small(chip: str) -> Machine:
    software = {"software": ("kernels.ipu-mk2.superstep=5 cycles",)} if chip == "ipu-gc200" else {}
    return Machine.of(chip, CHIPS[chip], sets={"accelerator": SMALL[chip], **software})


def dtype_of(machine: Machine) -> str:
    return "fp16" if "fp16" in machine.tensor else "bf16"


def groups_of(machine: Machine, kind: str, dims: dict[str, object]) -> list[Programs]:
    columns, mapper = complete(kind_of(kind), dims, "fp16"), mapper_of(machine, kind)
    return mapper.programs(machine, columns, "fp16", mapper.propose(machine, columns, "fp16").best(2))


# programs


@pytest.mark.parametrize("chip", SMALL)
@pytest.mark.parametrize("kind", CASES)
def test_programs_equal_the_reference_on_a_small_machine(kind: str, chip: str) -> None:
    for group in groups_of(small(chip), kind, CASES[kind]):
        check(bound_of(group))


def cycles(amount: int, rate: Fraction) -> int:
    """Whole cycles of an amount at a rate in sixteenths of a cycle."""
    return ceil(Fraction(ceil(Fraction(16 * int(amount)) / rate), 16))


def turns(machine: Machine, work: Work, row: int) -> tuple[int, int]:
    """Cycles of supersteps one after the other, by hand: barrier, code, then the slower group; their number."""
    rate = {name: rate for name, (rate, _) in program.rates(machine, "fp16").items()}

    def step(amounts: dict[str, np.ndarray]) -> int:
        """Each part of what a group does is whole cycles; reads go on beside arithmetic, which starts a cycle later."""
        ends = []
        for group in range(2):
            own = {part: cycles(column[group], rate[part]) for part, column in amounts.items()}
            arithmetic = sum(own.get(part, 0) for part in ARITHMETIC)
            beside = own.get("local", 0) > 0 and arithmetic > 0
            ends.append(own["port"] + max(own.get("local", 0), arithmetic + beside))
        return machine.sync + machine.code + max(ends)

    steps = int(work.steps[row])
    total = 0
    for column, often in ((0, steps - 1), (1, 1)):
        total += often * step({part: amounts[row, :, column] for part, amounts in work.step.items()})
    combines = bool(work.combines[row])
    if combines:
        total += step({part: amounts[row] for part, amounts in work.combine.items()})
    return total, steps + combines


def works(machine: Machine, kind: str) -> list[Work]:
    dims = complete(kind_of(kind), CASES[kind], "fp16")
    if kind == "gemm":
        chosen = gemm.propose(machine, dims, "fp16").best(2)
        of = {name: column[chosen.case] for name, column in dims.items()}
        return [gemm.work_of(machine, of, split.cut(machine, of, chosen.columns, "fp16"), "fp16")]
    if kind == "attention_decode":
        keys = attention.Phase(dims["batch"], dims["q_len"], dims["kv_len"], dims["window"])
        return [attention.decode(machine, attention.Heads.of(dims), keys, "fp16", np.ones_like(dims["heads"]))]
    return [elementwise.work_of(machine, dims, "fp16", STREAMS["norm"], np.ones_like(dims["rows"]))]


@pytest.mark.parametrize("kind", ["gemm", "attention_decode", "norm"])
def test_a_chip_of_one_buffer_takes_the_closed_form_of_its_supersteps(kind: str) -> None:
    machine = small("ipu-gc200")
    for work in works(machine, kind):
        assert work.combines.any() and not work.memory.any()
        group = program.programs(machine, work, "fp16", np.arange(len(work.steps)))
        ends = run_many(bind(group.template, group.values, group.rates, group.laws, group.cells).require()).end
        for row, end in enumerate(ends.tolist()):
            hand, count = turns(machine, work, row)
            # The second of two rows that start together is issued a cycle after the first.
            assert hand - count <= end <= hand + 2 * count, (row, end, hand)


def test_a_chip_of_two_buffers_hides_the_shorter_of_exchange_and_compute() -> None:
    two = small("mtia-v2")
    one = replace(two, buffers=1)
    dims = complete(kind_of("gemm"), {"m": 30, "n": 70, "k": 300}, "fp16")
    chosen = gemm.propose(two, dims, "fp16").best(1)
    times = []
    for machine in (one, two):
        runs = Runs(1)
        for group in gemm.programs(two, dims, "fp16", chosen):
            of = two if machine is two else one
            cells = group.cells.copy()
            cells[:, group.template.names["cells"].index("behind")] = 2 * (1 - of.buffers)
            runs.add(replace(group, cells=cells))
        times.append(int(runs.end[0]))
    assert times[1] < times[0]


@pytest.mark.parametrize("chip", ["ipu-gc200", "mtia-v2", "wormhole"])
def test_the_closed_form_that_ranks_is_close_to_what_is_simulated(chip: str) -> None:
    machine, dims = Machine.of(chip, CHIPS[chip]), shapes(60, seed=8, octaves=(12, 8))
    chosen = gemm.propose(machine, dims, "fp16").best(3)
    runs = Runs(len(chosen.case))
    for group in gemm.programs(machine, dims, "fp16", chosen):
        runs.add(group)
    error = np.abs(chosen.rank / 16 / runs.end - 1)
    assert np.median(error) < 0.01 and error.max() < 0.15


def test_pairs_of_queries_and_keys_are_those_of_the_causal_triangle_and_its_window() -> None:
    for new, keys, window in ((1, 9, 0), (4, 4, 0), (5, 9, 3), (5, 9, 7), (9, 9, 20), (3, 20, 1)):
        seen = [keys - new + 1 + query for query in range(new)]
        brute = sum(min(count, window) if window else count for count in seen)
        one = [np.array([value]) for value in (1, new, keys, window)]
        assert attention.Phase(*one).pairs()[0] == brute, (new, keys, window)


# laws


@pytest.mark.parametrize("chip", CHIPS)
def test_no_gemm_is_faster_than_its_tiles_its_reads_or_its_memory(chip: str) -> None:
    machine, dims = Machine.of(chip, CHIPS[chip]), shapes(60, seed=1, octaves=(12, 8))
    dtype = dtype_of(machine)
    result = simulate(machine, "gemm", dims, dtype)
    flops, weights = 2 * dims["m"] * dims["n"] * dims["k"], 2 * dims["n"] * dims["k"]
    known = result.time_ps >= 0
    assert known.sum() > 40
    tier = "hbm" if machine.streamed else "sram"
    assert (result.flops >= flops)[known].all() and (result.bytes[tier] >= weights)[known].all()
    for time_ps, work, size in zip(result.time_ps[known].tolist(), flops[known].tolist(), weights[known].tolist()):
        seconds = Fraction(time_ps, 10**12)
        assert seconds >= Fraction(work) / (machine.tensor[dtype] * machine.cores * machine.clock)
        assert seconds >= Fraction(size) / (machine.read * machine.cores * machine.clock)
        assert not machine.streamed or seconds >= Fraction(size) / (machine.hbm_rate * machine.clock)
    assert (result.bound.sum(axis=1) == result.time_ps)[known].all()


MORE: dict[str, Callable[[Machine], Machine]] = {
    "reads": lambda m: replace(m, read=m.read * Fraction(5, 4)),
    "exchange": lambda m: replace(m, port=m.port * Fraction(5, 4), shared_rate=m.shared_rate * Fraction(5, 4)),
    "tensor": lambda m: replace(m, tensor={dtype: rate * Fraction(5, 4) for dtype, rate in m.tensor.items()}),
    "vector": lambda m: replace(m, vector=m.vector * Fraction(5, 4), special=m.special * Fraction(5, 4)),
    "memory": lambda m: replace(m, hbm_rate=m.hbm_rate * Fraction(5, 4)),
    "sync": lambda m: replace(m, sync=m.sync * 4 // 5),
    "scratchpad": lambda m: replace(m, sram=2 * m.sram),
}


@pytest.mark.parametrize("chip", ["ipu-gc200", "mtia-v2"])
@pytest.mark.parametrize("what", [name for name in MORE if name != "scratchpad"])
def test_more_of_a_resource_is_never_slower_on_the_same_programs(what: str, chip: str) -> None:
    machine, dims = Machine.of(chip, CHIPS[chip]), shapes(40, seed=2, octaves=(12, 8))
    chosen = gemm.propose(machine, dims, "fp16").best(2)

    def ends(of: Machine) -> np.ndarray:
        runs = Runs(len(chosen.case))
        for group in gemm.programs(of, dims, "fp16", chosen):
            runs.add(group)
        return runs.end

    assert (ends(MORE[what](machine)) <= ends(machine) + 2).all()


@pytest.mark.parametrize("chip", ["ipu-gc200", "mtia-v2", "wormhole"])
@pytest.mark.parametrize("what", MORE)
def test_more_of_a_resource_is_at_most_one_percent_slower_after_choosing_again(what: str, chip: str) -> None:
    machine = Machine.of(chip, CHIPS[chip])
    for kind, dims in {
        "gemm": shapes(40, seed=3, octaves=(12, 8)),
        "attention_decode": {"batch": [1, 4, 64], "kv_len": [64, 5000, 900], **HEADS},
        "attention_prefill": {"batch": [1, 4], "q_len": [64, 256], "kv_len": [64, 900], **HEADS},
        "norm": {"rows": [1, 300], "cols": 4096},
    }.items():
        before, after = (simulate(of, kind, dims, "fp16").time_ps for of in (machine, MORE[what](machine)))
        assert (after <= before * 1.01).all(), (kind, float((after / before).max()))


@pytest.mark.parametrize("chip", ["ipu-gc200", "mtia-v2", "northpole"])
def test_ideal_software_is_never_slower_than_a_library(chip: str) -> None:
    ideal, library = (Machine.of(chip, software) for software in ("ideal", CHIPS[chip]))
    for kind, dims in {
        "gemm": shapes(30, seed=7, octaves=(12, 8)),
        "attention_decode": {"batch": [1, 5, 64], "kv_len": [3, 700, 200], **HEADS},
        "attention_prefill": {"batch": [1, 2], "q_len": [3, 300], "kv_len": [30, 900], **HEADS},
        "norm": {"rows": [1, 700], "cols": [33, 4096]},
        "all_reduce": {"devices": [2, 4, 8], "bytes": [1000, 100000, 1 << 24]},
        "send": {"devices": 2, "bytes": [1000, 1 << 24]},
    }.items():
        fast, slow = (simulate(machine, kind, dims, "fp16").time_ps for machine in (ideal, library))
        assert (fast <= np.maximum(slow * 1.002, slow)).all(), (kind, float((fast / slow).max()))


@pytest.mark.parametrize("chip", ["ipu-gc200", "mtia-v2"])
def test_three_candidates_are_as_good_as_all(chip: str) -> None:
    machine, dims = Machine.of(chip, CHIPS[chip]), shapes(20, seed=4, octaves=(12, 8))
    few, every = (simulate(machine, "gemm", dims, "fp16", best=best).time_ps for best in (3, 2000))
    regret = few / every - 1
    assert regret.mean() <= 0.005
    assert regret.max() <= 0.05


def test_weights_lie_in_the_tiles_unless_a_description_streams_them_from_the_memory_behind() -> None:
    dims = {"m": 1, "n": 4096, "k": 4096}
    lies = simulate(Machine.of("ipu-gc200"), "gemm", dims, "fp16")
    streams = simulate(Machine.of("ipu-gc200", sets={"accelerator": ("weights=hbm",)}), "gemm", dims, "fp16")
    size = 2 * 4096 * 4096
    assert lies.bytes["hbm"][0] == 0
    assert streams.bytes["hbm"][0] >= size
    assert streams.time_ps[0] / 1e12 >= size / 20e9 > 100 * lies.time_ps[0] / 1e12


def test_a_thousand_operators_take_less_than_two_seconds_cold() -> None:
    start = time.process_time()
    simulate(Machine.of("ipu-gc200", "poptransformer-2023"), "gemm", shapes(1000, seed=6, octaves=(12, 8)), "fp16")
    assert time.process_time() - start < 2


def test_a_step_of_a_ring_is_a_superstep_over_the_links() -> None:
    machine = Machine.of("ipu-gc200", "poptransformer-2023")
    time_ps = simulate(machine, "all_reduce", {"devices": 8, "bytes": 8 * 1800}, "fp16").time_ps[0]
    link = machine.chip.links.scale_up
    chunk = 1800 / (float(link.link.rate * link.count) * 0.5 / machine.clock)
    hand = 14 * (machine.sync + machine.code + machine.cycles(link.link.latency) + chunk)
    assert time_ps * machine.clock / 1e12 == pytest.approx(hand, abs=14)


# what is published of operators


def test_weights_beyond_the_shared_memory_come_once_and_prefill_is_bound_by_arithmetic() -> None:
    machine = Machine.of("mtia-v2", "mtia")
    m, n, k = 2048, 28672, 4096
    result = simulate(machine, "gemm", {"m": np.array([m]), "n": np.array([n]), "k": np.array([k])}, "fp16")
    assert 2 * n * k <= result.bytes["hbm"][0] <= 2 * (n * k + m * k)
    assert result.time_ps[0] / 1e12 < 1.1 * 2 * m * n * k / 177e12


def test_mtia_reaches_the_published_share_of_its_peak() -> None:
    """ "More than 92 %" of 177 TFLOP/s at 2048 x 2048 x 2048 (Coburn et al., ISCA 2025)."""
    time_ps = simulate(Machine.of("mtia-v2", "mtia"), "gemm", {"m": 2048, "n": 2048, "k": 2048}, "fp16").time_ps[0]
    assert 0.92 <= 2 * 2048**3 / (177e12 * time_ps / 1e12) < 1


@pytest.mark.parametrize(("chip", "dtype"), [("ipu-gc200", "fp16"), ("ipu-c600", "fp8"), ("mtia-v2", "int8"),
                                             ("northpole", "int4"), ("wormhole", "fp8")])  # fmt: skip
def test_no_operator_draws_more_than_the_limit_for_long_and_bytes_cost_energy(chip: str, dtype: str) -> None:
    machine = Machine.of(chip)
    result = simulate(machine, "gemm", {"m": [1, 2, 2048], "n": 4096, "k": [2048, 4096, 2048]}, dtype)
    watts = (result.energy_pj + result.active_pj) / result.time_ps + float(machine.power.static)
    assert (watts <= float(machine.power.limit) * 1.001).all()
    assert result.energy_pj[0] < result.energy_pj[1] < result.energy_pj[2]


# command line, refusals


HEADER = "accelerator,software,op,dtype,m,n,k,rows,cols,batch,kv_len,heads,kv_heads,head_dim,devices,bytes\n"


def test_hwsim_op_answers_for_every_kind_of_a_chip_of_tiles(tmp_path: Path) -> None:
    rows = []
    for chip, software in CHIPS.items():
        rows += [f"{chip},{name},gemm,fp16,16,4096,4096,,,,,,,,," for name in (software, "")]
        rows += [
            f"{chip},{software},{kind},fp16,,,,64,4096,,,,,,,"
            for kind in ("norm", "activation", "softmax", "rope", "embed", "sample")
        ]
        rows += [f"{chip},{software},attention_decode,fp16,,,,,,4,1000,32,8,128,,"]
        rows += [f"{chip},{software},all_reduce,fp16,,,,,,,,,,,4,65536"]
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(HEADER + "\n".join(rows))
    result = CliRunner().invoke(command, [str(source), "-o", str(target)], standalone_mode=False)
    assert result.exception is None
    with target.open(newline="") as file:
        answers = list(csv.DictReader(file))
    assert len(answers) == len(rows)
    for answer in answers:
        assert answer["error"] == ""
        assert float(answer["time_ns"]) > 50 and float(answer["energy_j"]) > 0


@pytest.mark.parametrize(
    ("chip", "kind", "dims", "dtype", "words"),
    [
        ("ipu-gc200", "gemm", {"m": 16, "n": 16, "k": 16}, "bf16", "ipu-gc200 has no bf16; it has fp16"),
        ("ipu-gc200", "gemm", {"m": 1, "n": 130528, "k": 4096}, "fp16", "needs 1.069 GB, ipu-gc200 has 0.8743 GB"),
        ("mtia-v2", "gemm", {"m": 1, "n": 1 << 20, "k": 1 << 20}, "fp16", "needs 2199 GB, mtia-v2 has 128 GB"),
        ("ipu-bow", "attention_decode", {"batch": 1, "kv_len": 9, "q_len": 2, **HEADS}, "fp16", "attention_prefill"),
        (
            "ipu-bow",
            "attention_decode",
            {"batch": 99, "kv_len": 9999, **HEADS},
            "fp16",
            "keys and values need 4.055 GB",
        ),
        ("ipu-bow", "attention_prefill", {"batch": 1, "kv_len": 9, "q_len": 10, **HEADS}, "fp16", "is below q_len 10"),
    ],
)
def test_what_cannot_run_says_why(chip: str, kind: str, dims: dict[str, object], dtype: str, words: str) -> None:
    result = simulate(Machine.of(chip), kind, dims, dtype)
    assert result.time_ps[0] == -1
    assert words in str(result.error[0])


def test_a_chip_without_memory_behind_it_cannot_stream() -> None:
    with pytest.raises(InputError, match=r"weights: got hbm, expected sram; describe tiers\.hbm"):
        hwsim.load("northpole", sets=["weights=hbm"])


def test_a_clock_a_tenth_higher_makes_what_is_bound_by_tiles_a_tenth_faster() -> None:
    """Times of a C600 and a GC200 differ by their clocks (graphcore/PopTransformer): code and barriers are cycles."""
    dims = {"m": 1, "n": 4096, "k": 4096}
    slow, fast = (
        simulate(Machine.of(chip, "poptransformer-2023"), "gemm", dims, "fp16").time_ps[0]
        for chip in ("ipu-gc200", "ipu-c600")
    )
    assert slow / fast == pytest.approx(1.5 / 1.33, rel=1e-3)
