"""Axes and samplers as values."""

from typing import Any

import numpy as np
import pytest

from hwsim.describe.study import Sampler
from hwsim.sweep.axes import Numbers
from hwsim.sweep.check import checked
from hwsim.sweep.samplers import draw
from hwsim.sweep.space import Space

BASE = {"system": "h100-sxm-x8", "operator": {"op": "gemm", "m": 64, "n": 1024, "k": 1024}}
CLOCK = "system.accelerator.clocks.core"


def space(axes: dict[str, Any], **more: Any) -> Space:
    return checked({"study": "x", "base": BASE, "axes": axes} | more)


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ({"from": 1, "to": 9, "count": 3}, [1, 5, 9]),
        ({"from": 1, "to": 8, "step": 3}, [1, 4, 7]),
        ({"from": 1, "to": 4096, "count": 5, "scale": "log"}, [1, 8, 64, 512, 4096]),
        ({"from": 1, "to": 4, "count": 7, "scale": "log"}, [1, 2, 3, 4]),
    ],
)
def test_a_range_of_whole_numbers_has_whole_numbers(axis, values):
    assert space({"operator.m": axis}).axes[0].column("operator.m") == values


def test_a_range_with_units_is_exact():
    axis = {"from": "1.2 GHz", "to": "1500 MHz", "step": "100 MHz"}
    assert space({CLOCK: axis}).axes[0].column(CLOCK) == ["1.2 GHz", "1.3 GHz", "1.4 GHz", "1.5 GHz"]


def test_coordinates_are_numbers_in_base_units():
    numbers = Numbers.of(["1.2 GHz", "1500 MHz"])
    assert (numbers.values.tolist(), numbers.units) == ([1_200_000_000, 1_500_000_000], "Hz")
    assert Numbers.of(["h100-sxm", "3"]).values.tolist() == ["h100-sxm", "3"]
    assert Numbers.of([1, "2 B"]).units == "B"


def test_a_grid_is_row_major_in_the_order_of_the_file():
    made = space({CLOCK: ["1 GHz", "2 GHz"], "operator.m": [1, 2, 3]})
    assert made.shape == (2, 3)
    assert dict(made.assigned(made.positions(np.array([4]))[0])) == {CLOCK: "2 GHz", "operator.m": 2}


def test_a_zip_moves_together_and_a_grid_inside_it_counts_as_one_axis():
    made = space({"both": {"zip": {"operator.m": [1, 2, 3, 4],
                                   "inner": {"grid": {"operator.n": [8, 16], "operator.k": [32, 64]}}}}})  # fmt: skip
    assert made.axes[0].paths == ("operator.m", "operator.n", "operator.k")
    assert made.axes[0].rows == ((1, 8, 32), (2, 8, 64), (3, 16, 32), (4, 16, 64))


def test_files_are_values_in_the_order_of_their_names(tmp_path):
    for clock in (2, 1):
        (tmp_path / f"chip-{clock}.yaml").write_text(
            f"kind: accelerator\nextends: h100-sxm\nclocks: {{core: {clock} GHz, source: a, status: assumed}}\n"
        )
    (tmp_path / "s.yaml").write_text(
        "study: s\nbase: {system: h100-sxm, operator: {op: gemm, m: 8, n: 8, k: 8}}\n"
        "axes: {system.accelerator: {files: 'chip-*.yaml'}}\n"
    )
    made = checked(str(tmp_path / "s.yaml"))
    assert [row[0].rpartition("/")[2] for row in made.axes[0].rows] == ["chip-1.yaml", "chip-2.yaml"]


def test_tasks_cover_every_point_once_and_keep_equal_hardware_together():
    made = space({"operator.m": list(range(1, 41)), CLOCK: ["1 GHz", "1.5 GHz", "2 GHz"], "operator.n": [8, 16, 24]})
    tasks = [made.task(number) for number in range(made.tasks)]
    assert sorted(np.concatenate(tasks).tolist()) == list(range(len(made)))
    assert all(len(set(made.positions(task)[:, 1])) == 1 for task in tasks)


def test_keys_differ_and_do_not_depend_on_the_rest_of_the_study():
    small = space({"operator.m": [1, 2], CLOCK: ["1 GHz", "2 GHz"]})
    grown = space({CLOCK: ["2 GHz", "1 GHz", "3 GHz"], "operator.m": [2, 4, 1]})
    few, many = (each.keys(np.arange(len(each))).tolist() for each in (small, grown))
    assert len(set(many)) == len(many) and set(few) < set(many)
    other = checked({"study": "x", "base": BASE | {"software": "vllm"}, "axes": {"operator.m": [1, 2]}})
    assert not set(other.keys(np.arange(2)).tolist()) & set(many)


@pytest.mark.parametrize("method", ["sobol", "latin-hypercube", "random", "saltelli"])
def test_samples_repeat_and_fill_the_cube(method):
    pytest.importorskip("SALib" if method == "saltelli" else "scipy")
    shares = draw(Sampler(method=method, points=64, seed=3), 2)
    assert np.array_equal(shares, draw(Sampler(method=method, points=64, seed=3), 2))
    assert not np.array_equal(shares, draw(Sampler(method=method, points=64, seed=4), 2))
    assert len(shares) == (64 * 4 if method == "saltelli" else 64)
    assert (shares >= 0).all() and (shares < 1).all() and np.abs(shares.mean(axis=0) - 0.5).max() < 0.1


def test_samples_are_one_dimension_with_values_between_the_ends():
    made = space(
        {"operator.m": {"from": 1, "to": 4096, "scale": "log"}, CLOCK: {"from": "1 GHz", "to": "2 GHz"},
         "operator.n": [64, 128]},
        sampler={"method": "random", "points": 50},
    )  # fmt: skip
    assert made.shape == (50,) and made.axes[0].name == "sample"
    m, clock, n = zip(*made.axes[0].rows)
    assert all(1 <= each <= 4096 and isinstance(each, int) for each in m) and min(m) < 64 < max(m)
    assert all(each.endswith("Hz") for each in clock) and set(n) == {64, 128}


def test_constraints_leave_points_out():
    made = space({"operator.m": [1, 2, 3], "operator.n": [2, 3]}, constraints=["operator.m <= operator.n"])
    assert made.allowed(np.arange(6)).tolist() == [True, True, True, True, False, True]


def test_constraints_may_look_into_what_axes_name():
    rules = ["system.count > 4", "system.accelerator.tiers.hbm.capacity > unit('100 GB')"]
    made = space({"system": ["h100-sxm-x4", "h200-sxm-x8"]}, constraints=rules)
    assert made.allowed(np.arange(2)).tolist() == [False, True]
