"""Metrics of runs whose figures can be told by hand, and of random ones by the definition."""

from pathlib import Path

import numpy as np
import pytest

from hwsim.analyse import summary
from hwsim.analyse.metrics import Metrics, measure, measure_trace, shares
from hwsim.analyse.percentile import spread
from hwsim.analyse.slo import Slo
from hwsim.errors import InputError
from hwsim.trace import BOUND_CLASSES, Writer, open_trace

MS, S = 10**9, 10**12


def columns(**values: list[int]) -> dict[str, np.ndarray]:
    return {name: np.array(column, np.int64) for name, column in values.items()}


# Three requests: 0 is served at once, 1 waits a second and has one output token, 2 never finishes.
REQUESTS = columns(
    arrival_ps=[0, S, 2 * S],
    first_token_ps=[100 * MS, 2 * S, -1],
    finish_ps=[500 * MS, 2 * S, -1],
    prompt_tokens=[10, 20, 30],
    output_tokens=[5, 1, 9],
    cached_tokens=[0, 16, 0],
    preemptions=[2, 0, 1],
)
# One replica decodes 1, 1 and 4 requests at steps 10 and 30 ms apart; the other has steps of its own in between.
STEPS = columns(
    replica=[0, 1, 0, 1, 0],
    start_ps=[0, 0, 10 * MS, 5 * MS, 20 * MS],
    end_ps=[10 * MS, 5 * MS, 20 * MS, 7 * MS, 50 * MS],
    n_decode=[9, 9, 1, 1, 4],
    kv_used_blocks=[1, 10, 1, 10, 1],
)


def nearest_rank(values: list[int], percent: int) -> int:
    return sorted(values)[-(-percent * len(values) // 100) - 1]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 100, 101, 1000])
def test_percentiles_are_nearest_ranks_with_and_without_weights(count: int) -> None:
    random = np.random.default_rng(count)
    values, weights = random.integers(0, 50, count), random.integers(0, 4, count)
    weights[0] = 1
    for found, every in ((spread(values), values), (spread(values, weights), np.repeat(values, weights))):
        every_one = every.tolist()
        assert (found.p50, found.p90, found.p99) == tuple(nearest_rank(every_one, p) for p in (50, 90, 99))
        assert found.mean == sum(every_one) / len(every_one)
        assert found.count == len(every_one)


def test_a_spread_of_nothing_is_none() -> None:
    assert spread(np.zeros(0, np.int64)).in_ms() == {"p50": None, "p90": None, "p99": None, "mean": None}
    assert spread(np.array([5]), np.array([0])).count == 0


def test_the_mean_of_large_times_does_not_overflow() -> None:
    assert spread(np.full(1000, 2**62)).mean == 2.0**62


def test_latencies_of_requests_follow_their_definitions() -> None:
    found = measure(REQUESTS)
    assert (found.requests, found.finished, found.prompt_tokens, found.output_tokens) == (3, 2, 30, 6)
    assert (found.cached_tokens, found.preemptions) == (16, 2)
    assert (found.ttft.p50, found.ttft.p99) == (100 * MS, S)
    assert (found.tpot.count, found.tpot.p50) == (1, 100 * MS)
    assert (found.e2e.p50, found.e2e.p99) == (500 * MS, S)
    assert found.makespan_ps == 2 * S
    assert (found.tokens_per_s, found.requests_per_s) == (3, 1)


def test_time_between_tokens_counts_each_decode_of_a_replicas_next_step() -> None:
    found = measure(REQUESTS, STEPS)
    assert found.itl.count == 6  # 1 x 10 ms and 4 x 30 ms of replica 0, 1 x 2 ms of replica 1
    assert (found.itl.p50, found.itl.p99) == (30 * MS, 30 * MS)
    assert found.itl.mean == (10 + 4 * 30 + 2) * MS / 6


def test_time_between_tokens_equals_that_of_single_requests() -> None:
    """Static batches: every request decodes in each step after its first; gaps by hand for each of them."""
    random = np.random.default_rng(0)
    ends = np.cumsum(random.integers(1, 50, 200))
    begin, length = random.integers(0, 100, 30), random.integers(1, 100, 30)
    gaps = [int(ends[k] - ends[k - 1]) for b, n in zip(begin, length) for k in range(b + 1, b + n)]
    decodes = [sum(b < k < b + n for b, n in zip(begin, length)) for k in range(200)]
    steps = columns(replica=[0] * 200, n_decode=decodes, kv_used_blocks=[0] * 200) | {
        "end_ps": ends,
        "start_ps": ends - 1,
    }
    found = measure(REQUESTS, steps).itl
    assert (found.count, found.p90, found.mean) == (len(gaps), nearest_rank(gaps, 90), sum(gaps) / len(gaps))


def test_kv_use_is_weighted_by_time() -> None:
    kv = measure(REQUESTS, STEPS, kv_blocks=20).kv
    assert kv is not None
    assert (kv.mean_blocks, kv.peak_blocks) == ((50 * 1 + 7 * 10) / 57, 10)
    assert kv.peak_share == 0.5


def test_goodput_counts_requests_that_meet_every_limit() -> None:
    for slo, count in (("ttft=1s", 2), ("ttft=999ms", 1), ("ttft=1s,tpot=99ms", 1), ("tpot=1us,e2e=1s", 1)):
        good = measure(REQUESTS, slo=slo).goodput
        assert good is not None
        assert (good.requests, good.share, good.requests_per_s) == (count, count / 2, count / 2), slo


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "--slo: got '', expected limits such as ttft=2s,tpot=50ms; names are ttft, tpot, e2e"),
        ("ttft", "--slo: got 'ttft', expected limits such as"),
        ("ttft=2", "--slo ttft: got '2', expected a time"),
        ("ttft=2GB", "--slo ttft: got '2GB', expected a time"),
        ("ttft=-2s", "--slo ttft: got"),
        ("ttft=0s", "--slo ttft: got '0s', expected a time above zero"),
        ("ttft=1s,ttft=2s", "--slo: got ttft twice"),
        ("itl=5ms", "itl has no value of a request; limit tpot instead"),
        ("ttft=1s,", "--slo: got '', expected limits"),
        ("ttft=nan s", "--slo ttft: got"),
    ],
)
def test_bad_objectives_are_named(text: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        Slo.parse(text)
    assert expected in str(caught.value)


def test_objectives_are_exact() -> None:
    assert Slo.parse("ttft=2s, tpot=50ms") == Slo("ttft=2s, tpot=50ms", 2 * S, 50 * MS)


def test_shares_of_time_sum_to_one() -> None:
    found = shares(np.arange(16))
    assert list(found) == list(BOUND_CLASSES)
    assert sum(found.values()) == pytest.approx(1)
    assert set(shares(np.zeros(16, np.int64)).values()) == {0.0}


def whole() -> Metrics:
    energy = {"static": 6 * S, "bytes": 3 * S, "flops": 3 * S}
    around = {"host": 4 * S, "supply": 1 * S}
    return measure(
        REQUESTS, STEPS, slo="ttft=1s", bound_ps=np.arange(16), energy_pj=energy, around_pj=around, gating="unit",
        kv_blocks=20,
    )  # fmt: skip


def test_a_trace_on_disk_gives_the_same_metrics(tmp_path: Path) -> None:
    attrs = {
        "bound_ps": list(range(16)),
        "energy_pj": {"static": 6 * S, "bytes": 3 * S, "flops": 3 * S},
        "around_pj": {"host": 4 * S, "supply": 1 * S},
        "gating": "unit",
        "kv_blocks": 20,
    }
    with Writer(tmp_path / "out.h5", attrs, level="steps") as writer:
        writer.append("requests", REQUESTS)
        writer.append("steps", STEPS)
    assert measure_trace(open_trace(tmp_path / "out.h5"), slo="ttft=1s") == whole()


KEYS = [
    "requests", "prompt_tokens", "output_tokens", "cached_tokens", "steps", "preemptions", "makespan_s", "cpu_s",
    "cpu_compile_s", "cpu_sim_s", "cpu_replay_s", "cpu_write_s", "tokens_per_s", "requests_per_s", "energy_j",
]  # fmt: skip


def test_json_has_exactly_the_published_keys() -> None:
    found = summary.as_json(whole(), {"total": 1.5, "compile": 0.5, "sim": 0.25, "replay": 0.5, "write": 0.25})
    energy = ["energy_parts_j", "node_j", "wall_j", "gating"]
    assert list(found) == [*KEYS, "ttft_ms", "tpot_ms", "itl_ms", "e2e_ms", "bound", *energy]
    assert found["ttft_ms"] == {"p50": 100.0, "p90": 1000.0, "p99": 1000.0, "mean": 550.0}
    assert (found["energy_j"], found["makespan_s"], found["cpu_s"]) == (12.0, 2.0, 1.5)


def test_json_tells_energy_by_part_and_where_it_is_measured() -> None:
    found = summary.as_json(whole(), {})
    assert found["energy_parts_j"] == {"static": 6.0, "bytes": 3.0, "flops": 3.0, "host": 4.0, "supply": 1.0}
    assert (found["energy_j"], found["node_j"], found["wall_j"]) == (12.0, 16.0, 17.0)
    assert found["wall_j"] == sum(found["energy_parts_j"].values())
    assert found["gating"] == "unit"


def test_a_run_without_requests_has_no_figures_and_does_not_fail() -> None:
    nothing = measure(
        {name: values[:0] for name, values in REQUESTS.items()}, {k: v[:0] for k, v in STEPS.items()}, slo="e2e=1s"
    )
    run = summary.Run("s", "m", "p", "w", "t")
    assert "0 requests" in summary.text(run, nothing)
    assert summary.as_json(nothing, {})["ttft_ms"]["p50"] is None


SCREEN = """\
system     8 x NVIDIA H100 SXM5 80GB
model      Llama 3.1 70B, bf16
plan       tp 8, 1 replica
software   vllm-0.19
trace      azure-conversation
defaults   block 16, memory fraction 0.9
note       2 requests stood behind a later one

latency             p50         p90         p99        mean
  ttft           100 ms      1.00 s      1.00 s      550 ms
  tpot           100 ms      100 ms      100 ms      100 ms
  itl           30.0 ms     30.0 ms     30.0 ms     22.0 ms
  e2e            500 ms      1.00 s      1.00 s      750 ms

served     2 requests (1 refused), 30 prompt + 6 output tokens, in 2.00 s
rate       3 output tokens/s, 15 prompt tokens/s, 1.00 requests/s
goodput    1.00 requests/s, 3 output tokens/s: 100.0% of requests meet ttft=1s
use        5 steps, KV 10.5% full on average, 50.0% at the peak, 2 preemptions,
           53.3% of prompt tokens from the prefix cache
energy     2 J per output token, 6 W on average (static 50%, bytes 25%, flops 25%)
           with hosts and supplies, per output token: node 2.67 J, wall 2.83 J; idle units are switched off
limited by idle 12.5%, queue 11.7%, launch 10.8%, issue 10.0%, latency 9.2%, sync 8.3%, host 7.5%, link 6.7%,
           flash 5.8%, cxl 5.0%, dram 4.2%, hbm 3.3%, l2 2.5%, sram 1.7%, vector 0.8%
cpu        1.50 s (compile 0.50, replay 1.00)
file       out.h5"""


def test_the_screen_shows_what_was_run_what_was_assumed_and_what_came_out() -> None:
    run = summary.Run(
        "8 x NVIDIA H100 SXM5 80GB", "Llama 3.1 70B, bf16", "tp 8, 1 replica", "vllm-0.19", "azure-conversation",
        {"block": "16", "memory fraction": "0.9"}, ("2 requests stood behind a later one",),
        {"total": 1.5, "compile": 0.5, "replay": 1.0}, "out.h5",
    )  # fmt: skip
    assert summary.text(run, whole()) == SCREEN


def test_long_defaults_are_wrapped() -> None:
    run = summary.Run("s", "m", "p", "w", "t", {f"parameter {i}": "value" for i in range(12)})
    lines = summary.text(run, whole()).splitlines()
    assert lines[5].startswith("defaults   parameter 0 value, parameter 1 value,")
    assert lines[6].startswith("           parameter")
    assert all(len(line) <= 110 for line in lines[5:8])


def test_a_lane_that_was_empty_tells_no_gap():
    """What follows in an emptied lane got its tokens before elsewhere; chunks alone are a lane of their own."""
    steps = {name: np.zeros(6, np.int64) for name in ("replica", "start_ps", "kv_used_blocks")}
    steps |= {"lane": np.array([0, -1, 0, -1, 0, 0]), "n_decode": np.array([2, 0, 2, 0, 2, 2])}
    steps |= {"n_last": np.array([0, 0, 2, 0, 0, 0]), "end_ps": np.array([10, 12, 20, 400, 500, 510])}
    request = {"arrival_ps": [0], "first_token_ps": [1], "finish_ps": [510], "preemptions": [0]}
    request |= {"prompt_tokens": [1], "output_tokens": [2], "cached_tokens": [0]}
    found = measure({name: np.array(value) for name, value in request.items()}, steps)
    assert (found.itl.p50, found.itl.p99) == (10, 10)


def test_tokens_of_a_user_are_as_far_apart_as_the_steps_of_its_lane():
    """Two lanes take turns every 10 ps: a token of each comes every 20."""
    steps = {name: np.zeros(40, np.int64) for name in ("replica", "start_ps", "kv_used_blocks")}
    steps |= {"lane": np.arange(40) % 2, "end_ps": 10 * np.arange(1, 41), "n_decode": np.full(40, 3)}
    requests = {name: np.array([0, 0]) for name in ("arrival_ps", "cached_tokens", "preemptions")}
    requests |= {"first_token_ps": np.array([10, 20]), "finish_ps": np.array([390, 400])}
    requests |= {"prompt_tokens": np.array([1, 1]), "output_tokens": np.array([20, 20])}
    found = measure(requests, steps)
    assert (found.itl.p50, found.itl.p99) == (20, 20)
    assert found.tpot.mean == 20
