"""The trace store: what is written is read back, everywhere; what is no whole trace is said to be so."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from hwsim._core.bounds import BOUND_CLASSES
from hwsim.errors import InputError
from hwsim.trace import TABLES, Trace, Writer, open_trace

CHUNK = TABLES["steps"].chunk


def columns(group: str, rows: int, first: int = 0) -> dict[str, np.ndarray]:
    """Every numeric column of a group, column i starting at first + i."""
    numeric = [name for name, column in TABLES[group].columns.items() if column.dtype != "str" and not column.labels]
    return {name: np.arange(first, first + rows) + i for i, name in enumerate(numeric)}


def write(path: Path, rows: int = 100, level: str = "steps") -> Path:
    with Writer(path, {"system": {"count": 8}}, level=level) as writer:
        writer.append("requests", columns("requests", rows))
        writer.append("steps", columns("steps", rows))
    return path


def message(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_trace(path)
    return str(caught.value).replace(str(path), "FILE")


@pytest.mark.parametrize("rows", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_rows_come_back_however_they_were_appended(tmp_path: Path, rows: int) -> None:
    path, expected = tmp_path / "out.h5", columns("steps", rows)
    with Writer(path, level="steps") as writer:
        for first in range(0, max(rows, 1), 1 + CHUNK // 3):
            writer.append("steps", {name: values[first : first + 1 + CHUNK // 3] for name, values in expected.items()})
    trace = open_trace(path)
    assert trace.rows == {"steps": rows}
    for name, values in expected.items():
        np.testing.assert_array_equal(trace.steps[name], values)


def test_texts_and_columns_by_bound_come_back(tmp_path: Path) -> None:
    bounds = np.arange(2 * len(BOUND_CLASSES)).reshape(2, -1)
    with Writer(tmp_path / "out.h5", level="operators") as writer:
        writer.append("operators", {"name": ["qkv", "größer"], "calls": [3, 4], "bound_ps": bounds})
    trace = open_trace(tmp_path / "out.h5")
    assert trace.operators["name"].tolist() == ["qkv", "größer"]
    np.testing.assert_array_equal(trace.operators["bound_ps"], bounds)


@pytest.mark.parametrize(
    "value",
    [
        "h100",
        "",
        "{not json",
        '["',
        "x" * 100_000,
        {"a": [1, 2.5, None]},
        [1, 2],
        7,
        2.5,
        True,
        None,
        {"t": "y" * 99_999},
    ],
)
def test_attributes_come_back_equal(tmp_path: Path, value: object) -> None:
    with Writer(tmp_path / "out.h5", {"value": "replaced below", "other": 1}) as writer:
        writer.set({"value": value})
    assert open_trace(tmp_path / "out.h5").attrs["value"] == value


def test_numpy_values_in_attributes_become_plain_numbers(tmp_path: Path) -> None:
    attrs = {"numbers": {"a": np.int64(3), "b": np.arange(2)}, "count": np.int64(5)}
    with Writer(tmp_path / "out.h5", attrs):
        pass
    found = open_trace(tmp_path / "out.h5").attrs
    assert (found["numbers"], found["count"]) == ({"a": 3, "b": [0, 1]}, 5)


def test_xarray_opens_a_group_and_sees_dimensions_units_and_long_names(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    path = tmp_path / "out.h5"
    with Writer(path, level="operators") as writer:
        writer.append("requests", columns("requests", 10))
        writer.append("operators", {"name": ["qkv"], "bound_ps": np.ones((1, 16), np.int64)})
    with xarray.open_dataset(path, group="requests") as requests:
        assert requests.sizes == {"request": 10}
        assert requests["arrival_ps"].attrs == {"units": "ps", "long_name": "arrival"}
        assert requests.load().equals(open_trace(path).to_xarray("requests"))
    with xarray.open_dataset(path, group="operators") as operators:
        assert operators["bound_ps"].dims == ("operator", "bound")
        assert operators["bound"].values.tolist() == list(BOUND_CLASSES)
        assert operators.load().equals(open_trace(path).to_xarray("operators"))


def test_pandas_has_one_column_for_each_bound(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    with Writer(tmp_path / "out.h5", level="operators") as writer:
        writer.append("operators", {"name": ["qkv"], "bound_ps": np.arange(16).reshape(1, 16)})
    frame = open_trace(tmp_path / "out.h5").to_pandas("operators")
    assert frame["bound_ps_vector"].tolist() == [1]
    assert frame.index.name == "operator"


def test_plain_h5py_reads_every_filter(tmp_path: Path) -> None:
    with h5py.File(write(tmp_path / "out.h5", CHUNK + 5)) as file:
        dataset = file["steps/tokens"]
        assert (dataset.compression, dataset.shuffle, dataset.chunks) == ("gzip", True, (CHUNK,))
        assert dataset[CHUNK + 4] == columns("steps", CHUNK + 5)["tokens"][-1]


def test_groups_above_the_record_level_are_not_written(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "out.h5", level="requests"))
    assert trace.groups == ("requests",)
    assert trace.steps == {}


def test_equal_runs_give_equal_files(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1.h5", 20_000), write(tmp_path / "2.h5", 20_000)
    assert one.read_bytes() == two.read_bytes()


def test_a_column_that_does_not_fit_its_type_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="tokens does not fit i4: from 0 to 2147483648"),
        Writer(tmp_path / "out.h5", level="steps") as writer,
    ):
        writer.append("steps", {"tokens": np.array([0, 2**31])})


def test_columns_must_be_registered_and_agree(tmp_path: Path) -> None:
    with Writer(tmp_path / "out.h5", level="steps") as writer:
        with pytest.raises(ValueError, match="steps has no column colour"):
            writer.append("steps", {"colour": [1]})
        writer.append("steps", {"tokens": [1], "padded": [1]})
        with pytest.raises(ValueError, match="appends of a group must agree"):
            writer.append("steps", {"tokens": [1]})
        with pytest.raises(ValueError, match=r"columns of different lengths \[1, 2\]"):
            writer.append("steps", {"tokens": [1], "padded": [1, 2]})


# a run that does not finish -------------------------------------------------------------------------------------------


def test_the_file_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    path = write(tmp_path / "out.h5", 10)
    before = path.read_bytes()
    writer = Writer(path, level="steps")
    writer.append("steps", columns("steps", 50))
    assert path.read_bytes() == before
    writer.close()
    assert open_trace(path).rows == {"steps": 50}
    assert not (tmp_path / "out.h5.part").exists()


def test_bad_input_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError), Writer(tmp_path / "out.h5"):
        raise InputError([])
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_leaves_its_committed_rows(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Writer(tmp_path / "out.h5", level="steps") as writer:
        writer.append("steps", columns("steps", 2 * CHUNK + 5))
        raise KeyboardInterrupt
    trace = open_trace(tmp_path / "out.h5.part")
    assert (trace.rows, trace.complete) == ({"steps": 2 * CHUNK}, False)
    assert trace.notes[0].endswith(f"the run did not finish; the rows committed until then are read: {2 * CHUNK} steps")


RUN = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_trace import CHUNK, columns
from hwsim.trace import Writer
writer = Writer({path!r}, {{"system": "h100"}}, level="steps")
print("ready", flush=True)
for chunk in range(1_000_000):
    writer.append("steps", columns("steps", CHUNK, chunk * CHUNK))
"""


def killed_after(path: Path, seconds: float) -> Trace:
    """The trace of a run that was killed without warning."""
    code = RUN.format(tests=str(Path(__file__).parent), path=str(path))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as run:
        assert run.stdout is not None
        run.stdout.readline()
        time.sleep(seconds)
        run.send_signal(signal.SIGKILL)
    return open_trace(path.with_name(path.name + ".part"))


def test_a_killed_run_leaves_a_readable_prefix(tmp_path: Path, fuzz_share: float) -> None:
    random = np.random.default_rng(5)
    for seconds in [0.3, *random.uniform(0, 0.4, int(20 * fuzz_share))]:
        trace = killed_after(tmp_path / "out.h5", seconds)
        rows = trace.rows.get("steps", 0)
        assert rows % CHUNK == 0
        assert rows or seconds != 0.3
        assert trace.attrs["system"] == "h100"
        for name, values in columns("steps", rows).items():
            np.testing.assert_array_equal(trace.steps.get(name, np.zeros(0)), values)
    assert not (tmp_path / "out.h5").exists()
    assert "the run that wrote it did not finish, open FILE.part for what it left" in message(tmp_path / "out.h5")


def test_a_file_another_run_is_writing_is_left_alone(tmp_path: Path) -> None:
    part = tmp_path / "out.h5.part"
    part.write_bytes(b"rows of the other run")
    with part.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="got a file another run is writing, expected a name of its own"):
            Writer(tmp_path / "out.h5")
    assert part.read_bytes() == b"rows of the other run"


# places and files that are refused ------------------------------------------------------------------------------------


def test_a_bad_place_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=f"got no directory {tmp_path / 'no'}, expected a file in an existing directory"
    ):
        Writer(tmp_path / "no" / "out.h5")
    with pytest.raises(InputError, match="got a directory, expected a file name"):
        Writer(tmp_path)
    with pytest.raises(InputError, match="--record: got 'all', expected one of requests, steps, operators, events"):
        Writer(tmp_path / "out.h5", level="all")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_trace_is_refused_by_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("TIMESTAMP,ContextTokens")
    (tmp_path / "empty").write_bytes(b"")
    with h5py.File(tmp_path / "foreign", "w") as file:
        file["x"] = 1
    assert message(tmp_path) == "FILE: got a directory, expected a trace written by hwsim"
    assert message(tmp_path / "none") == "FILE: got no such file, expected a trace written by hwsim"
    assert message(tmp_path / "text").startswith(
        "FILE: got a file that starts with b'TIMESTAM', expected a trace (an HDF5"
    )
    assert message(tmp_path / "empty").startswith("FILE: got an empty file, expected a trace")
    assert message(tmp_path / "foreign").startswith("FILE: got an HDF5 file of another program, expected a trace (root")


@pytest.mark.parametrize(("version", "cure"), [(2, "update hwsim"), (0, "run it again with this hwsim")])
def test_another_format_version_is_refused_with_the_way_out(tmp_path: Path, version: int, cure: str) -> None:
    path = write(tmp_path / "out.h5")
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = version
    assert message(path).startswith(f"FILE: got a trace of format version {version}, expected version 1; {cure}")


def test_a_file_another_tool_added_to_still_opens(tmp_path: Path) -> None:
    path = write(tmp_path / "out.h5")
    with h5py.File(path, "a") as file:
        file.attrs["comment"] = "mine"
    assert open_trace(path).attrs["comment"] == "mine"


def test_a_copy_cut_off_anywhere_is_named(tmp_path: Path) -> None:
    whole = write(tmp_path / "out.h5").read_bytes()
    cut = tmp_path / "cut.h5"
    for size in np.random.default_rng(3).integers(8, len(whole) - 12, 50):
        cut.write_bytes(whole[:size])
        text = message(cut)
        assert (
            text == "FILE: got a file whose end is missing, expected a whole trace; copy it again: the copy was cut off"
        )


def test_one_wrong_byte_anywhere_is_found(tmp_path: Path, fuzz_share: float) -> None:
    whole = write(tmp_path / "out.h5").read_bytes()
    damaged, random = tmp_path / "damaged.h5", np.random.default_rng(4)
    for place in random.integers(8, len(whole) - 12, int(2000 * fuzz_share)):
        content = bytearray(whole)
        content[place] ^= random.integers(1, 256)
        damaged.write_bytes(content)
        assert message(damaged).startswith(
            "FILE: got a damaged trace (its check sum differs), expected the bytes hwsim"
        )


def test_rows_missing_from_a_column_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "out.h5")
    with h5py.File(path, "a") as file:
        file["steps/tokens"].resize(10, axis=0)
    with pytest.raises(InputError, match="/steps/tokens: got 10 rows, expected the 100 committed"):
        _ = open_trace(path).steps


def test_an_unknown_group_is_an_attribute_error_that_lists_them(tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="a trace has no 'step'; its groups are requests, steps"):
        _ = open_trace(write(tmp_path / "out.h5")).step


def test_every_column_has_a_long_name_and_counts_have_units() -> None:
    for table in TABLES.values():
        for column in table.columns.values():
            assert column.long_name
            assert bool(column.units) == (column.dtype != "str")
    json.dumps({name: table.columns for name, table in TABLES.items()})


def test_a_long_run_is_cheap_to_write(tmp_path: Path) -> None:
    """200,000 steps and 19,366 requests; 0.14 s measured, the limit leaves room for a busy machine."""
    random = np.random.default_rng(0)
    steps = {name: np.cumsum(random.integers(0, 4, 200_000)) for name in columns("steps", 0)}
    requests = {name: np.cumsum(random.integers(0, 4, 19_366)) for name in columns("requests", 0)}
    began = time.process_time()
    with Writer(tmp_path / "out.h5", level="steps") as writer:
        writer.append("steps", steps)
        writer.append("requests", requests)
    assert time.process_time() - began < 1.0


def test_a_part_file_cut_anywhere_gives_right_rows_or_is_named(tmp_path: Path, fuzz_share: float) -> None:
    writer = Writer(tmp_path / "out.h5", level="steps")
    writer.append("steps", columns("steps", 2 * CHUNK))
    writer.abandon(keep=True)
    whole = writer.part.read_bytes()
    cut = tmp_path / "cut.h5.part"
    opened = 0
    for size in np.random.default_rng(6).integers(1, len(whole), int(400 * fuzz_share)):
        cut.write_bytes(whole[:size])
        try:
            trace = open_trace(cut)
            steps = trace.steps
        except InputError as error:
            assert str(cut) in str(error) or "/steps/" in str(error)
        else:
            opened += 1
            for name, values in columns("steps", trace.rows.get("steps", 0)).items():
                np.testing.assert_array_equal(steps.get(name, np.zeros(0)), values)
    cut.write_bytes(whole)
    assert open_trace(cut).rows == {"steps": 2 * CHUNK}
