"""The core against the tick-by-tick reference, and against itself without the skip, on random programs."""

import numpy as np
import pytest
from random_programs import random_pipeline, random_program

from hwsim._core import tables
from hwsim.operators.executor import arena_after, run_one
from hwsim.reference import engine as reference

BUDGET = 1 << 16


@pytest.mark.fuzz
def test_core_and_reference_agree_on_every_command(fuzz_share):
    ended = np.zeros(len(tables.STATUS_NAMES), int)
    for seed in range(round(5000 * fuzz_share)):
        bound = random_program(seed)
        core = run_one(bound, record="commands", budget=BUDGET)
        right = reference.run(bound, 0, BUDGET)
        assert (core.status, core.end) == (right.status, right.end), seed
        assert core.commands.tolist() == [(c.queue, c.row, c.seq, c.start, c.finish) for c in right.commands], seed
        assert core.busy.tolist() == right.busy and core.passes.tolist() == right.passes, seed
        assert sum(core.bound.values()) == core.end and min(core.bound.values()) >= 0, seed
        ended[core.status] += 1
    assert ended[tables.OK] > 0.5 * ended.sum() and ended[tables.DEADLOCK] > 0.05 * ended.sum()


def assert_skip_is_exact(bound, seed):
    whole, skipped = run_one(bound, skip=False), run_one(bound)
    assert (whole.end, whole.status, whole.bound) == (skipped.end, skipped.status, skipped.bound), seed
    assert np.array_equal(whole.busy, skipped.busy) and np.array_equal(whole.passes, skipped.passes), seed


@pytest.mark.fuzz
def test_the_skip_changes_nothing_in_any_program(fuzz_share):
    for seed in range(20_000, 20_000 + round(5000 * fuzz_share)):
        assert_skip_is_exact(random_program(seed, rotate=seed % 4 == 0, trips=24, iterate=seed % 3 == 0), seed)


@pytest.mark.fuzz
def test_the_skip_changes_nothing_where_it_is_taken(fuzz_share):
    count = round(5000 * fuzz_share)
    taken = 0
    for seed in range(count):
        bound = random_pipeline(seed)
        assert_skip_is_exact(bound, seed)
        taken += arena_after(bound, 0).work_done[1] > 0
    assert taken > 0.8 * count
