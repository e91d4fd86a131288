"""Wafers: folded programs equal meshes with every core, the reference and closed forms; laws, refusals, speed."""

import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import wafer_mesh as mesh
from tick_by_tick import bound_of, check

from hwsim._core.bounds import BOUND_INDEX
from hwsim.errors import InputError
from hwsim.operators.account import Runs
from hwsim.operators.candidates import Candidates
from hwsim.operators.machine import Machine
from hwsim.operators.mapper.wafer import phases, shift
from hwsim.operators.mapper.wafer.phases import Phase
from hwsim.operators.mapper.wafer.shift import Product
from hwsim.operators.mapper.wafer.tree import Line
from hwsim.operators.operator import complete, kind_of
from hwsim.operators.program import run_one
from hwsim.operators.simulate import mapper_of, simulate

HEADS = {"heads": 32, "kv_heads": 8, "head_dim": 128}
# A kind of operator, dimensions of a decode and of a prefill.
QUESTIONS = (
    ("gemm", {"m": 1, "n": 4096, "k": 14336}),
    ("gemm", {"m": 2048, "n": 6144, "k": 4096}),
    ("gemm", {"m": 64, "n": 128, "k": 256, "batch": 3}),
    ("attention_decode", {"batch": 3, "kv_len": 4000, **HEADS}),
    ("attention_prefill", {"batch": 2, "q_len": 512, "kv_len": 700, **HEADS}),
    ("norm", {"rows": 1, "cols": 4096, "residual": 1}),
    ("activation", {"rows": 700, "cols": 14336, "gated": 1}),
    ("softmax", {"rows": 5, "cols": 32000}),
    ("rope", {"rows": 5, "cols": 5120}),
    ("embed", {"rows": 5, "cols": 4096}),
    ("sample", {"rows": 2, "cols": 128256}),
)


@pytest.fixture(scope="module")
def wse() -> Machine:
    return Machine.of("wse-2", "waferllm")


def one(machine: Machine, kind: str, dims: dict[str, int]) -> int:
    """Picoseconds of one operator."""
    result = simulate(machine, kind, dims, "fp16")
    assert result.error == [None], result.error
    return int(result.time_ps[0])


def altered(machine: Machine, **kernels: object) -> Machine:
    """The machine with other numbers of its kernels."""
    return replace(machine, kernels=machine.kernels.model_copy(update=kernels))


# folded programs against meshes


@pytest.mark.parametrize("side", range(1, 13))
@pytest.mark.parametrize(("words", "step", "hop"), [(1, 5, 1), (7, 2, 1), (3, 0, 2), (4, 30, 3)])
def test_a_tree_on_one_line_takes_what_it_takes_on_a_mesh_of_cores(side: int, words: int, step: int, hop: int) -> None:
    for levels in (1, 2):
        line = Line.of(side, levels)
        written_out = run_one(mesh.gemv(side, levels, 11, words, step, hop))
        folded = line.cycles(np.array([words * (side > 1)]), step, hop)
        assert written_out.end == 11 + int(folded[0]), (levels, line)


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8])
def test_a_gemv_folded_takes_what_it_takes_with_every_core_a_queue(side: int, wse: Machine) -> None:
    machine = altered(wse, step=Fraction(9))
    dims = complete(kind_of("gemm"), {"m": 1, "n": 40, "k": 24}, "fp16")
    rows, depth = -(-40 // side), -(-24 // side)
    product = phases.ceil_over(np.array([2 * rows * depth]), machine.tensor["fp16"])
    words = -(-rows // 2)
    written_out = run_one(mesh.gemv(side, 2, int(product[0]), words, 9, machine.hop))
    folded = end_of(machine.on(side), "gemm", dims, way=0)
    assert folded == written_out.end


@pytest.mark.parametrize("side", [1, 2, 3, 4, 6])
@pytest.mark.parametrize(("m", "n", "k"), [(8, 8, 8), (30, 6, 70), (3, 90, 2)])
def test_cyclic_shifts_folded_take_what_they_take_on_a_mesh(side: int, m: int, n: int, k: int, wse: Machine) -> None:
    machine = altered(wse, step=Fraction(4))
    p = Product.of(machine, side, *(np.array([x]) for x in (m, n, k)), 32)
    product = int(phases.ceil_over(p.flops, machine.tensor["fp16"])[0])
    written_out = run_one(
        mesh.products(side, product, int(p.words[0]), int(p.align[0]), 4, machine.kernels.shift * machine.hop)
    )
    dims = complete(kind_of("gemm"), {"m": m, "n": n, "k": k}, "fp16")
    assert end_of(machine.on(side), "gemm", dims, way=1) == written_out.end


def chosen_of(machine: Machine, kind: str, dims: dict[str, np.ndarray], way: int | None = None) -> Candidates:
    """Candidates of a region, all or one way."""
    found = mapper_of(machine, kind).propose(machine, dims, "fp16")
    return found if way is None else found.take(np.flatnonzero(found.columns["way"] == way))


def ends(machine: Machine, kind: str, dims: dict[str, np.ndarray], chosen: Candidates) -> np.ndarray:
    """Cycles that the engine says."""
    runs = Runs(len(chosen.case))
    for group in mapper_of(machine, kind).programs(machine, dims, "fp16", chosen):
        runs.add(group)
    return runs.end


def end_of(machine: Machine, kind: str, dims: dict[str, np.ndarray], way: int) -> int:
    return int(ends(machine, kind, dims, chosen_of(machine, kind, dims, way))[0])


# programs against closed forms and the reference


@pytest.mark.parametrize(("kind", "dims"), QUESTIONS)
@pytest.mark.parametrize("software", ["waferllm", "ideal"])
def test_the_engine_says_what_the_closed_form_of_a_program_says(kind: str, dims: dict[str, int], software: str) -> None:
    machine = Machine.of("wse-2", software)
    columns = complete(kind_of(kind), dims, "fp16")
    for side in (1, 3, 47, 360, 661):
        region = machine.on(side)
        chosen = chosen_of(region, kind, columns)
        assert (16 * ends(region, kind, columns, chosen) == chosen.rank).all(), side


@pytest.mark.parametrize(("kind", "dims"), QUESTIONS)
def test_programs_equal_the_reference_tick_by_tick(kind: str, dims: dict[str, int], wse: Machine) -> None:
    few = {"heads": 4, "kv_heads": 2, "head_dim": 4, "kv_len": 9, "q_len": 5}
    small = {name: min(size, few.get(name, 17)) for name, size in dims.items()}
    columns = complete(kind_of(kind), small, "fp16")
    machine = altered(wse, step=Fraction(3)).on(5)
    for group in mapper_of(machine, kind).programs(machine, columns, "fp16", chosen_of(machine, kind, columns)):
        check(bound_of(group))


# laws


@pytest.mark.parametrize(("kind", "dims"), QUESTIONS)
def test_no_operator_is_faster_than_a_resource_allows(kind: str, dims: dict[str, int], wse: Machine) -> None:
    for side in (60, 420, 660):
        machine = wse.on(side)
        result = simulate(machine, kind, dims, "fp16")
        cycles = Fraction(int(result.time_ps[0]) * machine.clock, 10**12)
        fastest = max(machine.tensor["fp16"], machine.half) * side**2
        assert cycles >= int(result.flops[0]) / fastest
        assert int(result.bound[0].sum()) == int(result.time_ps[0])


def faster() -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    told = "source: a test, status: assumed"
    yield "clock", (f"clocks.core={{value: 2 GHz, {told}}}",), ()
    yield "fabric", (f"fabric.rate={{value: 8 B/cycle, {told}}}",), ()
    yield "products", (f"units.tensor.per_cycle.fp16={{value: 12 FLOP, {told}}}",), ()
    yield "special", (f"units.vector.special={{value: 1 FLOP/cycle, {told}}}",), ()
    yield "hop", (f"fabric.hop={{value: 0 cycles, {told}}}",), ()
    power = f"power.limit={{value: 24 kW, {told}}}"  # what is not gated draws power
    more = tuple(f"units.{unit}.count={{value: 900000, {told}}}" for unit in ("tensor", "vector"))
    yield "cores", (*more, power), ()
    yield "step", (), (f"kernels.wse-2.step={{value: 5 cycles, {told}}}",)


@pytest.mark.parametrize(("what", "accelerator", "software"), tuple(faster()))
def test_more_of_a_resource_is_never_slower(what: str, accelerator: tuple, software: tuple, wse: Machine) -> None:
    better = Machine.of("wse-2", "waferllm", sets={"accelerator": accelerator, "software": software})
    for kind, dims in QUESTIONS:
        for before, after in ((wse, better), (wse.on(300), better.on(300))):
            assert one(after, kind, dims) <= one(before, kind, dims), (what, kind)


def test_products_wait_for_the_port_of_their_sram(wse: Machine) -> None:
    """One operand of a multiply-add is read: no product takes less than its bytes through the ports."""
    dims, told = {"m": 1, "n": 16384, "k": 16384}, "source: a test, status: assumed"
    usual, last = one(wse.on(660), "gemm", dims), 0
    for port in ("23.5", "3.2", "1", "0.1"):
        sets = {"accelerator": [f"tiers.sram.port={{value: {port} B/cycle, {told}}}"]}
        region = Machine.of("wse-2", "waferllm", sets=sets).on(660)
        result = simulate(region, "gemm", dims, "fp16")
        time = int(result.time_ps[0])
        assert time * region.clock / 1e12 >= 16384**2 * 2 / 660**2 / float(port)
        assert (time == usual) == (float(port) > 3.14)
        assert (int(result.bound[0, BOUND_INDEX["sram"]]) > 0) == (time > usual)
        assert time >= last
        last = time
        for kind, some in QUESTIONS:
            assert one(region, kind, some) >= one(wse.on(660), kind, some)


@pytest.mark.parametrize("kind", ["gemm", "attention_decode"])
def test_more_work_is_never_faster(kind: str, wse: Machine) -> None:
    region, last = wse.on(480), 0
    for size in (1, 2, 7, 64, 479, 480, 481, 2000):
        dims = {"m": size, "n": 4096, "k": 4096} if kind == "gemm" else {"batch": 1, "kv_len": size, **HEADS}
        now = one(region, kind, dims)
        assert now >= last, size
        last = now


def test_few_rows_go_through_trees_and_many_round_the_region(wse: Machine) -> None:
    result = simulate(wse.on(480), "gemm", {"m": [1, 4096], "n": 4096, "k": 4096}, "fp16")
    assert result.choice == ["tree on 480 x 480 cores", "cyclic shift on 480 x 480 cores"]


def test_heads_run_side_by_side_where_the_stack_cuts_the_region(wse: Machine) -> None:
    dims = {"batch": 1, "q_len": 64, "kv_len": 1000, **HEADS}
    alone, beside = (altered(wse, squares=squares).on(210) for squares in ([1], [1, 2, 4, 8]))
    result = simulate(beside, "attention_prefill", dims, "fp16")
    assert result.choice == ["keys and values spread on 210 x 210 cores in 8 x 8 squares"]
    assert int(result.time_ps[0]) < one(alone, "attention_prefill", dims) // 4
    assert one(altered(wse, squares=[]).on(3), "attention_prefill", dims) == one(
        altered(wse, squares=[1]).on(3), "attention_prefill", dims
    )


def test_energy_is_static_power_most_of_all(wse: Machine) -> None:
    result = simulate(wse.on(660), "gemm", {"m": 1, "n": 4096, "k": 4096}, "fp16")
    static = float(wse.power.static) * int(result.time_ps[0])
    rest = int(result.energy_pj[0] + result.active_pj[0])
    assert 0 < rest < static / 4
    assert (static + rest) / int(result.time_ps[0]) <= float(wse.power.limit)
    assert set(result.bytes) == {"sram"}


def test_a_region_draws_active_power_for_its_own_cores(wse: Machine) -> None:
    small, whole = (simulate(m, "norm", {"rows": 1, "cols": 4096}, "fp16") for m in (wse.on(100), wse.on(900)))
    each = float(wse.power.active_per_unit)
    for result, side in ((small, 100), (whole, 900)):
        assert int(result.active_pj[0]) == pytest.approx(each * side**2 * int(result.time_ps[0]), rel=1e-6)


# what is refused


def test_what_does_not_fit_is_refused_with_its_size(wse: Machine) -> None:
    result = simulate(wse, "gemm", {"m": 1, "n": [4096, 200_000], "k": [4096, 200_000]}, "fp16")
    assert result.error[0] is None and result.time_ps[0] > 0
    assert result.error[1] == "operands and result need 80 GB, wse-2 has 38.3 GB" and result.time_ps[1] == -1


def test_wrong_attention_is_refused(wse: Machine) -> None:
    heads = {"heads": 32, "kv_heads": [8, 5, 8], "head_dim": 128}
    result = simulate(wse, "attention_decode", {"batch": 1, "q_len": [1, 1, 2], "kv_len": 100, **heads}, "fp16")
    assert result.error[0] is None
    assert "do not divide" in str(result.error[1]) and "are attention_prefill" in str(result.error[2])


def test_a_region_larger_than_the_wafer_is_refused(wse: Machine) -> None:
    with pytest.raises(InputError, match=r"got 922x922, expected 1x1 to 921x921"):
        wse.on(922)


def test_a_product_of_a_core_that_lacks_the_type_is_refused(wse: Machine) -> None:
    assert simulate(wse, "gemm", {"m": 1, "n": 64, "k": 64}, "int8").error == ["wse-2 has no int8; it has fp16, bf16"]


def test_software_that_names_no_region_takes_all_cores(wse: Machine) -> None:
    assert simulate(altered(wse, sides=[]), "norm", {"rows": 1, "cols": 64}).choice[0].endswith("on 921 x 921 cores")


# speed


def test_a_thousand_operators_take_at_most_two_seconds_cold(wse: Machine) -> None:
    rng = np.random.Generator(np.random.PCG64(5))
    m, n, k = (rng.integers(1, high, 500) for high in (4096, 16384, 16384))
    started = time.process_time()
    simulate(wse, "gemm", {"m": m, "n": n, "k": k}, "fp16")
    simulate(wse, "attention_decode", {"batch": 1 + m % 32, "kv_len": k, **HEADS}, "fp16")
    assert time.process_time() - started < 2


def test_attention_and_its_softmax_are_one_program_a_head(wse: Machine) -> None:
    machine = wse.on(64)
    product = Product(np.array([100]), np.array([10]), np.array([5]))
    softmax = Phase.of(special=np.array([8]), vector=np.array([16]), partial=np.array([4]))
    heads = np.array([3])
    alone = shift.cycles(machine, 64, heads, [product], softmax, "fp16") - machine.launch
    both = shift.cycles(machine, 64, heads, [product, product], softmax, "fp16") - machine.launch
    reduce = Line.of(64, 2).cycles(phases.words_of(machine, 64, np.array([4])), machine.step, machine.hop)
    local = phases.ceil_over(np.array([8]), machine.special) + phases.ceil_over(np.array([16]), machine.half)
    assert int(both[0]) == int((2 * alone + 3 * (local + 2 * reduce))[0])
