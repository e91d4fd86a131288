"""Why a case cannot run, in words: what mappers of every class refuse alike.

A fault is a column of cases and the reason, one text or one a case; `reasons` gives each case its first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hwsim.operators.machine import Machine
from hwsim.operators.operator import SIXTEENTH_BYTES

Dims = Mapping[str, np.ndarray]
Fault = tuple[np.ndarray, str | Sequence[str]]


def reasons(*faults: Fault) -> list[str | None]:
    """The first fault of each case, or None."""
    found: list[str | None] = [None] * len(faults[0][0])
    for wrong, texts in faults:
        for row in np.flatnonzero(wrong).tolist():
            found[row] = found[row] or (texts if isinstance(texts, str) else texts[row])
    return found


def larger(machine: Machine, need: np.ndarray, room: int, what: str = "needs") -> Fault:
    """Cases of more bytes, float64[P], than there is room for."""
    has = f"{machine.accelerator} has {room / 1e9:.4g} GB"
    return need > room, [f"{what} {size / 1e9:.4g} GB, {has}" for size in need.tolist()]


def product_bytes(dims: Dims, dtype: str) -> np.ndarray:
    """Bytes of both operands of products and of results of two bytes, float64[P]."""
    m, n, k, batch = (dims[name].astype(np.float64) for name in ("m", "n", "k", "batch"))
    size: np.ndarray = batch * ((m * k + k * n) * SIXTEENTH_BYTES[dtype] / 16 + 2 * m * n)
    return size


def attention(kind: str, dims: Dims) -> list[Fault]:
    """Cases of a kind of attention that are none: no work, or lengths that contradict one another."""
    if kind == "attention_mixed":
        idle = (dims["prefill_chunk"] == 0) & ((dims["n_decode"] == 0) | (dims["kv_decode"] == 0))
        return [(idle, "nothing to do: no prefill_chunk, and no n_decode with kv_decode")]
    new, keys = dims["q_len"], dims["kv_len"]
    several = [f"q_len {q}: several new tokens of a sequence are attention_prefill" for q in new.tolist()]
    few = [f"kv_len {k} is below q_len {q}: it counts the new tokens too" for q, k in zip(new.tolist(), keys.tolist())]
    return [((new > 1) & (kind == "attention_decode"), several), (new > keys, few)]


def heads_divide(dims: Dims) -> Fault:
    """Query heads that are not as many for every KV head."""
    pairs = zip(dims["heads"].tolist(), dims["kv_heads"].tolist())
    return dims["heads"] % dims["kv_heads"] != 0, [f"{q} query heads do not divide over {k} KV heads" for q, k in pairs]


def group(machine: Machine, dims: Dims) -> Fault:
    """Groups of more devices than the accelerator's largest system."""
    largest = machine.chip.links.scale_up.devices
    text = f"devices, but a system of {machine.accelerator} has at most {largest}"
    return dims["devices"] > largest, [f"{count} {text}" for count in dims["devices"].tolist()]
