"""Request files: what comes out of good ones, what is said about bad ones."""

import gzip
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from hwsim.errors import InputError
from hwsim.workload import RequestTable, load

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
ROW = "2023-11-16 18:15:46.6805900,374,44"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "trace.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def azure(*rows: str) -> str:
    return "\r\n".join((HEADER, *rows)) + "\r\n"


def mooncake(**change: object) -> str:
    return json.dumps({"timestamp": 3, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]} | change) + "\n"


def message(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        load(path, **options)
    return str(caught.value).replace(str(path), "FILE")


# good files ---------------------------------------------------------------------------------------------------------


def test_azure_stamps_become_exact_picoseconds(write: Write) -> None:
    table = load(write(azure(ROW, "2023-11-16 18:15:50.9951691,396,109")))
    assert table.arrival_ps.tolist() == [0, 4_314_579_100_000]
    assert (table.total_prompt_tokens, table.total_output_tokens, table.format) == (770, 153, "azure-csv")


@pytest.mark.parametrize(
    ("stamp", "after_ps"),
    [
        ("2024-05-10 00:00:01+00:00", 10**12),
        ("2024-05-10 00:00:00.009930+00:00", 9_930_000_000),
        ("2024-05-10T00:00:00.269Z", 269 * 10**9),
        ("2024-05-10 02:00:00.5+02:00", 5 * 10**11),
        ("2024-05-09 23:30:00-01:00", 1800 * 10**12),
        ("2024-05-10 00:00:00.000000000001", 1),
        ("2024-05-11 00:00:00", 86400 * 10**12),
    ],
)
def test_every_written_form_of_a_stamp_is_read(write: Write, stamp: str, after_ps: int) -> None:
    table = load(write(azure("2024-05-10 00:00:00+00:00,1,1", f"{stamp},2,2")))
    assert table.arrival_ps.tolist() == [0, after_ps]


def test_days_follow_the_calendar(write: Write) -> None:
    for first, last in (("2024-02-28", "2024-03-01"), ("2023-12-31", "2024-01-02"), ("2000-02-28", "2000-03-01")):
        assert load(write(azure(f"{first} 00:00:00,1,1", f"{last} 00:00:00,1,1"))).span_ps == 2 * 86400 * 10**12


def test_byte_order_mark_unix_lines_blank_lines_and_a_missing_last_line_end_are_accepted(write: Write) -> None:
    text = f"\ufeff{HEADER}\n\n{ROW}\n{ROW.replace('46.', '47.')}"
    assert load(write(text)).arrival_ps.tolist() == [0, 10**12]


def test_requests_out_of_order_are_sorted_and_equal_arrivals_keep_their_order(write: Write) -> None:
    rows = [f"2024-05-10 00:00:0{second},{tokens},1" for second, tokens in ((2, 1), (1, 2), (2, 3), (1, 4))]
    table = load(write(azure(*rows)))
    assert table.prompt_tokens.tolist() == [2, 4, 1, 3]
    assert table.notes == ("2 requests stood behind a later one: sorted, equal arrivals in file order",)


def test_columns_are_found_by_name_and_the_unused_are_named(write: Write) -> None:
    text = "TIMESTAMP,NumImages,GeneratedTokens,ContextTokens\n2024-10-15T12:00:00.269Z,3,491,770\n"
    table = load(write(text))
    assert (table.prompt_tokens.tolist(), table.output_tokens.tolist()) == ([770], [491])
    assert table.notes == ("columns not used: NumImages",)


def test_failed_requests_are_left_out_when_asked_and_counted(write: Write) -> None:
    table = load(write(azure(ROW, ROW.replace(",44", ",0"))), failures="drop")
    assert len(table) == 1
    assert table.notes == ("1 rows left out: failed requests, 0 output tokens",)
    table = load(write(mooncake() + mooncake(output_length=0)), failures="drop")
    assert len(table) == 1


def test_mooncake_ids_stay_with_their_request_and_become_dense(write: Write) -> None:
    lines = mooncake(timestamp=2000, hash_ids=[7, 900]) + mooncake(timestamp=1000, hash_ids=[7, 5])
    table = load(write(lines, "trace.jsonl"))
    assert table.arrival_ps.tolist() == [0, 10**12]
    assert table.prefix_ids.tolist() == [0, 1, 0, 2]
    assert (table.prefix_offset.tolist(), table.prefix_block_tokens) == ([0, 2, 4], 512)


def test_first_requests_and_rate_scale_are_exact(write: Write) -> None:
    rows = [f"2024-05-10 00:00:0{second},1,1" for second in range(5)]
    table = load(write(azure(*rows)), requests=3, rate_scale="1.5")
    assert table.arrival_ps.tolist() == [0, 666_666_666_666, 1_333_333_333_333]
    assert table.notes == ("first 3 of 5 requests", "arrivals 3/2 times as fast")
    assert load(write(azure(*rows)), rate_scale=0.1).arrival_ps[1] == 10**13


def test_rate_scale_equals_exact_fractions_for_any_factor() -> None:
    arrival = np.sort(np.random.default_rng(1).integers(0, 2**61, 200))
    arrival -= arrival[0]
    ones = np.ones(200, np.int64)
    table = RequestTable.of(arrival, ones, ones)
    for scale in (Fraction(3, 7), Fraction(2**31 - 1, 2**30), Fraction(10**12 + 1, 10**12), Fraction("1.000001")):
        if table.span_ps / scale <= 2**62:
            assert table.scaled(scale).arrival_ps.tolist() == [int(int(a) / scale) for a in arrival]


@pytest.mark.shared
def test_the_azure_conversation_trace_is_accounted_for_exactly(shared: Path) -> None:
    table = load(shared / "traces/azure2023/AzureLLMInferenceTrace_conv.csv")
    assert (len(table), table.total_prompt_tokens, table.total_output_tokens) == (19_366, 22_361_870, 4_088_665)
    assert table.span_ps == 3_501_721_937_000_000


@pytest.mark.shared
def test_the_mooncake_conversation_trace_is_accounted_for_exactly(shared: Path) -> None:
    table = load(shared / "traces/mooncake/conversation_trace.jsonl")
    assert (len(table), table.total_prompt_tokens, table.total_output_tokens) == (12_031, 144_793_823, 4_122_048)
    assert (len(table.prefix_ids), int(table.prefix_ids.max()) + 1) == (288_500, 288_500 - 105_710)


@pytest.mark.shared
def test_samples_of_other_years_load(shared: Path) -> None:
    for name in ("azure2024_code_head", "azure2024_conv_head", "azure2025_lmm_head"):
        assert len(load(shared / f"traces/samples/{name}.csv")) == 5


# bad files ----------------------------------------------------------------------------------------------------------

BAD_AZURE = {
    "zero prompt": (
        azure(ROW.replace("374", "0")),
        "FILE:2:29: got ContextTokens '0', expected a whole number of tokens",
    ),
    "zero output": (azure(ROW.replace("44", "0")), "FILE:2:33: got GeneratedTokens '0', expected a whole number"),
    "failure is explained": (azure(ROW.replace("44", "0")), "a request that failed; load with failures='drop'"),
    "negative": (
        azure(ROW.replace("374", "-1")),
        "FILE:2:29: got ContextTokens '-1', expected a whole number of tokens",
    ),
    "nan": (azure(ROW.replace("374", "nan")), "FILE:2:29: got ContextTokens 'nan', expected a whole number of tokens"),
    "float": (azure(ROW.replace("374", "374.0")), "FILE:2:29: got ContextTokens '374.0'"),
    "empty field": (azure(ROW.replace("374", "")), "FILE:2:29: got ContextTokens '', expected a whole number"),
    "absurd tokens": (azure(ROW.replace("374", "100000001")), "from 1 to 100000000"),
    "absurd digits": (azure(ROW.replace("374", "9" * 300)), "FILE:2:29: got ContextTokens '9999"),
    "month 13": (
        azure(ROW.replace("11-16", "13-16")),
        "FILE:2:1: got TIMESTAMP '2023-13-16 18:15:46.6805900', expected a stamp",
    ),
    "30 february": (azure(ROW.replace("11-16", "02-30")), "FILE:2:1: got TIMESTAMP '2023-02-30"),
    "29 february 2023": (azure(ROW.replace("11-16", "02-29")), "FILE:2:1: got TIMESTAMP '2023-02-29"),
    "hour 24": (azure(ROW.replace("18:", "24:")), "FILE:2:1: got TIMESTAMP '2023-11-16 24:15"),
    "word for a stamp": (azure("yesterday,1,1"), "FILE:2:1: got TIMESTAMP 'yesterday', expected a stamp like"),
    "epoch seconds": (azure("1700158546.68,1,1"), "FILE:2:1: got TIMESTAMP '1700158546.68'"),
    "dot without digits": (azure("2023-11-16 18:15:46.,1,1"), "FILE:2:1: got TIMESTAMP '2023-11-16 18:15:46.'"),
    "too few fields": (
        azure(ROW, "2023-11-16 18:15:47,12"),
        "FILE:3:1: got 2 fields in '2023-11-16 18:15:47,12', expected 3",
    ),
    "too many fields": (azure(ROW + ",7"), "FILE:2:1: got 4 fields in"),
    "cut off": (
        azure(ROW) + "2023-11-16 18:15:4",
        "FILE:3:1: got 1 fields in '2023-11-16 18:15:4', expected 3 fields; the file was cut off",
    ),
    "header alone": (azure(), "FILE: got a header and no request, expected at least one request"),
    "wrong century": (
        azure(ROW, ROW.replace("2023", "2123")),
        "FILE: got 36524 days between the first and the last stamp, expected at most 53 days",
    ),
    "all failed": (azure(ROW.replace(",44", ",0")), "FILE: got 0 generated tokens in every row"),
}


@pytest.mark.parametrize("name", BAD_AZURE)
def test_bad_azure_lines_are_named(write: Write, name: str) -> None:
    text, expected = BAD_AZURE[name]
    assert expected in message(write(text), failures="drop" if name == "all failed" else "refuse")


BAD_MOONCAKE = {
    "not json": ('{"timestamp": 1, "input_length": 5, "hash_ids": oops}\n', "FILE:1:49: got "),
    "cut off": (mooncake() + mooncake()[:40], "the file was cut off here: download it again or delete this line"),
    "not an object": (
        mooncake() + "[1, 2]\n",
        "FILE:2:1: got a list, expected a JSON object with timestamp, input_length",
    ),
    "key missing": (
        '{"input_length": 5, "hash_ids": [1]}\n',
        "got no timestamp, output_length among input_length, hash_ids",
    ),
    "nan": (mooncake(timestamp=float("nan")), "FILE:1:2: got timestamp nan, expected milliseconds, zero or more"),
    "infinity": (mooncake(timestamp=float("inf")), "got timestamp inf"),
    "negative time": (mooncake(timestamp=-1), "FILE:1:2: got timestamp -1, expected milliseconds"),
    "word for a time": (mooncake(timestamp="12"), "got timestamp 12, expected milliseconds"),
    "true": (mooncake(input_length=True), "FILE:1:18: got input_length True, expected a whole number of tokens"),
    "zero prompt": (mooncake(input_length=0, hash_ids=[]), "got input_length 0, expected a whole number of tokens"),
    "float tokens": (mooncake(output_length=5.5), "got output_length Decimal('5.5')"),
    "zero output": (
        mooncake(output_length=0),
        "FILE:1:39: got output_length 0, expected a whole number of tokens from 1",
    ),
    "too few ids": (
        mooncake(hash_ids=[1]),
        "FILE:1:59: got 1 hash_ids for 600 prompt tokens, expected 2 (one for each 512",
    ),
    "negative id": (mooncake(hash_ids=[1, -1]), "got hash_ids [1, -1], expected a list of whole numbers"),
    "huge id": (mooncake(hash_ids=[1, 2**63]), "expected a list of whole numbers, zero or more"),
    "deep": (mooncake() + "[" * 100_000 + "\n", "FILE:2:1: got "),
    "huge number": (mooncake() + '{"timestamp": ' + "9" * 5000 + "}\n", "FILE:2:1: got Exceeds the limit"),
    "seconds for ms": (mooncake() + mooncake(timestamp=10**13), "got 9999999999997 ms between the first and the last"),
}


@pytest.mark.parametrize("name", BAD_MOONCAKE)
def test_bad_mooncake_lines_are_named(write: Write, name: str) -> None:
    text, expected = BAD_MOONCAKE[name]
    assert expected in message(write(text, "trace.jsonl"))


BAD_FILES = {
    "empty": (b"", "FILE: got an empty file, expected a request file"),
    "blank": (b"\n \r\n", "FILE: got an empty file"),
    "gzip": (
        gzip.compress(azure(ROW).encode()),
        "FILE: got a gzip file, expected a request file in plain text (Azure CSV",
    ),
    "zip": (b"PK\x03\x04....", "got a zip archive or a spreadsheet"),
    "hdf5": (b"\x89HDF\r\n\x1a\n", "got an HDF5 file"),
    "utf-16": (azure(ROW).encode("utf-16"), "got UTF-16 text, expected a request file in plain text"),
    "web page": (b"<!DOCTYPE html><html>", "got a web page"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\n", "got a git-lfs pointer, not the file itself"),
    "binary": (b"\x7fELF\x02\x00\x01", "got a binary file (byte 5 is 0)"),
    "other csv": (
        b"Timestamp,Model,Request tokens\n5,ChatGPT,472\n",
        "FILE:1:1: got 'Timestamp,Model,Request tokens', expected CSV",
    ),
    "no header": (
        ROW.encode(),
        f"FILE:1:1: got '{ROW}', expected CSV with the header TIMESTAMP,ContextTokens,GeneratedTokens",
    ),
    "one long line": (b"x" * 10_000_000, "FILE:1:1: got 'xxxx"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_what_is_no_request_file_is_refused_by_what_it_is(write: Write, name: str) -> None:
    content, expected = BAD_FILES[name]
    assert expected in message(write(content))


def test_a_directory_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    assert "got a directory, expected a request file" in message(tmp_path)
    assert "got no such file or recipe, expected" in message(tmp_path / "none.csv")


def test_all_bad_lines_are_listed_in_order_and_a_flood_is_counted(write: Write) -> None:
    text = message(write(azure(*["x,1,1"] * 15, *["2023-11-16 18:15:46,0,1"] * 15)))
    assert text.count("\n") == 20
    assert text.splitlines()[0].startswith("FILE:2:1: got TIMESTAMP 'x'")
    assert text.splitlines()[-1] == "FILE: got 10 more bad lines, expected none"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"requests": 0}, "--requests: got 0, expected 1 to 1, the requests of trace"),
        ({"requests": 2}, "--requests: got 2, expected 1 to 1"),
        ({"rate_scale": "0"}, "--rate-scale: got 0, expected a number from 1e-6 to 1e6"),
        ({"rate_scale": "-1"}, "--rate-scale: got -1, expected"),
        ({"rate_scale": "nan"}, "--rate-scale: got 'nan', expected a number such as 1.5 or 3/2"),
        ({"rate_scale": "1/0"}, "--rate-scale: got '1/0', expected a number"),
        ({"rate_scale": "fast"}, "--rate-scale: got 'fast', expected"),
        ({"failures": "keep"}, "--failures: got 'keep', expected 'refuse' or 'drop'"),
    ],
)
def test_bad_options_are_named(write: Write, options: dict[str, object], expected: str) -> None:
    assert expected in message(write(azure(ROW)), **options)


def test_a_rate_scale_that_runs_past_the_clock_is_refused(write: Write) -> None:
    text = azure("2024-05-10 00:00:00,1,1", "2024-05-17 00:00:00,1,1")
    assert "--rate-scale: got 1/10, expected arrivals within 53 days" in message(write(text), rate_scale=0.1)
