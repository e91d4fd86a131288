"""Rates of the serving core. Goals on one core: 4 M steps/s without a block cache, whatever the number of decodes."""

import numpy as np
import pytest

from hwsim._core import serve_types as types
from hwsim._core.serve import ServeRun

STEP_PS = 15 * 10**9


def costs(rules: types.Rules) -> types.Costs:
    chunks = np.unique(np.append(2 ** np.arange(12), rules.max_tokens))
    contexts = np.append(0, 2 ** np.arange(6, 19))
    seqs = np.unique(np.append(2 ** np.arange(10), rules.max_num_seqs))
    return types.Costs(
        STEP_PS + 4 * 10**6 * np.arange(rules.max_tokens + 1),
        10**8 + 10**5 * np.arange(rules.max_num_seqs + 1),
        types.Surface(chunks, contexts, 10**6 + chunks[:, None] * (contexts[None] + chunks[:, None])),
        types.Surface(seqs, 2 ** np.arange(12), 10**6 + 2000 * seqs[:, None] * 2 ** np.arange(12)[None]),
        layers=80,
    )


def run_whole(requests: types.Requests, rules: types.Rules) -> int:
    """A whole run with all rows recorded; its steps."""
    steps, chunks = np.zeros(1 << 16, types.STEP_DTYPE), np.zeros(1 << 16, types.CHUNK_DTYPE)
    run = ServeRun(requests, rules, costs(rules))
    while run.run(steps, chunks) == types.BUFFER_FULL:
        pass
    assert run.finished == len(requests) - run.refused
    return run.total_steps


def chat(n: int, seed: int = 0, ids: bool = False) -> types.Requests:
    """Poisson arrivals at 5 requests/s, 1,150 prompt and 210 output tokens on average; half of a prompt shared."""
    rng = np.random.default_rng(seed)
    arrival = np.cumsum(rng.integers(0, 400 * 10**9, n))
    prompt, output = 1 + rng.geometric(1 / 1150, n), 1 + rng.geometric(1 / 210, n)
    if not ids:
        return types.Requests(arrival, prompt, output)
    count = -(-prompt // 512)
    offset = np.append(0, np.cumsum(count))
    block = np.arange(offset[-1]) - np.repeat(offset[:-1], count)
    own = 10**6 + np.arange(offset[-1])
    shared = np.repeat(rng.integers(0, 50, n), count) * 1000 + block
    return types.Requests(
        arrival, prompt, output, offset, np.where(block < np.repeat(count // 2, count), shared, own), 512
    )


@pytest.mark.parametrize(("ids", "goal_s"), [(False, 0.10), (True, 0.3)], ids=["counted", "prefix-cache"])
def test_a_day_of_chat(benchmark, ids, goal_s):
    """20,000 requests, 27 M tokens: goal 0.1 s, 0.3 s with a prefix cache."""
    requests = chat(20_000, ids=ids)
    rules = types.Rules(2048, 256, 82_000, prefix_caching=ids)
    steps = benchmark(run_whole, requests, rules)
    benchmark.extra_info.update(steps=steps, steps_per_s=round(steps / benchmark.stats["mean"]), goal_s=goal_s)


@pytest.mark.parametrize("decodes", [8, 1024])
def test_decode_steps(benchmark, decodes):
    """100,000 decode steps: goal 4 M steps/s, and 1,024 decodes at most 1.5 times as dear as 8."""
    rules = types.Rules(65_536, 1024, 10**7)
    n = np.zeros(decodes, np.int64)

    def start():
        run = ServeRun(types.Requests(n, n + 33, n + 200_000), rules, costs(rules))
        run.run(max_steps=10)
        return (run,), {}

    benchmark.pedantic(lambda run: run.run(max_steps=100_000), setup=start, rounds=5)
    benchmark.extra_info.update(steps_per_s=round(100_000 / benchmark.stats["min"]), goal_steps_per_s=4_000_000)


def test_preemption_storm(benchmark):
    """2,000 requests at once, few blocks: thousands are thrown out; goal 0.1 s."""
    chats = chat(2_000, seed=1)
    requests = types.Requests(chats.arrival_ps // 100, chats.prompt_tokens, chats.output_tokens)
    rules = types.Rules(2048, 256, 1500, reserve="chunk")
    benchmark(run_whole, requests, rules)
    run = ServeRun(requests, rules, costs(rules))
    assert run.run() == types.DONE
    assert run.preemptions > 1000
    benchmark.extra_info.update(preemptions=run.preemptions, goal_s=0.1)
