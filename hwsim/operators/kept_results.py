"""`simulate` with a memory: operators that this or another process simulated before are read from the cache."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwsim._core.bounds import BOUND_CLASSES, TIERS
from hwsim.memo import Table
from hwsim.memory.law import ServiceLaw
from hwsim.operators.machine import Machine
from hwsim.operators.operator import complete, kind_of
from hwsim.operators.simulate import BEST, OpResult, memory_law, simulate

_FIXED = ("time_ps", "energy_pj", "active_pj", "flops")
_BOUND = slice(len(_FIXED), len(_FIXED) + len(BOUND_CLASSES))
_TIERS = slice(_BOUND.stop, _BOUND.stop + len(TIERS))


def simulate_kept(machine: Machine, kind: str, dims: Mapping[str, object], dtype: str = "bf16") -> OpResult:
    """As `simulate`, equal to the bit; only what no cache holds is simulated, equal operators once.

    `choice` is empty: the cache holds numbers. Operators that cannot run are tried again, their reason is a text.
    """
    columns = complete(kind_of(kind), dims, dtype)
    asked, place = np.unique(np.stack(list(columns.values()), axis=1), axis=0, return_inverse=True)
    table = _table(machine, kind, dtype, list(columns))
    found, samples = table.get(asked)
    errors: list[str | None] = [None] * len(asked)
    rows = np.flatnonzero(~found)
    if len(rows):
        fresh = simulate(machine, kind, {name: asked[rows, index] for index, name in enumerate(columns)}, dtype)
        samples[rows] = _pack(fresh)
        for row, error in zip(rows, fresh.error):
            errors[row] = error
        runs = [row for row in rows if errors[row] is None]
        table.put(asked[runs], samples[runs])
        table.flush()
    place = place.reshape(-1)
    return _unpack(samples[place], [errors[row] for row in place], memory_law(machine, kind))


def _table(machine: Machine, kind: str, dtype: str, columns: list[str]) -> Table:
    # A protocol counts its copies by the software's name, which is no part of the descriptions' content.
    key = {"machine": machine.key, "software": machine.software, "kind": kind, "dtype": dtype, "best": BEST}
    return Table(key | {"columns": columns}, len(columns), _TIERS.stop)


def _pack(result: OpResult) -> np.ndarray:
    """int64[P, sample] of a result."""
    samples = np.zeros((len(result.time_ps), _TIERS.stop), np.int64)
    for index, name in enumerate(_FIXED):
        samples[:, index] = getattr(result, name)
    samples[:, _BOUND] = result.bound
    for index, tier in enumerate(TIERS, _TIERS.start):
        samples[:, index] = result.bytes.get(tier, 0)
    return samples


def _unpack(samples: np.ndarray, errors: list[str | None], law: ServiceLaw | None) -> OpResult:
    time, energy, active, flops = (samples[:, index].copy() for index in range(len(_FIXED)))
    tiers = {tier: samples[:, index] for index, tier in enumerate(TIERS, _TIERS.start) if samples[:, index].any()}
    return OpResult(time, energy, active, samples[:, _BOUND].copy(), flops, tiers, errors, [""] * len(errors), law)
