"""What no device can hold and no run can count: refused case by case before a mapper multiplies their dimensions.

Estimates are in doubles: they refuse, they never enter a time. Within the limits the products of mappers fit int64.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwsim._core.bounds import TIERS
from hwsim.operators.account import Runs
from hwsim.operators.machine import Machine
from hwsim.operators.operator import DTYPES, SIXTEENTH_BYTES

MOST_FLOP = float(1 << 57)  # of one operator: minutes of the fastest chip
MOST = float(1 << 62)
DIGITS = 1000  # denominators of energies, and 1024 steps of the clock, that times and energies are multiplied with
ACTIVATION = 2  # bytes of an element of queries and outputs

Floats = Mapping[str, np.ndarray]


def oversized(machine: Machine, kind: str, dims: Mapping[str, np.ndarray], dtype: str) -> list[str | None]:
    """Why a case is too large for the memory of the device or for counting, or None.

    Parameters
    ----------
    dims : mapping of str to int64[P]
        Complete dimensions of the kind.
    """
    floats = {name: column.astype(np.float64) for name, column in dims.items()}
    size = operand_bytes(kind, dims, floats, dtype)
    flop = work_of(kind, floats)
    room = machine.hbm or np.inf
    found: list[str | None] = [None] * len(flop)
    for row in np.flatnonzero((size > room) | (flop > MOST_FLOP)):
        if size[row] > room:
            fits = _what_fits(kind, floats, int(row), size[row] / room)
            found[row] = f"needs {size[row] / 1e9:.4g} GB, {machine.accelerator} has {machine.hbm / 1e9:.4g} GB{fits}"
        else:
            found[row] = f"needs {flop[row]:.3g} FLOP, one operator may have {MOST_FLOP:.3g}: cut it into several"
    return found


def operand_bytes(kind: str, dims: Mapping[str, np.ndarray], d: Floats, dtype: str) -> np.ndarray:
    """Bytes of everything an attention or a collective reads and writes, float64[P]; mappers count the other kinds."""
    first = next(iter(d.values()))
    if kind in ("attention_prefill", "attention_decode", "attention_mixed"):
        keys, new = _tokens(kind, d)
        element = np.array([SIXTEENTH_BYTES[name] for name in DTYPES])[dims["kv_dtype"]] / 16
        cache = 2 * keys * d["kv_heads"] * d["head_dim"] * element
        result: np.ndarray = cache + 2 * new * d["heads"] * d["head_dim"] * ACTIVATION
        return result
    return d["bytes"] if "bytes" in d else np.zeros_like(first)


def _tokens(kind: str, d: Floats) -> tuple[np.ndarray, np.ndarray]:
    """Keys in the cache and new tokens of all sequences."""
    if kind == "attention_mixed":
        chunk = np.where(d["prefill_chunk"] > 0, d["kv_prefill"] + d["prefill_chunk"], 0)
        return chunk + d["n_decode"] * d["kv_decode"], d["prefill_chunk"] + d["n_decode"]
    return d["batch"] * _visible(d, d["q_len"] - 1), d["batch"] * d["q_len"]


def _visible(d: Floats, beside: np.ndarray | int = 0) -> np.ndarray:
    """Keys of a sequence inside the window of a query, and `beside` it."""
    return np.where(d["window"] > 0, np.minimum(d["kv_len"], d["window"] + beside), d["kv_len"])


def work_of(kind: str, d: Floats) -> np.ndarray:
    """Multiplications and additions of a product or an attention, float64[P]."""
    if kind == "gemm":
        result: np.ndarray = 2 * d["m"] * d["n"] * d["k"] * d["batch"]
        return result
    if kind == "moe":
        result = (
            6
            * d["tokens"]
            * d["hidden"]
            * (d["intermediate"] / d["tp"])
            * np.minimum(d["top_k"], d["experts"] / d["ep"])
        )
        return result
    if kind == "attention_mixed":
        pairs = d["prefill_chunk"] * (d["kv_prefill"] + d["prefill_chunk"]) + d["n_decode"] * d["kv_decode"]
    elif kind in ("attention_prefill", "attention_decode"):
        pairs = d["batch"] * d["q_len"] * _visible(d)
    else:
        return np.zeros_like(next(iter(d.values())))
    return 4 * pairs * d["heads"] * d["head_dim"]


def _what_fits(kind: str, d: Floats, row: int, times: float) -> str:
    """The dimension to make smaller, and how far."""
    for name in ("batch", "n_decode", "kv_len", "kv_prefill", "bytes"):
        if name in d and (most := int(d[name][row] // (times * (1 + 1e-9)))) >= 1:
            return f": {name} {most} would fit"
    return ""


def uncountable(machine: Machine, dtype: str, runs: Runs) -> np.ndarray:
    """Programs whose time or energy passes what int64 holds with the digits the power limit needs, bool[P]."""
    power, pico = machine.power, 1e12
    time = runs.end * (pico / machine.clock)
    active = time * float(power.active_per_unit) * machine.cores
    flops = runs.flops.astype(float) * float(power.per_flop.get(dtype, 0)) * pico
    moved = sum((amount.astype(float) for amount in runs.bytes.values()), np.zeros(len(time)))
    bytes_ = moved * max(float(machine.chip.energy_per_byte(tier)) for tier in TIERS) * pico
    static = time * float(power.limit)
    return np.asarray((np.stack([time, active, flops, bytes_, static]) * DIGITS > MOST).any(axis=0))
