"""The cache of results: what was put in is found again, and no accident makes it answer wrongly."""

import multiprocessing
import os
import shutil
import signal
import stat
import time
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hwsim import memo
from hwsim.analyse.point import ROOMS
from hwsim.cli import cli
from hwsim.errors import InputError

KEY = {"kind": "gemm", "rate": Fraction(7, 3), "dims": (1, 2)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(memo, "_warned", set())
    monkeypatch.setattr(memo, "_written", [])
    return tmp_path / "cache"


def rows(start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Questions and the samples that belong to them."""
    number = np.arange(start, start + count, dtype=np.int64)
    return np.stack([number, -number], axis=1), np.stack([number * 3, number + 1, number], axis=1)


def fill(start: int, count: int) -> memo.Table:
    table = memo.Table(KEY, 2, 3)
    table.put(*rows(start, count))
    table.flush()
    return table


def assert_known(table: memo.Table, start: int, count: int) -> None:
    questions, expected = rows(start, count)
    found, samples = table.get(questions)
    assert found.all()
    assert np.array_equal(samples, expected)


def shards(cache: Path, suffix: str = ".shard") -> list[Path]:
    return sorted(cache.rglob(f"*{suffix}"))


def test_rows_that_others_write_are_found_by_a_table_that_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "LOOKING", 0)
    open_before = memo.Table(KEY, 2, 3)
    other = fill(0, 10)
    assert_known(open_before, 0, 10)
    other.put(*rows(10, 10))
    other.flush()
    assert_known(open_before, 0, 20)
    assert len(open_before) == 20


def test_rows_are_found_before_and_after_they_are_written() -> None:
    table = memo.Table(KEY, 2, 3)
    table.put(*rows(0, 10))
    assert_known(table, 0, 10)
    table.flush()
    assert_known(memo.Table(KEY, 2, 3), 0, 10)


def test_an_unknown_question_is_not_found_and_its_sample_is_zero() -> None:
    found, samples = fill(0, 10).get(np.array([[3, -3], [3, 3]]))
    assert found.tolist() == [True, False]
    assert samples.tolist() == [[9, 4, 3], [0, 0, 0]]


def test_an_empty_table_answers_nothing() -> None:
    found, samples = memo.Table(KEY, 2, 3).get(rows(0, 4)[0])
    assert not found.any() and not samples.any()


@pytest.mark.parametrize("other", [{**KEY, "rate": Fraction(7, 4)}, {**KEY, "more": None}, {**KEY, "dims": (2, 1)}])
def test_another_key_is_another_table(other: dict[str, object]) -> None:
    fill(0, 10)
    assert len(memo.Table(other, 2, 3)) == 0


def test_the_order_of_a_keys_entries_does_not_matter() -> None:
    fill(0, 10)
    assert_known(memo.Table(dict(reversed(KEY.items())), 2, 3), 0, 10)


def test_other_code_is_another_table(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(0, 10)
    monkeypatch.setattr(memo, "code_version", lambda: "other")
    assert len(memo.Table(KEY, 2, 3)) == 0


def test_a_changed_metric_changes_what_is_kept_of_points_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "hwsim"
    shutil.copytree(Path(memo.__file__).parent, package, ignore=shutil.ignore_patterns("*.so", "*.pyc", "*.pyx"))
    monkeypatch.setattr(memo, "__file__", str(package / "memo.py"))
    version = memo.code_version.__wrapped__
    for room in ROOMS:
        before, samples = version(*ROOMS), version()
        file = next(iter(sorted((package / room).glob("*.py"))))
        file.write_text(file.read_text() + "# another rule\n")
        assert version(*ROOMS) != before
        assert version() == samples


def test_a_float_in_a_key_is_refused() -> None:
    with pytest.raises(TypeError, match="only exact values"):
        memo.Table({"rate": object()}, 1, 1)
    with pytest.raises(TypeError, match="float"):
        memo.Table({"rates": [0.5]}, 1, 1)


def test_rows_of_the_wrong_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(N, 2\)"):
        memo.Table(KEY, 2, 3).get(np.zeros((4, 3), dtype=np.int64))


def test_a_process_keeps_one_shard_that_grows(cache: Path) -> None:
    table = fill(0, 10)
    for start in range(10, 60, 10):
        table.put(*rows(start, 10))
        table.flush()
    assert len(shards(cache)) == 1
    assert_known(memo.Table(KEY, 2, 3), 0, 60)


def test_many_shards_are_merged_into_one(cache: Path) -> None:
    for start in range(0, 120, 10):
        fill(start, 10)
    table = memo.Table(KEY, 2, 3)
    assert len(shards(cache)) <= memo.MERGE_ABOVE
    assert_known(table, 0, 120)
    assert_known(memo.Table(KEY, 2, 3), 0, 120)


@pytest.mark.parametrize("place", [0, 9, 20, 70, -1])
def test_a_damaged_shard_is_set_aside_and_its_rows_are_unknown(cache: Path, place: int) -> None:
    fill(0, 10)
    [shard] = shards(cache)
    data = bytearray(shard.read_bytes())
    data[place] ^= 1
    shard.write_bytes(data)
    with pytest.warns(UserWarning, match="set aside"):
        table = memo.Table(KEY, 2, 3)
    assert not table.get(rows(0, 10)[0])[0].any()
    assert len(shards(cache, ".bad")) == 1
    table.put(*rows(0, 10))
    table.flush()
    assert_known(memo.Table(KEY, 2, 3), 0, 10)


@pytest.mark.parametrize("size", [0, 7, 40, 200])
def test_a_shard_cut_short_is_set_aside(cache: Path, size: int) -> None:
    fill(0, 10)
    [shard] = shards(cache)
    os.truncate(shard, size)
    with pytest.warns(UserWarning, match="set aside"):
        assert len(memo.Table(KEY, 2, 3)) == 0


def write_for_ever(start: int) -> None:
    table = memo.Table(KEY, 2, 3)
    while True:
        table.put(*rows(start, 200))
        table.flush()
        start += 200


def test_a_kill_in_mid_write_loses_nothing_that_was_whole(cache: Path) -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=write_for_ever, args=(0,), daemon=True)
    process.start()
    deadline = time.monotonic() + 30
    while not shards(cache) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = memo.Table(KEY, 2, 3)
    assert len(table) > 0 and len(table) % 200 == 0
    assert_known(table, 0, len(table))


def test_processes_that_write_at_once_all_find_their_rows() -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=fill, args=(start, 150)) for start in (0, 100)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert_known(memo.Table(KEY, 2, 3), 0, 250)


def test_a_folder_that_cannot_be_written_costs_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("HWSIM_CACHE", str(blocked / "cache"))
    with pytest.warns(UserWarning, match="cannot be written") as seen:
        first = fill(0, 10)
        fill(10, 10)
    assert len(seen) == 1
    assert_known(first, 0, 10)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_is_still_read(cache: Path) -> None:
    fill(0, 10)
    home = shards(cache)[0].parent
    home.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert_known(memo.Table(KEY, 2, 3), 0, 10)
    finally:
        home.chmod(stat.S_IRWXU)


def test_the_tables_not_used_for_longest_go_when_the_cache_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        table = memo.Table({"table": number}, 2, 3)
        table.put(*rows(0, 1000))
        table.flush()
        time.sleep(0.02)
    size = memo.usage().size_bytes
    monkeypatch.setenv("HWSIM_CACHE_BYTES", str(size))
    memo.Table({"table": 0}, 2, 3)  # used again, so table 1 is the oldest
    table = memo.Table({"table": 4}, 2, 3)
    table.put(*rows(0, 1000))
    table.flush()
    assert [len(memo.Table({"table": number}, 2, 3)) for number in range(5)] == [1000, 0, 1000, 1000, 1000]


def test_a_cap_that_is_no_number_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWSIM_CACHE_BYTES", "2 GB")
    with pytest.raises(InputError, match="HWSIM_CACHE_BYTES: got '2 GB', expected a whole number of bytes"):
        memo.usage()


def test_two_questions_of_one_hash_are_never_mixed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "_digest", lambda questions: np.zeros(len(questions), dtype=np.int64))
    questions, expected = rows(0, 10)
    found, samples = fill(0, 10).get(questions)
    assert found.sum() == 1
    assert np.array_equal(samples[found], expected[found])


def test_a_hundred_thousand_rows_load_quickly() -> None:
    table = memo.Table(KEY, 2, 3)
    table.put(*rows(0, 100_000))
    table.flush()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        memo.Table(KEY, 2, 3)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05


def test_the_verb_shows_and_clears(cache: Path) -> None:
    fill(0, 10)
    (cache / "mine.txt").write_text("not hwsim's")
    shown = CliRunner().invoke(cli, ["cache"])
    assert "10 results in 1 tables" in shown.output and str(cache) in shown.output
    cleared = CliRunner().invoke(cli, ["cache", "--clear"])
    assert cleared.exit_code == 0 and "deleted 10 results" in cleared.output
    assert memo.usage().rows == 0
    assert (cache / "mine.txt").is_file()
