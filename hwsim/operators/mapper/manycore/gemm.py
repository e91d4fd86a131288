"""Products on tiles: operands exchanged, each tile multiplies its share, parts of a sum are exchanged and added.

Weights lie in the tiles (or stream from memory behind the chip, or come from the tile that keeps them where several
tiles share the rows); activations come to the tiles by the exchange. A product of few rows is bound by reading its
weights: all tiles share the inner dimension and the columns.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwsim.operators.amounts import Ints, size_bytes
from hwsim.operators.candidates import Candidates, Programs, in_pieces
from hwsim.operators.mapper.manycore import program
from hwsim.operators.mapper.manycore.machine import Machine
from hwsim.operators.mapper.manycore.program import Work
from hwsim.operators.mapper.manycore.split import RESULT, SUM, Split, absent, cut, fits, ways
from hwsim.operators.mapper.refusals import larger, reasons
from hwsim.operators.operator import SIXTEENTH_BYTES
from hwsim.units import ceil_div

CHUNK = 64  # cases ranked together


def propose(machine: Machine, dims: Mapping[str, Ints], dtype: str) -> Candidates:
    """Candidates of every case; batched products are as many times one of them."""
    return in_pieces(dims, CHUNK, lambda piece: _ranked(machine, piece, dtype))


def _ranked(machine: Machine, dims: Mapping[str, Ints], dtype: str) -> Candidates:
    case, columns = ways(machine, dims)
    of = {name: column[case] for name, column in dims.items()}
    split = cut(machine, of, columns, dtype)
    rank = program.rank(machine, work_of(machine, of, split, dtype), dtype)
    # What does not fit is offered only where nothing does, smallest share first; `refuse` names what is too large.
    fitting = fits(machine, split, dtype)
    some = np.zeros(len(dims["m"]), bool)
    some[case[fitting]] = True
    return Candidates(case, rank, columns).take(np.flatnonzero(fitting | ~some[case]))


def work_of(machine: Machine, dims: Mapping[str, Ints], s: Split, dtype: str) -> Work:
    """Supersteps of cut products."""
    batch = dims["batch"]
    widths = np.stack([s.nt, s.nl * (s.cols > 1)], axis=1)
    each = s.rows * s.depths
    tiles = np.stack([each * np.maximum(s.cols - 1, 1), each * (s.cols > 1)], axis=1)
    weights = widths * s.kd[:, None]
    deep = ceil_div(s.kd, machine.depth) * machine.depth
    wide = ceil_div(widths, machine.columns) * machine.columns
    moved = (widths > 0) * (s.mp * s.kd)[:, None] + s.moved[:, None] * weights
    of_step = {
        "port": size_bytes(moved, dtype),
        "local": size_bytes(weights, dtype),
        "tensor": 2 * wide * (s.mp * deep)[:, None],
    }
    step = {part: np.stack([amount, amount], axis=2) for part, amount in of_step.items()}  # pieces are of equal size
    parts = (s.depths > 1)[:, None] * ceil_div(s.mt[:, None] * widths, s.depths[:, None]) * (s.depths - 1)[:, None]
    combine = {"port": SUM * parts * batch[:, None], "vector": parts * batch[:, None]}
    steps = batch * s.panels * s.pieces
    memory, write = traffic(machine, dims, s, dtype)
    flops = steps * (tiles * step["tensor"][:, :, 0]).sum(axis=1)
    return Work(steps, tiles, step, combine, memory, write, flops)


def traffic(machine: Machine, dims: Mapping[str, Ints], s: Split, dtype: str) -> tuple[Ints, Ints]:
    """Bytes from and to memory behind the chip: weights that stream, activations that do not fit beside them.

    Weights larger than the room on the chip come either once for each panel of rows, or once at all, in blocks of
    columns that stay while all panels pass; then activations that do not fit come once for each block.
    """
    batch, m, n, k = (dims[name] for name in ("batch", "m", "n", "k"))
    none = np.zeros_like(m)
    if not machine.streamed:
        return none, none
    weights, sources, results = size_bytes(n * k, dtype), size_bytes(m * k, dtype), RESULT * m * n
    place = machine.activations if machine.timing.warm_activations else 0
    gone = absent(sources + results, place)
    share = np.minimum(gone, sources)
    blocks = ceil_div(weights, machine.activations)
    by_panels = weights * np.where(blocks <= 1, 1, s.panels) + share
    by_columns = weights + share * blocks
    return batch * np.minimum(by_panels, by_columns), batch * (gone - share)


def programs(machine: Machine, dims: Mapping[str, Ints], dtype: str, chosen: Candidates) -> list[Programs]:
    """Programs of the chosen candidates; one template serves them all."""
    of = {name: column[chosen.case] for name, column in dims.items()}
    split = cut(machine, of, chosen.columns, dtype)
    return [program.programs(machine, work_of(machine, of, split, dtype), dtype, np.arange(len(chosen.case)))]


def refuse(machine: Machine, dims: Mapping[str, Ints], dtype: str) -> list[str | None]:
    """Cases whose operands are more than the device holds."""
    m, n, k, batch = (dims[name].astype(np.float64) for name in ("m", "n", "k", "batch"))
    need = batch * k * n * SIXTEENTH_BYTES[dtype] / 16
    if machine.streamed:
        need += batch * (m * k * SIXTEENTH_BYTES[dtype] / 16 + RESULT * m * n)
    return reasons(larger(machine, need, machine.room))


def describe(chosen: Candidates, row: int) -> str:
    """A candidate in words: "rows in 1, inner dimension in 23"."""
    c = {name: int(column[row]) for name, column in chosen.columns.items()}
    return f"rows in {c['rows']}, inner dimension in {c['depths']}"
