"""hwsim point: closed loops, rows that cannot run, malformed files."""

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

import hwsim
from hwsim.analyse.point import Case, points
from hwsim.cli.point import command
from hwsim.errors import InputError

HEAD = "system,software,model,precision,tp,pp,dp,ep,concurrency,isl,osl,note\n"
SMALL = {"system": "h100-sxm", "model": "llama-3.1-8b", "software": "vllm"}


def run(tmp_path: Path, text: str) -> list[dict[str, str]]:
    """Rows that `hwsim point` writes for a file; its InputError is raised."""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(command, [str(source), "-o", str(target)], standalone_mode=False)
    if result.exception is not None:
        assert not target.exists()
        raise result.exception
    with target.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_keep_their_place_whether_they_run_or_not(tmp_path):
    rows = run(
        tmp_path,
        HEAD
        + "h100-sxm,vllm,llama-3.1-8b,bf16,1,,,,2,64,4,first\n"
        + "h100-sxm,vllm,llama-3.1-70b,bf16,1,,,,1,64,4,too large\n"
        + "h100-sxm-x2,vllm,llama-3.1-8b,bf16,1,2,,,2,64,4,stages\n"
        + "h100-sxm-x8,vllm,llama-3.1-8b,bf16,4,,,,2,64,4,left over\n"
        + "h100-sxm,vllm,llama-3.1-8b,bf16,1,,,,1,500000,4,too long\n"
        + "h100-sxm,vllm,llama-2-7b,bf16,1,,,,1,4096,4,past the end\n",
    )
    assert [row["note"] for row in rows] == ["first", "too large", "stages", "left over", "too long", "past the end"]
    assert [bool(row["error"]) for row in rows] == [False, True, False, True, True, True]
    assert [bool(row["ttft_ms"]) for row in rows] == [True, False, True, False, False, False]
    assert "would fit with tp=2" in rows[1]["error"]
    assert "tp x dp = 8" in rows[3]["error"]
    assert "4096 positions of llama-2-7b" in rows[5]["error"]
    assert "\n" not in "".join(row["error"] for row in rows)
    assert list(rows[0])[-13:] == [
        "ttft_ms", "tpot_ms", "itl_p99_ms", "tok_s", "tok_s_user", "req_s", "energy_j_token", "power_w",
        "node_j_token", "wall_j_token", "overload", "bound", "error",
    ]  # fmt: skip


def test_one_user_gets_what_a_request_takes():
    found = hwsim.point(**SMALL, concurrency=1, isl=64, osl=5)
    assert found.req_s == pytest.approx(1000 / (found.ttft_ms + 4 * found.tpot_ms), rel=1e-6)
    assert found.tok_s == pytest.approx(5 * found.req_s)
    assert found.tok_s_user == pytest.approx(1000 / found.tpot_ms)
    assert found.power_w == pytest.approx(found.energy_j_token * found.tok_s)
    assert found.overload == "no"
    assert sum(found.parts.values()) == pytest.approx(found.energy_j_token, rel=1e-9)
    assert sum(found.shares.values()) == pytest.approx(1, abs=1e-9)
    assert found.shares[found.bound] == max(found.shares.values())


def test_more_users_get_more_tokens_together_and_fewer_each():
    few, many = (hwsim.point(**SMALL, concurrency=c, isl=64, osl=16) for c in (1, 8))
    assert many.tok_s > 4 * few.tok_s
    assert many.tok_s_user <= few.tok_s_user
    assert many.energy_j_token < few.energy_j_token


def test_a_single_token_has_no_time_between_tokens():
    found = hwsim.point(**SMALL, concurrency=1, isl=64, osl=1)
    assert found.tpot_ms is None and found.tok_s_user is None
    assert found.ttft_ms > 0


def test_answers_do_not_depend_on_order_neighbours_or_what_is_kept():
    cases = [Case(**SMALL, concurrency=c, isl=64, osl=6) for c in (1, 2, 3)]
    forward, backward = dict(points(cases)), dict(points(cases[::-1]))
    assert [forward[i] for i in range(3)] == [backward[2 - i] for i in range(3)]


@pytest.mark.parametrize(
    "case, word",
    [
        ({"concurrency": 8, "max_num_seqs": 4}, "yes: 8 users, 4 slots"),
        ({"concurrency": 2}, "no"),
    ],
)
def test_overload_names_its_rule(case, word):
    assert hwsim.point(**SMALL, isl=64, osl=4, **case).overload == word


def test_kv_tokens_short_of_the_demand_are_overload():
    """71 GB of weights in fp8 on one H200 leave some 180,000 tokens."""
    found = hwsim.point("h200-sxm", "llama-3.1-70b", 8, 20_000, 2, software="vllm", precision="fp8")
    assert found.overload.startswith("borderline: 160016 of ")


BAD = [
    (HEAD, "no rows"),
    ("system,model,isl,osl\nh100-sxm,llama-3.1-8b,1,1\n", "no column 'concurrency'"),
    (HEAD + "h100-sxm,vllm,llama-3.1-8b,bf16,1,,,,0,64,4,\n", "concurrency '0', expected a whole number from 1"),
    (HEAD + "h100-sxm,vllm,llama-3.1-8b,bf16,1,,,,,64,4,\n", "no concurrency"),
    (HEAD + "h100-sxm,vllm,llama-3.1-8b,bf16,1,,,,1,64\n", "10 cells, expected 12"),
    (
        HEAD.replace("precision", "precison") + "h100-sxm,vllm,llama-3.1-8b,fp8,1,,,,1,64,4,\n",
        "did you mean 'precision'?",
    ),
    (HEAD + "h100-x8,vllm,llama-3.1-8b,bf16,1,,,,1,64,4,\n", "did you mean 'h100-sxm-x8'?"),
    (HEAD + "h100-smx,vllm,llama-3.1-8b,bf16,1,,,,1,64,4,\n", "system 'h100-smx'"),
    (HEAD + "h100-sxm,vlm,llama-3.1-8b,bf16,1,,,,1,64,4,\n", "software 'vlm'"),
    (HEAD + "h100-sxm,vllm,llama-3.1-9b,bf16,1,,,,1,64,4,\n", "model 'llama-3.1-9b'"),
    (HEAD + "h100-sxm,vllm,llama-3.1-8b,fp7,1,,,,1,64,4,\n", "precision 'fp7', expected one of bf16"),
    (HEAD + "h100-sxm,vllm,llama-3.1-8b,bf16,1.5,,,,1,64,4,\n", "tp '1.5'"),
]


NUMBERS = [
    ({"concurrency": 0}, "concurrency: got 0, expected a whole number from 1 to 65536"),
    ({"concurrency": -1}, "concurrency: got -1, expected"),
    ({"concurrency": 1.5}, "concurrency: got 1.5 of type float, expected"),
    ({"isl": 10.7}, "isl: got 10.7 of type float"),
    ({"isl": "a"}, "isl: got 'a' of type str"),
    ({"osl": None}, "osl: got None of type NoneType"),
    ({"tp": True}, "tp: got True, expected a whole number from 1 to 1048576"),
    ({"concurency": 2}, "got 'concurency', expected one of system, model"),
]


@pytest.mark.parametrize("given, words", NUMBERS, ids=[words for _, words in NUMBERS])
def test_numbers_that_are_none_are_input_errors(given, words):
    with pytest.raises(InputError) as caught:
        hwsim.point(**{**SMALL, "concurrency": 1, "isl": 64, "osl": 4, **given})
    assert words in str(caught.value)


def test_lengths_beyond_the_models_context_name_it(tmp_path):
    rows = run(
        tmp_path,
        HEAD
        + "wse-2-x2,waferllm,llama-2-13b,fp16,1,,,,1,4096,8,\n"
        + "h100-sxm,vllm,llama-3.1-8b,bf16,1,,,,1,10000000,4,\n",
    )
    assert (
        "got 4096 + 8 tokens, prompt and output, expected at most the 4096 positions of llama-2-13b" in rows[0]["error"]
    )
    assert "got 10000000 + 4 tokens, prompt and output, expected at most the 131072 positions" in rows[1]["error"]


def test_a_chip_that_does_not_load_is_a_fault_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bare.yaml").write_text("kind: accelerator\nextends: h100-sxm\nclocks: {core: 1 GHz}\n")
    with pytest.raises(InputError) as caught:
        run(tmp_path, HEAD + "bare-x2,vllm,llama-3.1-8b,bf16,1,,,,1,64,4,\n")
    assert "in.csv:2: got system 'bare-x2', which does not load" in str(caught.value)
    assert "bare.yaml:3:16: accelerator.clocks.core: got '1 GHz' without source" in str(caught.value)


@pytest.mark.parametrize("text, words", BAD, ids=[words for _, words in BAD])
def test_a_malformed_file_is_refused_and_nothing_is_written(tmp_path, text, words):
    with pytest.raises(InputError) as caught:
        run(tmp_path, text)
    assert words in str(caught.value)


def test_every_fault_of_a_file_is_told_with_its_line(tmp_path):
    text = HEAD + "h100-sxm,vllm,llama-3.1-8b,bf16,1,,,,-1,64,4,\n" + "nowhere,vllm,llama-3.1-8b,bf16,1,,,,1,x,4,\n"
    with pytest.raises(InputError) as caught:
        run(tmp_path, text)
    assert [fault.where.rsplit(":", 1)[1] for fault in caught.value.faults] == ["2", "3", "3"]


def test_regions_are_read_as_rows_by_columns(tmp_path):
    head = HEAD.replace("note", "decode_region")
    with pytest.raises(InputError, match="660x660"):
        run(tmp_path, head + "wse-2,waferllm,llama-3-8b,fp16,1,,,,1,64,4,660\n")
