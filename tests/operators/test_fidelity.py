"""Simulated against measured kernels: the limits that `make fidelity` is held to, and no looser."""

from pathlib import Path

import pytest

from hwsim.validate import operators

# (source, dtype) -> median and 90th percentile of |error| that every data-centre chip must keep.
LIMITS = {
    ("gemm", "bf16"): (0.08, 0.22),
    ("gemm", "fp8"): (0.08, 0.22),
    ("gemm", "nvfp4"): (0.08, 0.22),
    ("attention_decode", "bf16"): (0.06, 0.15),
    ("attention_prefill", "bf16"): (0.06, 0.15),
}


@pytest.mark.shared
@pytest.mark.parametrize(("source", "dtype"), LIMITS)
def test_errors_stay_within_their_limits(shared: Path, source: str, dtype: str) -> None:
    median, p90 = LIMITS[source, dtype]
    found = [
        line
        for line in operators.lines(operators.compare(shared / "measured", source, (dtype,)))
        if line.software == "all" and line.chip != "l40s"
    ]
    assert found
    for line in found:
        assert line.median <= median, operators.table([line])
        assert line.p90 <= p90, operators.table([line])
