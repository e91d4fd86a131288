"""`hwsim memory DEVICE --curve`: file, table, picture, and refusals."""

from __future__ import annotations

import csv

import pytest
from click.testing import CliRunner

from hwsim.cli.memory import command
from hwsim.errors import InputError

QUICK = ("--lines", "1000", "--mix", "1:0", "--mix", "2:1")


def run(*words: object):
    result = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_file_has_the_columns_of_the_curve(tmp_path):
    run("cxl2-x8-expander", "--curve", "-o", tmp_path / "out.csv", *QUICK)
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["reads", "writes", "offered_gbps", "achieved_gbps", "latency_p50_ns", "latency_mean_ns"]
    assert {(row["reads"], row["writes"]) for row in rows} == {("1", "0"), ("2", "1")}
    assert all(float(row["latency_mean_ns"]) > 240 for row in rows)


@pytest.mark.parametrize("name", ["cxl2-x8-expander", "ddr5-4800", "cxl-pool"])
def test_without_a_file_it_is_a_table(name):
    lines = run(name, "--curve", "--lines", "1000", "--mix", "2:1").splitlines()
    assert lines[0].split()[:2] == ["mix", "offered"] and lines[1].split()[0] == "2:1" and len(lines) == 14


def test_the_picture_is_written(tmp_path):
    run("cxl2-x8-expander", "--curve", "--plot", tmp_path / "out.png", *QUICK)
    assert (tmp_path / "out.png").read_bytes()[1:4] == b"PNG"


def test_the_same_seed_gives_the_same_file(tmp_path):
    for name in ("a", "b"):
        run("cxl2-x8-expander", "--curve", "-o", tmp_path / name, *QUICK, "--seed", 5)
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()


def test_an_override_changes_the_curve(tmp_path):
    slow = run("cxl2-x8-expander", "--curve", *QUICK, "--set", "controller.read_path=5 GB/s")
    assert max(float(line.split()[2]) for line in slow.splitlines()[1:14]) < 5.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("h100-sxm", "--curve"), "expected a device or a memory"),
        (("cxl2-x8-expander", "--curve", "--mix", "2"), "--mix: got '2', expected READS:WRITES"),
        (("cxl2-x8-expander", "--curve", "--mix", "0:0"), "--mix: got '0:0'"),
        (("cxl2-x8-expander", "--curve", "--lines", "10"), "--lines: got 10, expected 1000 to 10000000"),
        (("cxl2-x8-expander", "--curve", "--queues", "8"), "no --queues with --curve"),
        (("cxl2-x8-expander", "--curve", "-o", "/nowhere/out.csv"), "a file in a folder that exists"),
        (("gddr6-18000", "--set", "commands=null", "--curve"), "a memory without `commands`"),
        (("hbm3-6400",), "neither REQUESTS nor --curve nor --law"),
        (("hbm3-6400", "requests.txt", "--mix", "1:0"), "no --mixes with a run of requests"),
        (("h100-sxm", "--law"), "expected a device or a memory"),
        (("hbm3-6400", "--law", "--mix", "1:0"), "no --mixes with --law"),
        (("cxl2-x8-expander", "--law", "--queues", "8"), "no --queues with --law of a device"),
    ],
)
def test_what_makes_no_sense_is_refused(options, words):
    with pytest.raises(InputError) as caught:
        CliRunner().invoke(command, list(options), catch_exceptions=False)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--lines", "10", "--lines: got 10, expected 1000 to 10000000"),
        ("--lines", "1000000000000000", "--lines: got 1000000000000000, expected"),
        ("--streams", "0", "--streams: got 0, expected 1 to 65536"),
        ("--seed", "-1", "--seed: got -1, expected 0 to"),
    ],
)
def test_a_number_out_of_range_is_named(option, value, text):
    result = CliRunner().invoke(command, ["hbm3-6400", "--curve", option, value])
    assert isinstance(result.exception, InputError)
    assert text in str(result.exception)


@pytest.mark.parametrize(("name", "least", "most"), [("hbm3-6400", 25, 60), ("cxl2-x8-expander", 240, 260)])
def test_laws_are_a_line_a_pattern(name, least, most):
    head, *lines = run(name, "--law").splitlines()
    assert [line.split()[0] for line in lines] == ["sequential", "paged", "write", "mixed", "random"]
    end = head.index("idle ns") + len("idle ns")
    assert all(least < float(line[:end].split()[-1]) < most for line in lines if not line.lstrip().startswith("write"))
