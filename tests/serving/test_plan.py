"""What each device of a plan holds, and refusals that say what would fit."""

import pytest

from hwsim.describe import load
from hwsim.errors import InputError
from hwsim.serving.deployment import compile, parse_plan
from hwsim.serving.layers import Span, attention_shape, sequence_uses, token_uses, weight_bytes
from hwsim.serving.spread import split

MODELS = ["llama-2-7b", "llama-3.1-8b", "llama-3.1-70b", "qwen3-32b", "mistral-7b-v0.1"]


@pytest.mark.parametrize("name", MODELS)
def test_one_device_holds_all_parameters_at_sixteen_bits(name):
    model = load(name, "model")
    assert weight_bytes(model, 1, "bf16") == pytest.approx(2 * model.params, rel=1e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("tp", [2, 4, 8])
def test_devices_together_hold_the_weights_and_the_norms_of_each(name, tp):
    model = load(name, "model")
    together = tp * weight_bytes(model, tp, "bf16")
    norms = 2 * model.hidden * (model.layers * model.norms + 1)
    assert together == pytest.approx(weight_bytes(model, 1, "bf16") + (tp - 1) * norms, rel=1e-4)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("tp", [1, 4])
def test_matrix_products_of_a_token_read_every_matrix_once(name, tp):
    model = load(name, "model")
    gemms = [use for use in token_uses(model, tp, "bf16", "bf16") if use.kind == "gemm"]
    read = sum(use.times(Span(model.layers)) * use.dims["n"] * use.dims["k"] for use in gemms)
    head = next(use for use in sequence_uses(model, tp, "bf16", "bf16") if use.name == "head")
    read += head.dims["n"] * head.dims["k"]
    embedding = 0 if model.tied else model.vocab * model.hidden // tp
    assert 2 * (read + embedding) == pytest.approx(weight_bytes(model, tp, "bf16"), rel=2e-3)


def test_kv_heads_are_replicated_where_there_are_fewer_than_devices():
    model = load("llama-3.1-70b", "model")
    assert attention_shape(model, 8, "bf16", "bf16", "bf16").kv_bytes_per_token == 2 * 80 * 1 * 128 * 2
    assert attention_shape(model, 16, "bf16", "bf16", "bf16").kv_heads == 1
    assert attention_shape(model, 8, "bf16", "fp8", "bf16").kv_bytes_per_token == 80 * 2 * 128


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("pp", [1, 2, 3, 7])
def test_stages_together_hold_every_layer_once_and_the_model_s_weights(name, pp):
    model = load(name, "model")
    spans = split(model.layers, pp, "send")
    assert sum(span.layers for span in spans) == model.layers
    assert [span.embedding for span in spans] == [True] + [False] * (pp - 1)
    assert [span.head for span in spans] == [False] * (pp - 1) + [True]
    assert [span.crossing for span in spans] == ["send"] * (pp - 1) + [""]
    held = sum(weight_bytes(model, 1, "bf16", span) for span in spans)
    copy = model.vocab * model.hidden * 2 if model.tied and pp > 1 else 0
    assert held == weight_bytes(model, 1, "bf16") + copy


def test_layers_that_do_not_divide_go_to_the_stages_before_the_last():
    assert [span.layers for span in split(80, 3, "send")] == [27, 27, 26]
    assert [span.layers for span in split(34, 4, "send")] == [8, 9, 9, 8]
    assert [span.layers for span in split(35, 4, "send")] == [9, 9, 9, 8]


def test_the_stage_with_the_fewest_blocks_decides_about_the_kv_cache():
    """35 layers on two stages: 18 and 17, the first has the embedding, the last the head."""
    placement = compile("h100-sxm-x2", "llama-3.1-8b", "pp=2", sets=["model.layers=35"]).placement
    assert [span.layers for span in placement.decode.spans] == [18, 17]
    alone = compile("h100-sxm", "llama-3.1-8b", sets=["model.layers=18"]).placement
    assert placement.kv_blocks < alone.kv_blocks * 1.2
    assert placement.kv_blocks > compile("h100-sxm", "llama-3.1-8b", sets=["model.layers=35"]).placement.kv_blocks * 2


def test_a_plan_of_regions_is_read_and_refused_where_there_is_no_wafer():
    plan = parse_plan("prefill_region=660x660,decode_region=360x420")
    assert (plan.prefill_region, plan.decode_region) == ((660, 660), (360, 420))
    with pytest.raises(InputError, match="rows x columns"):
        parse_plan("decode_region=660")
    with pytest.raises(InputError, match="h100-sxm is no wafer"):
        compile("h100-sxm", "llama-3.1-8b", "decode_region=660x660")


def test_fp8_weights_halve_the_matrices_and_leave_the_embedding():
    model = load("llama-3.1-8b", "model")
    saved = weight_bytes(model, 1, "bf16") - weight_bytes(model, 1, "fp8")
    matrices = model.layers * (model.attention_params + model.ffn_params)
    assert saved == matrices


REFUSED = [
    (("h100-sxm-x8", "llama-3.1-70b", "tp=3"), ["tp=3", "a divisor of 64 query heads", "try tp=8"]),
    (("h100-sxm-x8", "llama-3.1-70b", "tp=4,dp=1"), ["tp=4,dp=1", "tp x dp = 8"]),
    (("h100-sxm-x8", "llama-3.1-70b", "tp=16"), ["tp=16", "tp x dp = 8"]),
    (("h100-sxm-x8", "llama-3.1-70b", "tp=8,pp=2"), ["tp=8,pp=2", "tp x pp x dp = 8"]),
    (("h100-sxm-x2", "llama-3.1-405b", "pp=2"), ["under tp=1,pp=2", "would fit with tp=1,pp=2,offload="]),
    (("h200-sxm-x4", "llama-3.1-405b", "tp=2,pp=2"), ["under tp=2,pp=2", "would fit with tp=4,pp=2 on h200-sxm-x8"]),
    (("h100-sxm-x8", "llama-3.1-8b", "pp=64"), ["pp=64", "at most 32 stages"]),
    (("h100-sxm", "llama-3.1-70b", "tp=1"), ["GB of bf16 weights a device", "would fit with tp=2 on h100-sxm-x2"]),
    (("h100-sxm-x8", "llama-3.1-405b", "tp=8"), ["would fit with --precision fp8"]),
    (("h100-sxm-x8", "llama-3.1-70b", "tp=eight"), ["'tp=eight'", "tp=COUNT"]),
    (("h100-sxm-x8", "llama-3.1-70b", "foo"), ["'foo'", "the name of a plan", "e.g. tp=8"]),
    (("h100-sxm-x8", "llama-3.1-70b", "tp=8,tp=8"), ["each degree once"]),
    (("h100-sxm-x8", "llama-3.1-70b", "tp=0"), ["from 1 to"]),
    (("h100-sxm-x8", "llama-3.1-70b", "sp=2"), ["'sp=2'", "tp=COUNT"]),
    (("h100-sxm-x9", "llama-3.1-70b", "tp=8"), ["at most 8 accelerators"]),
    (("h100-smx-x8", "llama-3.1-70b", "tp=8"), ["no such description"]),
    (("h100-sxm-x8", "llama-3.1-7b", "tp=8"), ["no such description", "llama"]),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: "-".join(case[0]))
def test_a_plan_that_cannot_run_is_refused_with_what_would(case):
    (system, model, plan), words = case
    with pytest.raises(InputError) as caught:
        compile(system, model, plan)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"precision": "fp7"}, ["--precision", "'fp7'", "bf16"]),
        ({"kv_dtype": "int3"}, ["--kv-dtype", "'int3'"]),
        ({"software": "vlm"}, ["no such description", "vllm"]),
        ({"sets": ["systems.count=2"]}, ["--set", "a path that starts at"]),
        ({"sets": ["accelerator.clocks.core=1 GHz"]}, ["did you mean 'system.accelerator.clocks.core=1 GHz'?"]),
        ({"sets": ["clocks.core=1 GHz"]}, ["did you mean 'system.accelerator.clocks.core=1 GHz'?"]),
        ({"sets": ["layers=2"]}, ["did you mean 'model.layers=2'?"]),
        ({"sets": ["system.accelerator.clocks.core=1.5"]}, ["a frequency", "add the unit"]),
        ({"sets": ["system.accelerator.clocks.cor=1.5 GHz"]}, ["clocks.cor"]),
        ({"max_num_seqs": 0}, ["max_num_seqs", "0"]),
        ({"precision": "nvfp4"}, ["nvfp4"]),
    ],
    ids=str,
)
def test_a_bad_option_is_named(change, words):
    with pytest.raises(InputError) as caught:
        compile("h100-sxm-x8", "llama-3.1-70b", "tp=8", **change)
    for word in words:
        assert word in str(caught.value)


def test_a_plan_is_written_as_degrees():
    assert parse_plan("tp=4, dp=2") == parse_plan("dp=2,tp=4")
    assert parse_plan("").tp == 1
