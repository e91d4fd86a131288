"""Cost surfaces at questions of real replays, half of them off the grid, against direct simulation."""

import numpy as np
import pytest

import hwsim
from hwsim.serving.costs import EXACT_TILES
from hwsim.validate import surfaces
from hwsim.workload import load

TRACES = ["azure2023/AzureLLMInferenceTrace_conv.csv", "mooncake/conversation_trace.jsonl"]


@pytest.mark.shared
@pytest.mark.parametrize("trace", TRACES)
def test_surfaces_agree_with_direct_simulation(trace, shared, tmp_path, monkeypatch, fuzz_share):
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path))
    deployment = hwsim.compile("h100-sxm-x8", "llama-3.1-70b", "tp=8")
    count = int(1000 * fuzz_share)
    _, steps, chunks = surfaces.steps_of(deployment, load(shared / "traces" / trace, 6 * count))
    lines = []
    for surface, questions in surfaces.asked(deployment, steps, chunks):
        drawn = surfaces.draw(surface, questions, count, np.random.default_rng(0))
        lines.append(surfaces.compare(surface, drawn))
    print("\n" + surfaces.table(lines))
    for line in lines:
        assert line.median <= 0.001 and line.p99 <= 0.01 and line.most <= 0.03


@pytest.mark.shared
@pytest.mark.parametrize("trace", TRACES)
def test_attention_charged_for_real_steps_agrees_with_simulating_each_whole(trace, shared, tmp_path, monkeypatch):
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path))
    deployment = hwsim.compile("h100-sxm-x8", "llama-3.1-70b", "tp=8")
    rng = np.random.default_rng(0)
    done, steps, chunks = surfaces.steps_of(deployment, load(shared / "traces" / trace, 2500))
    mixed = (steps["n_decode"] > 0) & (steps["n_prefill"] > 0)
    for of_kind in (mixed, steps["n_prefill"] == 0):
        picks = rng.choice(np.flatnonzero(of_kind), 500, replace=False)
        error = np.abs(surfaces.compare_steps(deployment, done, steps, chunks, picks))
        print(f"\n{trace}: median {np.median(error):.2%}, p95 {np.quantile(error, 0.95):.2%}, max {error.max():.2%}")
        assert np.median(error) <= 0.02 and np.quantile(error, 0.95) <= 0.05


@pytest.mark.shared
def test_decodes_of_very_long_contexts_are_interpolated_within_the_limits(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path))
    surface = hwsim.compile("h100-sxm-x8", "llama-3.1-70b", "tp=8").costs.decode
    rng = np.random.default_rng(0)
    questions = np.stack([rng.integers(1, 17, 60), rng.integers(EXACT_TILES + 1, 1025, 60)], axis=1)
    line = surfaces.compare(surface, questions)
    assert line.off_grid > 40
    assert line.median <= 0.001 and line.p99 <= 0.01 and line.most <= 0.03
