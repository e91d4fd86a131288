"""Rates of the operator storey. Goals on one core: 10,000 different GEMMs in 8 s cold, 8192^3 in 0.3 ms of engine."""

import numpy as np

from hwsim.operators.account import Runs
from hwsim.operators.machine import Machine
from hwsim.operators.mapper.gpu import gemm
from hwsim.operators.operator import complete, kind_of
from hwsim.operators.program import bind, run_many
from hwsim.operators.simulate import simulate


def shapes(count):
    rng = np.random.Generator(np.random.PCG64(2))
    exponents = rng.random((3, count)) * np.array([[13.5], [8], [8]])
    m, n, k = (np.maximum(1, base * 2**power).astype(np.int64) for base, power in zip((1, 64, 64), exponents))
    return complete(kind_of("gemm"), {"m": m, "n": n, "k": k})


def test_rank_and_simulate_ten_thousand_gemms(benchmark):
    """All candidates ranked, three of each simulated; goal 8 s."""
    machine, dims = Machine.of("h100-sxm", "vllm"), shapes(10_000)
    result = benchmark.pedantic(simulate, (machine, "gemm", dims), rounds=1)
    rate = round(len(result.time_ps) / benchmark.stats["mean"])
    benchmark.extra_info.update(gemms=len(result.time_ps), gemms_per_s=rate, goal_s=8)


def test_rank_ten_thousand_gemms(benchmark):
    """Closed form of every candidate; goal 2 s."""
    machine, dims = Machine.of("b200-sxm", "vllm"), shapes(10_000)
    candidates = benchmark.pedantic(gemm.propose, (machine, dims, "bf16"), rounds=1)
    rate = round(len(candidates.case) / benchmark.stats["mean"])
    benchmark.extra_info.update(candidates=len(candidates.case), candidates_per_s=rate, goal_s=2)


def test_one_large_gemm(benchmark):
    """8192^3 on 132 SMs in four groups, bound once; goal 0.3 ms."""
    machine = Machine.of("h100-sxm", "vllm")
    dims = complete(kind_of("gemm"), {"m": 8192, "n": 8192, "k": 8192})
    chosen = gemm.propose(machine, dims, "bf16").best(1)
    (group,) = gemm.programs(machine, dims, "bf16", chosen)
    bound = bind(group.template, group.values, group.rates, group.laws, group.cells)
    outcome = benchmark(run_many, bound)
    runs = Runs(1)
    runs.add(group)
    assert outcome.end[0] == runs.end[0]
    benchmark.extra_info.update(cycles=int(outcome.end[0]), goal_ms=0.3)
