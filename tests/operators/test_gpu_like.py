"""Chips of other vendors that mapper gpu serves, and groups without a switch between them."""

import numpy as np
import pytest

from hwsim.describe import load
from hwsim.operators.machine import Machine
from hwsim.operators.simulate import simulate

STACKS = {
    "mi300x": "lib-vllm-2024",
    "mi325x": "lib-vllm-2024",
    "mi250": "lib-vllm-2024",
    "mi250x-gcd": "lib-vllm-2024",
    "gaudi-2": "lib-gaudi2",
    "gaudi-3": "ideal",
    "sn40l": "sambaflow-2024",
    "gb200": "vllm",
}
HEADS = {"heads": 32, "kv_heads": 8, "head_dim": 128}


@pytest.mark.parametrize("chip", STACKS)
def test_products_and_decodes_are_never_faster_than_the_roofline(chip: str) -> None:
    for software in ("ideal", STACKS[chip]):
        machine = Machine.of(chip, software)
        m = np.array([1, 16, 256, 4096])
        product = simulate(machine, "gemm", {"m": m, "n": 8192, "k": 8192})
        peak = float(machine.chip.units.tensor.per_cycle["bf16"] * machine.cores * machine.clock)
        moved = 2.0 * 8192 * 8192 / float(machine.chip.tiers.hbm.rate)
        assert (product.time_ps / 1e12 >= np.maximum(2.0 * m * 8192 * 8192 / peak, moved)).all()
        decode = simulate(machine, "attention_decode", {"batch": 32, "kv_len": np.array([512, 8192]), **HEADS})
        keys = 2 * 2 * 8 * 128 * 32 * np.array([512, 8192]) / float(machine.chip.tiers.hbm.rate)
        assert (decode.time_ps / 1e12 >= keys).all()
        assert decode.time_ps[1] < 6 * keys[1] * 1e12  # and not far from it where there is much to read


@pytest.mark.parametrize("chip", STACKS)
def test_a_long_stream_keeps_enough_bytes_in_flight_for_its_memory(chip: str) -> None:
    """Little's law: vector units wait for memory or for themselves, not for its latency."""
    machine = Machine.of(chip, "ideal")
    result = simulate(machine, "activation", {"rows": 16384, "cols": 16384})
    assert result.bound_name(0) in ("hbm", "vector", "l2")
    in_flight = machine.in_flight * machine.vectors
    assert in_flight >= machine.hbm_rate * machine.hbm_latency
    few = Machine.of(chip, "ideal", sets={"accelerator": ["generation.limits.in_flight=1 KiB"]})
    starved = simulate(few, "activation", {"rows": 16384, "cols": 16384})
    assert starved.time_ps[0] > result.time_ps[0]
    assert starved.time_ps[0] >= 16384 * 16384 * 2 * few.hbm_latency / (1024 * few.vectors) * 1e12 / few.clock


def test_vector_units_work_beside_matrix_units_however_many_there_are() -> None:
    """The same lanes in more vector units are as fast where they have the same bytes in flight together."""
    sets = ["units.vector.count=48", "units.vector.per_cycle.fp32=64 FLOP", "units.vector.special=16 FLOP/cycle",
            "generation.limits.in_flight=32 KiB"]  # fmt: skip
    rows = {"rows": np.array([48, 2048]), "cols": 14336}
    few, many = (
        simulate(Machine.of("gaudi-2", sets={"accelerator": s}), "activation", rows).time_ps for s in ([], sets)
    )
    assert many == pytest.approx(few, rel=0.02)


def all_reduce(chip: str, software: str, devices: list[int], size: int) -> np.ndarray:
    return simulate(Machine.of(chip, software), "all_reduce", {"devices": devices, "bytes": size}).time_ps / 1e12


def test_a_pair_of_a_mesh_has_the_links_between_them_alone() -> None:
    size = 1 << 28
    link = load("xgmi-4", "link")
    pair, eight = all_reduce("mi300x", "ideal", [2, 8], size)
    assert pair == pytest.approx(size / float(link.rate * link.efficiency), rel=0.01)
    assert eight == pytest.approx(2 * 7 / 8 * size / float(7 * link.rate * link.efficiency), rel=0.01)


def test_a_ring_in_every_dimension_of_a_torus_takes_the_hops_of_its_sides() -> None:
    """Small buffers cost hops: 2 x (3 + 3) in a plane of 16, 2 x (3 + 3 + 3) in a cube of 64; large ones the links."""
    hop, launch = 1e-6, 2e-6
    assert all_reduce("tpu-v6e", "jax", [16], 64)[0] == pytest.approx(launch + 12 * hop, rel=0.02)
    assert all_reduce("tpu-v7", "jax", [64], 64)[0] == pytest.approx(launch + 18 * hop, rel=0.02)
    link = load("ici-v7", "link")
    size = 1 << 30
    through = 2 * 63 / 64 * size / float(6 * link.rate * link.efficiency)
    assert all_reduce("tpu-v7", "jax", [64], size)[0] == pytest.approx(through + launch + 18 * hop, rel=0.01)


def test_72_gpus_of_one_domain_reduce_together() -> None:
    assert load("gb200-nvl72").count == 72
    assert all_reduce("gb200", "ideal", [72], 1 << 20)[0] < all_reduce("mi300x", "ideal", [8], 1 << 20)[0]
