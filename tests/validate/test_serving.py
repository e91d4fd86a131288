"""A measured vLLM run, replayed with its own arrivals and settings."""

import numpy as np
import pytest

from hwsim.validate import serving


@pytest.fixture(scope="module")
def pair(shared):
    measured = serving.read(shared / "measured" / "vllm_runs" / "RTXPRO6000__Llama-3.1-8B")
    return measured, serving.replay(measured, "rtx-pro-6000", "llama-3.1-8b")


@pytest.mark.shared
def test_median_tpot_and_end_to_end_are_within_fifteen_percent(pair):
    errors = serving.compare(*pair)
    assert abs(errors["tpot"].median) < 0.15
    assert abs(errors["e2e"].median) < 0.15


@pytest.mark.shared
def test_running_and_waiting_requests_follow_the_servers_own_count(pair):
    measured, done = pair
    running, waiting = serving.counts(done, measured.clock_s)
    assert np.abs(running - measured.running).mean() < 8
    assert np.abs(waiting - measured.waiting).mean() < 8


@pytest.mark.shared
def test_the_comparison_is_drawn(pair, tmp_path):
    serving.plot(*pair, tmp_path / "run.png")
    assert (tmp_path / "run.png").stat().st_size > 10_000
