"""Small runs made by hypothesis, which finds the shortest one on which core and reference differ."""

import os

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from serve_cases import Case, core

from hwsim._core import serve_types as types
from hwsim.reference import serve as reference

EXAMPLES = max(30, int(300 * float(os.environ.get("HWSIM_FUZZ", "0.1"))))


def rules_of(**values) -> types.Rules:
    """Rules; prompts that go first through several stages reserve the whole prompt."""
    if values["stages"] > 1 and values["scheduler"] == "prefill-first" and values["reserve"] == "chunk":
        values["reserve"] = "prompt"
    return types.Rules(**values)


rules = st.builds(
    rules_of,
    token_budget=st.integers(1, 40),
    max_num_seqs=st.integers(1, 6),
    kv_blocks=st.integers(2, 12),
    block_tokens=st.integers(1, 5),
    tile_tokens=st.integers(1, 9),
    stages=st.sampled_from([1, 3]),
    async_depth=st.integers(1, 2),
    scheduler=st.sampled_from(types.SCHEDULERS),
    reserve=st.sampled_from(types.RESERVES),
    prefix_caching=st.booleans(),
    replicas=st.integers(1, 2),
    router=st.sampled_from(types.ROUTERS),
    frontend_ps=st.sampled_from([0, 90]),
)
# (time since the one before, prompt, output, which of a few conversations it continues)
request = st.tuples(st.integers(0, 400), st.integers(1, 30), st.integers(1, 12), st.integers(0, 2))


def case_of(rules: types.Rules, rows: list[tuple[int, int, int, int]], seed: int) -> Case:
    gap, prompt, output, chat = np.array(rows, np.int64).reshape(-1, 4).T
    width = rules.block_tokens * 2
    count = -(-prompt // width)
    offset = np.append(0, np.cumsum(count))
    # Every prompt of a conversation is a prefix of one text, so equal blocks have equal prefixes.
    ids = np.concatenate([1000 * c + np.arange(k) for c, k in zip(chat, count)] or [np.zeros(0)]).astype(np.int64)
    return Case(types.Requests(np.cumsum(gap), prompt, output, offset, ids, width), rules, seed)


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@given(rules=rules, rows=st.lists(request, min_size=1, max_size=12), seed=st.integers(0, 5))
def test_core_and_reference_agree_on_runs_hypothesis_makes(rules, rows, seed):
    case = case_of(rules, rows, seed)
    expected = reference.replay(case.requests, case.rules, case.costs())
    _, requests, steps, chunks = core(case, case.costs(), room=500)
    assert np.array_equal(requests, expected.requests)
    assert np.array_equal(steps, expected.steps)
    assert np.array_equal(chunks, expected.chunks)
