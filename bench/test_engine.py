"""Rates of the program executor on one core.

Goals: GEMM 8192^3 on 132 cores in 4 groups 0.2 ms (at most 0.3); without the skip 90 ns a command; 10,000 programs
bound in 0.1 s (at most 2); a GEMM of random rates and 50,000 rows 0.3 ms.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "engine"))
import programs

from hwsim.operators.executor import arena_after
from hwsim.operators.program import RESOURCE_DTYPE, bind, run_many, run_one


@pytest.mark.parametrize(("groups", "goal_us"), [(1, 50), (2, 90), (4, 200)])
def test_gemm_8192_cubed(benchmark, groups, goal_us):
    """16 waves of 128 k-steps; the steady states are skipped."""
    bound = programs.gemm(groups, tail=68 / 132)
    benchmark(run_many, bound)
    rows, periods = arena_after(bound, 0).work_done
    benchmark.extra_info.update(rows=rows, periods_added=periods, goal_us=goal_us)
    assert benchmark.stats["min"] < 1.5e-6 * goal_us


def test_commands_without_skip(benchmark):
    """Every command of the same GEMM in 4 groups."""
    bound = programs.gemm(4, tail=68 / 132)
    commands = int(run_one(bound).passes.sum())
    benchmark(run_many, bound, skip=False)
    benchmark.extra_info.update(
        commands=commands, ns_per_command=round(1e9 * benchmark.stats["mean"] / commands), goal=90
    )


def random_gemms(count: int):
    """Rates, latencies, waves, k-steps and depths of `count` different GEMMs in 4 groups."""
    rng = np.random.default_rng(1)
    one = programs.gemm(4)
    slots = one.template.slots
    values, cells = np.repeat(one.values, count, 0), np.repeat(one.cells, count, 0)
    values[:, slots["waves"].index] = rng.integers(1, 40, count)
    values[:, slots["steps"].index] = rng.integers(4, 257, count)
    cells[:, 0] = -rng.integers(1, 6, count)
    rates = np.zeros((count, one.template.size("resources")), RESOURCE_DTYPE)
    kind = np.array(["hlpt".index(name[0]) for name in one.template.names["resources"]])
    for name, low, high in (
        ("num", [1000, 3000, 64, 2048], [4000, 9000, 256, 8192]),
        ("den", 1, 3),
        ("lat", [300, 100, 10, 10], [900, 300, 60, 60]),
    ):
        rates[name] = rng.integers(low, high, (count, 4))[:, kind]
    return one.template, values, rates, cells


def test_bind_ten_thousand_programs(benchmark):
    template, values, rates, cells = random_gemms(10_000)
    bound = benchmark(bind, template, values, rates, None, cells)
    benchmark.extra_info.update(us_per_program=round(100 * benchmark.stats["mean"], 2), goal_s=0.1)
    assert not bound.status.any() and benchmark.stats["min"] < 2


def test_run_a_thousand_random_gemms(benchmark):
    template, values, rates, cells = random_gemms(1_000)
    out = benchmark(run_many, bind(template, values, rates, cells=cells).require())
    benchmark.extra_info.update(us_per_program=round(1000 * benchmark.stats["mean"], 1), goal_us=300)
    assert not out.status.any()


def test_a_long_uniform_loop(benchmark):
    """12,288 commands of a systolic array in a few dozen rows: goal 5 us."""
    benchmark(run_many, programs.systolic(128, 128, 8192, 4096, hbm=(933, 2)))


def test_a_mesh_of_288_queues(benchmark):
    """16 x 16 cores link by link, 20 tokens, no steady state asked for: goal 3 ms."""
    bound = programs.wafer_explicit(20, 16, 3, (32, 100, 16))
    commands = int(run_one(bound).passes.sum())
    benchmark(run_many, bound, skip=False)
    benchmark.extra_info.update(commands=commands, ns_per_command=round(1e9 * benchmark.stats["mean"] / commands))
