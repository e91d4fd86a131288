"""Cost surfaces: exact on the grid, linear between, the same whatever was asked before."""

import doctest

import numpy as np
import pytest

from hwsim._core.bounds import BOUND_CLASSES, TIERS
from hwsim.operators import surface
from hwsim.operators.machine import Machine
from hwsim.operators.simulate import OpResult
from hwsim.operators.surface import COLUMNS, MISSING, TIME, Surface, grid, stairs
from hwsim.serving.costs import ATTENTION_BLOCK, decode_surface
from hwsim.serving.layers import AttentionShape


def counted(function):
    """A sampler that remembers what it was asked."""
    asked = []

    def sampler(questions):
        asked.extend(map(tuple, questions))
        rows = np.zeros((len(questions), len(COLUMNS)), np.int64)
        rows[:, TIME] = function(*questions.T)
        rows[:, 1] = 3 * rows[:, TIME]
        return rows

    sampler.asked = asked
    return sampler


def plane(x, y):
    return 1000 + 7 * x + 13 * y


def make(function=plane):
    return Surface("test", [stairs(1, 16, 64, 200), grid(0, 4, 50, ratio=4)], counted(function))


def test_grids_hold_both_ends_and_every_integer_up_to_the_exact_part():
    assert not doctest.testmod(surface).failed
    points = grid(1, 64, 5000)
    assert points[0] == 1 and points[-1] == 5000 and list(points[:64]) == list(range(1, 65))
    assert np.all(np.diff(points[64:-1]) <= points[64:-2] // 32 + 1)


def test_a_grid_point_is_its_own_sample_and_asks_for_no_other():
    made = make()
    assert made.ask(np.array([[17, 3]]))[0, TIME] == plane(17, 3)
    assert made.sampler.asked == [(17, 3)]


def test_a_plane_is_interpolated_exactly():
    made = make()
    questions = np.stack(np.meshgrid(np.arange(1, 201), np.arange(0, 51)), -1).reshape(-1, 2)
    assert np.array_equal(made.ask(questions)[:, TIME], plane(*questions.T))


def test_every_column_is_interpolated_and_rounded_up():
    made = make(lambda x, y: (x * x + y) % 97)
    row = made.ask(np.array([[150, 33]]))[0]
    assert row[TIME] * 3 >= row[1] > 0 and row[1] <= 3 * row[TIME]


@pytest.mark.parametrize("seed", range(5))
def test_the_answer_does_not_depend_on_what_was_asked_before(seed):
    rng = np.random.default_rng(seed)
    questions = np.stack([rng.integers(1, 201, 60), rng.integers(0, 51, 60)], 1)
    whole = make(lambda x, y: (x * 31 + y * 17) % 1009)
    alone = [make(lambda x, y: (x * 31 + y * 17) % 1009).ask(question[None])[0] for question in questions[:10]]
    shuffled = rng.permutation(60)
    answers = np.empty((60, len(COLUMNS)), np.int64)
    for i in shuffled:
        answers[i] = whole.ask(questions[i : i + 1])[0]
    assert np.array_equal(answers[:10], alone)
    assert np.array_equal(answers, make(lambda x, y: (x * 31 + y * 17) % 1009).ask(questions))


def test_filling_a_block_changes_no_answer():
    made, other = make(), make()
    made.fill_blocks(np.array([40]), (4, 2))
    assert made.known == 8 and len(set(made.sampler.asked)) == 8
    questions = np.array([[20, 10], [199, 49]])
    assert np.array_equal(made.ask(questions), other.ask(questions))


@pytest.mark.parametrize("accelerator, heads", [("groq-lpu", 8), ("ipu-bow", 32), ("wse-3", 64), ("l40s", 64)])
def test_samples_beside_a_step_may_be_more_than_the_device_holds(accelerator, heads):
    machine = Machine.of(accelerator, sets={"accelerator": []})
    dtype = "bf16" if "bf16" in machine.tensor else "fp16"
    longest = max(machine.hbm, machine.room) // (heads * 128 * 4)  # one sequence that fills the memory
    made = decode_surface(machine, AttentionShape(heads, heads, 128, 1, dtype, dtype), 8, longest)
    last = len(made.axes[1]) - 1
    made.fill_blocks(np.array([last]), ATTENTION_BLOCK)
    assert made.times[0, last] > 0 and made.times[7, last] > made.times[0, last]


def test_a_rational_question_lies_between_its_neighbours():
    made = make()
    answer = made.ask(np.array([[17, 10]]), den=np.array([4]))[0, TIME]
    assert answer == -(-(1000 * 4 + 7 * 17 * 4 + 13 * 10) // 4)


def test_use_of_the_points_adds_up_however_the_run_is_cut():
    rng = np.random.default_rng(1)
    made = make()
    questions = np.stack([rng.integers(1, 201, 100), rng.integers(0, 51, 100)], 1)
    whole = made.spread(questions)
    parts = np.concatenate([made.spread(questions[:37]), made.spread(questions[37:])], axis=1)
    assert np.array_equal(whole, surface.summed(*parts))
    assert 100 - 100 * 4 / 2**20 <= whole[1].sum() / 2**20 <= 100


def test_times_and_samples_are_the_same_numbers():
    made = make()
    made.fill(np.array([0, 5, 77]))
    known = made.times.ravel() != MISSING
    assert made.known == 3
    assert np.array_equal(made.times.ravel()[known], made.samples[known, TIME])
    assert not made.samples[~known].any()


def test_a_sample_carries_the_bytes_of_every_tier():
    one = np.ones(1, np.int64)
    moved = {tier: one * number for number, tier in enumerate(TIERS, 1)}
    result = OpResult(one, one, one, np.zeros((1, len(BOUND_CLASSES)), np.int64), one, moved, [None], [""])
    row = dict(zip(COLUMNS, surface.sample_rows(result)[0].tolist()))
    assert {tier: row[f"{tier}_bytes"] for tier in TIERS} == {tier: int(amount[0]) for tier, amount in moved.items()}
