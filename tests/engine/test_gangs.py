"""Equal cores folded into groups against the same cores one by one.

A group's data arrive when the last of its cores' would, so folding is late by up to a group's service where nothing
hides it; its first data cut through as early as one core's. Both are small against a program that a resource bounds.
"""

import numpy as np
import programs

from hwsim.operators.program import Single, run_one

CORES = 16
SEEDS = range(60)


def gemm(groups: int, seed: int, far: int = 1) -> Single:
    """A random GEMM whose shared work is whole cycles, so that rounding does not enter the comparison."""
    rng = np.random.default_rng(seed)
    l2 = 16 * int(rng.integers(20, 60))
    bound = programs.gemm(
        groups,
        CORES,
        waves=int(rng.integers(3, 6)),
        steps=int(rng.integers(30, 60)),
        stages=int(rng.integers(3, 7)),
        rates={
            "hbm": (512, 1, far * int(rng.integers(20, 60))),
            "l2": (l2, 1, far * int(rng.integers(10, 30))),
            "port*": (int(rng.integers(30, 200)), 1, 30),
            "tensor*": (64, 1, 30),
        },
        tile_bytes=l2 * int(rng.integers(2, 9)),
        flop=64 * int(rng.integers(20, 200)),
        unique_bytes=512 * int(rng.integers(4, 60)),
        store_bytes=l2 * int(rng.integers(1, 9)),
    )
    return run_one(bound)


def lateness(groups: int, far: int = 1) -> np.ndarray:
    """(gang - expanded) / expanded of every seed."""
    return np.array([gemm(groups, seed, far).end / gemm(CORES, seed, far).end - 1 for seed in SEEDS])


def test_four_groups_are_within_three_thousandths_of_the_cores():
    late = lateness(4)
    assert np.abs(late).max() < 0.003 and np.median(np.abs(late)) < 0.0002


def test_folding_is_late_where_latency_bounds_and_fewer_groups_more_so():
    one, four = lateness(1, far=10), lateness(4, far=10)
    assert one.max() > 0.1 > 0.03 > four.max() and one.min() > -0.006


def test_one_group_is_exact_without_contention():
    rates = {"hbm": (1 << 20, 1, 60), "l2": (1 << 24, 1, 25), "port*": (100, 1, 30)}
    many = [programs.gemm(groups, CORES, 4, 20, rates=rates, store_bytes=16) for groups in (1, 4, CORES)]
    assert len({run_one(bound).end for bound in many}) == 1
