"""Equal cores folded into groups against the same cores one by one: never earlier, and by at most 0.3 % later."""

import numpy as np
import programs
import pytest

from hwsim.operators.program import run_one

CORES = 16


def gemm(groups: int, seed: int):
    """A random GEMM whose shared work is whole sixteenths of a cycle, so that rounding cannot hide the difference."""
    rng = np.random.default_rng(seed)
    l2 = 16 * int(rng.integers(20, 60))
    tile = l2 * int(rng.integers(2, 9))
    return programs.gemm(
        groups,
        CORES,
        waves=int(rng.integers(3, 6)),
        steps=int(rng.integers(30, 60)),
        stages=int(rng.integers(3, 7)),
        rates={
            "hbm": (512, 1, int(rng.integers(50, 600))),
            "l2": (l2, 1, int(rng.integers(20, 250))),
            "port*": (int(rng.integers(30, 200)), 1, 30),
            "tensor*": (64, 1, 30),
        },
        tile_bytes=tile,
        flop=64 * int(rng.integers(20, 200)),
        unique_bytes=512 * int(rng.integers(4, 60)),
        store_bytes=l2 * int(rng.integers(1, 9)),
    )


@pytest.mark.parametrize("seed", range(12))
def test_four_groups_are_as_late_as_the_cores_and_hardly_later(seed):
    expanded, gang = run_one(gemm(CORES, seed)).end, run_one(gemm(4, seed)).end
    assert expanded <= gang <= 1.003 * expanded


@pytest.mark.parametrize("seed", range(12))
def test_one_group_is_the_late_side(seed):
    assert run_one(gemm(4, seed)).end <= run_one(gemm(1, seed)).end


def test_one_group_is_exact_without_contention():
    rates = {"hbm": (1 << 20, 1, 60), "l2": (1 << 24, 1, 25), "port*": (100, 1, 30)}
    ends = {run_one(programs.gemm(groups, CORES, 4, 20, rates=rates, store_bytes=16)).end for groups in (1, 4, CORES)}
    assert len(ends) == 1
