"""Models dealt out over chips whose SRAM holds them: stages, what each chip holds, refusals that say what would fit."""

import pytest

import hwsim
from hwsim.errors import InputError
from hwsim.serving.deployment import Deployment
from hwsim.serving.layers import Span


def on(system: str, model: str, plan: str = "", software: str = "poptransformer-2023", **options: object) -> Deployment:
    return hwsim.compile(system, model, plan, software, **{"precision": "fp16"} | options)


@pytest.mark.parametrize(
    ("system", "model", "layers", "chips_of_head"),
    [
        ("ipu-gc200-x8", "gpt2-xl", [6, *[7] * 6], 1),
        ("ipu-gc200-x32", "chatglm-6b", [1] * 28, 4),
        ("ipu-gc200-x16", "chatglm-6b", [2] * 14, 2),
    ],
)
def test_layers_and_head_lie_as_poptransformer_deals_them_out(system, model, layers, chips_of_head):
    """`layer_per_ipu` of examples/gpt2 and examples/chatglm of graphcore/PopTransformer."""
    placement = on(system, model).placement
    first, *middle, last = placement.decode.spans
    assert (first, last) == (Span(0, True, False, "send"), Span(0, False, True))
    assert [span.layers for span in middle] == layers
    assert {span.crossing for span in middle} == {"send"}
    head = next(use for use in placement.sequences if use.name == "head")
    assert head.dims["n"] == -(-hwsim.load(model, kind="model").vocab // chips_of_head)
    assert placement.devices == len(layers) + chips_of_head


@pytest.mark.parametrize("plan", ["", "tp=2", "tp=16", "dp=2", "pp=8", "tp=4,pp=2,dp=2"])
def test_replicas_groups_and_stages_use_all_chips_once(plan):
    placement = on("ipu-gc200-x16", "gpt2-xl", plan).placement
    assert placement.devices * placement.replicas == 16
    assert sum(span.layers for span in placement.decode.spans) == 48
    assert sum(span.head for span in placement.decode.spans) == 1
    assert sum(span.embedding for span in placement.decode.spans) == 1


@pytest.mark.parametrize(("chips", "plan"), [(8, ""), (8, "tp=8"), (16, ""), (32, "tp=4"), (64, "")])
@pytest.mark.parametrize("model", ["gpt2-xl", "chatglm-6b", "llama-2-7b", "llama-2-13b"])
def test_no_chip_holds_more_than_its_tiles_have(chips, plan, model):
    try:
        deployment = on(f"ipu-gc200-x{chips}", model, plan)
    except InputError as refused:
        assert "weights on" in str(refused)
        return
    placement, accelerator = deployment.placement, deployment.system.accelerator
    assert placement.weight_bytes + placement.kv_bytes <= accelerator.room
    assert placement.kv_blocks >= 2


def test_heads_that_do_not_divide_are_padded_to_those_of_the_fullest_chip():
    assert on("ipu-gc200-x8", "gpt2-xl", "tp=8").placement.attention.heads == 4  # 25 over 8


def test_a_layer_a_card_and_two_cards_for_the_output_layer():
    """The NorthPole appliance (Appuswamy et al., HPEC 2024)."""
    placement = on("northpole-x16", "granite-3b", software="northpole-2024", precision="int4", kv_dtype="fp8").placement
    assert [span.layers for span in placement.decode.spans] == [0, *[1] * 14, 0]
    assert next(use for use in placement.sequences if use.name == "head").dims["n"] == 49152 // 2
    assert placement.weight_bytes == pytest.approx(218.1e6 / 2, rel=1e-3)


def test_a_chip_that_streams_its_weights_needs_no_other():
    sets = ("system.accelerator.weights=hbm",)
    placement = on("ipu-gc200", "chatglm-6b", sets=sets).placement
    assert placement.decode.spans == (Span(28),)
    assert placement.weight_bytes > 10 * 900e6
    assert on("mtia-v2", "llama-2-7b", software="mtia").placement.decode.spans == (Span(32),)


@pytest.mark.parametrize(
    ("system", "model", "plan", "software", "words"),
    [
        (
            "ipu-gc200-x8", "chatglm-6b", "", "poptransformer-2023",
            "got 12.34 GB of fp16 weights on 8 chips, whole layers each, expected at most 6.99 GB beside activations "
            "and one KV block; it would fit with ipu-gc200-x16 or --set system.accelerator.weights=hbm, which streams "
            "them",
        ),
        ("ipu-c600-x4", "llama-2-13b", "", "poptransformer-2023", "whole layers each, expected at most 3.50 GB"),
        ("ipu-c600-x4", "llama-2-13b", "", "poptransformer-2023", "more of them or a smaller model"),
        ("ipu-gc200-x8", "gpt2-xl", "tp=3", "poptransformer-2023", "tp x pp x dp = 8, the devices of ipu-gc200-x8"),
        ("ipu-gc200-x32", "gpt2-xl", "tp=32", "poptransformer-2023", "at most 25, the query heads"),
        ("ipu-gc200-x8", "gpt2-xl", "ep=2", "poptransformer-2023", "gpt2-xl has no experts"),
        ("ipu-gc200-x8", "gpt2-xl", "decode_region=8x8", "poptransformer-2023", "ipu-gc200 is no wafer"),
    ],
)  # fmt: skip
def test_what_does_not_fit_says_what_would(system, model, plan, software, words):
    with pytest.raises(InputError) as caught:
        on(system, model, plan, software)
    assert words in str(caught.value)
