"""How a run is driven from Python: stops, continues, refuses; and that its work does not grow with the decodes."""

import signal

import numpy as np
import pytest
from serve_cases import core, random_case, tables

from hwsim._core import scheduler, serve
from hwsim._core import serve_types as types
from hwsim._core.serve import ServeRun
from hwsim.errors import InputError


def costs(rules: types.Rules, longest: int = 10**6) -> types.Costs:
    grid = np.array([0, longest])
    return types.Costs(
        np.full(rules.max_tokens + 1, 10**9),
        np.zeros(rules.max_num_seqs + 1, np.int64),
        types.Surface(grid, grid, np.zeros((2, 2), np.int64)),
        types.Surface(grid, grid, np.zeros((2, 2), np.int64)),
        layers=1,
    )


def equal_requests(n: int, prompt: int, output: int) -> types.Requests:
    return types.Requests(np.zeros(n, np.int64), np.full(n, prompt), np.full(n, output))


def test_rows_written_and_read_have_the_same_layout():
    for name in ("prompt", "state", "key", "prev", "batch_next"):
        assert scheduler.REQUEST_ROW_DTYPE[name] == np.int64
    assert scheduler.REQUEST_ROW_DTYPE.itemsize == 8 * len(scheduler.REQUEST_ROW_DTYPE.names)
    assert serve.ServeRun.run.__doc__


def test_a_missing_step_names_all_its_samples_with_their_grid_neighbours():
    rules = types.Rules(64, 8, 100)
    known = costs(rules)
    for table in tables(known):
        table.fill(-1)
    run = ServeRun(equal_requests(2, 20, 5), rules, known)
    assert run.run() == types.MISSING
    assert run.missing().tolist() == [[0, 40, 0], [1, 2, 0], [2, 0, 0], [2, 1, 0]]
    step, chunks = run.step_in_hand()
    assert (step["tokens"], step["n_prefill"], len(chunks)) == (40, 2, 2)
    for table in tables(known):
        table.fill(3)
    assert run.run() == types.DONE


def test_two_missing_samples_are_missing_and_not_a_question_off_the_grid():
    rules = types.Rules(64, 8, 100)
    known = costs(rules)
    points = types.Surface.empty(np.array([20, 100]), np.array([0, 100]))
    lacking = types.Costs(known.token_time, known.seq_time, points, known.decode, layers=1)
    run = ServeRun(equal_requests(2, 20, 5), rules, lacking)
    assert run.run() == types.MISSING
    assert run.missing().tolist() == [[2, 0, 0]]


def test_a_run_pauses_after_the_steps_it_may_make_and_goes_on():
    case = random_case(3)
    _, *expected = core(case, case.costs())
    run = ServeRun(case.requests, case.rules, case.costs())
    calls = 0
    while run.run(max_steps=3) == types.PAUSED:
        calls += 1
        assert run.total_steps == 3 * calls
    assert np.array_equal(run.requests(), expected[0])


def test_a_question_off_the_grid_stops_the_run_and_names_the_step():
    rules = types.Rules(64, 8, 100)
    run = ServeRun(equal_requests(1, 200, 5), rules, costs(rules, longest=100))
    assert run.run() == types.OUT_OF_TABLE
    assert run.step_in_hand()[1].tolist()[0][2:] == (64, 128)


def test_ctrl_c_stops_a_long_run_which_can_then_go_on():
    class Alarm(Exception):
        pass

    def ring(*_):
        raise Alarm

    rules = types.Rules(2048, 64, 10**8)
    run = ServeRun(equal_requests(64, 10, 4 * 10**6), rules, costs(rules))
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(Alarm):
            run.run()
    finally:
        signal.signal(signal.SIGALRM, before)
    steps = run.total_steps
    assert steps > 0
    assert run.run(max_steps=10) == types.PAUSED
    assert run.total_steps == steps + 10


def work_of_decode_steps(n: int, **changes) -> float:
    """Loop entries visited a step by n decodes of long requests."""
    rules = types.Rules(**{"token_budget": 65_536, "max_num_seqs": 1024, "kv_blocks": 10**6} | changes)
    run = ServeRun(equal_requests(n, 33, 2000), rules, costs(rules))
    assert run.run(max_steps=10) == types.PAUSED
    begin = run.loops + run.decodes.work + run.kv.work
    assert run.run(max_steps=1000) == types.PAUSED
    return 1 + (run.loops + run.decodes.work + run.kv.work - begin) / 1000


@pytest.mark.parametrize("scheduler_name", types.SCHEDULERS)
def test_a_step_of_1024_decodes_visits_no_more_than_one_of_8(scheduler_name):
    few, many = (work_of_decode_steps(n, scheduler=scheduler_name) for n in (8, 1024))
    assert many <= 1.5 * few


def test_with_a_block_cache_a_decode_costs_a_visit_a_block_not_a_visit_a_token():
    few, many = (work_of_decode_steps(n, prefix_caching=True) for n in (8, 1024))
    assert many - few <= (1024 - 8) * 2.1 / 16


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: types.Rules(0, 1, 10), "scheduler.token_budget: got 0, expected at least 1"),
        (lambda: types.Rules(1, 1, 1), "scheduler.kv_blocks: got 1, expected at least 2 (one is the null block)"),
        (lambda: types.Rules(1, 1, 9, async_depth=3), "scheduler.async_depth: got 3, expected 1 or 2"),
        (lambda: types.Rules(1, 1, 9, scheduler="fifo"), "got 'fifo', expected mixed or prefill-first or static"),
        (lambda: types.Rules(1, 1, 9, router="x"), "scheduler.router: got 'x', expected round-robin or least-loaded"),
        (lambda: types.Rules(1, 1, 9, frontend_ps=-1), "scheduler.frontend_ps: got -1, expected at least 0"),
        (lambda: equal_requests(2, 0, 1), "got a request without prompt or output tokens, expected at least one"),
        (lambda: types.Requests(np.array([2, 1]), np.ones(2, int), np.ones(2, int)), "requests.arrival_ps: got times"),
        (lambda: types.Requests(np.zeros(2), np.ones(2, int), np.ones(2, int)), "got float64 of shape (2,)"),
        (lambda: types.Requests(np.zeros(1, int), np.ones(2, int), np.ones(2, int)), "got 1, 2, 2 rows"),
        (
            lambda: types.Requests(
                np.zeros(1, int), np.ones(1, int), np.ones(1, int), np.array([0, 2]), np.array([1]), 512
            ),
            "requests.prefix_offset: got 2 offsets, expected 2 that rise from 0 to 1",
        ),
        (lambda: types.Surface.empty(np.array([1, 1]), np.array([1])), "surface.grid_x: got [1, 1], expected"),
        (lambda: ServeRun(equal_requests(1, 1, 1), types.Rules(9, 9, 9), costs(types.Rules(8, 9, 9))), "token_time"),
        (
            lambda: ServeRun(
                equal_requests(1, 99, 9), types.Rules(9, 9, 3, concurrency=1), costs(types.Rules(9, 9, 3))
            ),
            "got 1 that need more KV blocks than there are, expected at most 2 blocks a request in a closed loop",
        ),
    ],
)
def test_bad_input_is_refused_with_what_was_got_and_expected(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)
