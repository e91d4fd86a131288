"""Replays that make no sense are refused, requests that a server refuses are counted."""

import numpy as np
import pytest

import hwsim
from hwsim.errors import InputError
from hwsim.workload.table import RequestTable


def requests(*lengths: tuple[int, int]) -> RequestTable:
    prompts, outputs = np.array(lengths, np.int64).T
    return RequestTable.of(np.arange(len(lengths)) * 10**9, prompts, outputs, name="few")


def test_requests_longer_than_the_context_are_refused_and_counted() -> None:
    deployment = hwsim.compile("h100-sxm", "gpt2-xl", "tp=1", token_budget=1024)  # 1024 positions
    run = hwsim.replay(deployment, requests((1000, 24), (1000, 25), (2000, 1), (10, 2)))
    assert (run.requests["finish_ps"] >= 0).tolist() == [True, False, False, True]
    assert (run.refused, run.beyond_context) == (2, 2)
    assert "2 requests, prompt and output, are longer than the 1,024 tokens of the model's context" in hwsim.summary(
        run
    )


def test_a_run_of_nothing_but_too_long_requests_is_refused() -> None:
    deployment = hwsim.compile("h100-sxm", "gpt2-xl", "tp=1", token_budget=1024)
    with pytest.raises(InputError, match="longer than the 1,024 tokens of the model's context"):
        hwsim.replay(deployment, requests((1024, 1)))


def test_collectives_alone_serve_nobody() -> None:
    with pytest.raises(InputError, match=r"--software: got nccl-2.29, expected the profile of a server.*choose vllm"):
        hwsim.compile("h100-sxm", "llama-3.1-8b", "tp=1", "nccl")


def test_a_record_level_without_a_file_is_refused() -> None:
    deployment = hwsim.compile("h100-sxm", "llama-3.1-8b", "tp=1")
    with pytest.raises(InputError, match=r"--record: got steps, expected a file to keep it in; add -o OUT.h5"):
        hwsim.replay(deployment, requests((10, 2)), record="steps")
    with pytest.raises(InputError, match="--record: got 'all', expected one of requests, steps"):
        hwsim.replay(deployment, requests((10, 2)), record="all")
