"""Files of operators: one a row, read whole and checked whole, answered in batches, written back with their answers.

A malformed file raises with all its faults and nothing is answered. A well-formed row that a machine cannot run keeps
its place with an empty time and the reason in `error`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from hwsim import files
from hwsim.describe.named import Names
from hwsim.errors import Fault, InputError
from hwsim.operators.commands import simulate_by_commands
from hwsim.operators.kept_results import simulate_kept
from hwsim.operators.machine import Machine
from hwsim.operators.operator import DTYPES, KINDS, Dim, Kind
from hwsim.operators.simulate import OpResult

ANSWERS = ("time_ns", "bound", "energy_j", "warning", "error")
# Columns that name a description, the kind it is of and what an empty cell means ("" = not allowed).
NAMES: Mapping[str, str] = {"accelerator": "", "software": "ideal", "protocol": "in-model"}
DEFAULT_DTYPE = "bf16"

Sets = Mapping[str, Sequence[str]]
BatchKey = tuple[str, str, str, str, str]  # accelerator, software, protocol, kind, dtype


@dataclass
class Batch:
    """Rows of one machine, kind and dtype: row numbers in the file and their dimensions."""

    rows: list[int] = field(default_factory=list)
    dims: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True)
class Cases:
    """A checked file of operators.

    Attributes
    ----------
    header : list of str
    rows : list of list of str
        Cells as they stand in the file.
    batches : mapping of BatchKey to Batch
    """

    header: list[str]
    rows: list[list[str]]
    batches: dict[BatchKey, Batch]


def read(path: Path) -> Cases:
    """Read and check a file of operators.

    Raises
    ------
    InputError
        Every fault of the file, each as file:line.
    """
    table = files.read_csv(path, ("accelerator", "op"), "accelerator,software,op,dtype,protocol,m,n,k")
    reader = _Reader(path, table.header)
    reader.faults += files.misspelt(table.where, table.header, reader.columns(table.lines))
    return reader.read(table.lines)


class _Reader:
    """Turns lines into batches; faults are collected."""

    def __init__(self, path: Path, header: list[str]) -> None:
        self.path = path
        self.header = header
        self.place = {name: index for index, name in enumerate(header)}
        self.faults: list[Fault] = []
        self.names = Names()
        self.where = ""

    def columns(self, lines: list[tuple[int, list[str]]]) -> list[str]:
        """Columns that mean something to the kinds of operators of the file."""
        kinds = {self.cell("op", cells): None for _, cells in lines if len(cells) == len(self.header)}
        asked = [KINDS[name] for name in kinds if name in KINDS]
        dims = [name for kind in asked for name in (*(dim.name for dim in kind.dims), *kind.dtypes)]
        return ["accelerator", "op", "dtype", *NAMES, *dims]

    def read(self, lines: list[tuple[int, list[str]]]) -> Cases:
        batches: dict[BatchKey, Batch] = {}
        for row, (line, cells) in enumerate(lines):
            self.where = f"{self.path}:{line}"
            if len(cells) != len(self.header):
                self.fault(f"{len(cells)} cells", f"{len(self.header)} as in the header")
                continue
            before = len(self.faults)
            key, dims = self.case(cells)
            if len(self.faults) == before:
                batch = batches.setdefault(key, Batch())
                batch.rows.append(row)
                batch.dims.append(dims)
        files.refuse(self.path, self.faults)
        return Cases(self.header, [cells for _, cells in lines], batches)

    def case(self, cells: list[str]) -> tuple[BatchKey, list[int]]:
        """Batch and dimensions of one row."""
        names = [self.name(column, empty, cells) for column, empty in NAMES.items()]
        dtype = self.dtype("dtype", cells, DEFAULT_DTYPE)
        kind = KINDS.get(self.cell("op", cells))
        if kind is None:
            self.fault(f"op {self.cell('op', cells)!r}", "one of " + ", ".join(KINDS))
            return ("", "", "", "", ""), []
        dims = [self.dim(dim, kind, cells) for dim in kind.dims]
        dims += [DTYPES.index(self.dtype(name, cells, dtype)) for name in kind.dtypes]
        return (names[0], names[1], names[2], kind.name, dtype), dims

    def cell(self, column: str, cells: list[str]) -> str:
        place = self.place.get(column)
        return cells[place].strip() if place is not None else ""

    def name(self, column: str, empty: str, cells: list[str]) -> str:
        """Name of a description that loads."""
        text = self.cell(column, cells) or empty
        self.faults += self.names.faults(column, text, self.where)
        return text

    def dtype(self, column: str, cells: list[str], empty: str) -> str:
        text = self.cell(column, cells) or empty
        if text not in DTYPES:
            self.fault(f"{column} {text!r}", "one of " + ", ".join(DTYPES))
            return DEFAULT_DTYPE
        return text

    def dim(self, dim: Dim, kind: Kind, cells: list[str]) -> int:
        """A dimension as an integer in its range."""
        text = self.cell(dim.name, cells)
        if not text and dim.default is not None:
            return dim.default
        if not text:
            self.fault(f"no {dim.name}", f"{kind.name} needs {dim.name} ({dim.meaning})")
            return dim.low
        number = dim.number(text)
        if number is None:
            self.fault(f"{dim.name} {text!r}", dim.wanted)
            return dim.low
        return number

    def fault(self, got: str, expected: str, cure: str = "") -> None:
        self.faults.append(Fault(self.where, got, expected, cure))


def answer(
    cases: Cases, sets: Sets | None = None, memory: Literal["law", "commands"] = "law"
) -> Iterator[tuple[int, list[str]]]:
    """Row numbers with their ANSWERS, batch by batch."""
    for (accelerator, software, protocol, kind, dtype), batch in cases.batches.items():
        columns = [dim.name for dim in KINDS[kind].dims] + list(KINDS[kind].dtypes)
        table = np.array(batch.dims, np.int64).reshape(len(batch.rows), len(columns))
        dims = {name: np.ascontiguousarray(table[:, place]) for place, name in enumerate(columns)}
        try:
            machine = Machine.of(accelerator, software, protocol, sets)
            by_commands = memory == "commands"
            result = (simulate_by_commands if by_commands else simulate_kept)(machine, kind, dims, dtype)
        except InputError as error:
            if any(fault.where.startswith("--set") for fault in error.faults):
                raise  # a wrong override is no row's fault
            text = "; ".join(str(fault) for fault in error.faults).replace("\n", " ")
            yield from ((row, ["", "", "", "", text]) for row in batch.rows)
            continue
        yield from zip(batch.rows, answers_of(machine, result))


def answers_of(machine: Machine, result: OpResult) -> Iterator[list[str]]:
    """ANSWERS of each row of a result; the energy is the chip's, static power included."""
    energy = result.energy_j(machine)
    for row, (time, error) in enumerate(zip(result.time_ps.tolist(), result.error)):
        if error is not None:
            yield ["", "", "", "", error]
        else:
            picoseconds = f"{time // 1000}.{time % 1000:03d}"
            yield [picoseconds, result.bound_name(row), f"{energy[row]:.9g}", result.warning(row), ""]


def write(cases: Cases, answers: Mapping[int, list[str]], path: Path) -> None:
    """Write the rows in their order with their answers, whole or not at all."""
    files.write_csv(path, cases.header, cases.rows, ANSWERS, answers)
