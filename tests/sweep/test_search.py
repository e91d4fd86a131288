"""Fronts, hypervolumes, sensitivities, searches and pictures."""

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from hwsim.cli import cli
from hwsim.errors import InputError
from hwsim.sweep import run
from hwsim.sweep.check import checked
from hwsim.sweep.journal import DONE
from hwsim.sweep.pareto import front, growth, hypervolume
from hwsim.sweep.sensitivity import sensitivity

BASE = {"system": "h100-sxm", "operator": {"op": "gemm", "m": 512, "n": 2048, "k": 2048}}
CLOCK = "system.accelerator.clocks.core"
STUDY = {
    "study": "chip",
    "base": BASE,
    "axes": {CLOCK: {"from": "0.8 GHz", "to": "2 GHz", "count": 5}, "operator.m": {"from": 64, "to": 4096, "count": 3}},
    "constraints": ["operator.m >= 128", "power_w < 690"],
    "objectives": {"flop_s": "max", "energy_j": "min"},
}


def test_a_front_is_what_nothing_beats():
    values = np.array([[1, 4], [2, 2], [4, 1], [3, 3], [2, 2], [np.nan, 0], [1, 5]])
    assert front(values).tolist() == [True, True, True, False, True, False, False]


def test_hypervolumes_are_those_of_boxes():
    assert hypervolume(np.array([[1.0, 2.0]]), np.array([3.0, 5.0])) == 6
    assert hypervolume(np.array([[1.0, 2.0], [2.0, 1.0], [4.0, 0.0]]), np.array([3.0, 3.0])) == 3
    assert hypervolume(np.array([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]), np.array([2.0, 2.0, 2.0])) == 5


def test_hypervolume_of_many_objectives_agrees_with_counting():
    rng = np.random.Generator(np.random.PCG64(5))
    points = rng.integers(0, 6, (12, 4)).astype(float)
    cells = np.stack(np.meshgrid(*[np.arange(6)] * 4, indexing="ij"), axis=-1).reshape(-1, 1, 4)
    assert hypervolume(points, np.full(4, 6.0)) == np.count_nonzero((points <= cells).all(axis=2).any(axis=1))


def test_hypervolume_grows_to_the_whole():
    found = growth(np.array([[2.0, 2.0], [np.nan, 1.0], [3.0, 3.0], [1.0, 1.0]]))
    assert (np.diff(found) >= 0).all() and found[0] == found[2] and found[3] == 1


def test_indices_of_a_grid_are_those_of_its_sum():
    space = checked({"study": "x", "base": BASE, "axes": {"operator.m": [1, 2, 3, 4], "operator.n": [1, 2, 3]}})
    m, n = np.meshgrid(np.arange(4), np.arange(3), indexing="ij")
    alone = sensitivity(space, (m + 10 * n).astype(float).ravel())
    assert np.allclose(alone.first, alone.total) and np.isclose(alone.first.sum(), 1)
    assert np.isclose(alone.first[0], m.var() / (m.var() + 100 * n.var()))
    together = sensitivity(space, ((m - 1.5) * (n - 1)).ravel())
    assert np.allclose(together.first, 0) and np.allclose(together.total, 1)


def test_indices_of_a_saltelli_design_are_those_of_a_known_function():
    pytest.importorskip("SALib")
    axes = {"operator.m": {"from": 1, "to": 1 << 20}, "operator.n": {"from": 1, "to": 1 << 20}}
    space = checked({"study": "x", "base": BASE, "axes": axes, "sampler": {"method": "saltelli", "points": 512}})
    m, n = (np.array(space.axes[0].column(path), float) for path in axes)
    found = sensitivity(space, m + 2 * n)
    assert np.allclose(found.first, [0.2, 0.8], atol=0.03) and np.allclose(found.total, [0.2, 0.8], atol=0.03)


def test_points_without_a_value_have_no_indices():
    space = checked({"study": "x", "base": BASE, "axes": {"operator.m": [1, 2]}})
    with pytest.raises(InputError, match="1 points without a value"):
        sensitivity(space, np.array([1.0, np.nan]))


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_search_is_the_same_for_any_workers_and_resumes_from_its_journals(sampler, tmp_path):
    pytest.importorskip("optuna")
    pytest.importorskip("scipy")
    options = {"trials": 20, "sampler": sampler, "seed": 1}
    found, place = run.search(STUDY, "threads", workers=1, output=tmp_path / "one.h5", **options)
    run.search(STUDY, "threads", workers=3, output=tmp_path / "three.h5", **options)
    again, _ = run.search(STUDY, "local", output=place, resume=True, **options)
    assert place.read_bytes() == (tmp_path / "three.h5").read_bytes()
    assert np.array_equal(again.pareto, found.pareto) and found.pareto.any()
    with h5py.File(place) as file:
        feasible = file["feasible"][:] == 1
        assert (file["operator.m"][:][file["status"][:] == 4] < 128).all()
        assert not (file["pareto"][:] == 1)[~feasible].any() and (file["power_w"][:][feasible] < 690).all()
        assert (np.diff(file["hypervolume"][:]) >= 0).all()
    done = found.table.status == DONE
    power = found.table.values["power_w"][done]
    assert np.allclose(found.table.violations[0, done], (power - 690) / (power + 690))


def test_a_search_needs_objectives(tmp_path):
    with pytest.raises(InputError, match="a study without objectives"):
        run.search({**STUDY, "objectives": {}}, output=tmp_path / "x.h5")


@pytest.mark.parametrize(
    "change",
    [{}, {"sampler": {"method": "random", "points": 12}}, {"axes": {CLOCK: ["1 GHz", "1.5 GHz"]}, "constraints": []}],
    ids=["grid", "samples", "line"],
)
def test_pictures_are_drawn(change, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from hwsim.sweep import plots

    result = run.sweep(STUDY | change, "threads", workers=1, output=tmp_path / "out.h5")
    plots.plot(result.space, result.table, tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 20_000


def test_the_verbs_work_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def said(*arguments: str) -> str:
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    assert "points     8\n" in said("sweep", "gemm-clock", "--dry-run") and not list(tmp_path.iterdir())
    said("sweep", "gemm-clock", "--executor", "threads", "--workers", "1", "--shard", "1/2")
    assert "4 of 8 answered" in said("status", "gemm-clock")
    assert "8 points, 8 done" in said("sweep", "gemm-clock", "--executor", "threads", "--workers", "1", "--resume")
    assert "8 points, 8 done" in said("merge", "gemm-clock")
    assert "operator.n = 8192\n" in said("show", "--tree", "gemm-clock")
    assert "system.accelerator.tiers.hbm.rate = 3350 GB/s\n" in said("show", "--tree", "gemm-clock")
