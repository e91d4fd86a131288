"""Loads of experts: every choice of every token is counted once, and named distributions are what they say."""

from collections import Counter

import numpy as np
import pytest

from hwsim.describe.routing import distribution
from hwsim.operators.experts import DRAWS, loads

SHAPES = [(tokens, experts, top_k) for experts, top_k in ((8, 2), (128, 8), (6, 4)) for tokens in (1, 2, 7, 40, 300)]


def balanced_one_by_one(tokens: int, experts: int, top_k: int) -> list[int]:
    """The recipe of NVIDIA aiconfigurator, choice by choice."""
    apart = -(-experts // top_k)
    chosen: Counter[int] = Counter()
    for token in range(tokens):
        first = token if tokens >= apart else token * apart // tokens
        chosen.update((first + j * apart) % experts for j in range(top_k))
    return [chosen[expert] for expert in range(experts)]


@pytest.mark.parametrize(("tokens", "experts", "top_k"), [each for each in SHAPES if each[1] % each[2] == 0])
def test_balanced_loads_are_those_of_the_recipe(tokens: int, experts: int, top_k: int) -> None:
    assert loads(tokens, experts, top_k, 1, 0).tolist() == [balanced_one_by_one(tokens, experts, top_k)]


def drawn_one_by_one(share: list[int], choices: int, most: int) -> list[int]:
    """What rounding left over, one by one: missing to the least loaded, too many from the most loaded."""
    share = [min(each, most) for each in share]
    while sum(share) != choices:
        step = 1 if sum(share) < choices else -1
        place = share.index(min(share) if step > 0 else max(share))
        share[place] += step
    return sorted(share)


@pytest.mark.parametrize("exponent", ["1.01", "1.2", "2"])
def test_loads_of_a_power_law_follow_its_quantiles(exponent: str) -> None:
    tokens, experts, top_k, a = 500, 64, 4, float(exponent)
    uniform = (np.random.PCG64(20240607).random_raw(DRAWS * experts) >> np.uint64(11)) / 2**53
    found = loads(tokens, experts, top_k, 1, int(a * 1000))
    for draw in range(DRAWS):
        u, end = uniform[draw::DRAWS], (0.8 * tokens) ** (1 - a)
        popular = (1 + u * (end - 1)) ** (1 / (1 - a))
        share = np.round(popular / popular.sum() * tokens * top_k).astype(int).tolist()
        assert sorted(found[draw].tolist()) == drawn_one_by_one(share, tokens * top_k, tokens)


@pytest.mark.parametrize(("tokens", "experts", "top_k"), SHAPES)
@pytest.mark.parametrize("number", [0, 1, 1001, 1200, 4000])
def test_every_choice_is_counted_once(tokens: int, experts: int, top_k: int, number: int) -> None:
    found = loads(tokens, experts, top_k, 1, number)
    assert (found.sum(axis=1) == tokens * top_k).all()
    assert found.min() >= 0
    assert found.max() <= tokens


@pytest.mark.parametrize("ep", [1, 2, 4, 8])
def test_the_fullest_device_has_its_share_at_least(ep: int) -> None:
    for number in (0, 1, 1200):
        found = loads(1024, 8, 2, ep, number).sum(axis=1)
        assert (found >= 1024 * 2 // ep).all()
    assert loads(1024, 8, 2, ep, 0).sum() == 1024 * 2 // ep


def test_uneven_loads_fill_the_fullest_device_more() -> None:
    for number in (1010, 1200, 4000):
        assert (loads(4096, 128, 8, 8, number).sum(axis=1) > 4096).all()


def test_uniform_choices_are_even_in_the_long_run_and_keep_what_fewer_tokens_chose() -> None:
    few, more, many = (loads(tokens, 128, 8, 1, 1) for tokens in (16, 1100, 16384))
    assert (more >= few).all()
    assert (many >= more).all()
    touched = (few > 0).sum(axis=1).mean()
    assert touched == pytest.approx(128 * (1 - (1 - 8 / 128) ** 16), rel=0.05)
    assert np.abs(many / 1024 - 1).max() < 0.15


def test_names_have_numbers() -> None:
    names = ("balanced", "uniform", "power_law_1.01", "power_law_1.2", "power_law_4", "power_law_1.125")
    assert [distribution(name) for name in names] == [0, 1, 1010, 1200, 4000, 1125]


@pytest.mark.parametrize("name", ["", "even", "power_law", "power_law_1", "power_law_5", "power_law_1.2345"])
def test_other_names_mean_nothing(name: str) -> None:
    assert distribution(name) is None
