"""Amounts that mappers of every class count alike: bytes of elements, times at a rate, equal parts and the last one."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from hwsim.operators.operator import SIXTEENTH_BYTES
from hwsim.units import ceil_div

Ints = np.ndarray  # int64


def size_bytes(elements: Ints, dtype: str) -> Ints:
    """Bytes of elements, rounded up."""
    return ceil_div(elements * SIXTEENTH_BYTES[dtype], 16)


def weight_bytes(dims: Mapping[str, Ints], dtype: str) -> Ints:
    """Bytes of B of every gemm."""
    return size_bytes(dims["n"] * dims["k"] * dims["batch"], dtype)


def sixteenths(amount: Ints, rate: Fraction) -> Ints:
    """1/16 cycles of an amount at a rate per cycle, rounded up as the engine rounds."""
    return ceil_div(amount * (16 * rate.denominator), rate.numerator)


def put_shares(values: Ints, column: int, total: Ints, parts: Ints) -> None:
    """Fill two columns of a slot: an equal part of the total, and what is left for the last one."""
    share = total // parts
    values[:, column], values[:, column + 1] = share, total - share * (parts - 1)
