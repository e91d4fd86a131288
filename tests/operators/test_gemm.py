"""GEMM on GPUs: laws, conservation, closed form against program, and the regret of simulating three candidates only."""

from fractions import Fraction

import numpy as np
import pytest

from hwsim.operators.machine import Machine
from hwsim.operators.mapper.gpu import gemm
from hwsim.operators.mapper.gpu.tiles import GemmKernels
from hwsim.operators.operator import complete, kind_of
from hwsim.operators.simulate import simulate

CHIPS = ("a100-sxm", "h100-sxm", "b200-sxm")


def random_shapes(count: int, seed: int = 7) -> dict[str, np.ndarray]:
    """Shapes from tiny to large, most of them multiples of nothing."""
    bits = np.random.Generator(np.random.PCG64(seed)).integers(0, 1 << 32, (4, count), dtype=np.int64)
    m, n, k = (1 + bits[i] % (1 << (1 + bits[i] // 64 % 13)) for i in range(3))
    return {"m": m, "n": n, "k": k, "batch": 1 + (bits[3] % 8 == 0) * (bits[3] // 8 % 4)}


@pytest.mark.parametrize("chip", CHIPS)
def test_no_gemm_is_faster_than_its_tensor_units_or_its_memory(chip: str) -> None:
    machine, dims = Machine.of(chip), random_shapes(150)
    result = simulate(machine, "gemm", dims)
    flops = 2 * dims["m"] * dims["n"] * dims["k"] * dims["batch"]
    compute = [Fraction(int(f) * 10**12) / (machine.tensor["bf16"] * machine.cores * machine.clock) for f in flops]
    cold = dims["batch"] * dims["n"] * dims["k"] * 2
    memory = [Fraction(int(b) * 10**12) / (machine.stream_rate * machine.clock) for b in cold]
    assert all(t >= max(c, h) for t, c, h in zip(result.time_ps, compute, memory))


@pytest.mark.parametrize("chip", CHIPS)
def test_bounds_sum_to_the_time(chip: str) -> None:
    result = simulate(Machine.of(chip, "vllm", "graph-replay"), "gemm", random_shapes(100))
    assert (result.bound.sum(axis=1) == result.time_ps).all()
    assert (result.bound >= 0).all()


def test_bytes_and_flops_of_a_divisible_gemm_are_the_operators_own() -> None:
    """Activations and result stay in the L2, the weights come from memory once; all FLOPs are useful ones."""
    result = simulate(Machine.of("h100-sxm"), "gemm", {"m": 256, "n": 4096, "k": 2048})
    assert result.flops[0] == 2 * 256 * 4096 * 2048
    assert result.bytes["hbm"][0] == 4096 * 2048 * 2


def test_a_case_alone_equals_the_same_case_in_a_batch() -> None:
    machine, dims = Machine.of("b200-sxm"), random_shapes(40)
    whole = simulate(machine, "gemm", dims)
    for row in range(0, 40, 7):
        alone = simulate(machine, "gemm", {name: column[row : row + 1] for name, column in dims.items()})
        assert alone.time_ps[0] == whole.time_ps[row]
        assert alone.energy_pj[0] == whole.energy_pj[row]


def test_a_dtype_the_chip_lacks_is_an_error_of_the_row() -> None:
    result = simulate(Machine.of("a100-sxm"), "gemm", {"m": 16, "n": 64, "k": 64}, "nvfp4")
    assert result.time_ps[0] == -1
    assert result.error[0] == "a100-sxm has no nvfp4; it has bf16, fp16, int8"


@pytest.mark.parametrize("chip", CHIPS)
def test_three_simulated_candidates_are_nearly_as_good_as_all(chip: str) -> None:
    machine, dims = Machine.of(chip, "vllm"), complete(kind_of("gemm"), random_shapes(25, seed=3))
    three = simulate(machine, "gemm", dims).time_ps
    every = simulate(machine, "gemm", dims, best=10_000).time_ps
    regret = three / every - 1
    assert regret.min() >= 0
    assert np.median(regret) <= 0.002
    assert regret.mean() <= 0.003
    assert regret.max() <= 0.08


@pytest.mark.parametrize("chip", CHIPS)
def test_the_closed_form_is_close_to_the_program(chip: str) -> None:
    machine, dims = Machine.of(chip), complete(kind_of("gemm"), random_shapes(100, seed=5))
    chosen = gemm.propose(machine, dims, "bf16").best(1)
    ratio = simulate(machine, "gemm", dims, best=1).time_ps / machine.ps(chosen.rank // 16)
    assert ratio.min() > 0.8
    assert np.median(ratio) < 1.03
    assert np.quantile(ratio, 0.9) < 1.1


def test_a_served_fp8_product_is_quantised_by_half_a_pass_where_one_built_alone_looks_for_its_scales() -> None:
    """Half a launch and half of (read 2 B, write 1 B); alone, several launches and serial parts come before it."""
    shape = {"m": 64, "n": 8192, "k": 8192}
    served, alone = (Machine.of("h100-sxm", "trtllm", how) for how in ("in-model", "graph-replay"))
    columns = {name: np.array([size]) for name, size in (shape | {"batch": 1}).items()}
    half, whole = gemm.quantize(served, columns, "fp8"), gemm.quantize(alone, columns, "fp8")
    assert half["quantize.bytes"][0] == 64 * 8192 * 3 // 2 and whole["quantize.bytes"][0] == 64 * 8192 * 5
    assert half["quantize.launch"][0] == -(-(served.launch + served.hbm_latency) // 2)
    assert whole["quantize.launch"][0] > 7 * half["quantize.launch"][0]


def test_kernels_of_a_server_are_tuned_and_one_built_alone_has_its_first_tile() -> None:
    served, alone = (Machine.of("b200-sxm", "trtllm", how) for how in ("in-model", "graph-replay"))
    tiles = [{(m, n) for m, n in zip(of.tile_m.tolist(), of.tile_n.tolist())}
             for of in (GemmKernels.of(served, "nvfp4"), GemmKernels.of(alone, "nvfp4"))]  # fmt: skip
    assert len(tiles[0]) > 1 and tiles[1] == {(128, 256)}
