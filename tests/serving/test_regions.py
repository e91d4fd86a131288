"""Models on wafers: what a region is, how many wafers a model takes, and what is refused."""

from itertools import pairwise

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


@pytest.mark.parametrize(("region", "stages"), [("420x420", 4), ("540x540", 2), ("660x660", 1), ("140x140", 32)])
def test_a_larger_region_holds_more_layers(region: str, stages: int) -> None:
    placement = placed("wse-2", "llama-3-8b", f"decode_region={region},prefill_region=700x700", "waferllm")
    assert len(placement.decode.spans) == stages and len(placement.prefill.spans) == 1
    assert sum(span.layers for span in placement.decode.spans) == 32
    assert (placement.decode.machine.side, placement.prefill.machine.side) == (int(region.split("x")[0]), 700)


def held(placement: Placement, side: int, layers: int, kv_tokens: int) -> int:
    """Bytes of a region with so many layers: weights, and keys and values of so many tokens."""
    shape = placement.attention
    weights = layers * 2 * (4096 * (2 * shape.heads + 2 * shape.kv_heads) * shape.head_dim + 3 * 4096 * 14336)
    return weights + layers * kv_tokens * shape.kv_bytes_per_token // shape.count


@pytest.mark.parametrize("software", ["waferllm", "cerebras-2024-08", "ideal"])
def test_a_region_holds_its_layers_with_their_keys_and_values(software: str) -> None:
    """Whatever the region: it is refused, or its cores have room for what the plan puts on them."""
    refused = 0
    for side in (20, 60, 90, 103, 120, 157, 160, 300, 420, 540, 660, 900):
        try:
            found = placed("wse-2", "llama-3-8b", f"decode_region={side}x{side},prefill_region=660x660", software)
        except InputError as error:
            assert "GB of SRAM, expected room for" in str(error)
            refused += 1
            continue
        for phase in (found.decode, found.prefill):
            layers = max(span.layers for span in phase.spans)
            need = held(found, phase.machine.side, layers, (found.kv_blocks - 1) * 16)
            assert need <= phase.machine.side**2 * 44 * 1024
    assert 3 <= refused < 9


def test_a_region_that_does_not_hold_its_layers_says_which_would() -> None:
    with pytest.raises(InputError) as caught:
        placed("wse-2", "llama-3-8b", "decode_region=20x20", "waferllm")
    told = "got decode_region=20x20, 0.018 GB of SRAM, expected room for 1 layer, 0.487 GB of fp16"
    assert told in str(caught.value)
    assert "e.g. decode_region=133x133" in str(caught.value)
    placed("wse-2", "llama-3-8b", "decode_region=133x133", "waferllm")
    with pytest.raises(InputError, match=r"40 layers, 25\.4 GB of fp16"):  # a published point: see Stream.held
        placed("wse-2", "llama-2-13b", "decode_region=660x660", "waferllm")


def test_a_smaller_budget_is_named_where_its_activations_would_fit() -> None:
    with pytest.raises(InputError, match="--token-budget 4096") as caught:
        placed("wse-2", "llama-2-13b", "", "waferllm")
    assert "26.03 GB of fp16 weights on 1 wafer" in str(caught.value)


def test_one_region_means_both_phases() -> None:
    for name in ("decode_region", "prefill_region"):
        found = placed("wse-2", "llama-3-8b", f"{name}=420x420", "waferllm")
        assert found.decode == found.prefill and found.change_ps == 0


def test_a_model_is_laid_out_anew_between_phases_of_other_regions() -> None:
    """Half of its bytes cross the middle of the wafer, after all steps under way."""
    found = placed("wse-2", "llama-3-8b", "decode_region=660x660,prefill_region=480x480", "waferllm")
    least = found.weight_bytes / 2 / (921 * 4 * 1.1e9) * 1e12
    assert least <= found.change_ps <= 1.01 * least
    plan = "decode_region=660x660,prefill_region=480x480"
    done = served("wse-2", "llama-3-8b", plan, "waferllm", 2, 512, 20)
    steps = [
        (int(start), int(end), int(n) > 0)
        for start, end, n in zip(*(done.steps[c] for c in ("start_ps", "end_ps", "n_decode")))
    ]
    for (_, end, decodes), (start, _, then) in pairwise(steps):
        assert start >= end + found.change_ps * (decodes != then)
    assert sum(a[2] != b[2] for a, b in pairwise(steps)) == 3


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
    ("wse-3", "llama-3.1-70b", ""): "141.11 GB of fp16 weights on 1 wafer, expected at most 39.78 GB beside "
    "activations and one KV block; it would fit with pp=4 on wse-3-x4",
    ("wse-3-x2", "llama-3.1-70b", ""): "on 2 wafers, expected at most 80.33 GB",
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
    changed = done.deployment.placement.change_ps
    assert int(request["finish_ps"] - request["first_token_ps"]) == step + changed


def test_streams_follow_each_other_through_the_regions() -> None:
    one, many = (served("wse-3", "llama-3.1-8b", "", "cerebras-2024-08", count, 128, 50) for count in (1, 16))
    alone, together = (int(done.requests["finish_ps"].max()) for done in (one, many))
    assert together < 2 * alone  # sixteen times the tokens
