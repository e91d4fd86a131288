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
