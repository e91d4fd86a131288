"""`hwsim memory`: files in and out, each bad line named."""

import numpy as np
import pytest
from click.testing import CliRunner

import hwsim
from hwsim.cli import cli
from hwsim.errors import InputError
from hwsim.memory import channel as rooms
from hwsim.memory.request_file import _refused


def run(*words: object):
    return CliRunner().invoke(cli, ["memory", *map(str, words)])


def write_requests(path, n: int = 500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    address, write = rng.integers(0, 1 << 20, n) * 32, rng.random(n) < 0.3
    tick = np.cumsum(rng.integers(0, 9, n))
    path.write_text("".join(f"{a:#x} {'WRITE' if w else 'READ'} {t}\n" for a, w, t in zip(address, write, tick)))
    return address, write, tick


def test_the_file_written_is_what_the_arrays_give(tmp_path):
    requests = write_requests(tmp_path / "requests.trace")
    result = run("hbm3-6400", tmp_path / "requests.trace", "-o", tmp_path / "out.csv", "--queues", 16)
    assert result.exit_code == 0 and result.output == "500 requests\n"
    ticks = hwsim.memory.run("hbm3-6400", *requests, queues=16)
    rows = zip(*requests[:2], *ticks)
    expected = [f"{i},{a:x},{'W' if w else 'R'},{t},{d}" for i, (a, w, t, d) in enumerate(rows)]
    assert (tmp_path / "out.csv").read_text().splitlines() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["requests.trace", "out.csv"]


@pytest.mark.shared
def test_a_golden_run_is_written_byte_for_byte(shared, tmp_path):
    golden = shared / "golden/dram"
    result = run(
        "hbm3-6400", golden / "requests/mix2r1w_rand32_3k.trace", "-o", tmp_path / "out.csv", "--scheduler",
        "frfcfs-rowhit", "--mapping", "mop4clxor", "--queues", 32, "--refresh", "all-bank",
    )  # fmt: skip
    assert result.exit_code == 0
    expected = golden / "runs/hbm3-frrh-mop4-q32-refab__mix2r1w_rand32_3k.req.csv"
    assert (tmp_path / "out.csv").read_bytes() == expected.read_bytes()


def test_the_summary_says_what_bound_the_run(tmp_path):
    write_requests(tmp_path / "requests.trace")
    result = run("hbm3-6400", tmp_path / "requests.trace", "--summary", "--refresh", "none")
    assert result.exit_code == 0
    words = ("requests", "bandwidth", "read latency", "with refresh", "row hits", "data bus", "open rows", "bound")
    assert all(word in result.output for word in words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0x21 READ 9", "requests.trace:3: got address 0x21, expected a multiple of 32"),
        ("0x40000000 READ 9", "requests.trace:3: got address 0x40000000, expected one below the channel's capacity"),
        ("0x20 READ 4", "requests.trace:3: got earliest tick 4 after 5, expected ticks that never decrease"),
        ("0x20 LOAD 9", "requests.trace:3: got operation 'LOAD', expected READ or WRITE"),
        ("20 READ 9", "requests.trace:3: got address '20', expected hexadecimal digits after 0x"),
        ("0x20 READ -9", "requests.trace:3: got earliest tick '-9', expected a whole number"),
        ("0x20 R\x00\x01 9", "requests.trace:3: got byte 0x00, which is no text, expected 0xADDRESS"),
        ("0x20 READ", "requests.trace:3: got '0x20 READ', expected 0xADDRESS READ|WRITE earliest_tick"),
        ("", "requests.trace:3: got an empty line"),
        ("0xffffffffffffffffff READ 9", "requests.trace:3: got '0xffffffffffffffffff', expected numbers below 2^57"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(tmp_path, line, words):
    file = tmp_path / "requests.trace"
    file.write_text(f"0x0 READ 0\n0x20 WRITE 5\n{line}\n0x40 READ 9\n")
    result = run("hbm3-6400", file, "-o", tmp_path / "out.csv")
    assert isinstance(result.exception, InputError) and words in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["requests.trace"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--queues", "0"], "queues: got 0, expected 1 to 1024 entries"),
        (["--refresh", "some"], "refresh: got 'some', expected none or all-bank or per-bank"),
        (["--mapping", "mine"], "mapping: got 'mine', expected a mapping: mop4clxor, robaracoch"),
        (["--scheduler", "fcfs"], "scheduler: got 'fcfs', expected frfcfs or frfcfs-rowhit"),
        (["--set", "commands.timings.RFC=30"], "a time or clocks: '16.25 ns'"),
    ],
)
def test_a_bad_option_is_named(tmp_path, options, words):
    write_requests(tmp_path / "requests.trace")
    result = run("hbm3-6400", tmp_path / "requests.trace", "-o", tmp_path / "out.csv", *options)
    assert isinstance(result.exception, InputError) and words in str(result.exception)


def test_an_override_changes_the_run(tmp_path):
    requests = write_requests(tmp_path / "requests.trace")
    plain = hwsim.memory.run("hbm3-6400", *requests)
    slow = hwsim.memory.run("hbm3-6400", *requests, sets=("commands.timings.RCDRD=25 ns",))
    assert slow.depart.sum() > plain.depart.sum()


def test_a_file_without_an_end_of_line_and_one_of_another_system_are_read(tmp_path):
    file = tmp_path / "requests.trace"
    file.write_bytes(b"0x0 READ 0\r\n0x20 WRITE 5")
    result = run("hbm3-6400", file, "-o", tmp_path / "out.csv", "--refresh", "none")
    assert result.exit_code == 0 and len((tmp_path / "out.csv").read_text().splitlines()) == 2


def test_writes_that_wait_for_ever_do_not_hold_the_answers_in_memory(monkeypatch):
    """Reads keep coming, so a write is answered last and all pieces wait for it."""
    monkeypatch.setattr(rooms, "PIECE", 64)
    monkeypatch.setattr(rooms, "_HELD", 4)
    n = 5000
    address, write = np.arange(n) * 32, np.zeros(n, np.uint8)
    write[100] = 1
    ticks = hwsim.memory.run("hbm3-6400", address, write, np.zeros(n, np.int64), refresh="none")
    assert ticks.depart[100] > ticks.depart[-100] and (ticks.depart >= 0).all()
    monkeypatch.undo()
    whole = hwsim.memory.run("hbm3-6400", address, write, np.zeros(n, np.int64), refresh="none")
    assert np.array_equal(whole.depart, ticks.depart) and np.array_equal(whole.arrive, ticks.arrive)


def test_every_bad_line_of_a_file_is_named(tmp_path):
    file = tmp_path / "requests.trace"
    file.write_text("0x40 READ 0\n0x40 REED 0\n0x41 READ 3\n0x40 READ 2\n0x40 READ 3\n0x80")
    found = run("ddr5-4800", file, "--summary").exception
    assert isinstance(found, InputError)
    assert [fault.where.rpartition(":")[2] for fault in found.faults] == ["2", "3", "4", "6"]


def test_a_line_that_never_ends_is_refused():
    assert "got '" in str(_refused(b"0" * 5000, "file:1"))


def test_a_file_without_requests_is_refused(tmp_path):
    (tmp_path / "requests.trace").write_text("")
    result = run("hbm3-6400", tmp_path / "requests.trace", "-o", tmp_path / "out.csv")
    assert isinstance(result.exception, InputError)
    assert "requests.trace:1: got an empty file, expected a request a line: 0xADDRESS" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["requests.trace"]


def test_answers_never_replace_the_requests_or_a_folder(tmp_path):
    write_requests(tmp_path / "requests.trace")
    for target, text in (("requests.trace", "another file than the requests"), (".", "a folder")):
        result = run("hbm3-6400", tmp_path / "requests.trace", "-o", tmp_path / target)
        assert isinstance(result.exception, InputError)
        assert text in str(result.exception)
