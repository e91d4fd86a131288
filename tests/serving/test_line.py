"""Models along a line of statically scheduled chips: what each holds, equal stages, refusals."""

from fractions import Fraction

import pytest

import hwsim
from hwsim.describe import load
from hwsim.errors import InputError
from hwsim.serving.deployment import Deployment
from hwsim.serving.layers import Span, share
from hwsim.serving.spread import budget_bytes

MACHINES = [
    ("groq-576", "llama-2-70b"),
    ("groq-576", "llama-3.1-70b"),
    ("groq-72", "llama-2-7b"),
    ("groq-72", "llama-3-8b"),
]


def compiled(system: str, model: str, plan: str = "", precision: str = "int8", **options: object) -> Deployment:
    return hwsim.compile(system, model, plan, "groq-2024", precision=precision, **options)


@pytest.mark.parametrize(("system", "name"), MACHINES)
def test_all_chips_that_do_not_stand_by_hold_the_model_and_every_stage_but_two_is_equal(system: str, name: str) -> None:
    placement = compiled(system, name).placement
    model, active = load(name, "model"), load(system).active
    head = next(use for use in placement.sequences if use.name == "head")
    assert sum(span.layers for span in placement.decode.spans) == model.layers
    assert placement.decode.spans[0].embedding and placement.decode.spans[-1] == Span(0, False, True)
    assert len(placement.decode.kinds) == 3
    # Columns are whole, so the head's chips are known to one column in its share.
    chips = Fraction(placement.tp) * model.layers + Fraction(model.vocab, head.dims["n"])
    assert 0 <= active - chips < 0.01 * active
    assert placement.devices == load(system).count


@pytest.mark.parametrize(("system", "name"), MACHINES)
def test_chips_that_share_a_layer_hold_all_of_it_and_none_more_than_it_may(system: str, name: str) -> None:
    deployment = compiled(system, name)
    placement, model = deployment.placement, deployment.model
    matrices = {use.name: use.dims["n"] * use.dims["k"] for use in placement.tokens if use.kind == "gemm"}
    whole = model.layer_params - model.norms * model.hidden
    assert whole <= placement.tp * sum(matrices.values()) <= 1.1 * whole
    assert placement.weight_bytes + placement.kv_bytes <= budget_bytes(deployment.system, deployment.software.scheduler)
    assert placement.kv_blocks * 16 > 4096


def test_a_chip_has_every_kv_head_that_its_query_heads_ask() -> None:
    """Six and a third chips share 64 heads: 11 on the fullest, which lie in up to three groups of eight."""
    attention = compiled("groq-576", "llama-2-70b").placement.attention
    assert (attention.heads, attention.kv_heads, attention.dtype, attention.kv_dtype) == (11, 3, "fp16", "fp16")


def test_fewer_chips_than_layers_hold_whole_layers() -> None:
    placement = compiled("groq-lpu-x20", "gpt2-xl", precision="fp16").placement
    assert placement.tp == 1
    assert {span.layers for span in placement.decode.spans[:-1]} == {2, 3}
    assert not [use for use in placement.tokens if use.kind == "all_reduce"]


def test_replicas_share_the_chips() -> None:
    one, two = compiled("groq-576", "llama-3-8b").placement, compiled("groq-576", "llama-3-8b", "dp=2").placement
    assert (two.replicas, two.devices) == (2, 288)
    assert one.tp / 2 - Fraction(1, 32) <= two.tp <= one.tp / 2


def test_tokens_go_from_layer_to_layer_by_one_hop_and_a_chip_s_part_of_the_residual() -> None:
    placement = compiled("groq-576", "llama-2-70b").placement
    send = next(use for use in placement.tokens if use.kind == "send")
    assert [span.crossing for span in placement.decode.spans] == ["send"] * 80 + [""]
    assert send.scale == share(2 * 8192, placement.tp)


REFUSED = [
    (("groq-72", "llama-2-70b"), ["69.5 GB of int8 weights on 64 chips", "it would fit with groq-lpu-x"]),
    (("groq-576", "llama-2-70b", "", "fp16"), ["138.0 GB of fp16", "groq-lpu-x", "or int8"]),
    (("groq-72", "llama-2-7b", "", "fp16"), ["13.5 GB of fp16 weights", "it would fit with groq-lpu-x72 or int8"]),
    (("groq-72", "llama-2-7b", "tp=8"), ["tp=8", "leave it out"]),
    (("groq-72", "llama-2-7b", "pp=8"), ["pp=8", "leave it out"]),
    (("groq-72", "llama-2-7b", "dp=3"), ["dp=3", "a divisor of the 64 chips that hold the model"]),
    (("groq-72", "llama-2-7b", "decode_region=4x4"), ["groq-lpu is no wafer"]),
    (("groq-72", "llama-2-7b", "", "bf16"), ["'bf16' on groq-lpu", "one of fp16, int8"]),
    (("groq-lpu-x8", "llama-3.1-405b"), ["410.1 GB of int8 weights on 8 chips", "would fit with groq-lpu-x"]),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "words"), REFUSED)
def test_a_model_that_does_not_fit_is_refused_with_what_would(asked: tuple[str, ...], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        compiled(*asked)
    assert all(word in str(caught.value) for word in words), str(caught.value)
