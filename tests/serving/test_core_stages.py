"""Batches through several stages: closed forms, order, who may be scheduled."""

import numpy as np
import pytest
from serve_cases import core, random_case

from hwsim._core import serve_types as types
from hwsim._core.serve import ServeRun
from hwsim.errors import InputError

TIMES = [700, 1000, 400]  # picoseconds of a step on each stage


def costs(rules: types.Rules, times: list[int], a_token: int = 0) -> types.Costs:
    """Every step takes these times, and `a_token` more on each stage for a token."""
    tokens = np.arange(rules.max_tokens + 1, dtype=np.int64)
    nothing = types.Surface(np.array([0, 10**6]), np.array([0, 10**6]), np.zeros((2, 2), np.int64))
    kinds = len(times)
    return types.Costs(
        np.array(times)[:, None] + a_token * tokens[None],
        np.zeros((kinds, rules.max_num_seqs + 1), np.int64),
        nothing,
        nothing,
        layers=np.ones(kinds, np.int64),
        decode_order=np.arange(kinds),
    )


def replay(prompt, output, rules, costs, arrival=None):
    arrival = np.zeros(len(prompt), np.int64) if arrival is None else arrival
    run = ServeRun(types.Requests(arrival, np.array(prompt), np.array(output)), rules, costs)
    steps, chunks = np.zeros(5000, types.STEP_DTYPE), np.zeros(5000, types.CHUNK_DTYPE)
    assert run.run(steps, chunks) == types.DONE
    return run.requests(), steps[: run.n_steps], chunks[: run.n_chunks]


def rules(stages: int = 3, **changes) -> types.Rules:
    given = {"token_budget": 64, "max_num_seqs": 64, "kv_blocks": 1000, "async_depth": stages, "stages": stages}
    return types.Rules(**given | changes)


def test_one_stream_pays_the_sum_of_the_stages():
    found, steps, _ = replay([10], [20], rules(), costs(rules(), TIMES))
    assert found["first_token_ps"][0] == sum(TIMES)
    assert found["finish_ps"][0] == 20 * sum(TIMES)
    assert np.all(steps["end_ps"] - steps["start_ps"] == sum(TIMES))


def test_a_long_prompt_goes_through_the_stages_chunk_behind_chunk():
    found, steps, _ = replay([64 * 8], [1], rules(), costs(rules(), TIMES))
    assert len(steps) == 8
    assert found["first_token_ps"][0] == sum(TIMES) + 7 * max(TIMES)


@pytest.mark.parametrize("times", [[1000, 1000], TIMES, [300, 300, 900, 300], [5, 5, 5, 5, 5, 5, 5, 5]])
def test_full_stages_put_a_batch_out_each_time_of_the_slowest(times):
    """As many groups of requests as it takes to keep the slowest stage busy."""
    stages = len(times)
    law = rules(stages, token_budget=16)
    found, steps, _ = replay([16] * stages, [500] * stages, law, costs(law, times))
    assert np.all(found["finish_ps"] > 0)
    gaps = np.diff(steps["end_ps"])[20:-20]
    assert np.mean(gaps) == max(max(times), sum(times) / stages)
    assert np.all(steps["n_sched"] == 1)


def test_a_request_in_flight_is_not_scheduled_again_before_its_token_is_out():
    checked = 0
    for seed in range(200, 240):
        case = random_case(seed)
        if case.rules.stages == 1:
            continue
        run, _, steps, _ = core(case, case.costs())
        if run.preemptions:
            continue
        for step in steps:
            mine = steps[steps["replica"] == step["replica"]]
            flying = mine[(mine["scheduled_ps"] < step["scheduled_ps"]) & (mine["end_ps"] > step["scheduled_ps"])]
            assert flying["n_decode"].sum() + step["n_decode"] <= step["running"]
        checked += len(steps)
    assert checked > 200


def test_tokens_of_a_request_are_a_whole_passage_apart():
    law = rules(token_budget=8)
    found, _, _ = replay([8] * 5, [30] * 5, law, costs(law, TIMES))
    per_token = (found["finish_ps"] - found["first_token_ps"]) / 29
    assert np.all(per_token >= sum(TIMES))


def test_decodes_of_a_batch_stay_together():
    law = rules(2, token_budget=32)
    _, steps, _ = replay([8] * 8, [50] * 8, law, costs(law, [1000, 1000]))
    assert np.all(steps["n_decode"][2:-2] == 4)


def even(stages: int = 3, **changes) -> types.Rules:
    return rules(stages, micro_batches="even", **changes)


@pytest.mark.parametrize("scheduler", types.SCHEDULERS)
def test_even_micro_batches_fill_the_stages_however_the_prompts_were_batched(scheduler):
    """Eight prompts in one chunk: eight batches of one request, where formed batches keep all in one for ever."""
    ends = {}
    for budget in (8, 64):
        law = even(8, token_budget=budget, scheduler=scheduler)
        found, steps, _ = replay([8] * 8, [200] * 8, law, costs(law, [100] * 8, a_token=100))
        assert np.all(steps["n_decode"] <= 1)
        ends[budget] = (found["finish_ps"] - found["first_token_ps"]).max()
    assert abs(int(ends[64]) - int(ends[8])) <= ends[8] // 10
    law = rules(8, token_budget=64, scheduler=scheduler)
    formed, steps, _ = replay([8] * 8, [200] * 8, law, costs(law, [100] * 8, a_token=100))
    assert steps["n_decode"].max() == 8
    assert (formed["finish_ps"] - formed["first_token_ps"]).max() > 3 * ends[64]


@pytest.mark.parametrize("users", [2, 5, 12, 31])
def test_even_micro_batches_differ_by_one_request_at_most(users):
    law = even(4)
    _, steps, _ = replay([2] * users, [300] * users, law, costs(law, [1000] * 4))
    sizes = steps["n_decode"][20:-20]
    assert {int(size) for size in sizes} <= {users // 4, -(-users // 4)} - {0}


def test_even_micro_batches_of_a_stream_alone_change_nothing():
    one, other = (replay([70], [40], law, costs(law, TIMES))[0] for law in (rules(), even()))
    assert np.array_equal(one, other)


def test_an_arrival_enters_the_stages_while_a_batch_is_under_way():
    law = even(3)
    found, _, _ = replay([8, 8], [40, 40], law, costs(law, TIMES), arrival=np.array([0, sum(TIMES) + 1100]))
    assert found["admitted_ps"][1] == sum(TIMES) + 1100
    assert found["first_token_ps"][1] - found["admitted_ps"][1] == sum(TIMES)


def test_no_lane_waits_longer_than_the_others_while_prompts_take_turns():
    """Prompts in front of them hold slots; lanes that have decodes still go in the order in which they came back."""
    law = even(4, scheduler="mixed", token_budget=4)
    found, steps, _ = replay([4] * 4 + [400], [60] * 4 + [1], law, costs(law, [1000] * 4))
    counts = [int((steps["n_decode"][steps["lane"] == lane]).sum()) for lane in range(4)]
    assert max(counts) - min(counts) <= 1
    assert np.all(found["finish_ps"] > 0)


def test_stages_are_never_slower_than_one_that_takes_their_sum_and_never_faster_than_the_slowest():
    law, whole = rules(3, token_budget=16), rules(1, token_budget=16)
    prompt, output = [16] * 12, list(range(10, 34, 2))
    staged, steps, _ = replay(prompt, output, law, costs(law, TIMES))
    alone, _, _ = replay(prompt, output, whole, costs(whole, [sum(TIMES)]))
    assert staged["finish_ps"].max() <= alone["finish_ps"].max()
    assert staged["finish_ps"].max() >= len(steps) * max(TIMES)


def test_a_step_passes_a_stage_it_has_nothing_for_in_its_turn():
    law = rules(3, token_budget=8)
    priced = types.Costs(**(vars(costs(law, TIMES)) | {"prefill_order": np.array([0, -1, -1])}))
    found, steps, _ = replay([8, 8], [5, 5], law, priced)
    first = steps[steps["n_prefill"] == 1][0]
    assert first["end_ps"] - first["start_ps"] == first["busy_ps"] == TIMES[0]
    assert np.all(np.diff(steps["end_ps"]) >= 0)
    assert np.all(found["finish_ps"] > 0)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: rules(3, async_depth=4), ["async_depth", "1 to 3 batches"]),
        (lambda: rules(0, async_depth=1), ["stages", "at least 1"]),
        (lambda: rules(2, scheduler="prefill-first", reserve="chunk"), ["chunk", "prompt or output"]),
        (lambda: ServeRun(types.Requests([0], [1], [1]), rules(2), costs(rules(3), TIMES)), ["3 stages", "2 as"]),
        (lambda: types.Costs(**(vars(costs(rules(), TIMES)) | {"layers": [3, 3]})), ["layers", "one a kind"]),
        (lambda: types.Costs(**(vars(costs(rules(), TIMES)) | {"decode_order": [0, 3]})), ["decode_order", "below 3"]),
    ],
)
def test_rules_and_costs_that_cannot_be_run_are_named(make, words):
    with pytest.raises(InputError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)
