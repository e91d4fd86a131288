"""Models along a line of statically scheduled chips: what each holds, equal stages, refusals."""

from fractions import Fraction

import numpy as np
import pytest

import hwsim
from hwsim.describe import load
from hwsim.errors import InputError
from hwsim.serving.deployment import Deployment
from hwsim.serving.layers import Span, share
from hwsim.serving.record import summary_totals
from hwsim.serving.run import Run, run
from hwsim.workload.table import RequestTable

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
    usable = deployment.system.accelerator.room * deployment.software.scheduler.memory_fraction
    assert placement.weight_bytes + placement.kv_bytes <= usable
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


# replays


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    return compiled("groq-576", "llama-2-70b")


def replayed(deployment: Deployment, count: int, prompt: int, output: int) -> tuple[Run, np.ndarray]:
    """So many requests at once; the run and its steps."""
    sizes = (np.full(count, size, np.int64) for size in (prompt, output))
    steps: list[np.ndarray] = []
    table = RequestTable.of(np.zeros(count, np.int64), *sizes, name="equal")
    done = run(deployment, table, sink=lambda rows, chunks: steps.append(rows.copy()))
    return done, np.concatenate(steps)


def test_step_times_have_no_variance(deployment: Deployment) -> None:
    """Steps that do the same work take the same time to the picosecond, in one run and in the next, alone or not."""
    _, alone = replayed(deployment, 1, 1000, 400)
    _, again = replayed(deployment, 1, 1000, 400)
    _, among = replayed(deployment, 5, 1000, 400)
    assert (alone == again).all()
    steps = np.concatenate([rows[rows["n_prefill"] == 0] for rows in (alone, again, among)])
    single = steps[steps["n_decode"] == 1]
    assert len(single) > 800
    for tiles in np.unique(single["sum_tiles"]):
        assert np.var(single["busy_ps"][single["sum_tiles"] == tiles]) == 0


def test_streams_fewer_than_stages_decode_as_fast_as_one(deployment: Deployment) -> None:
    def tpot(count: int) -> float:
        done, _ = replayed(deployment, count, 100, 200)
        return float(np.mean(done.requests["finish_ps"] - done.requests["first_token_ps"])) / 199

    assert tpot(1) <= tpot(40) < 1.04 * tpot(1)  # the others' prompts pass too


def test_chunks_of_a_prompt_follow_each_other_through_the_stages(deployment: Deployment) -> None:
    """The first token is out when the last chunk is: it entered after the others' times on the slowest stage."""
    done, steps = replayed(deployment, 1, 2048, 1)
    waited = int(done.requests["first_token_ps"][0] - done.requests["queued_ps"][0])
    assert len(steps) == 16
    last, slowest = int(steps["busy_ps"][-1]), steps["busy_ps"] // 81
    assert last + slowest[:-1].sum() <= waited < 1.1 * (last + 15 * last / 80)
    assert waited < 0.3 * steps["busy_ps"].sum()


def test_the_screen_says_how_layers_are_shared(deployment: Deployment) -> None:
    done, _ = replayed(deployment, 1, 10, 2)
    assert "6.36 devices a layer, 81 stages, 1 replica; a device holds 141 MB of weights" in hwsim.summary(done)


def test_one_stream_pays_for_the_whole_machine_and_many_share_it(deployment: Deployment) -> None:
    def joules(count: int) -> float:
        done, _ = replayed(deployment, count, 64, 200)
        parts = summary_totals(done)["energy_pj"]
        assert parts["static"] > 0.9 * sum(parts.values()) or count > 1
        return sum(parts.values()) / 1e12 / (200 * count)

    one, many = joules(1), joules(80)
    assert 360 < one < 580
    assert many < one / 20


REFUSED = [
    (("groq-72", "llama-2-70b"), ["69.50 GB of int8 weights on 64 chips", "it would fit with groq-lpu-x"]),
    (("groq-576", "llama-2-70b", "", "fp16"), ["137.95 GB of fp16", "groq-lpu-x", "or --precision int8"]),
    (("groq-72", "llama-2-7b", "", "fp16"), ["13.48 GB of fp16", "would fit with groq-lpu-x72 or --precision int8"]),
    (("groq-72", "llama-2-7b", "tp=8"), ["tp=8", "leave it out"]),
    (("groq-72", "llama-2-7b", "pp=8"), ["pp=8", "leave it out"]),
    (("groq-72", "llama-2-7b", "dp=3"), ["dp=3", "a divisor of the 64 chips that hold the model"]),
    (("groq-72", "llama-2-7b", "decode_region=4x4"), ["groq-lpu is no wafer"]),
    (("groq-72", "llama-2-7b", "", "bf16"), ["'bf16' on groq-lpu", "one of fp16, int8"]),
    (("groq-lpu-x8", "llama-3.1-405b"), ["410.06 GB of int8 weights on 8 chips", "would fit with groq-lpu-x"]),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "words"), REFUSED)
def test_a_model_that_does_not_fit_is_refused_with_what_would(asked: tuple[str, ...], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        compiled(*asked)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("system", "model", "precision", "stack"),
    [
        ("groq-72", "llama-2-7b", "int8", "groq-2024"),
        ("wse-3", "llama-3.1-8b", "fp16", "cerebras"),
        ("ipu-bow-x64", "llama-3.1-8b", "fp16", "poptransformer-2023"),
    ],
)
def test_without_software_no_chip_that_keeps_its_model_is_slower(system, model, precision, stack) -> None:
    own, limit = (
        hwsim.point(system, model, 2, 512, 16, software=name, precision=precision) for name in (stack, "ideal")
    )
    assert limit.ttft_ms <= own.ttft_ms and limit.tpot_ms <= own.tpot_ms
