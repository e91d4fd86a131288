"""Row operators on GPUs: memory and launch bound them, nothing is lost, more rows are never faster."""

import numpy as np
import pytest

from hwsim.operators.machine import Machine
from hwsim.operators.simulate import simulate

KINDS = ("norm", "activation", "softmax", "rope", "embed", "sample")
ROWS = np.array([1, 2, 7, 64, 131, 132, 133, 1000, 4096, 20000])


@pytest.mark.parametrize("kind", KINDS)
def test_more_rows_are_never_faster_and_bounds_sum_to_the_time(kind: str) -> None:
    result = simulate(Machine.of("h100-sxm", "vllm"), kind, {"rows": ROWS, "cols": 8192})
    assert (np.diff(result.time_ps) >= 0).all()
    assert (result.bound.sum(axis=1) == result.time_ps).all()


def test_a_large_activation_runs_at_the_rate_of_memory() -> None:
    machine = Machine.of("h100-sxm", "vllm")
    result = simulate(machine, "activation", {"rows": 65536, "cols": 8192, "gated": 1})
    total = 3 * 65536 * 8192 * 2
    assert result.bytes["hbm"][0] == total
    rate = machine.hbm_rate * machine.kernels.elementwise.efficiency * machine.clock
    assert total / float(rate) <= result.time_ps[0] / 1e12 <= 1.01 * total / float(rate)
    assert result.bound_name(0) == "hbm"


def test_rows_that_fit_stay_in_the_l2() -> None:
    result = simulate(Machine.of("h100-sxm", "vllm"), "norm", {"rows": 64, "cols": 8192, "residual": 1})
    assert result.bytes["hbm"][0] == 0
    assert result.bytes["l2"][0] == 4 * 64 * 8192 * 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_never_faster_than_what_its_memory_sustains(kind: str) -> None:
    """Also behind a slower memory than the chip's: what is published of the device makes nothing faster."""
    for sets in ([], ["tiers.hbm.memory=hbm2-2000"], ["tiers.hbm.efficiency=40 %"]):
        machine = Machine.of("h100-sxm", "ideal", sets={"accelerator": sets})
        result = simulate(machine, kind, {"rows": 40000, "cols": 8192})
        assert result.time_ps[0] / 1e12 >= result.bytes["hbm"][0] / float(machine.hbm_rate * machine.clock)
