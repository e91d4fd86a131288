"""`hwsim merge`: all journals of a study become one HDF5 file that opens in xarray.

An axis of one path is a dimension with its values as coordinate; an axis of several paths (zip, samples) is a dimension
that counts, with one coordinate a path. A point without an answer is nan, and `status` says why. The bytes depend on
the answers alone: not on the executor, the number of workers, the order of work or how often the study was resumed.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hwsim import __version__, memo
from hwsim.analyse.point import ROOMS
from hwsim.files import check_target
from hwsim.sweep.axes import Numbers
from hwsim.sweep.journal import DONE, EXCLUDED, FAILED, GAVE_UP, MISSING, ROWS, STATUS, blocks, journals, key_view
from hwsim.sweep.outputs import Output
from hwsim.sweep.space import Space
from hwsim.sweep.work import JOURNALS

CHUNK = 1 << 16  # points looked at together


@dataclass
class Table:
    """Answers of a study: values float64[columns, points], status uint8[points], errors by point.

    `violations` float64[constraints, points] says how far each point is from meeting the constraints on columns.
    """

    columns: dict[str, Output]
    values: dict[str, NDArray[np.float64]]
    status: NDArray[np.uint8]
    errors: dict[int, str]
    violations: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))

    def counts(self) -> dict[str, int]:
        """Points by status."""
        return {name: int(np.count_nonzero(self.status == code)) for code, name in enumerate(STATUS)}


def gather(space: Space, folder: Path, wanted: list[str] | None = None) -> Table:
    """Answers of all points of a study, from the journals in its folder.

    Parameters
    ----------
    wanted : list of str, optional
        Columns; the study's outputs, derived columns and objectives by default.
    """
    names = wanted if wanted is not None else wanted_columns(space)
    needed = [name for name in space.kind.outputs if name in {*names, *_read_by(space)}]
    place = {name: list(space.kind.outputs).index(name) for name in needed}
    table = Table({}, {name: np.full(len(space), np.nan) for name in needed}, np.zeros(len(space), np.uint8), {})
    keys, order = _sorted_keys(space, table)
    for path in journals(folder / JOURNALS):
        for what, rows, texts in blocks(path, space.layout, len(space.kind.outputs)):
            if what == ROWS:
                _take(table, keys, order, rows, texts, place)
    _derive(space, table)
    table.values = {name: table.values[name] for name in names}
    table.columns = {name: space.kind.outputs.get(name) or _derived_output(space, name) for name in names}
    return table


def wanted_columns(space: Space) -> list[str]:
    """Columns of the result."""
    study = space.study
    names = study.outputs or list(space.kind.outputs)
    extra = [*space.derived, *study.objectives, *(["feasible"] if space.feasible else [])]
    return list(dict.fromkeys([*names, *extra]))


def _read_by(space: Space) -> set[str]:
    """Columns that derived ones and constraints read."""
    found: set[str] = set()
    for rule in (*space.derived.values(), *space.feasible):
        found |= set(rule.names)
    return found


def _derived_output(space: Space, name: str) -> Output:
    if name == "feasible":
        return Output("1", "1 where the point meets all constraints")
    return Output("", f"{name} = {space.derived[name].text}")


def _sorted_keys(space: Space, table: Table) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Keys of all points in sorted order, and their indices; points outside the constraints are marked."""
    keys = []
    for start in range(0, len(space), CHUNK):
        indices = np.arange(start, min(start + CHUNK, len(space)))
        keys.append(key_view(space.keys(indices)))
        table.status[indices] = np.where(space.allowed(indices), MISSING, EXCLUDED)
    joined = np.concatenate(keys)
    order = np.argsort(joined, kind="stable")
    return joined[order], order


def _take(table: Table, keys: NDArray[Any], order: NDArray[np.int64], rows: NDArray[np.void], texts: list[str],
          place: dict[str, int]) -> None:  # fmt: skip
    """Put the rows of a block where their points are; a row of no point of this study is left out."""
    asked = key_view(rows["key"])
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    known = keys[at] == asked
    points = order[at]
    # A point that failed once and was tried again with success has two rows: the answer counts.
    known &= (rows["status"] == DONE) | (table.status[points] != DONE)
    known &= table.status[points] != EXCLUDED
    table.status[points[known]] = rows["status"][known]
    for name, column in place.items():
        table.values[name][points[known]] = rows["values"][known, column]
    failed = np.flatnonzero(np.isin(rows["status"], (FAILED, GAVE_UP)))
    for row, text in zip(failed.tolist(), texts):
        if known[row]:
            table.errors[int(points[row])] = text


def _derive(space: Space, table: Table) -> None:
    """Derived columns, and which points are feasible; in the order of the study, so that one may use another."""
    table.errors = {point: table.errors[point] for point in sorted(table.errors) if table.status[point] != DONE}
    done = table.status == DONE
    for name, rule in space.derived.items():
        table.values[name] = np.where(done, _over(space, table, rule.names, rule.value), np.nan)
    if space.feasible:
        far = [np.broadcast_to(_over(space, table, rule.names, rule.violation), len(space)) for rule in space.feasible]
        table.violations = np.stack(far)
        meets = (table.violations <= 0).all(axis=0)
        table.values["feasible"] = np.where(done, meets.astype(float), np.nan)


def _over(space: Space, table: Table, names: tuple[str, ...], value: Any) -> Any:
    """An expression over all points; labels of a column are its texts."""
    paths = [name for name in names if name not in table.values]
    columns = space.columns(np.arange(len(space)), paths)
    for name in names:
        if name in table.values:
            columns[name] = texts_of(space.kind.outputs.get(name), table.values[name])
    return value(columns)


def texts_of(output: Output | None, values: NDArray[np.float64]) -> NDArray[Any]:
    """Values of a column as people read them: labels instead of numbers, "" where there is none."""
    if output is None or not output.labels:
        return values
    labels = np.array([*output.labels, ""], object)
    return labels[np.where(np.isnan(values), len(output.labels), values).astype(int)]


def merge(space: Space, folder: Path, output: Path) -> Table:
    """Gather and write the result of a study; returns what was written."""
    check_target(output)
    table = gather(space, folder)
    write(space, table, output)
    return table


def write(space: Space, table: Table, output: Path) -> None:
    """Write a result, whole or not at all."""
    part = output.with_name(f"{output.name}.{os.getpid()}.part")
    with h5py.File(part, "w", libver=("earliest", "v108")) as file:
        scales = [_scale(file, space, place) for place in range(len(space.axes))]
        coordinates = [path for axis in space.axes if len(axis.paths) > 1 for path in axis.paths]
        for name, column in table.columns.items():
            _variable(file, name, texts_of(column, table.values[name]), space, scales, column, coordinates)
        status = _variable(
            file, "status", table.status.astype("i1"), space, scales, Output("", "state of the point"), coordinates
        )
        status.attrs["flag_values"] = np.arange(len(STATUS), dtype="i1")
        status.attrs["flag_meanings"] = " ".join(STATUS)
        errors = file.create_group("errors")
        errors["point"] = np.array(list(table.errors), np.int64)
        errors.create_dataset("text", data=list(table.errors.values()), dtype=h5py.string_dtype())
        for name, value in _attributes(space, table).items():
            file.attrs[name] = value
    part.replace(output)


def _scale(file: h5py.File, space: Space, place: int) -> h5py.Dataset:
    """Dimension of an axis, and the coordinates along it."""
    axis = space.axes[place]
    alone = len(axis.paths) == 1
    if alone:
        scale = _coordinate(file, axis.paths[0], axis.column(axis.paths[0]))
    else:
        scale = file.create_dataset(axis.name, data=np.arange(len(axis)))
    scale.make_scale(axis.name)
    if not alone:
        for path in axis.paths:
            _coordinate(file, path, axis.column(path)).dims[0].attach_scale(scale)
    return scale


def _coordinate(file: h5py.File, path: str, values: list[Any]) -> h5py.Dataset:
    numbers = Numbers.of(values)
    if numbers.units:
        made = file.create_dataset(path, data=numbers.values)
        made.attrs["units"] = numbers.units
    else:
        made = file.create_dataset(path, data=list(numbers.values), dtype=h5py.string_dtype())
    made.attrs["long_name"] = path
    return made


def _variable(file: h5py.File, name: str, values: NDArray[Any], space: Space, scales: list[h5py.Dataset],
              column: Output, coordinates: list[str]) -> h5py.Dataset:  # fmt: skip
    text = values.dtype == object
    made = file.create_dataset(
        name,
        data=values.reshape(space.shape),
        dtype=h5py.string_dtype() if text else values.dtype,
        compression=None if text else "gzip",
        shuffle=not text,
    )
    for dimension, scale in zip(made.dims, scales):
        dimension.attach_scale(scale)
    made.attrs["long_name"] = column.long_name
    if column.units:
        made.attrs["units"] = column.units
    if coordinates:
        made.attrs["coordinates"] = " ".join(coordinates)
    return made


def _attributes(space: Space, table: Table) -> dict[str, Any]:
    """Provenance: the resolved study, versions, how many points are in which state."""
    study = space.study
    return {
        "title": study.study or study.id,
        "study": json.dumps(study.resolved(), sort_keys=True),
        "hwsim_version": __version__,
        "hwsim_code": memo.code_version(*ROOMS, "sweep"),
        "numpy": np.__version__,
        **{f"points_{name}": count for name, count in table.counts().items()},
    }
