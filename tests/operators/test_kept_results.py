"""Kept operators: equal to simulated ones to the bit, and simulated once."""

from pathlib import Path

import numpy as np
import pytest

from hwsim.operators import kept_results
from hwsim.operators.kept_results import simulate_kept
from hwsim.operators.machine import Machine
from hwsim.operators.simulate import OpResult, simulate

DIMS = {"m": [1, 64, 64, 4096], "n": [4096, 512, 512, 8192], "k": [4096, 128, 128, 1024]}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path))


def assert_equal(first: OpResult, second: OpResult) -> None:
    for name in ("time_ps", "energy_pj", "flops", "bound"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert first.error == second.error
    for tier in set(first.bytes) | set(second.bytes):
        assert np.array_equal(first.bytes.get(tier, np.zeros(4)), second.bytes.get(tier, np.zeros(4))), tier


def test_kept_operators_equal_simulated_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine.of("h100-sxm", "vllm")
    expected = simulate(machine, "gemm", DIMS)
    assert_equal(simulate_kept(machine, "gemm", DIMS), expected)
    monkeypatch.setattr(kept_results, "simulate", None)  # whatever is asked now must come from the cache
    assert_equal(simulate_kept(machine, "gemm", DIMS), expected)
    shuffled = {name: column[::-1] for name, column in DIMS.items()}
    assert np.array_equal(simulate_kept(machine, "gemm", shuffled).time_ps, expected.time_ps[::-1])


def test_equal_operators_are_simulated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(machine: Machine, kind: str, dims: dict[str, np.ndarray], dtype: str) -> OpResult:
        asked.append(len(dims["m"]))
        return simulate(machine, kind, dims, dtype)

    monkeypatch.setattr(kept_results, "simulate", counted)
    simulate_kept(Machine.of("h100-sxm"), "gemm", DIMS)
    assert asked == [3]


@pytest.mark.parametrize(
    "other",
    [("h100-sxm", "trtllm", "graph-replay"), ("h200-sxm", "vllm", "graph-replay"), ("h100-sxm", "vllm", "in-model")],
)
def test_another_machine_is_another_question(other: tuple[str, str, str]) -> None:
    simulate_kept(Machine.of("h100-sxm", "vllm", "graph-replay"), "gemm", DIMS)
    assert_equal(simulate_kept(Machine.of(*other), "gemm", DIMS), simulate(Machine.of(*other), "gemm", DIMS))


def test_an_operator_that_cannot_run_keeps_its_reason() -> None:
    dims = {"devices": [8, 16, 2, 16], "bytes": [1024, 1024, 4096, 1024]}
    machine = Machine.of("h100-sxm", "vllm")
    for _ in range(2):
        result = simulate_kept(machine, "all_reduce", dims)
        assert [error is None for error in result.error] == [True, False, True, False]
        assert_equal(result, simulate(machine, "all_reduce", dims))
