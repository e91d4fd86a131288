"""Open a trace: refuse what is none, then give its columns as numpy, xarray or pandas."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from hwsim.errors import InputError, bad, check_type
from hwsim.trace.columns import BOUND_CLASSES, TABLES
from hwsim.trace.file import FORMAT, JSON_STARTS, PART, SEAL, TEXTS, VERSION, Array, check_sum
from hwsim.trace.journal import Journal

if TYPE_CHECKING:
    import pandas
    import xarray


class Trace:
    """A trace on disk; columns are read when they are asked for.

    Attributes
    ----------
    path : Path
    attrs : dict
        Root attributes, long texts among them.
    groups : tuple of str
    requests, steps, operators, tiers, kv, events : dict of str to numpy.ndarray
        Columns of a group, e.g. `trace.requests["arrival_ps"]`; empty where the run did not record the group.
    complete : bool
        False for the readable prefix of a run that was killed.
    notes : tuple of str
    """

    def __init__(self, path: Path, attrs: dict[str, Any], rows: dict[str, int]) -> None:
        self.path = path
        self.attrs = attrs
        self.rows = rows
        self.groups = tuple(rows)
        self.complete = bool(attrs.get("complete", False))
        self.notes: tuple[str, ...] = ()
        if not self.complete:
            counts = ", ".join(f"{count} {name}" for name, count in rows.items()) or "no rows"
            self.notes = (f"{path}: the run did not finish; the rows committed until then are read: {counts}",)

    def __getattr__(self, group: str) -> dict[str, Array]:
        if group not in TABLES:
            raise AttributeError(f"a trace has no {group!r}; its groups are {', '.join(TABLES)}")
        columns = self._read(group) if group in self.rows else {}
        setattr(self, group, columns)
        return columns

    def to_xarray(self, group: str) -> xarray.Dataset:
        """A group as an xarray Dataset with its dimensions, units and long names (needs hwsim[analysis])."""
        xarray = _optional("xarray")
        table, columns = TABLES[group], getattr(self, group)
        data = {}
        for name, values in columns.items():
            column = table.columns[name]
            dims = (table.dimension, "bound") if column.labels else (table.dimension,)
            data[name] = (dims, values, {"units": column.units, "long_name": column.long_name})
        coords: dict[str, Any] = {table.dimension: np.arange(self.rows.get(group, 0))}
        if any(table.columns[name].labels for name in columns):
            coords["bound"] = list(BOUND_CLASSES)
        return xarray.Dataset(data, coords)

    def to_pandas(self, group: str) -> pandas.DataFrame:
        """A group as a pandas DataFrame, one column per bound class where a column has them (needs hwsim[analysis])."""
        pandas = _optional("pandas")
        table, data = TABLES[group], dict[str, Array]()
        for name, values in getattr(self, group).items():
            labels = table.columns[name].labels
            data |= {f"{name}_{label}": values[:, i] for i, label in enumerate(labels)} if labels else {name: values}
        return pandas.DataFrame(data, index=pandas.RangeIndex(self.rows.get(group, 0), name=table.dimension))

    def __repr__(self) -> str:
        return f"<hwsim trace {self.path}: " + ", ".join(f"{rows} {name}" for name, rows in self.rows.items()) + ">"

    def _read(self, group: str) -> dict[str, Array]:
        rows, columns = self.rows[group], {}
        with _opened(self.path) as file:
            for name in TABLES[group].columns:
                if name in file[group]:
                    columns[name] = _column(file[group][name], rows)
        return columns


def open_trace(path: str | Path) -> Trace:
    """Open the trace of a run.

    Parameters
    ----------
    path : str or Path
        A trace, or the `.part` file of a run that was killed: its committed rows are read and `notes` says so.

    Returns
    -------
    Trace

    Raises
    ------
    InputError
        What stands at the path is no trace, is damaged, or was written by another version of the format.
    """
    check_type("path", path, (str, PathLike), "the path of a trace")
    path = Path(path)
    if path.is_dir():
        raise bad(str(path), "a directory", "a trace written by hwsim")
    if not path.exists():
        part = path.with_name(path.name + PART)
        cure = f"the run that wrote it did not finish, open {part} for what it left" if part.exists() else ""
        raise bad(str(path), "no such file", "a trace written by hwsim", cure)
    _refuse_damaged(path)
    with _opened(path) as file:
        attrs = {name: _attribute(value) for name, value in file.attrs.items()}
        _refuse_foreign(path, attrs)
        for name, text in file.get(TEXTS, {}).items():
            attrs[name] = _attribute(text[()].tobytes().decode())
        rows = {name: int(file[name].attrs["rows_committed"]) for name in TABLES if name in file}
    return Trace(path, attrs, rows)


def _refuse_damaged(path: Path) -> None:
    """Compare with the seal. HDF5 itself can loop without end in a file with one wrong byte, so this comes first."""
    size = path.stat().st_size - len(SEAL) - 4
    if size < 0:
        return
    with path.open("rb") as file:
        file.seek(size)
        seal = file.read()
        file.seek(0)
        if seal.startswith(SEAL) and check_sum(file, size) != int.from_bytes(seal[-4:], "little"):
            raise bad(str(path), "a damaged trace (its check sum differs)", "the bytes hwsim wrote", "copy it again")


def _refuse_foreign(path: Path, attrs: Mapping[str, Any]) -> None:
    if attrs.get("format") != FORMAT:
        raise bad(str(path), "an HDF5 file of another program", f"a trace (root attribute format = {FORMAT!r})")
    version = attrs.get("format_version")
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        cure = "update hwsim" if newer else "run it again with this hwsim, or read it with the one that wrote it"
        raise bad(str(path), f"a trace of format version {version}", f"version {VERSION}", cure)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The file open for reading; whatever HDF5 says about it becomes one clear error."""
    source: Path | Journal = Journal.of(path) if path.suffix == PART else path
    try:
        if not h5py.is_hdf5(path) and isinstance(source, Path):
            raise _no_hdf5(path)
        with h5py.File(source, "r") as file:
            yield file
    except InputError:
        raise
    except Exception as error:  # a damaged file makes h5py raise nearly anything
        if "truncated file" in str(error):
            got, cure = "a file whose end is missing", "copy it again: the copy was cut off"
            raise bad(str(path), got, "a whole trace", cure) from None
        if "signature not found" in str(error):
            raise _no_hdf5(path) from None
        reason = " ".join(str(error).split())
        raise bad(str(path), f"a damaged trace ({reason})", "a whole file", "run it again, or copy it again") from None
    finally:
        if isinstance(source, Journal):
            source.close()


def _no_hdf5(path: Path) -> InputError:
    with path.open("rb") as file:
        start = file.read(8)
    what = "an empty file" if not start else f"a file that starts with {start!r}"
    return bad(str(path), what, "a trace (an HDF5 file written by hwsim)")


def _column(dataset: h5py.Dataset, rows: int) -> Array:
    if len(dataset) < rows:
        raise bad(str(dataset.name), f"{len(dataset)} rows", f"the {rows} committed")
    if h5py.check_string_dtype(dataset.dtype):
        return np.asarray(dataset.asstr()[:rows], object)
    return np.asarray(dataset[:rows])


def _attribute(value: Any) -> Any:
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, str) and value.startswith(JSON_STARTS):
        return json.loads(value)
    return value.item() if isinstance(value, np.generic) else value


def _optional(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise bad(
            module, "a module that is not installed", "hwsim[analysis]", "pip install 'hwsim[analysis]'"
        ) from None
