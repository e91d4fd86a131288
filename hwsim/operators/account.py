"""What programs did, in the words of an operator: cycles, FLOP and bytes of every tier.

A template says which unit each of its columns counts and on which resource; the passes of the engine times the values
are therefore the operator's FLOPs and bytes, with no record per command.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hwsim._core import tables
from hwsim._core.bounds import BOUND_CLASSES, TIERS
from hwsim.errors import HwsimError
from hwsim.operators.candidates import Programs
from hwsim.operators.program import Bound, Outcome, Template, bind, run_many
from hwsim.operators.template import UNITS
from hwsim.units import ceil_div

BLOCK = 1024  # programs bound and run at a time: their tables stay in the cache


class Runs:
    """Outcomes of `count` programs, filled in group by group.

    Attributes
    ----------
    end : int64[count]
        Cycles.
    bound : int64[count, 16]
        Cycles by what limited them; a row sums to `end`.
    busy : int64[count, 16]
        Cycles the busiest resource of each class worked.
    flops : int64[count]
    bytes : dict of str to int64[count]
        Of each tier.
    refused : dict of int to str
        Why programs were not run: an amount or a rate that the engine cannot count.
    """

    def __init__(self, count: int) -> None:
        self.end = np.zeros(count, np.int64)
        self.bound = np.zeros((count, len(BOUND_CLASSES)), np.int64)
        self.busy = np.zeros((count, len(BOUND_CLASSES)), np.int64)
        self.flops = np.zeros(count, np.int64)
        self.bytes: dict[str, np.ndarray] = {}
        self.refused: dict[int, str] = {}

    def add(self, group: Programs) -> None:
        """Run the programs of a group and add what they did: several of one candidate run one after the other."""
        for start in range(0, len(group.index), BLOCK):
            self._add(group.part(slice(start, start + BLOCK)))

    def _add(self, group: Programs) -> None:
        bound = bind(group.template, group.values, group.rates, group.laws, group.cells)
        if bound.status.any():
            self._refuse(group, bound)
            return
        outcome = run_many(bound)
        failed = np.flatnonzero(outcome.status != tables.OK)
        if len(failed):
            status = tables.STATUS_NAMES[outcome.status[failed[0]]]
            raise HwsimError(
                f"program {failed[0]} of {group.template.name!r} ended with status {status}; this is a fault of hwsim"
            )
        self.end[group.index] += outcome.end
        self.bound[group.index] += outcome.bound
        self.busy[group.index] += busiest(group.template, outcome)
        flops, tiers = count(group, outcome)
        self.flops[group.index] += flops
        for tier, amount in tiers.items():
            self.bytes.setdefault(tier, np.zeros(len(self.end), np.int64))[group.index] += amount

    def clear(self, rows: np.ndarray) -> None:
        """Forget what some programs did, bool[count]: their sums may have no meaning."""
        for column in (self.end, self.bound, self.busy, self.flops, *self.bytes.values()):
            column[rows] = 0

    def _refuse(self, group: Programs, bound: Bound) -> None:
        """Note the programs that cannot run, and run the others."""
        for program in np.flatnonzero(bound.status):
            self.refused[int(group.index[program])] = "; ".join(map(str, bound.reasons(int(program))))
        kept = np.flatnonzero(bound.status == tables.OK)
        if len(kept):
            self._add(group.part(kept))


def busiest(t: Template, outcome: Outcome) -> np.ndarray:
    """Cycles the busiest resource of each class worked, int64[Q, 16], rounded up."""
    busy = np.zeros((len(outcome.end), len(BOUND_CLASSES)), np.int64)
    for resource, of in enumerate(t.resources["bound"]):
        np.maximum(busy[:, of], ceil_div(outcome.busy[:, resource], 16), out=busy[:, of])
    return busy


def count(group: Programs, outcome: Outcome) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """FLOP issued and bytes of each tier, int64[Q] each; what the mapper counted itself takes precedence."""
    t = group.template
    amounts = outcome.passes * group.values
    mult = np.where(t.slot_mult < tables.CELL, t.slot_mult, 1).astype(np.int64)
    amounts = amounts * mult
    for column in np.flatnonzero(t.slot_mult >= tables.CELL):
        assert group.cells is not None
        amounts[:, column] *= group.cells[:, t.slot_mult[column] - tables.CELL]
    flop_columns, tier_columns = columns_of(t)
    flops = amounts[:, flop_columns].sum(axis=1) if group.flops is None else group.flops
    tiers = {tier: amounts[:, columns].sum(axis=1) for tier, columns in tier_columns.items()}
    return flops, tiers | dict(group.bytes)


@lru_cache(maxsize=64)
def _columns(key: str, slot_law: bytes, slot_unit: bytes, law_bound: bytes) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    law, unit, bound = (np.frombuffer(part, np.int32) for part in (slot_law, slot_unit, law_bound))
    served = law >= 0
    tiers = {
        tier: np.flatnonzero(served & (unit == UNITS.index("B")) & (bound[law] == BOUND_CLASSES.index(tier)))
        for tier in TIERS
    }
    return np.flatnonzero(served & (unit == UNITS.index("FLOP"))), {
        tier: columns for tier, columns in tiers.items() if len(columns)
    }


def columns_of(t: Template) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Columns of a template's values that count FLOP, and those that count bytes of each tier."""
    law_bound = t.resources["bound"][t.law_resource].astype(np.int32)
    return _columns(t.hash, t.slot_law.tobytes(), t.slot_unit.tobytes(), law_bound.tobytes())
