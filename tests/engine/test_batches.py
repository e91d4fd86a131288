"""Batches: the same answers for any number of threads, and one bad program harms no other."""

import signal

import numpy as np
import programs
import pytest
from random_programs import random_program

from hwsim._core import tables
from hwsim.operators.executor import DEFAULT_BUDGET, arena_after
from hwsim.operators.program import RESOURCE_DTYPE, bind, run_many, run_one


def gemm_batch(count: int):
    one = programs.gemm(2, waves=3, steps=10)
    rng = np.random.default_rng(5)
    resources = np.zeros((count, one.template.size("resources")), RESOURCE_DTYPE)
    for name, low, high in (("num", 20, 6000), ("den", 1, 4), ("lat", 1, 600)):
        resources[name] = rng.integers(low, high, resources.shape)
    return bind(one.template, one.values, resources, cells=one.cells)


def test_threads_do_not_change_a_bit():
    bound = gemm_batch(500)
    one, many = run_many(bound), run_many(bound, threads=3)
    for name in ("end", "status", "bound", "busy", "passes"):
        assert np.array_equal(getattr(one, name), getattr(many, name)), name


def test_a_batch_is_its_programs_one_by_one():
    bound = gemm_batch(20)
    out = run_many(bound)
    for i in range(20):
        single = run_one(bound, i)
        assert (single.end, list(single.bound.values())) == (out.end[i], out.bound[i].tolist())


def test_a_refused_program_keeps_its_place():
    good = gemm_batch(3)
    values = good.values.copy()
    values[1, good.template.slots["steps"].index] = 0
    given = good._given
    resources = np.zeros((3, given.chunk.shape[1]), RESOURCE_DTYPE)
    for name in ("num", "den", "lat"):
        resources[name] = getattr(given, name)
    bound = bind(good.template, values, resources, cells=good.cells)
    out = run_many(bound)
    assert out.status.tolist() == [tables.OK, tables.REFUSED, tables.OK] and out.end[1] == 0
    assert out.end[[0, 2]].tolist() == run_many(good).end[[0, 2]].tolist()
    assert "trips" in str(bound.reasons(1)[0]) and not bound.reasons(0)


def test_the_budget_counts_rows_and_ends_a_program():
    bound = programs.systolic(8, 8, 20, 5, serial=True)  # 5 x (two rows and the loop)
    assert run_one(bound, budget=15).status == tables.OK
    assert run_one(bound, budget=14).status == tables.BUDGET


def test_equal_tables_have_equal_hashes():
    bound, other = gemm_batch(2), gemm_batch(2)
    assert bound.hash(0) == other.hash(0) != bound.hash(1)


def test_a_pool_too_small_grows_and_changes_nothing():
    bound = programs.pipeline_chips(3000, [[(1, 9000)]], 1)  # 3,000 commands in flight
    assert run_one(bound).end == 3000 + 9000


class Interrupted(Exception):
    """Raised by the signal handler of the test."""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_signal_ends_a_long_run(threads):
    def handler(*_):
        raise Interrupted

    bound = programs.systolic(8, 8, 20, 1 << 30)
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(Interrupted):
            run_many(bound, threads, skip=False)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_unknown_records_are_refused():
    with pytest.raises(Exception, match="'events'"):
        run_one(gemm_batch(1), record="events")


def test_a_large_gemm_is_run_in_a_tenth_of_its_commands():
    bound = programs.gemm(4, tail=68 / 132)
    rows, _ = arena_after(bound, 0).work_done
    assert int(run_one(bound).passes.sum()) == 26_752 and rows < 2_500


def test_the_skip_is_taken_and_passes_few_rows():
    arena = arena_after(programs.systolic(128, 128, 8192, 4096, hbm=(933, 2)), 0)
    rows, periods = arena.work_done
    assert rows < 200 and periods > 4000


@pytest.mark.parametrize("seed", range(20))
def test_outcomes_do_not_depend_on_what_ran_before(seed):
    bound = random_program(seed)
    first = run_one(bound)
    run_one(random_program(seed + 1))
    again = run_one(bound, budget=DEFAULT_BUDGET)
    assert (first.end, first.status, first.bound) == (again.end, again.status, again.bound)
