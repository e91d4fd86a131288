"""Models on wafers: what a region is, how many wafers a model takes, and what is refused."""

import numpy as np
import pytest

from hwsim.describe import load
from hwsim.errors import InputError
from hwsim.serving.deployment import compile
from hwsim.serving.layers import weight_bytes
from hwsim.serving.plan import Placement
from hwsim.serving.regions import side_of
from hwsim.serving.run import Run, run
from hwsim.validate.classes import Stream
from hwsim.workload.table import RequestTable


def placed(system: str, model: str, plan: str = "", software: str = "cerebras-2024-08") -> Placement:
    return compile(system, model, plan, software, precision="fp16", kv_dtype="fp16").placement


def test_without_a_region_layers_and_head_fill_the_wafers() -> None:
    model, cores = load("llama-3.1-8b", "model"), 900_000
    side = side_of(cores, model, 1)
    layer = model.hidden * (2 * model.heads + 2 * model.kv_heads) * model.head_dim + model.ffn_params
    regions = model.layers + model.vocab * model.hidden / layer
    assert side**2 * regions <= cores < (side + 1) ** 2 * regions
    placement = placed("wse-3", "llama-3.1-8b")
    assert placement.decode == placement.prefill
    assert [span.layers for span in placement.decode.spans] == [1] * model.layers


@pytest.mark.parametrize(("region", "stages"), [("420x420", 4), ("540x540", 2), ("660x660", 1), ("90x90", 32)])
def test_a_larger_region_holds_more_layers(region: str, stages: int) -> None:
    placement = placed("wse-2", "llama-3-8b", f"decode_region={region},prefill_region=700x700", "waferllm")
    assert len(placement.decode.spans) == stages and len(placement.prefill.spans) == 1
    assert sum(span.layers for span in placement.decode.spans) == 32
    assert (placement.decode.machine.side, placement.prefill.machine.side) == (int(region.split("x")[0]), 700)


def test_a_replica_takes_as_few_wafers_as_hold_it() -> None:
    small, large = placed("wse-3-x4", "llama-3.1-8b"), placed("wse-3-x4", "llama-3.1-70b")
    assert (small.devices, small.replicas) == (1, 4)
    assert (large.devices, large.replicas) == (4, 1)
    assert large.weight_bytes * 4 >= weight_bytes(load("llama-3.1-70b", "model"), 1, "fp16")
    spread = placed("wse-3-x4", "llama-3.1-8b", "pp=2,dp=2")
    assert (spread.devices, spread.replicas) == (2, 2)


def test_tokens_cross_between_wafers_and_back_to_the_first() -> None:
    large = placed("wse-3-x4", "llama-3.1-70b")
    crossings = [at for at, span in enumerate(large.decode.spans) if span.crossing]
    assert crossings == [19, 39, 59, 79]
    assert sum(use.times(span) for use in large.tokens if use.name == "send" for span in large.decode.spans) == 4
    assert not any(use.name == "send" for use in placed("wse-3", "llama-3.1-8b").tokens)


def test_a_stack_with_whole_heads_keeps_more_keys_and_values() -> None:
    whole, shared = placed("wse-2", "llama-3-8b", "", "waferllm"), placed("wse-2", "llama-3-8b")
    assert whole.attention.kv_bytes_per_token == 4 * shared.attention.kv_bytes_per_token
    assert whole.weight_bytes > shared.weight_bytes and whole.kv_blocks < shared.kv_blocks


REFUSED = {
    ("wse-3", "llama-3.1-70b", ""): "141.11 GB of fp16 weights on 1 wafer, expected at most 40.51 GB beside "
    "activations and one KV block; it would fit with pp=4 on wse-3-x4",
    ("wse-3-x2", "llama-3.1-70b", ""): "on 2 wafers, expected at most 81.06 GB",
    ("wse-3-x4", "llama-3.1-70b", "pp=2,dp=2"): "it would fit with pp=4 on wse-3-x4",
    ("wse-3-x4", "llama-3.1-8b", "tp=4"): "got tp=4, expected tp=1; wafers hold different layers: say pp=WAFERS",
    ("wse-3-x4", "llama-3.1-8b", "pp=3"): "got pp=3, expected pp x dp = 4, the wafers of wse-3-x4",
    ("wse-3", "llama-3.1-8b", "decode_region=300x200"): "got decode_region=300x200, expected a square of at most 948",
    ("wse-3", "llama-3.1-8b", "prefill_region=949x949"): "got prefill_region=949x949, expected a square",
}


@pytest.mark.parametrize(("system", "model", "plan"), REFUSED)
def test_what_cannot_be_is_refused_with_what_would_do(system: str, model: str, plan: str) -> None:
    with pytest.raises(InputError) as caught:
        placed(system, model, plan)
    assert REFUSED[system, model, plan] in str(caught.value)


def test_smaller_weights_are_named_where_they_would_fit() -> None:
    with pytest.raises(InputError, match=r"pp=4 on wse-3-x4 or --precision int8"):
        placed("wse-3-x2", "llama-3.1-70b")


def served(system: str, model: str, plan: str, software: str, requests: int, prompt: int, output: int) -> Run:
    """Equal requests that all arrive at once."""
    deployment = compile(system, model, plan, software, precision="fp16", kv_dtype="fp16")
    sizes = [np.full(requests, size, np.int64) for size in (0, prompt, output)]
    return run(deployment, RequestTable.of(*sizes, name="equal"))


@pytest.mark.parametrize(
    ("system", "model", "plan", "software"),
    [
        ("wse-2", "llama-3-8b", "decode_region=660x660,prefill_region=480x480", "waferllm"),
        ("wse-2", "llama-3-8b", "decode_region=420x420", "waferllm"),
        ("wse-3-x4", "llama-3.1-70b", "", "cerebras-2024-08"),
    ],
)
def test_a_stream_alone_takes_the_sum_of_its_operators(system: str, model: str, plan: str, software: str) -> None:
    done = served(system, model, plan, software, 1, 4095, 2)
    step = Stream(system, model, software, "fp16", plan, context=4096).step_ps()
    (request,) = done.requests
    assert int(request["finish_ps"] - request["first_token_ps"]) == step


def test_streams_follow_each_other_through_the_regions() -> None:
    one, many = (served("wse-3", "llama-3.1-8b", "", "cerebras-2024-08", count, 128, 50) for count in (1, 16))
    alone, together = (int(done.requests["finish_ps"].max()) for done in (one, many))
    assert together < 2 * alone  # sixteen times the tokens
