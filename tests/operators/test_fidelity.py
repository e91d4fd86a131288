"""Simulated against measured kernels: the limits that `make fidelity` is held to, and no looser."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hwsim.cli.validate import command
from hwsim.errors import InputError
from hwsim.validate import operators

# (source, dtype) -> median and 90th percentile of |error| that every data-centre chip must keep.
LIMITS = {
    ("gemm", "bf16"): (0.06, 0.15),
    ("gemm", "fp8"): (0.06, 0.15),
    ("gemm", "nvfp4"): (0.06, 0.18),
    ("nccl", "fp16"): (0.06, 0.15),
    ("attention_decode", "bf16"): (0.06, 0.15),
    ("attention_prefill", "bf16"): (0.06, 0.15),
    ("tpu_gemm", "bf16"): (0.1, 0.25),
    ("moe", "bf16"): (0.08, 0.22),
    ("moe", "fp8"): (0.06, 0.17),
    ("moe", "nvfp4"): (0.18, 0.4),
}
TPU_ATTENTION = {"attention_decode": 0.05, "attention_prefill": 0.08}
# Kinds that are not yet within the limits of their source.
WIDER = {"all_to_all": (0.07, 0.19)}


@pytest.mark.shared
@pytest.mark.parametrize(("source", "dtype"), LIMITS)
def test_errors_stay_within_their_limits(shared: Path, source: str, dtype: str) -> None:
    found = [
        line
        for line in operators.lines(operators.compare(shared / "measured", source, (dtype,)))
        if line.software == "all" and line.chip != "l40s"
    ]
    assert found
    for line in found:
        assert line.dropped == 0, operators.table([line])
        median, p90 = WIDER.get(line.kind, LIMITS[source, dtype])
        assert line.median <= median, operators.table([line])
        assert line.p90 <= p90, operators.table([line])


@pytest.mark.shared
def test_attention_of_a_tpu_stays_within_its_limits(shared: Path) -> None:
    found = list(operators.lines(operators.compare(shared / "measured", "tpu_attention")))
    assert {line.kind for line in found} == set(TPU_ATTENTION)
    for line in found:
        assert line.median <= TPU_ATTENTION[line.kind], operators.table([line])


def test_every_measured_collective_is_compared(shared: Path) -> None:
    found = operators.compare(shared / "measured", "nccl", ("fp16",))
    with (shared / "measured" / "nccl.csv").open(encoding="utf-8") as file:
        assert sum(len(error) for error in found.values()) == len(file.readlines()) - 1
    assert {kind for kind, *_ in found} == {"all_reduce", "all_gather", "reduce_scatter", "all_to_all"}


def test_rows_without_a_time_are_counted_and_not_averaged() -> None:
    group = ("all_to_all", "h100-sxm", "trtllm", "fp16")
    alone, _ = operators.lines({group: np.array([0.1, np.nan, -0.3])})
    assert (alone.count, alone.dropped, alone.median) == (2, 1, pytest.approx(0.2))
    none, _ = operators.lines({group: np.array([np.nan])})
    assert (none.count, none.dropped) == (0, 1)
    assert "all_to_all" in operators.table([alone, none])


def test_a_folder_without_measured_tables_is_named(tmp_path: Path) -> None:
    options = ["operators", "--measured", str(tmp_path), "--only", "gemm"]
    result = CliRunner().invoke(command, options, standalone_mode=False)
    assert isinstance(result.exception, InputError)
    assert f"{tmp_path / 'gemm.csv'}: got no such file" in str(result.exception)


def test_an_unknown_source_is_named_with_those_there_are(tmp_path: Path) -> None:
    options = ["operators", "--measured", str(tmp_path), "--only", "gem"]
    result = CliRunner().invoke(command, options, standalone_mode=False)
    assert isinstance(result.exception, InputError)
    assert "got 'gem', expected one of gemm" in str(result.exception)
