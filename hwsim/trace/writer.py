"""Write a trace: rows gather until they fill a chunk, chunks are committed, the finished file gets its name."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from hwsim.errors import InputError, bad
from hwsim.trace.columns import LEVELS, TABLES, Column
from hwsim.trace.file import FORMAT, JSON_STARTS, LONG_TEXT, PART, SEAL, TEXTS, VERSION, Array, check_sum
from hwsim.trace.journal import Journal


class Writer:
    """Write the trace of a run; rows of a group may come in any number of appends.

    Parameters
    ----------
    path : str or Path
        The file; it is `path.part` until `close`. An existing file is replaced then, not before.
    attrs : mapping
        Everything needed to run it again. Texts and numbers are stored as they are, anything else as JSON.
    level : {"requests", "steps", "operators", "events"}
        Appends to groups above this level are dropped: `wants(group)` says so beforehand.
    gzip : int
        Compression level, 0 to 9. Levels above 1 save 3 % of the bytes of a long run and cost half as much time again.

    Raises
    ------
    InputError
        The file cannot be written there.

    Notes
    -----
    As a context manager: an InputError leaves nothing behind, any other exception leaves the `.part` file.
    """

    def __init__(
        self, path: str | Path, attrs: Mapping[str, object] | None = None, level: str = "requests", gzip: int = 1
    ) -> None:
        if level not in LEVELS:
            raise bad("--record", repr(level), f"one of {', '.join(LEVELS)}")
        self.path = Path(path)
        self.part = self.path.with_name(self.path.name + PART)
        self.level = level
        self.gzip = gzip
        _refuse_bad_place(self.path)
        self._journal = Journal.create(self.part)
        self._file = _create(self._journal)
        self._groups: dict[str, _Group] = {}
        self._file.attrs["format"] = FORMAT
        self._file.attrs["format_version"] = VERSION
        self._file.attrs["record"] = level
        self._file.attrs["complete"] = False
        self.set(attrs or {})
        self.commit()

    def wants(self, group: str) -> bool:
        """Whether rows of `group` are kept at this record level."""
        return LEVELS.index(TABLES[group].level) <= LEVELS.index(self.level)

    def set(self, attrs: Mapping[str, object]) -> None:
        """Add or replace root attributes; long texts become datasets."""
        for name, value in attrs.items():
            _set_attribute(self._file, name, value)

    def append(self, group: str, columns: Mapping[str, Array | Sequence[Any]] | Array) -> None:
        """Append rows: a dict of columns or a structured array.

        The first append of a group fixes its columns, registered ones of `TABLES` in any number.
        """
        if not self.wants(group):
            return
        if isinstance(columns, np.ndarray):
            columns = {name: columns[name] for name in columns.dtype.names or ()}
        if group not in self._groups:
            self._groups[group] = _Group(self._file, group, tuple(columns), self.gzip)
            self.commit()
        if self._groups[group].append(columns):
            self.commit()

    def commit(self) -> None:
        """Make the rows in whole chunks readable even if the process is killed from now on."""
        for group in self._groups.values():
            group.publish()
        self._file.flush()
        self._journal.commit()

    def close(self) -> None:
        """Write what is left, mark the file complete and give it its name."""
        for group in self._groups.values():
            group.finish()
            group.publish()
        self._file.attrs["complete"] = True
        self._file.close()
        self._journal.finish()
        _seal(self.part)
        os.replace(self.part, self.path)

    def abandon(self, keep: bool) -> None:
        """Stop without a result; `keep` leaves the rows committed so far in the `.part` file."""
        self._file.close()
        if keep:
            self._journal.finish()
        else:
            self._journal.close()
            self.part.unlink()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon(keep=not issubclass(kind, InputError))


class _Group:
    """One group being written: rows wait until they fill a chunk."""

    def __init__(self, file: h5py.File, name: str, columns: tuple[str, ...], gzip: int) -> None:
        self.table = TABLES[name]
        unknown = [column for column in columns if column not in self.table.columns]
        if unknown:
            raise ValueError(f"{name} has no column {', '.join(unknown)}; TABLES lists the columns of a trace")
        self.gzip = gzip
        self.rows = 0  # rows in whole chunks
        self.waiting: dict[str, list[Array]] = {column: [] for column in columns}
        self.waiting_rows = 0
        group = file.create_group(name)
        group.attrs["rows_committed"] = np.int64(0)
        self.committed = h5py.h5a.open(group.id, b"rows_committed")
        self.scale = self._dataset(
            group, self.table.dimension, Column("i8", "1", f"index of the {self.table.dimension}")
        )
        self.scale.make_scale(self.table.dimension)
        self.datasets: dict[str, h5py.Dataset] = {}
        for column in columns:
            self.datasets[column] = self._column(group, column)

    def _column(self, group: h5py.Group, name: str) -> h5py.Dataset:
        column = self.table.columns[name]
        dataset = self._dataset(group, name, column)
        dataset.dims[0].attach_scale(self.scale)
        if column.labels:
            if "bound" not in group:
                group.create_dataset("bound", data=list(column.labels), dtype=h5py.string_dtype())
                group["bound"].make_scale("bound")
            dataset.dims[1].attach_scale(group["bound"])
        return dataset

    def _dataset(self, group: h5py.Group, name: str, column: Column) -> h5py.Dataset:
        shape = (len(column.labels),) if column.labels else ()
        text = column.dtype == "str"
        dataset = group.create_dataset(
            name,
            shape=(0, *shape),
            maxshape=(None, *shape),
            chunks=(self.table.chunk, *shape),
            dtype=h5py.string_dtype() if text else column.dtype,
            compression=None if text else "gzip",
            compression_opts=None if text else self.gzip,
            shuffle=not text,
        )
        if column.units:
            dataset.attrs["units"] = column.units
        dataset.attrs["long_name"] = column.long_name
        return dataset

    def append(self, columns: Mapping[str, Array | Sequence[Any]]) -> bool:
        """Take rows; True when at least one whole chunk was written."""
        if columns.keys() != self.waiting.keys():
            raise ValueError(f"columns {sorted(columns)} after {sorted(self.waiting)}: appends of a group must agree")
        arrays = {name: self._checked(name, values) for name, values in columns.items()}
        rows = {len(values) for values in arrays.values()}
        if len(rows) != 1:
            raise ValueError(f"columns of different lengths {sorted(rows)}")
        for name, values in arrays.items():
            self.waiting[name].append(values)
        self.waiting_rows += rows.pop()
        if self.waiting_rows < self.table.chunk:
            return False
        self._write(self.waiting_rows // self.table.chunk * self.table.chunk)
        return True

    def finish(self) -> None:
        """Write the rows that do not fill a chunk; the chunk on disk is whole, the dataset ends within it."""
        if self.waiting_rows:
            self._write(self.waiting_rows)

    def publish(self) -> None:
        """Say how many rows are committed."""
        self.committed.write(np.array(self.rows, np.int64))

    def _checked(self, name: str, values: Array | Sequence[Any]) -> Array:
        column = self.table.columns[name]
        if column.dtype == "str":
            return np.asarray(values, object)
        given = np.asarray(values)
        stored = given.astype(column.dtype)
        if stored is not given and stored.dtype != given.dtype and not np.array_equal(stored, given):
            raise ValueError(f"{name} does not fit {column.dtype}: from {given.min()} to {given.max()}")
        return stored

    def _write(self, rows: int) -> None:
        for name, parts in self.waiting.items():
            values = np.concatenate(parts)
            self._write_column(self.datasets[name], values[:rows])
            parts[:] = [values[rows:]]
        self._write_column(self.scale, np.arange(self.rows, self.rows + rows, dtype=np.int64))
        self.rows += rows
        self.waiting_rows -= rows

    def _write_column(self, dataset: h5py.Dataset, values: Array) -> None:
        dataset.resize(self.rows + len(values), axis=0)
        if values.dtype == object:
            dataset[self.rows :] = values
            return
        chunk = self.table.chunk
        for first in range(0, len(values), chunk):
            place = (self.rows + first,) + (0,) * (values.ndim - 1)
            dataset.id.write_direct_chunk(place, _packed(values[first : first + chunk], chunk, self.gzip))


def _packed(values: Array, rows: int, gzip: int) -> bytes:
    """A whole chunk as HDF5's shuffle and deflate filters leave it; missing rows are zeros."""
    if len(values) < rows:
        values = np.concatenate((values, np.zeros((rows - len(values), *values.shape[1:]), values.dtype)))
    planes = np.ascontiguousarray(values).view(np.uint8).reshape(-1, values.dtype.itemsize).T
    return zlib.compress(np.ascontiguousarray(planes).data, gzip)


def _refuse_bad_place(path: Path) -> None:
    if path.is_dir():
        raise bad(str(path), "a directory", "a file name", f"write {path / 'out.h5'}")
    if path.exists() and not path.is_file():
        raise bad(str(path), "a device or a pipe", "a file name", "it would be replaced by the finished file")
    if not path.parent.is_dir():
        raise bad(str(path), f"no directory {path.parent}", "a file in an existing directory", "create it first")


def _create(journal: Journal) -> h5py.File:
    file = h5py.File(journal, "w", libver=("earliest", "v108"))
    config = file.id.get_mdc_config()
    config.evictions_enabled = False  # the index is written in commits alone
    config.incr_mode = config.decr_mode = config.flash_incr_mode = 0
    file.id.set_mdc_config(config)
    return file


def _set_attribute(file: h5py.File, name: str, value: object) -> None:
    if name in file.attrs:
        del file.attrs[name]
    if f"{TEXTS}/{name}" in file:
        del file[f"{TEXTS}/{name}"]
    if value is None:
        value = h5py.Empty("i1")
    elif not isinstance(value, (str, bool, int, float, np.integer, np.floating)):
        value = json.dumps(value, sort_keys=True, default=_jsonable)
    elif isinstance(value, str) and value.startswith(JSON_STARTS):
        value = json.dumps(value)
    if isinstance(value, str) and len(value) > LONG_TEXT:
        file.create_dataset(f"{TEXTS}/{name}", data=np.frombuffer(value.encode(), np.uint8), compression="gzip")
    else:
        file.attrs[name] = value


def _jsonable(value: object) -> object:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return str(value)


def _seal(path: Path) -> None:
    """Append the check sum of all bytes; HDF5 reads past it."""
    with path.open("r+b") as file:
        crc = check_sum(file, path.stat().st_size)
        file.write(SEAL + crc.to_bytes(4, "little"))
