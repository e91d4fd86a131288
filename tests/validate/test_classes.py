"""Published points of chips of every class: errors that `hwsim validate classes` prints, and points that are bounds."""

from pathlib import Path

import numpy as np
import pytest

from hwsim.validate import classes, published
from hwsim.validate.classes import Stream
from hwsim.validate.published import Answer, Case


@pytest.fixture(scope="module")
def found(shared: Path) -> list[Answer]:
    return published.answers(classes.cases(shared / "measured"))


def errors(found: list[Answer], stack: str, word: str) -> np.ndarray:
    """Absolute errors of a stack's points with a word in their label."""
    return np.array([abs(answer.error) for answer in found if answer.case.stack == stack and word in answer.case.label])


@pytest.mark.shared
def test_waferllm_with_one_fitted_number(found: list[Answer]) -> None:
    decode, prefill = (errors(found, "waferllm", word) for word in ("decode", "prefill"))
    assert len(decode) == 6 and np.median(decode) < 0.02 and decode.max() < 0.05
    assert [answer.case.label for answer in found if answer.case.stack == "waferllm" and answer.case.role == "fit"] == [
        "llama-3-8b decode 540x540"
    ]
    assert len(prefill) == 3 and prefill.max() < 0.05


@pytest.mark.shared
def test_one_product_alone_on_a_wafer(found: list[Answer]) -> None:
    (error,) = errors(found, "ideal", "gemv")
    assert error < 0.1


@pytest.mark.shared
def test_the_number_of_cerebras_explains_both_of_its_points(found: list[Answer]) -> None:
    (large,) = errors(found, "cerebras-2024-08", "70B")
    small = Stream("wse-3", "llama-3.1-8b", "cerebras-2024-08", "fp16", context=1000).rate()
    assert large < 0.02 and abs(small / 1800 - 1) < 0.02  # 1,800: Cerebras, August 2024


# Rates with speculative decoding that Cerebras published later: nothing without it may reach them.
SPECULATIVE = {("llama-3.1-70b", "wse-3-x4"): 2148, ("llama-3.1-405b", "wse-3-x21"): 969}


@pytest.mark.parametrize(("model", "system"), SPECULATIVE)
def test_speculative_rates_are_out_of_reach(model: str, system: str) -> None:
    assert Stream(system, model, "cerebras-2024-08", "fp16", context=1000).rate() < SPECULATIVE[model, system]


# Single streams of Groq: within a quarter of what is published, 20 % in the median, with one fitted number.


@pytest.mark.shared
def test_one_number_of_two_models_explains_the_speed_of_a_third_on_groq_chips(found: list[Answer]) -> None:
    groq = [answer for answer in found if answer.case.stack == "groq-2024"]
    held, own = ([abs(answer.error) for answer in groq if answer.case.role == role] for role in ("scored", "in fit"))
    assert len(held) == 1 and held[0] < 0.1  # Llama-3.1-70B took no part
    assert len(own) == 2 and max(own) < 0.15


@pytest.mark.shared
def test_a_speed_on_unknown_chips_lies_in_its_band_and_speculation_is_out_of_reach(found: list[Answer]) -> None:
    groq = [answer for answer in found if answer.case.stack == "groq-2024"]
    low, high = (answer.simulated for answer in groq if answer.case.role == "band")
    assert low < 750 < high
    (bound,) = (answer for answer in groq if answer.case.role == "bound")
    assert bound.simulated < 0.5 * bound.case.published


def test_a_token_on_groq_chips_takes_its_closed_form() -> None:
    """Weights converted on the fullest chip of a layer, two all-reduces, fills; then the head and the hops."""
    stream = Stream("groq-576", "llama-2-70b", "groq-2024", "int8", context=2048)
    chips, clock, share = 512 / 80.5, 900e6, 0.78
    converted = (80 * 855.6e6 / chips) / (5120 * clock * share)
    reduced = 80 * 2 * 2 * (722e-9 + 2 * 8192 / 7 / 12.5e9)
    filled = 80 * 9 * 170 / clock
    hops = 80 * (722e-9 + 2 * 8192 / 6.36 / 12.5e9)
    hand = converted + reduced + filled + hops
    assert hand < stream.step_ps() / 1e12 < 1.08 * hand  # heads are whole, KV heads on two chips, scores, head


def test_more_chips_are_faster_and_ideal_software_is_never_slower() -> None:
    few, more = (Stream(f"groq-lpu-x{n}", "llama-2-7b", "groq-2024", "int8", context=512).step_ps() for n in (48, 96))
    ideal = Stream("groq-lpu-x48", "llama-2-7b", "ideal", "int8", context=512).step_ps()
    assert more < few and ideal < few


@pytest.mark.shared
def test_ipus_at_batch_one_and_published_points_that_simulation_must_reach(found: list[Answer]) -> None:
    ipus = errors(found, "poptransformer-2023", "")
    assert len(ipus) == 2 and ipus.max() < 0.05
    least = [answer for answer in found if answer.case.role == "least"]
    assert {answer.case.stack for answer in least} == {"mtia", "northpole-2024"}
    assert all(answer.simulated >= answer.case.published for answer in least)


@pytest.mark.shared
def test_a_server_on_eight_tpus_is_within_a_quarter(found: list[Answer]) -> None:
    (error,) = errors(found, "jax", "tpu-v6e-x8")
    assert error < 0.25


@pytest.mark.parametrize("plan", ["", "tp=8"])
def test_a_token_takes_as_much_longer_on_a_gc200_as_its_clock_is_slower_than_a_c600_s(plan: str) -> None:
    """A factor of 1.13 at every batch (graphcore/PopTransformer, benchmark.md)."""
    slow, fast = (
        Stream(f"{chip}-x8", "gpt2-xl", "poptransformer-2023", "fp16", plan, 132).step_ps()
        for chip in ("ipu-gc200", "ipu-c600")
    )
    assert slow / fast == pytest.approx(1.13, rel=0.02)


def test_a_stage_of_northpole_lies_between_what_its_sram_takes_and_what_was_measured() -> None:
    """109 MB of weights at 12.8 TB/s; 28,356 tokens a second through equal stages (Appuswamy et al., HPEC 2024)."""
    stages = Stream("northpole-x16", "granite-3b", "northpole-2024", "int4", context=1024).stages_ps()
    assert len(stages) == 16
    assert all(8.5e6 < stage < 35.3e6 for stage in stages[1:-1])


def test_a_token_of_llama_2_7b_takes_mtia_at_least_as_long_as_its_weights() -> None:
    """13.48 GB at 204.8 GB/s; that 60 ms are missed is published (Coburn et al., ISCA 2025)."""
    assert 65.8e9 < Stream("mtia-v2", "llama-2-7b", "mtia", "fp16").step_ps() < 75e9


def test_a_table_tells_errors_roles_and_the_median_of_what_is_scored() -> None:
    of = [Case("mtia", f"point {n}", "us", 10, lambda n=n: 10 + n, role) for n, role in ((1, "scored"), (5, "fit"))]
    lines = published.table(published.answers(of)).splitlines()
    assert "+10.0  scored" in lines[1] and "+50.0  fit" in lines[2]
    assert lines[3].split(maxsplit=1)[1] == "fitted numbers 0, points of the fit 1: none"
    assert lines[4].split(maxsplit=1)[1] == "1 scored that took no part: median 10.0 %, at most 10.0 %"
