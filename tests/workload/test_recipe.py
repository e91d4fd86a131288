"""Recipes: equal bits everywhere, draws that follow their tables, shipped ones close to the traces they name."""

import hashlib
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from hwsim import describe
from hwsim.describe import library
from hwsim.describe.recipe import Recipe
from hwsim.errors import InputError
from hwsim.workload import RequestTable, azure, load
from hwsim.workload.recipe import Table, draw, words

AZURE = "traces/azure2023/AzureLLMInferenceTrace_conv.csv"
MOONCAKE = "traces/mooncake/conversation_trace.jsonl"

SMALL = """
name: small
requests: 50
source: made up for a test
status: assumed
arrivals: {gap: 1 s, shape: {0: 0.5, 100: 1.5}}
lengths:
  prompt: {0: 100, 100: 900}
  outputs: [{prompt_up_to: 500, tokens: {0: 5, 100: 5}}, {tokens: {0: 7, 100: 9}}]
sessions:
  block: 64
  shared: 64
  follow: 0.5
  goes_on: [1, 0.5]
  pause: {0: 2 s, 100: 20 s}
  added: {0: 0, 100: 30}
  longest: 1200
"""


def recipe(tmp_path: Path, text: str = SMALL) -> Recipe:
    path = tmp_path / "small.yaml"
    path.write_text(text)
    found = describe.load(path, "recipe")
    assert isinstance(found, Recipe)
    return found


def digest(table: RequestTable) -> str:
    columns = (table.arrival_ps, table.prompt_tokens, table.output_tokens, table.prefix_offset, table.prefix_ids)
    return hashlib.sha256(b"".join(column.astype("<i8").tobytes() for column in columns)).hexdigest()[:16]


# SplitMix64 -------------------------------------------------------------------------------------------------------


def test_words_are_splitmix64() -> None:
    """Against the plain definition with Python integers."""

    def mix(word: int) -> int:
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            word = ((word ^ (word >> shift)) * factor) % 2**64
        return word ^ (word >> 31)

    golden = 0x9E3779B97F4A7C15
    for seed, stream, number in ((0, "gap", 1), (7, "prompt", 3), (2**64 - 1, "pause", 7)):
        start = mix((mix(seed) + number * golden) % 2**64)
        expected = [mix((start + i * golden) % 2**64) for i in range(1, 6)]
        assert words(seed, stream, 5).tolist() == expected


PINNED = {
    ("azure-conversation", 0): "09475a0ec6c428c4",
    ("azure-conversation", 1): "91d87c58a3ef0e6b",
    ("azure-code", 0): "52f4e10321619d94",
    ("mooncake-conversation", 0): "e17ec593d5f20828",
    ("mooncake-conversation", 2**64 - 1): "11deb89755c46106",
}


@pytest.mark.parametrize(("name", "seed"), PINNED)
def test_the_first_thousand_requests_never_change(name: str, seed: int) -> None:
    """A change here changes what a published result was run on: it needs a new recipe, not a new number."""
    assert digest(load(name, requests=1000, seed=seed)) == PINNED[name, seed]


@pytest.mark.parametrize("name", ["azure-conversation", "azure-code", "mooncake-conversation"])
def test_a_shorter_run_is_the_start_of_a_longer_one(name: str) -> None:
    whole, part = load(name, requests=3000, seed=5), load(name, requests=777, seed=5)
    assert digest(whole.first(777)) == digest(part)


def test_seeds_give_other_traffic() -> None:
    assert len({digest(load("azure-conversation", requests=100, seed=seed)) for seed in range(20)}) == 20


# draws follow their tables ------------------------------------------------------------------------------------------


def test_a_table_gives_its_quantiles_its_mean_and_both_ends() -> None:
    table = Table.of({"0": 10, "25": 20, "99": 20, "100": 1000})
    drawn = table.draw(words(3, "gap", 200_000))
    assert (drawn.min(), drawn.max()) == (10, 1000)
    assert np.mean(drawn == 20) == pytest.approx(0.74 + 0.25 / 10 / 2, abs=0.005)
    assert drawn.mean() == pytest.approx(0.25 * 15 + 0.74 * 20 + 0.01 * 510, rel=0.02)


def test_a_constant_table_gives_its_value() -> None:
    assert set(Table.of({"0": 7, "100": 7}).draw(words(0, "gap", 1000)).tolist()) == {7}


def test_gaps_have_their_mean_and_their_ends(tmp_path: Path) -> None:
    gaps = np.diff(draw(recipe(tmp_path), 20_000).arrival_ps)
    assert gaps.min() >= 5 * 10**11
    assert gaps.max() <= 15 * 10**11
    assert gaps.mean() == pytest.approx(10**12, rel=0.01)


def test_the_pace_visits_every_level_equally_often(tmp_path: Path) -> None:
    text = SMALL.replace("100: 1.5}}", "100: 1.5}, run: 1, pace: [1, 3, 5, 7], move: 0.5}").replace(
        "0: 0.5, 100: 1.5", "0: 1, 100: 1"
    )
    gaps = np.diff(draw(recipe(tmp_path, text), 40_000).arrival_ps)
    values, counts = np.unique(gaps, return_counts=True)
    assert (values // 10**12).tolist() == [1, 3, 5, 7]
    assert counts / len(gaps) == pytest.approx([0.25] * 4, abs=0.04)
    assert np.abs(np.diff(gaps)).max() <= 2 * 10**12  # a neighbouring level at most


def test_outputs_come_from_the_row_of_the_prompt(tmp_path: Path) -> None:
    table = draw(recipe(tmp_path), 2000)
    short = table.prompt_tokens <= 500
    assert set(table.output_tokens[short].tolist()) == {5}
    assert set(table.output_tokens[~short].tolist()) == {7, 8, 9}


def test_follow_ups_continue_the_blocks_the_answer_and_the_pause_of_an_earlier_request(tmp_path: Path) -> None:
    table = draw(recipe(tmp_path), 2000)
    owner: dict[int, int] = {}  # last request that used a block
    followed = 0
    for request in range(len(table)):
        ids = table.prefix_ids[table.prefix_offset[request] : table.prefix_offset[request + 1]].tolist()
        assert len(ids) == -(-table.prompt_tokens[request] // 64)
        assert ids[0] == 0
        known = next((place for place, name in enumerate(ids) if name not in owner), len(ids))
        assert not any(name in owner for name in ids[known:])
        if known > 1:
            before = owner[ids[known - 1]]
            followed += 1
            assert known == table.prompt_tokens[before] // 64
            assert table.arrival_ps[request] - table.arrival_ps[before] > 0
            least = table.prompt_tokens[before] + table.output_tokens[before]
            assert least <= table.prompt_tokens[request] <= least + 30 or table.prompt_tokens[request] == 1200
        owner |= {name: request for name in ids}
    assert followed == pytest.approx(1000, abs=100)


def test_a_recipe_without_sessions_shares_nothing(tmp_path: Path) -> None:
    table = draw(recipe(tmp_path, SMALL[: SMALL.index("sessions:")]))
    assert (len(table), table.prefix_block_tokens, len(table.prefix_ids)) == (50, 0, 0)


def test_a_recipe_file_and_its_name_give_the_same_requests(tmp_path: Path) -> None:
    path = library.root() / "recipes" / "azure-code.yaml"
    assert digest(load(path, requests=99)) == digest(load("azure-code", requests=99))
    scaled = load("azure-code", requests=99, rate_scale="2")
    assert scaled.arrival_ps.tolist() == [
        arrival // 2 for arrival in load("azure-code", requests=99).arrival_ps.tolist()
    ]


# bad recipes ----------------------------------------------------------------------------------------------------------

PROMPT = "{0: 100, 100: 900}"
BAD_RECIPES = {
    "no end": (
        "100: 900}",
        "90: 900}",
        "lengths.prompt: got a block, expected a table from 0 to 100 percent; the least",
    ),
    "falling": (PROMPT, "{0: 100, 50: 50, 100: 900}", "expected values that do not fall; that of 50 does"),
    "percents": (PROMPT, "{0: 9, 50: 9, 20: 9, 100: 9}", "expected rising percents; 20 stands after 50"),
    "word": (PROMPT, "{0: 100, half: 5, 100: 900}", "expected percents from 0 to 100 as keys; 'half' is none"),
    "no tokens": (PROMPT, "{0: 0, 100: 900}", "lengths.prompt.0: got 0, expected a whole number from 1 to"),
    "no unit": ("gap: 1 s", "gap: 1", "arrivals.gap: got 1, expected"),
    "row order": ("prompt_up_to: 500, ", "", "lengths.outputs: got a list, expected rows with a rising prompt_up_to"),
    "pace": ("100: 1.5}}", "100: 1.5}, pace: [2, 1]}", "arrivals.pace: got a list, expected at least one number above"),
    "share": ("follow: 0.5", "follow: 1.5", "sessions.follow: got 1.5, expected"),
    "unknown key": ("longest:", "longset:", "did you mean 'longest'?"),
}


@pytest.mark.parametrize("name", BAD_RECIPES)
def test_bad_recipes_are_named_by_line(tmp_path: Path, name: str) -> None:
    old, new, expected = BAD_RECIPES[name]
    assert old in SMALL
    with pytest.raises(InputError) as caught:
        recipe(tmp_path, SMALL.replace(old, new))
    assert expected in str(caught.value)
    assert "small.yaml:" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"requests": 0}, "--requests: got 0, expected 1 to 10000000"),
        ({"requests": 10**9}, "--requests: got 1000000000, expected 1 to"),
        ({"seed": -1}, "--seed: got -1, expected 0 to 2^64 - 1"),
        ({"seed": 2**64}, "--seed: got 18446744073709551616"),
    ],
)
def test_bad_options_are_named(options: dict[str, int], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        load("azure-code", **options)
    assert expected in str(caught.value)


def test_arrivals_beyond_the_clock_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="small: got 1000 requests 86400 s apart, expected arrivals within 53 days"):
        draw(recipe(tmp_path, SMALL.replace("gap: 1 s", "gap: 86400 s")), 1000)


def test_an_unknown_name_lists_the_recipes() -> None:
    with pytest.raises(InputError) as caught:
        load("azure")
    assert str(caught.value) == (
        "azure: got no such file or recipe, expected a request file or the name of a recipe; recipes are azure-code, "
        "azure-conversation, mooncake-conversation; `hwsim fetch` lists traces to download"
    )


# samples --------------------------------------------------------------------------------------------------------------


def test_the_shipped_sample_is_the_recipe_in_azure_form() -> None:
    sample, drawn = load("azure-conversation-sample"), load("azure-conversation", requests=300)
    assert sample.arrival_ps.tolist() == [arrival // 10**5 * 10**5 for arrival in drawn.arrival_ps.tolist()]
    assert sample.prompt_tokens.tolist() == drawn.prompt_tokens.tolist()
    assert load("azure-conversation-sample", requests=10).format == "azure-csv"


def test_azure_files_are_written_as_they_are_read(tmp_path: Path) -> None:
    table = load("azure-code", requests=200)
    azure.write(table, tmp_path / "out.csv", first="2024-02-28 23:59:59")
    again = load(tmp_path / "out.csv")
    assert again.output_tokens.tolist() == table.output_tokens.tolist()
    assert np.abs(again.arrival_ps - table.arrival_ps).max() < 10**5


# shipped recipes against the traces they are fitted to: tolerances are statements about the fit ---------------------


def close(found: float, real: float, share: float) -> bool:
    return abs(found - real) <= share * real


def counts_dispersion(table: RequestTable, seconds: int) -> float:
    """Variance over mean of the arrivals in windows of so many seconds; 1 for Poisson traffic."""
    counts = np.bincount(table.arrival_ps // (seconds * 10**12))[:-1]
    return float(counts.var() / counts.mean())


@pytest.mark.shared
@pytest.mark.parametrize(("name", "file"), [("azure-conversation", AZURE), ("mooncake-conversation", MOONCAKE)])
def test_lengths_and_rate_follow_the_trace(shared: Path, name: str, file: str) -> None:
    real, found = load(shared / file), load(name)
    assert len(found) == len(real)
    assert close(found.span_ps, real.span_ps, 0.08)
    for column in ("prompt_tokens", "output_tokens"):
        values, expected = getattr(found, column), getattr(real, column)
        assert close(values.mean(), expected.mean(), 0.05), column
        for percent in (10, 25, 50, 75, 90, 99):
            assert close(np.percentile(values, percent), np.percentile(expected, percent), 0.15), (column, percent)


@pytest.mark.shared
def test_azure_outputs_depend_on_the_prompt_as_in_the_trace(shared: Path) -> None:
    real, found = load(shared / AZURE), load("azure-conversation")
    for low, high in ((0, 206), (206, 403), (403, 1020), (1020, 1130), (1130, 2735), (2735, 10**6)):
        means = []
        for table in (real, found):
            chosen = (table.prompt_tokens > low) & (table.prompt_tokens <= high)
            means.append(table.output_tokens[chosen].mean())
        assert close(means[1], means[0], 0.08), (low, high)


@pytest.mark.shared
def test_azure_arrivals_are_as_bursty_as_in_the_trace(shared: Path) -> None:
    """Over seconds nearly Poisson, over minutes far from it: 1.4 in 1 s, 16 in 60 s."""
    real = load(shared / AZURE)
    found = [load("azure-conversation", seed=seed) for seed in range(8)]
    for seconds, share in ((1, 0.15), (10, 0.25), (60, 0.3)):
        mean = float(np.mean([counts_dispersion(table, seconds) for table in found]))
        assert close(mean, counts_dispersion(real, seconds), share), seconds


def hit_tokens(table: RequestTable, capacity: int) -> float:
    """Share of prompt tokens found in an LRU cache of so many blocks: requests in order, leaf blocks used first."""
    cache: OrderedDict[int, None] = OrderedDict()
    hits, block = 0, table.prefix_block_tokens
    for request in range(len(table)):
        ids = table.prefix_ids[table.prefix_offset[request] : table.prefix_offset[request + 1]].tolist()
        known = next((place for place, name in enumerate(ids) if name not in cache), len(ids))
        hits += min(known * block, int(table.prompt_tokens[request]))
        for name in reversed(ids):
            cache[name] = None
            cache.move_to_end(name)
        while len(cache) > capacity:
            cache.popitem(last=False)
    return hits / table.total_prompt_tokens


@pytest.mark.shared
def test_mooncake_prefixes_are_found_again_as_in_the_trace(shared: Path) -> None:
    real, found = load(shared / MOONCAKE), load("mooncake-conversation")
    assert hit_tokens(real, 10**9) == 54_098_411 / 144_793_823
    for tokens in (10**6, 3 * 10**6, 10**7, 5 * 10**7, 10**12):
        assert hit_tokens(found, tokens // 512) == pytest.approx(hit_tokens(real, tokens // 512), abs=0.03), tokens


def test_the_code_recipe_has_its_published_figures() -> None:
    """8,819 requests, 2.567 a second, medians of 1,500 and 13 tokens (Splitwise, ISCA 2024)."""
    table = load("azure-code")
    assert len(table) == 8819
    assert close(np.median(table.prompt_tokens), 1500, 0.06)
    assert np.median(table.output_tokens) == 13
    assert close(8819 / (table.span_ps / 1e12), 2.567, 0.15)


def test_shares_and_seconds_of_the_tables_are_exact() -> None:
    found = describe.load("mooncake-conversation", "recipe")
    assert isinstance(found, Recipe)
    assert found.sessions is not None
    assert found.sessions.follow == Fraction("0.387")
    assert found.sessions.pause["100"] == 3030
