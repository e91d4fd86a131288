"""Values and cells of the GEMM template for many candidates at once: columns of int64, one row a candidate."""

from __future__ import annotations

import itertools

import numpy as np

from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.mapper.gpu.program import PIECES, template
from hwsim.operators.mapper.gpu.tiles import Work
from hwsim.units import ceil_div

NEVER = -(1 << 28)  # base of a wait that holds nothing up
Amounts = dict[str, list[np.ndarray]]


def values_of(work: Work, once: dict[str, np.ndarray], groups: int) -> np.ndarray:
    """int64[Q, columns] for `template(groups)`.

    Parameters
    ----------
    once : dict of str to int64[Q]
        Slots of what happens once: launch, quantisation, `late` (cycles after the last store).
    """
    pieces = np.full_like(work.items, PIECES)
    amounts: Amounts = {
        **{name: [column] for name, column in once.items()},
        "waves": [work.waves],
        "steps": [work.steps],
        "reduce": [work.reduce_bytes],
        "pieces": [pieces],
        "hbm": _stages(*_waves(work.hbm_bytes, work.slots, work.last, work), work.steps),
    }
    all_cores = split_evenly(work.cores, work.cores, groups)
    all_last = split_evenly(work.last, work.cores, groups)
    for g in range(groups):
        amounts |= _group(g, work, all_cores[g], all_last[g])
    totals = {
        "hbm": (work.hbm_bytes, work.steps),
        "l2.read": (work.l2_bytes, work.steps),
        "l2.write": (work.write_bytes, pieces),
    }
    for name, (total, passes) in totals.items():
        _settle(amounts, name, total, work.waves, passes)
    t = template(groups)
    values = np.zeros((len(work.items), t.size("slots")), np.int64)
    for slot, columns in amounts.items():
        for offset, column in enumerate(columns):
            values[:, t.slots[slot].index + offset] = column
    return values


def _group(g: int, work: Work, cores: np.ndarray, last: np.ndarray) -> Amounts:
    """Amounts of one group: `cores` cores with `resident` items each, `last` items in the last wave."""
    busy = ceil_div(last, cores)
    pieces = np.full_like(last, PIECES)
    out = work.tile_bytes * work.resident, work.tile_bytes * busy
    return {
        f"l2.read.{g}": _stages(*_waves(work.l2_bytes, cores * work.resident, last, work), work.steps),
        f"port.read.{g}": [work.step_bytes * each for each in (work.resident, work.resident, busy, busy)],
        f"flops.{g}": [work.stage_flops, np.where(busy > 0, work.stage_flops_last, 0)],
        f"end.{g}": [np.ones_like(last)],
        f"out.{g}": _stages(*out, pieces),
        f"l2.write.{g}": _stages(*_waves(work.write_bytes, cores * work.resident, last, work), pieces),
    }


def split_evenly(total: np.ndarray, parts: np.ndarray, groups: int) -> list[np.ndarray]:
    """`total` over groups by their share of `parts` equal cores; the sum is exact, group 0 is never empty."""
    ends = [ceil_div(total * ceil_div(parts * g, groups), parts) for g in range(groups + 1)]
    return [after - before for before, after in itertools.pairwise(ends)]


def _waves(total: np.ndarray, full: np.ndarray, last: np.ndarray, work: Work) -> tuple[np.ndarray, np.ndarray]:
    """Share of `full` items (a full wave of one group, or of all) and of `last` items in a total over all items."""
    return total * full // work.items, total * last // work.items


def _stages(full: np.ndarray, last: np.ndarray, steps: np.ndarray) -> list[np.ndarray]:
    """Columns of an amount per stage: all stages of a wave but the last, the last; the same of the last wave."""
    return [column for wave in (full, last) for column in (wave // steps, wave - wave // steps * (steps - 1))]


def _settle(amounts: Amounts, name: str, total: np.ndarray, waves: np.ndarray, steps: np.ndarray) -> None:
    """Put what rounding lost on the last pass of group 0, so that the bytes of all groups are the operator's."""
    parts = [columns for slot, columns in amounts.items() if slot.startswith(name)]
    counted = sum(((waves - 1) * _passes(c[: len(c) // 2], steps) + _passes(c[len(c) // 2 :], steps)) for c in parts)
    parts[0][-1] = parts[0][-1] + total - counted


def _passes(columns: list[np.ndarray], steps: np.ndarray) -> np.ndarray:
    """Sum of one wave: every stage but the last, and the last."""
    return columns[0] * (steps - 1) + columns[-1]


def cells_of(machine: Machine, work: Work, groups: int) -> dict[str, np.ndarray]:
    """Cells by name, int64[Q] each."""
    ones = np.ones_like(work.items)
    cells = {
        "1 - stages": 1 - work.depth,
        "groups x (1 - stages)": groups * (1 - work.depth),
        "next tile": ones * (NEVER if work.exposed_1024 < 1024 else 0),
        "free pieces": ones * (PIECES * work.exposed_1024 // 1024 - PIECES),
        "drain": ones * machine.wave,
        "stores": work.waves * (groups * PIECES),
    }
    for g, cores in enumerate(split_evenly(work.cores, work.cores, groups)):
        cells[f"cores.{g}"] = cores
    return cells
