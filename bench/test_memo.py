"""The cache of results. Goal: a table of 10^4 to 10^6 rows is ready in 50 ms; looked up at 1 M questions/s."""

from pathlib import Path

import numpy as np
import pytest

from hwsim import memo

KEY = {"bench": "memo"}


@pytest.fixture(params=[10_000, 100_000, 1_000_000], ids=lambda rows: f"{rows}")
def questions(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Questions of a table that lies on disk, in the order they were asked."""
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path))
    asked = np.random.default_rng(0).integers(0, 1 << 40, (request.param, 3))
    table = memo.Table(KEY, 3, 4)
    table.put(asked, np.concatenate([asked, asked[:, :1]], axis=1))
    table.flush()
    return asked


def test_open(benchmark, questions: np.ndarray) -> None:
    table = benchmark(memo.Table, KEY, 3, 4)
    assert len(table) == len(questions)
    benchmark.extra_info["goal_ms"] = 50


def test_look_up(benchmark, questions: np.ndarray) -> None:
    found, _ = benchmark(memo.Table(KEY, 3, 4).get, questions[::10])
    assert found.all()
    benchmark.extra_info["questions_per_s"] = round(len(found) / benchmark.stats["min"])
