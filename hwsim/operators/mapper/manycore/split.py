"""How a product is shared out over tiles: rows, columns and inner dimension split, steps of what a tile can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from hwsim.operators.amounts import Ints, size_bytes
from hwsim.operators.mapper.manycore.machine import Machine
from hwsim.units import ceil_div

SUM = 4  # bytes of a sum in a tile, and of a part of one on its way
RESULT = 2  # bytes of a value of the result: 16 bits whatever the operands
ROOMS = (1, 2, 4, 8, 16, 32, 64, 128)  # parts of a tile's room that operands may take
FINER = (1, 2, 4, 8, 16, 32)  # times as many pieces as that takes


def absent(amount: Ints, place: int) -> Ints:
    """Bytes of an amount that a place cannot hold."""
    return np.maximum(amount - place, 0)


@lru_cache(maxsize=64)
def shares(tiles: int) -> tuple[int, ...]:
    """Ways to split a dimension: divisors of the number of tiles, and powers of two."""
    divisors = {d for d in range(1, tiles + 1) if tiles % d == 0}
    return tuple(sorted(divisors | {1 << e for e in range(tiles.bit_length()) if 1 << e <= tiles}))


def finer_of(machine: Machine) -> tuple[int, ...]:
    """How much finer operands may arrive than a tile could hold, to hide behind what is computed."""
    return FINER if machine.buffers > 1 else FINER[:1]


@dataclass(frozen=True)
class Split:
    """Products cut for tiles, int64 each.

    Attributes
    ----------
    rows, cols, depths : parts of m, n and k; a tile has one of each
    mt, nt, kt : of a tile; the last part of the columns has `nl`
    panels, pieces : a tile goes through its rows in panels, through its inner dimension in pieces
    mp, kd : of a panel, of a piece
    moved : 1 where the weights of a tile come to it step by step, 0 where they lie in it
    """

    rows: Ints
    cols: Ints
    depths: Ints
    mt: Ints
    nt: Ints
    kt: Ints
    nl: Ints
    panels: Ints
    pieces: Ints
    mp: Ints
    kd: Ints
    moved: Ints


def ways(machine: Machine, dims: Mapping[str, Ints]) -> tuple[Ints, dict[str, Ints]]:
    """Case and columns of candidates: every way to split rows and inner dimension; columns take the tiles left over."""
    choices = shares(machine.cores)
    rooms, finer = (ROOMS, FINER[::2]) if machine.buffers > 1 else (ROOMS[:1], FINER[:1])
    table = np.array(
        [each for each in product(choices, choices, rooms, finer) if each[0] * each[1] <= machine.cores], np.int64
    )
    rows, depths, _, _ = (column[None, :] for column in table.T)
    wanted = (rows <= dims["m"][:, None]) & (depths <= ceil_div(dims["k"], machine.depth)[:, None])
    case, way = np.nonzero(wanted)
    return case, {name: table[way, index] for index, name in enumerate(("rows", "depths", "room", "finer"))}


def cut(machine: Machine, dims: Mapping[str, Ints], c: Mapping[str, Ints], dtype: str) -> Split:
    """Products `dims` for candidates with columns rows, depths, room, finer."""
    m, n, k = dims["m"], dims["n"], dims["k"]
    nt = ceil_div(n, np.minimum(n, machine.cores // (c["rows"] * c["depths"])))
    cols = ceil_div(n, nt)
    mt, kt = ceil_div(m, c["rows"]), ceil_div(k, c["depths"])
    moved = ((c["rows"] > 1) | machine.streamed).astype(np.int64)
    room = machine.workspace // c["room"]
    whole = np.where(c["depths"] > 1, mt, 0)  # parts of all rows wait for their sum
    panels = np.where(whole > 0, 1, ceil_div(SUM * mt * nt, np.maximum(room // 2, 1)).clip(1, mt))
    mp = ceil_div(mt, panels)
    left = np.maximum(room - SUM * np.maximum(mp, whole) * nt, 1)
    need = machine.buffers * size_bytes((mp + moved * nt) * kt, dtype)
    pieces = (ceil_div(need, left) * c["finer"]).clip(1, ceil_div(kt, machine.depth))
    kd = ceil_div(kt, pieces)
    return Split(
        rows=ceil_div(m, mt), cols=cols, depths=ceil_div(k, kt), mt=mt, nt=nt, kt=kt, nl=n - nt * (cols - 1),
        panels=ceil_div(mt, mp), pieces=ceil_div(kt, kd), mp=mp, kd=kd, moved=moved,
    )  # fmt: skip


def fits(machine: Machine, s: Split, dtype: str) -> np.ndarray:
    """bool[C]: operands of a step and sums are in a tile's room, its weights in its SRAM."""
    sums = SUM * np.where(s.depths > 1, s.mt, s.mp) * s.nt
    step = machine.buffers * size_bytes((s.mp + s.moved * s.nt) * s.kd, dtype)
    resident = size_bytes(s.kt * s.nt, dtype) * (1 - s.moved)
    return (sums + step <= machine.workspace) & (resident + sums + step <= machine.sram)
