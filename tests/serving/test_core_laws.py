"""Laws any scheduler keeps, on random runs, and closed forms beside the reference."""

import numpy as np
import pytest
from serve_cases import core, random_case

from hwsim._core import serve_types as types
from hwsim._core.serve import ServeRun

STEP = 1_000  # picoseconds of every step in the closed forms


@pytest.fixture(scope="module")
def runs():
    """Cases, their run and its tables."""
    return [(case := random_case(2000 + seed), *core(case, case.costs())) for seed in range(60)]


def flat(rules: types.Rules, token_time: int = 0) -> types.Costs:
    """Every step takes STEP, and `token_time` more a token."""
    tokens = np.arange(rules.max_tokens + 1, dtype=np.int64)
    nothing = types.Surface(np.array([0, 10**6]), np.array([0, 10**6]), np.zeros((2, 2), np.int64))
    return types.Costs(
        STEP + token_time * tokens, np.zeros(rules.max_num_seqs + 1, np.int64), nothing, nothing, layers=1
    )


def replay(arrival, prompt, output, rules, costs=None, **prefix):
    requests = types.Requests(np.array(arrival), np.array(prompt), np.array(output), **prefix)
    run = ServeRun(requests, rules, costs or flat(rules))
    steps, chunks = np.zeros(5000, types.STEP_DTYPE), np.zeros(5000, types.CHUNK_DTYPE)
    assert run.run(steps, chunks) == types.DONE
    return run.requests(), steps[: run.n_steps], chunks[: run.n_chunks]


def rules(**changes) -> types.Rules:
    return types.Rules(**{"token_budget": 64, "max_num_seqs": 8, "kv_blocks": 1000, "async_depth": 1} | changes)


# ---------------------------------------------------------------------- conservation


def test_every_token_is_computed_once_when_nothing_is_preempted(runs):
    checked = 0
    for _, _, requests, steps, _ in runs:
        served = requests[requests["finish_ps"] >= 0]
        if not served["preemptions"].any():
            wanted = served["prompt"] + served["output"] - 1 - served["cached"]
            assert steps["tokens"].sum() == wanted.sum()
            checked += 1
    assert checked > 10


def test_every_request_that_fits_gets_all_its_tokens_and_the_others_none(runs):
    for case, run, requests, _, _ in runs:
        refused = case.rules.refused(case.requests)
        assert run.refused == refused.sum()
        assert np.array_equal(requests["finish_ps"] < 0, refused)


def test_blocks_come_back_and_are_never_more_than_there_are(runs):
    for case, run, _, steps, _ in runs:
        usable = case.rules.kv_blocks - 1
        assert np.asarray(run.kv.free).tolist() == [usable] * case.rules.replicas
        assert np.all((steps["kv_used_blocks"] >= 0) & (steps["kv_used_blocks"] <= usable))


def test_blocks_in_use_hold_the_contexts_they_must(runs):
    for case, _, _, steps, _ in runs:
        if not case.rules.prefix_caching:
            least = -(-steps["sum_context"] // case.rules.block_tokens)
            assert np.all(steps["kv_used_blocks"] >= least)


def test_preemptions_of_steps_and_of_requests_are_the_same(runs):
    for _, run, requests, steps, _ in runs:
        assert steps["preempted"].sum() == requests["preemptions"].sum() == run.preemptions


# ---------------------------------------------------------------------- order and time


def test_a_replica_never_runs_two_steps_at_once(runs):
    for case, _, _, steps, _ in runs:
        for replica in range(case.rules.replicas):
            mine = steps[steps["replica"] == replica]
            if case.rules.stages == 1:
                assert np.all(mine["start_ps"][1:] >= mine["end_ps"][:-1])
                assert np.array_equal(mine["busy_ps"], mine["end_ps"] - mine["start_ps"])
            assert np.all(np.diff(mine["start_ps"]) > 0)
            assert np.all(np.diff(mine["end_ps"]) >= 0)
            assert np.all((mine["end_ps"] - mine["start_ps"] >= mine["busy_ps"]) & (mine["busy_ps"] > 0))
            assert np.all(mine["start_ps"] >= mine["scheduled_ps"])


def test_requests_of_a_replica_are_admitted_in_the_order_of_their_arrival(runs):
    for case, _, requests, _, _ in runs:
        for replica in range(case.rules.replicas):
            mine = requests[(requests["replica"] == replica) & (requests["finish_ps"] >= 0)]
            assert np.all(np.diff(mine["admitted_ps"]) >= 0)
            assert np.all(np.diff(mine["queued_ps"]) >= 0)


def test_a_request_goes_through_its_stages_in_order(runs):
    for case, _, requests, _, _ in runs:
        served = requests[requests["finish_ps"] >= 0]
        assert np.all(served["queued_ps"] >= served["arrival_ps"] + case.rules.frontend_ps)
        assert np.all(served["admitted_ps"] >= served["queued_ps"])
        assert np.all(served["first_token_ps"] > served["admitted_ps"])
        assert np.all(served["finish_ps"] >= served["first_token_ps"])


def test_time_to_first_token_covers_the_chunks_of_the_request(runs):
    for case, _, requests, steps, chunks in runs:
        if case.rules.stages > 1:  # a prompt's chunks overlap
            continue
        spent = np.zeros(len(requests), np.int64)
        step = steps[chunks["step"]]
        early = step["end_ps"] <= requests["first_token_ps"][chunks["request"]]
        np.add.at(spent, chunks["request"][early], (step["end_ps"] - step["start_ps"])[early])
        served = requests["finish_ps"] >= 0
        ttft = requests["first_token_ps"] - requests["arrival_ps"]
        assert np.all(ttft[served] >= spent[served])


def test_a_decode_gets_at_most_one_token_a_step(runs):
    for _, _, requests, steps, _ in runs:
        served = requests[(requests["finish_ps"] >= 0)]
        shortest = (steps["end_ps"] - steps["start_ps"]).min(initial=2**62)
        assert np.all(served["finish_ps"] - served["first_token_ps"] >= (served["output"] - 1) * shortest)


# ---------------------------------------------------------------------- limits of a batch


def test_batches_keep_budget_and_slots(runs):
    for case, _, _, steps, chunks in runs:
        assert np.all(steps["n_sched"] <= case.rules.max_num_seqs)
        assert np.all(steps["running"] <= case.rules.max_num_seqs)
        assert np.all(steps["tokens"] <= case.rules.max_tokens)
        in_chunks = np.bincount(chunks["step"], chunks["chunk"], len(steps))
        assert np.array_equal(steps["tokens"], steps["n_decode"] + in_chunks)
        assert np.all(in_chunks <= case.rules.token_budget)


def test_only_the_mixed_scheduler_mixes(runs):
    mixed = {case.rules.scheduler for case, _, _, steps, _ in runs if np.any(steps["n_decode"] * steps["n_prefill"])}
    assert mixed == {"mixed"}


def test_a_static_batch_is_formed_only_when_the_replica_is_empty():
    found, steps, _ = replay([0] * 7, [10] * 7, [5, 3, 9, 4, 2, 2, 2], rules(scheduler="static", max_num_seqs=3))
    assert found["admitted_ps"].tolist() == [0] * 3 + [9 * STEP] * 3 + [13 * STEP]
    assert steps["n_decode"].max() == 3


def test_reserving_prompt_and_output_never_preempts(runs):
    for case, run, *_ in runs:
        assert case.rules.reserve != "output" or run.preemptions == 0


# ---------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("depth", [1, 2])
def test_a_lone_request_takes_its_chunks_and_then_one_step_a_token(depth):
    found, steps, chunks = replay([5], [150], [4], rules(async_depth=depth))
    assert chunks["chunk"].tolist() == [64, 64, 22]
    assert chunks["cached"].tolist() == [0, 64, 128]
    assert found["first_token_ps"].tolist() == [5 + 3 * STEP]
    assert found["finish_ps"].tolist() == [5 + 6 * STEP]
    assert steps["sum_context"].tolist() == [0, 0, 0, 151, 152, 153]
    assert steps["sum_tiles"].tolist() == [0, 0, 0, 2, 2, 2]


def test_a_fixed_batch_is_one_prefill_step_and_then_decodes_together():
    found, steps, _ = replay([0] * 4, [16] * 4, [10] * 4, rules())
    assert np.all(found["first_token_ps"] == STEP)
    assert np.all(found["finish_ps"] == 10 * STEP)
    assert steps["n_decode"].tolist() == [0] + [4] * 9
    assert steps["longest"].tolist() == [0, *range(17, 26)]
    # 1 block a prompt, a second one as soon as the first decode token needs it.
    assert steps["kv_used_blocks"].tolist() == [4] + [8] * 9


def test_two_batches_in_flight_delay_a_first_token_by_one_whole_step():
    """The rest of the running step, one step scheduled before the arrival, the request's own (A1.2 of the notes)."""
    for depth, first in ((1, 3 * STEP), (2, 4 * STEP)):
        found, *_ = replay([0, STEP + 1], [10, 10], [20, 20], rules(async_depth=depth))
        assert found["first_token_ps"][1] == first
        assert found["queued_ps"][1] == 2 * STEP


def test_the_engine_sees_a_request_only_between_steps_and_behind_the_frontend():
    found, *_ = replay([0, 100], [10, 10], [20, 20], rules(frontend_ps=STEP))
    assert found["queued_ps"].tolist() == [STEP, 2 * STEP]
    assert found["first_token_ps"].tolist() == [2 * STEP, 3 * STEP]


def test_decodes_go_before_the_prompt_and_the_last_prompt_is_cut_to_the_budget():
    _, steps, chunks = replay([0, 0], [60, 100], [9, 9], rules())
    assert list(zip(chunks["request"], chunks["chunk"])) == [(0, 60), (1, 4), (1, 63), (1, 33)]
    assert steps["n_decode"].tolist()[:4] == [0, 1, 1, 2]


def test_prefill_first_stalls_the_decodes_while_prompts_wait():
    found, steps, _ = replay([0, 1], [10, 100], [3, 3], rules(scheduler="prefill-first"))
    assert list(zip(steps["n_prefill"], steps["n_decode"])) == [(1, 0), (1, 0), (1, 0), (0, 2), (0, 2)]
    assert found["finish_ps"].tolist() == [5 * STEP] * 2


def test_a_prompt_waits_until_all_of_it_fits():
    # 5 usable blocks; the first request ends with 4 of them, the second one's whole prompt needs 3.
    found, *_ = replay([0, 0], [48, 48], [17, 2], rules(kv_blocks=6))
    assert found["admitted_ps"].tolist() == [0, 17 * STEP]
    found, *_ = replay([0, 0], [48, 48], [17, 2], rules(kv_blocks=6, reserve="chunk"))
    assert found["admitted_ps"].tolist() == [0, 0]


def test_the_last_running_request_is_thrown_out_and_keeps_its_tokens():
    # Both fit at first (2 blocks each of 5); the third block of the second decode is one too many.
    found, steps, chunks = replay([0, 0], [31, 31], [20, 20], rules(kv_blocks=6))
    assert found["preemptions"].tolist() == [0, 1]
    assert found["finish_ps"][0] == 20 * STEP
    # Thrown out with 2 tokens out; the recomputation covers them, and 18 more follow.
    assert chunks["chunk"].tolist() == [31, 31, 33]
    assert found["finish_ps"][1] == found["finish_ps"][0] + 18 * STEP
    assert steps["preempted"].sum() == 1


def test_a_preempted_request_finds_its_own_full_blocks_again():
    *_, chunks = replay([0, 0], [31, 31], [20, 20], rules(kv_blocks=7, prefix_caching=True))
    assert chunks["chunk"].tolist()[:2] == [31, 31]
    assert chunks["cached"].tolist()[2] % 16 == 0
    assert chunks["cached"].tolist()[2] > 0


def test_equal_prompts_hit_full_blocks_and_leave_a_token_to_compute():
    ids = {"prefix_offset": np.array([0, 1, 2]), "prefix_ids": np.array([7, 7]), "prefix_block_tokens": 64}
    for prompt, hit in ((64, 48), (63, 48), (65, 64), (16, 0), (17, 16)):
        found, *_ = replay([0, 10 * STEP], [prompt] * 2, [2] * 2, rules(prefix_caching=True), **ids)
        assert found["cached"].tolist() == [0, min(hit, 64)], prompt


def test_a_block_can_be_found_as_soon_as_it_is_full_even_in_the_same_batch():
    ids = {"prefix_offset": np.array([0, 1, 2]), "prefix_ids": np.array([7, 7]), "prefix_block_tokens": 32}
    found, steps, _ = replay([0, 0], [32] * 2, [2] * 2, rules(prefix_caching=True), **ids)
    assert found["cached"].tolist() == [0, 16]
    assert steps["tokens"].tolist()[0] == 32 + 16


def test_a_closed_loop_keeps_its_requests_in_the_system():
    found, steps, _ = replay([0] * 30, [20] * 30, [6] * 30, rules(concurrency=5))
    assert np.all((steps["waiting"] + steps["running"])[:-6] == 5)
    assert np.array_equal(np.sort(found["arrival_ps"])[5:], np.sort(found["finish_ps"])[:25])


def test_the_router_takes_turns_or_the_least_loaded_replica():
    arrival, prompt, output = [0, 1, 2, 3], [10] * 4, [50, 2, 2, 2]
    found, *_ = replay(arrival, prompt, output, rules(replicas=2))
    assert found["replica"].tolist() == [0, 1, 0, 1]
    late = [0, 3 * STEP + 1, 6 * STEP + 1, 9 * STEP + 1]
    found, *_ = replay(late, prompt, output, rules(replicas=2, router="least-loaded"))
    assert found["replica"].tolist() == [0, 1, 1, 1]


def test_captured_sizes_pad_the_token_count_up():
    assert types.pad_table(12, [1, 2, 4, 8]).tolist() == [0, 1, 2, 4, 4, 8, 8, 8, 8, 9, 10, 11, 12]


def test_an_infinite_cache_served_in_file_order_hits_what_the_trace_can_give(shared):
    """vLLM's rule on the Mooncake conversation trace, untimed: 37.338 % of the prompt tokens."""
    from hwsim import workload

    table = workload.load(str(shared / "traces/mooncake/conversation_trace.jsonl"))
    requests = types.Requests(
        table.arrival_ps, table.prompt_tokens, np.ones_like(table.output_tokens),
        table.prefix_offset, table.prefix_ids, table.prefix_block_tokens,
    )  # fmt: skip
    one = rules(token_budget=200_000, kv_blocks=300_000, block_tokens=512, prefix_caching=True, concurrency=1)
    run = ServeRun(requests, one, flat(one))
    assert run.run() == types.DONE
    assert round(100 * run.requests()["cached"].sum() / table.prompt_tokens.sum(), 3) == 37.338
