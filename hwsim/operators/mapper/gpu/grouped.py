"""Products of the rows of each expert with its weights, as one grouped kernel: its work in the columns of a GEMM.

Tiles of all experts go over the SMs in waves as those of one product do. Their number differs, since each expert's rows
are rounded up to whole tiles, and so do their bytes: the weights of each expert with rows come from memory once, every
tile reads those of its own expert. Counts are means over the draws of the routing, rounded up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwsim.operators.amounts import Ints
from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.mapper.gpu.tiles import HIT, GemmKernels, Work, l2_rows, missing, stages_of, waves_of
from hwsim.operators.operator import SIXTEENTH_BYTES
from hwsim.units import ceil_div


@dataclass(frozen=True)
class Rows:
    """Rows of the experts of one device, int64[C] means over the draws.

    Attributes
    ----------
    rows : of all experts together
    touched : experts with rows
    down : tiles of rows, those of each expert rounded up
    """

    rows: Ints
    touched: Ints
    down: Ints


@dataclass(frozen=True)
class Product:
    """One grouped product, int64[C]: columns and inner dimension of every expert, and shares (of HIT) not in the L2.

    Attributes
    ----------
    n, k : Ints
    absent_weights, absent_rows : Ints
    """

    n: Ints
    k: Ints
    absent_weights: Ints
    absent_rows: Ints


def work_of(
    machine: Machine, kernels: GemmKernels, dtype: str, tiles: dict[str, Ints], rows: Rows, product: Product
) -> Work:
    """Work of grouped products.

    Parameters
    ----------
    tiles : dict of str to int64[C]
        tile_m (rows), tile_n (columns), pair, resident and split (1) of each candidate.
    """
    size = SIXTEENTH_BYTES[dtype]
    across = ceil_div(product.n, tiles["tile_n"])
    mean = ceil_div(rows.rows, rows.down)  # rows of a tile
    waves = waves_of(machine, rows.down * across, tiles)
    stages = stages_of(
        machine, kernels, {"m": mean, "n": product.n, "k": product.k}, size, tiles, waves["resident_last"]
    )
    weights = ceil_div(product.n * product.k * size, 16)
    result = 2 * rows.rows * product.n
    kept = ceil_div(rows.rows * product.k * size, 16) + result
    width = np.minimum(tiles["tile_n"], product.n)
    return Work(
        exposed_1024=kernels.exposed_1024,
        **waves,
        **stages,
        tile_bytes=ceil_div(2 * np.minimum(tiles["tile_m"], mean) * width, tiles["pair"]),
        write_bytes=result,
        reduce_bytes=np.zeros_like(result),
        l2_bytes=l2_rows(machine, rows.rows, product.n, rows.down, across) * ceil_div(product.k * size, 16),
        hbm_bytes=(rows.touched * weights * product.absent_weights + kept * product.absent_rows) // HIT,
    )


def absent(machine: Machine, weights: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Shares (of HIT) of weights and of rows that the L2 does not hold, for so many bytes of each."""
    whole = np.full_like(weights, HIT)
    timing = machine.timing
    cold = missing(weights + rows, machine.l2) if timing.warm_weights else whole
    return cold, missing(rows, machine.l2) if timing.warm_activations else whole
