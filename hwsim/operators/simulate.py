"""Time, energy and bound of operators: candidates -> ranked by a closed form -> the best few simulated -> the fastest.

Everything is batched: a call answers P cases of one kind and dtype at once, and a case's answer is the same alone and
in any batch. Closed forms only rank; every time comes from the engine.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hwsim._core.bounds import BOUND_CLASSES, BOUND_INDEX
from hwsim.errors import bad
from hwsim.memory.law import Pattern, ServiceLaw, laws
from hwsim.operators.account import Runs
from hwsim.operators.amounts import weight_bytes
from hwsim.operators.limits import oversized, uncountable
from hwsim.operators.machine import Machine
from hwsim.operators.operator import complete, kind_of
from hwsim.operators.power import limited, load_of
from hwsim.units import ceil_div

BEST = 3  # candidates simulated of each case

# (accelerator class, kind) -> "module" or "module:object" of its mapper. A new class or kind is a line here.
# A mapper has propose, programs and describe; optionally refuse (reasons per case), ALONE (a protocol
# times it without copies) or copies (how many it times together) and PATTERN (how it reads the memory).
GPU = "hwsim.operators.mapper.gpu"
SYSTOLIC = "hwsim.operators.mapper.systolic"
PIPELINE = "hwsim.operators.mapper.pipeline"
WAFER = "hwsim.operators.mapper.wafer"
MANYCORE = "hwsim.operators.mapper.manycore"
ATTENTION = ("attention_prefill", "attention_decode", "attention_mixed")
ELEMENTWISE = ("norm", "activation", "softmax", "rope", "embed", "sample")
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send")
MAPPERS: dict[tuple[str, str], str] = {
    ("gpu", "gemm"): f"{GPU}.gemm",
    ("gpu", "attention_decode"): f"{GPU}.attention_decode",
    ("gpu", "attention_prefill"): f"{GPU}.attention_prefill",
    ("gpu", "attention_mixed"): f"{GPU}.attention_mixed",
    **{("gpu", kind): f"{GPU}.elementwise:{kind}" for kind in ELEMENTWISE},
    ("gpu", "moe"): f"{GPU}.moe",
    ("systolic", "gemm"): f"{SYSTOLIC}.gemm",
    **{("systolic", kind): f"{SYSTOLIC}.elementwise:{kind}" for kind in ELEMENTWISE},
    **{("systolic", kind): f"{SYSTOLIC}.attention:{kind}" for kind in ATTENTION},
    ("pipeline", "gemm"): f"{PIPELINE}.gemm",
    **{("pipeline", kind): f"{PIPELINE}.elementwise:{kind}" for kind in ELEMENTWISE},
    **{("pipeline", kind): f"{PIPELINE}.attention:{kind}" for kind in ATTENTION},
    **{("pipeline", kind): f"{PIPELINE}.collective:{kind}" for kind in COLLECTIVES},
    ("wafer", "gemm"): f"{WAFER}.gemm",
    **{("wafer", kind): f"{WAFER}.elementwise:{kind}" for kind in ELEMENTWISE},
    **{("wafer", kind): f"{WAFER}.attention:{kind}" for kind in ("attention_prefill", "attention_decode")},
    ("manycore", "gemm"): f"{MANYCORE}.gemm",
    **{("manycore", kind): f"{MANYCORE}.elementwise:{kind}" for kind in ELEMENTWISE},
    **{("manycore", kind): f"{MANYCORE}.attention:{kind}" for kind in ATTENTION},
    **{
        (class_, kind): f"hwsim.operators.mapper.collective:{kind}"
        for class_ in ("gpu", "systolic", "wafer", "manycore")
        for kind in COLLECTIVES
    },
}


@dataclass(frozen=True)
class OpResult:
    """What P operators take.

    Attributes
    ----------
    time_ps : int64[P]
        Simulated time with the protocol's share of gaps; -1 where `error` says why there is none.
    energy_pj : int64[P]
        Dynamic energy: FLOPs, at the clock the power limit leaves, and the bytes of each tier.
    active_pj : int64[P]
        Energy of the units while they hold the operator's programs, at the same clock. Static power is the caller's,
        who knows how long the chip is on.
    bound : int64[P, 16]
        Parts of `time_ps` by what limited it, in the order of BOUND_CLASSES; each row sums to its time.
    flops : int64[P]
        FLOP issued, padding included.
    bytes : mapping of str to int64[P]
        Bytes that passed each tier.
    error : list of str or None
    choice : list of str
        The program taken, in words.
    law : ServiceLaw or None
        What gave the memory's rate; None where it was simulated command by command, or there is no such memory.
    """

    time_ps: np.ndarray
    energy_pj: np.ndarray
    active_pj: np.ndarray
    bound: np.ndarray
    flops: np.ndarray
    bytes: dict[str, np.ndarray]
    error: list[str | None]
    choice: list[str]
    law: ServiceLaw | None = None

    def energy_j(self, machine: Machine) -> np.ndarray:
        """Joules of the chip meanwhile, its static power included, float64[P]."""
        static = float(machine.power.static) / 1e12
        return np.asarray((self.energy_pj + self.active_pj) / 1e12 + static * self.time_ps)

    def warning(self, row: int) -> str:
        """Why the law of the memory may be wrong for the bytes of a row, and by how much; empty where it holds."""
        moved = self.bytes.get("hbm")
        if self.law is None or moved is None or not moved[row]:
            return ""
        return self.law.warning(int(moved[row]))

    def bound_name(self, row: int) -> str:
        """The class that limited most of the time of a row."""
        return BOUND_CLASSES[int(np.argmax(self.bound[row]))]


def mapper_of(machine: Machine, kind: str) -> Any:
    """What maps `kind` on accelerators of the machine's class."""
    name = MAPPERS.get((machine.class_, kind))
    if name is None:
        known = ", ".join(sorted(k for c, k in MAPPERS if c == machine.class_)) or "no kind yet"
        got = f"{machine.accelerator} of class {machine.class_}, which has no mapper for it"
        raise bad(f"operator {kind}", got, f"one of {known}")
    module, _, attribute = name.partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def pattern_of(machine: Machine, kind: str) -> Pattern:
    """Access pattern of an operator's bytes in the device's memory: what its mapper says, else sequential."""
    found: Pattern = getattr(mapper_of(machine, kind), "PATTERN", "sequential")
    return found


def memory_law(machine: Machine, kind: str) -> ServiceLaw | None:
    """Law of the device's memory for an operator."""
    return laws(machine.chip, pattern_of(machine, kind)).get("hbm")


def simulate(
    machine: Machine,
    kind: str,
    dims: Mapping[str, object],
    dtype: str = "bf16",
    best: int = BEST,
    memory: Literal["law", "commands"] = "law",
) -> OpResult:
    """Time operators: every candidate ranked, the `best` of each case simulated, the fastest taken.

    Parameters
    ----------
    kind : str
        A name of `KINDS` that the accelerator's class has a mapper for.
    dims : mapping of str to array-like of int
        Dimensions of the kind, scalars or int64[P].
    dtype : str
        Of the operands.
    best : int
        Candidates to simulate of each case; more only to measure what ranking costs.
    memory : str
        `law`: the device's memory takes its service law; `commands`: see `hwsim.operators.commands`.

    Raises
    ------
    InputError
        Unknown kind, dimension out of range, accelerator class without a mapper for the kind; under `commands` a memory
        without described commands.
    """
    if memory == "commands":
        from hwsim.operators.commands import simulate_by_commands

        return simulate_by_commands(machine, kind, dims, dtype, best)
    columns = complete(kind_of(kind), dims, dtype)
    errors = _refusals(machine, kind, columns, dtype)
    count = len(errors)
    result = OpResult(
        time_ps=np.full(count, -1, np.int64),
        energy_pj=np.zeros(count, np.int64),
        active_pj=np.zeros(count, np.int64),
        bound=np.zeros((count, len(BOUND_CLASSES)), np.int64),
        flops=np.zeros(count, np.int64),
        bytes={},
        error=errors,
        choice=[""] * count,
        law=memory_law(machine, kind),
    )
    rows = np.flatnonzero([error is None for error in errors])
    if len(rows):
        _run(machine, kind, {name: column[rows] for name, column in columns.items()}, dtype, best, rows, result)
    return result


def _refusals(machine: Machine, kind: str, columns: Mapping[str, np.ndarray], dtype: str) -> list[str | None]:
    """Why each case cannot run, or None."""
    mapper, count = mapper_of(machine, kind), len(next(iter(columns.values())))
    if dtype not in machine.tensor:
        return [f"{machine.accelerator} has no {dtype}; it has {', '.join(machine.tensor)}"] * count
    large = oversized(machine, kind, columns, dtype)
    own = mapper.refuse(machine, columns, dtype) if hasattr(mapper, "refuse") else [None] * count
    return [first or second for first, second in zip(own, large)]


def _run(
    machine: Machine,
    kind: str,
    dims: Mapping[str, np.ndarray],
    dtype: str,
    best: int,
    rows: np.ndarray,
    result: OpResult,
) -> None:
    """Simulate the cases `dims` and write their answers to `rows` of the result."""
    mapper = mapper_of(machine, kind)
    chosen = mapper.propose(machine, dims, dtype).best(best)
    runs = Runs(len(chosen.case))
    for group in mapper.programs(machine, dims, dtype, chosen):
        runs.add(group)
    for row in np.flatnonzero(uncountable(machine, machine.multiplied(dtype), runs)):
        runs.refused.setdefault(int(row), "its time or energy is more than hwsim counts: cut it into several")
    refused = np.zeros(len(chosen.case), bool)
    refused[list(runs.refused)] = True
    runs.clear(refused)
    copies = _copies(machine, kind, mapper, dims, dtype)
    load = limited(machine, load_of(machine, machine.multiplied(dtype), runs), copies[chosen.case])
    order = np.lexsort((load.time, refused, chosen.case))
    case = chosen.case[order]
    taken = order[np.r_[True, case[1:] != case[:-1]]]
    result.time_ps[rows] = load.time[taken]
    result.bound[rows] = load.bound[taken]
    result.flops[rows] = runs.flops[taken]
    for tier, amount in runs.bytes.items():
        result.bytes.setdefault(tier, np.zeros_like(result.flops))[rows] = amount[taken]
    result.energy_pj[rows] = load.flops[taken] + load.bytes[taken]
    result.active_pj[rows] = load.active[taken]
    gap = ceil_div(machine.timing.gap_ps, copies)  # an operator's share of the gap of a replay, rounded up
    result.time_ps[rows] += gap
    result.bound[rows, BOUND_INDEX["launch"]] += gap
    for row, candidate in zip(rows, taken):
        result.choice[row] = mapper.describe(chosen, int(candidate))
        if refused[candidate]:
            result.error[row], result.time_ps[row] = runs.refused[int(candidate)], -1
            result.bound[row] = 0


def _copies(machine: Machine, kind: str, mapper: Any, dims: Mapping[str, np.ndarray], dtype: str) -> np.ndarray:
    """Operators of one replay, int64[P]: they share its gap."""
    one = np.ones_like(next(iter(dims.values())))
    if getattr(mapper, "ALONE", False):
        return one
    if hasattr(mapper, "copies"):
        own: np.ndarray = mapper.copies(dims)
        return own
    return machine.timing.copies(weight_bytes(dims, dtype) if kind == "gemm" else one)
