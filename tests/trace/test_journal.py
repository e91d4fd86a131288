"""A run killed at any moment: every write to the disk cut short in turn, and what a reader finds then."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from hwsim.errors import HwsimError, InputError
from hwsim.trace import TABLES, Writer, open_trace
from hwsim.trace.columns import Column, Table
from hwsim.trace.journal import Journal

CHUNK = 8  # small chunks split the nodes of HDF5's index within a short test
TABLE = Table("step", "steps", CHUNK, {"tokens": Column("i4", "1", "a"), "start_ps": Column("i8", "ps", "b")})
Change = tuple[str, int, bytes]


def run(path: Path, commits: int) -> None:
    """A run that commits one chunk after the other and is never closed."""
    writer = Writer(path, {"system": {"name": "x" * 300}}, level="steps")
    for chunk in range(commits):
        rows = np.arange(chunk * CHUNK, (chunk + 1) * CHUNK)
        writer.append("steps", {"tokens": rows, "start_ps": rows * 10**12})


def recorded(path: Path, commits: int, monkeypatch: pytest.MonkeyPatch) -> list[Change]:
    """All changes that a run makes to its file, in order."""
    changes: list[Change] = []
    write, truncate = os.pwrite, os.ftruncate

    def pwrite(descriptor: int, data: memoryview, at: int) -> int:
        changes.append(("write", at, bytes(data)))
        return write(descriptor, data, at)

    def ftruncate(descriptor: int, size: int) -> None:
        changes.append(("truncate", size, b""))
        truncate(descriptor, size)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", pwrite)
        patched.setattr(os, "ftruncate", ftruncate)
        run(path, commits)
    return changes


def apply(content: bytearray, change: Change, part: float = 1.0) -> bytearray:
    """A file's bytes after one change, of a write its first part only."""
    what, at, data = change
    data = data[: int(len(data) * part)]
    size = at if what == "truncate" else max(len(content), at + len(data))
    changed = content[:size] + bytes(max(0, size - len(content)))
    changed[at : at + len(data)] = data
    return changed


def committed_rows(path: Path) -> int:
    """Rows that can be read, after a look at each; -1 while the file says that it is damaged."""
    try:
        trace = open_trace(path)
    except InputError:
        return -1
    rows = trace.rows.get("steps", 0)
    np.testing.assert_array_equal(trace.steps.get("tokens", []), np.arange(rows))
    np.testing.assert_array_equal(trace.steps.get("start_ps", []), np.arange(rows) * 10**12)
    return rows


def test_rows_once_committed_stay_readable_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fuzz_share: float
) -> None:
    monkeypatch.setitem(TABLES, "steps", TABLE)
    changes = recorded(tmp_path / "run.h5", 140, monkeypatch)
    assert len(changes) > 1000
    killed, content = tmp_path / "killed.h5.part", bytearray()
    random, seen = np.random.default_rng(2), [-1]
    for number, change in enumerate(changes):
        if number < 10 or random.random() < fuzz_share:
            killed.write_bytes(apply(content, change, random.choice([0.3, 0.7, 1.0])))
            rows = committed_rows(killed)
            assert rows >= seen[-1]
            seen.append(rows)
        content = apply(content, change)
    assert seen[1] == -1  # nothing can be read before the first commit
    assert len(set(seen)) > 20


def test_the_committed_file_is_the_one_that_plain_hdf5_would_have_written(tmp_path: Path) -> None:
    """Reads, overlapping writes and commits in random order against a plain byte array."""
    random = np.random.default_rng(3)
    for case in range(20):
        journal, expected = Journal.create(tmp_path / f"{case}"), bytearray()
        for _ in range(200):
            at, data = int(random.integers(0, 400)), random.bytes(int(random.integers(1, 60)))
            expected = apply(expected, ("write", at, data))
            journal.seek(at)
            journal.write(data)
            if random.random() < 0.1:
                journal.commit()
            at, count = int(random.integers(0, 460)), int(random.integers(0, 99))
            journal.seek(at)
            assert journal.read(count) == bytes(expected[at : at + count])
        journal.finish()
        assert (tmp_path / f"{case}").read_bytes() == bytes(expected)


def test_a_commit_that_was_not_put_in_place_is_read_from_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.create(tmp_path / "file")
    journal.write(b"old old old")
    journal.commit()
    journal.seek(4)
    journal.write(b"new")
    assert (tmp_path / "file").read_bytes() == b"old old old"
    written: list[bytes] = []
    monkeypatch.setattr(journal, "_put", lambda data, at: written.append(data))
    journal.commit()
    journal.close()
    record = written[0]
    for content, expected in ((record, b"old new old"), (record[:-1], b"old old old"), (b"", b"old old old")):
        (tmp_path / "killed").write_bytes(b"old old old" + content)
        found = Journal.of(tmp_path / "killed")
        assert found.read(11) == expected
        found.close()


def test_a_full_disk_is_named_and_keeps_what_was_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLES, "steps", TABLE)
    write, written = os.pwrite, []

    def pwrite(descriptor: int, data: memoryview, at: int) -> int:
        written.append(at)
        if len(written) > 200:
            raise OSError(errno.ENOSPC, "full")
        return write(descriptor, data, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(HwsimError) as caught, Writer(tmp_path / "run.h5", level="steps") as writer:
        for _ in range(100):
            writer.append("steps", {"tokens": np.arange(CHUNK), "start_ps": np.arange(CHUNK)})
    part = tmp_path / "run.h5.part"
    assert str(caught.value).startswith(f"{part}: got no space left on device, expected room for the trace; the rows")
    assert 0 < open_trace(part).rows["steps"] < 100 * CHUNK
    assert not (tmp_path / "run.h5").exists()
