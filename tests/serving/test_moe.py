"""Models with experts: what devices hold and run under tensor, expert and pipeline parallelism, and what is refused."""

from dataclasses import replace

import pytest

import hwsim
from hwsim.analyse.point import Case, points
from hwsim.describe.model import Model
from hwsim.errors import InputError
from hwsim.serving.deployment import Deployment
from hwsim.serving.layers import Routing, Span, token_uses, weight_bytes

QWEN, MIXTRAL = "qwen3-30b-a3b", "mixtral-8x7b"


def later(dense: int, shared: int = 0) -> Model:
    """Mixtral whose first layers are dense, with a feed-forward beside its experts."""
    model = hwsim.load(MIXTRAL, "model")
    assert model.experts is not None
    experts = model.experts.model_copy(update={"dense_layers": dense, "shared_ffn": shared})
    return model.model_copy(update={"experts": experts})


def compiled(system: str, model: str | Model = QWEN, plan: str = "") -> Deployment:
    return hwsim.compile(system, model, plan, "ideal" if system.startswith("tpu") else "vllm")


@pytest.mark.parametrize(
    "model", [hwsim.load(QWEN, "model"), later(0), later(3, 4096)], ids=["qwen", "mixtral", "dense"]
)
def test_products_of_a_step_hold_the_weights_of_the_model(model: Model) -> None:
    span, products = Span(model.layers, dense=model.dense_layers), 0
    for use in token_uses(model, 1, "bf16", "bf16"):
        dims = use.dims
        if use.kind == "gemm":
            products += dims["n"] * dims["k"] * use.times(span)
        elif use.kind == "moe":
            products += 3 * dims["hidden"] * dims["intermediate"] * dims["experts"] * use.times(span)
    others = (2 * model.vocab + model.layers * model.norms + 1) * model.hidden
    assert weight_bytes(model, 1, "bf16") == 2 * (products + others)


@pytest.mark.parametrize("ep", [1, 2, 4])
def test_devices_hold_the_same_bytes_however_experts_are_shared(ep: int) -> None:
    one = compiled("h100-sxm-x4", MIXTRAL, "tp=4").placement
    other = compiled("h100-sxm-x4", MIXTRAL, f"tp=4,ep={ep}").placement
    assert (other.weight_bytes, other.kv_blocks) == (one.weight_bytes, one.kv_blocks)
    moe = next(use for use in other.tokens if use.kind == "moe")
    assert (moe.dims["tp"], moe.dims["ep"]) == (4 // ep, ep)


def test_the_first_stages_hold_the_dense_layers() -> None:
    spans = compiled("h100-sxm-x4", later(10), "tp=1,pp=4").placement.decode.spans
    assert [(span.layers, span.dense) for span in spans] == [(8, 8), (8, 2), (8, 0), (8, 0)]
    uses = {use.name: use for use in token_uses(later(10), 1, "bf16", "bf16")}
    assert [uses["down"].times(span) for span in spans] == [8, 2, 0, 0]
    assert [uses["experts"].times(span) for span in spans] == [0, 6, 8, 8]


def test_a_dense_model_has_the_operators_it_had() -> None:
    model = hwsim.load("llama-3.1-8b", "model")
    uses = list(token_uses(model, 2, "bf16", "bf16", Routing()))
    assert all(use.part != "experts" and use.kind != "moe" for use in uses)
    assert {use.name for use in uses if use.part == "layer"} >= {"gate_up", "activation", "down"}


def test_the_default_routing_is_named_and_a_plan_may_choose_another() -> None:
    assert compiled("h100-sxm").defaults["routing"].startswith("uniform")
    chosen = compiled("h100-sxm", plan="tp=1,routing=power_law_1.2")
    assert "routing" not in chosen.defaults
    assert next(use for use in chosen.placement.tokens if use.kind == "moe").dims["distribution"] == 1200
    assert "routing" not in compiled("h100-sxm", "llama-3.1-8b").defaults


def test_fewer_experts_touched_make_steps_of_few_users_shorter() -> None:
    case = Case("h100-sxm", QWEN, 1, 32, 8, software="vllm")
    asked = [case, replace(case, concurrency=8), replace(case, concurrency=8, routing="balanced")]
    one, eight, even = (dict(points(asked))[number].tpot_ms for number in range(3))
    assert 2 * one < eight < even  # 8 experts a layer, then 52 of 128, then 64
    dense = dict(points([replace(case, model="qwen3-32b")]))[0].tpot_ms
    assert one < dense / 3


REFUSED = [
    (("h100-sxm-x4", MIXTRAL, "tp=4,ep=3"), "ep=3, expected a divisor of tp=4 and of the 8 experts"),
    (("h100-sxm-x4", MIXTRAL, "tp=2,ep=4"), "ep=4, expected a divisor of tp=2 and of the 8 experts"),
    (("h100-sxm-x2", "llama-3.1-8b", "tp=2,ep=2"), "ep=2, expected ep=1; llama-3.1-8b has no experts"),
    (("h100-sxm", "llama-3.1-8b", "routing=balanced"), "expected no routing; llama-3.1-8b has no experts"),
    (("h100-sxm", QWEN, "tp=1,routing=zipf"), "'routing=zipf', expected routing=balanced, uniform or power_law_<a>"),
    (("h100-sxm", MIXTRAL, ""), "it would fit with tp=2 on h100-sxm-x2"),
    (("tpu-v6e-x8", MIXTRAL, "tp=8"), "experts on tpu-v6e, of class systolic, expected a class that runs them"),
]


@pytest.mark.parametrize(("asked", "message"), REFUSED)
def test_what_cannot_be_deployed_says_why(asked: tuple[str, str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        compiled(*asked)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("experts.top_k=9", "9, expected at most the 8 experts of a layer"),
        ("experts.dense_layers=32", "32, expected fewer than the 32 layers of the model"),
        ("experts.count=0", "0, expected a whole number from 1 to 4096"),
    ],
)
def test_a_description_of_experts_is_checked(change: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        hwsim.load(MIXTRAL, "model", sets=[change])
    assert message in str(caught.value)
