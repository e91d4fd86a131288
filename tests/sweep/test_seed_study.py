"""The study `seed-comparison` with short requests: machines answer, users add up, energy is the sum of its parts."""

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import hwsim
from hwsim.describe import load

SEED = Path(__file__).parents[2] / "bench" / "seed"
FULL = ("borderline", "yes")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """File of the study with prompts of 64 tokens, 8 output tokens, 1 and 8 users."""
    study = load("seed-comparison", "study").tree.value
    request = {"model": ["llama-2-70b", "llama-3.1-8b"], "workload.isl": [64, 65]}
    base = study["base"] | {"workload": {"isl": 64, "osl": 8}}
    axes = study["axes"] | {"request": {"zip": request}, "concurrency": [1, 8]}
    place = tmp_path_factory.mktemp("seed") / "points.h5"
    hwsim.sweep(study | {"base": base, "axes": axes}, "threads", workers=1, output=place)
    with h5py.File(place, "a") as file:  # an axis that does not move is no axis: what reads the file wants the column
        file["workload.osl"] = np.full(len(request["model"]), 8)
    return place


@pytest.fixture(scope="module")
def rows(result):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SEED))
        import points

        yield points.read(result)
        sys.modules.pop("points")


def test_every_machine_answers_on_a_model_that_it_holds(rows):
    ran = {(row.system, row.model) for row in rows if row.figures}
    assert len({system for system, _ in ran}) == 15
    assert {row.system for row in rows if row.error} == {"ipu-bow-x64"}
    assert ("ipu-bow-x64", "llama-3.1-8b") in ran
    assert all("it would fit with" in row.error for row in rows if row.error)


def test_more_users_never_lower_the_tokens_of_a_machine_until_its_memory_is_full(rows):
    alone = {(row.label, row.model): row for row in rows if row.users == 1 and row.figures}
    several = [row for row in rows if row.users == 8 and row.figures and row.overload not in FULL]
    assert several
    for row in several:
        one = alone[row.label, row.model]
        assert row["tok_s"] >= 0.97 * one["tok_s"]
        assert row["energy_j_token"] <= 1.03 * one["energy_j_token"]


def test_energy_is_the_sum_of_its_parts_and_serving_chips_take_no_more_than_all(result, rows):
    with h5py.File(result) as file:
        parts = sum(file[f"energy_{part}_j_token"][()] for part in ("static", "active", "bytes", "flops"))
        assert parts == pytest.approx(file["energy_j_token"][()], rel=1e-9, nan_ok=True)
    for row in rows:
        if row.figures:
            assert sum(row.shares.values()) == pytest.approx(1, abs=1e-6)
            assert row["chips_j_token"] <= row["energy_j_token"] * (1 + 1e-12)
            whole = row.system not in ("gb200-nvl72", "groq-72", "groq-576")
            assert (row["chips_j_token"] == pytest.approx(row["energy_j_token"])) == whole or row.users >= 8
