"""Whole simulation of real steps: any chunks, any contexts, one kernel or two as the library has them.

The serving core composes a step from samples of cost surfaces (`step_surface`); this is what it is held against,
and what gives the samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwsim._core.bounds import BOUND_INDEX
from hwsim.errors import bad
from hwsim.operators.account import Runs
from hwsim.operators.mapper.gpu.attention_batch import Chunks, Heads, Lengths
from hwsim.operators.mapper.gpu.attention_library import Device
from hwsim.operators.mapper.gpu.attention_mixed import programs_of
from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.operator import DTYPES
from hwsim.operators.power import limited, load_of
from hwsim.operators.simulate import OpResult, memory_law
from hwsim.operators.step import Step


def simulate_steps(
    machine: Machine,
    heads: int,
    kv_heads: int,
    head_dim: int,
    steps: Sequence[Step],
    kv_dtype: str = "",
    dtype: str = "bf16",
) -> OpResult:
    """Time the attention of steps, each simulated whole with its own items.

    Parameters
    ----------
    heads, kv_heads, head_dim : int
        Of one device.
    steps : sequence of Step
        Each with at least one chunk or context, all numbers at least 1 (cached keys at least 0).
    kv_dtype, dtype : str
        Of keys and values ("" = dtype), and of queries.

    Raises
    ------
    InputError
        An empty step or a number out of range.
    """
    lists = [[chunk for step in steps for chunk in step.chunks], [c for step in steps for c in step.contexts]]
    empty = [i for i, step in enumerate(steps) if not len(step.chunks) and not len(step.contexts)]
    if empty:
        raise bad(f"step {empty[0]}", "neither chunks nor contexts", "at least one of them")
    new = np.array(lists[0], np.int64).reshape(-1, 2)
    keys = np.array(lists[1], np.int64)
    if (new[:, 0] < 1).any() or (new[:, 1] < 0).any() or (keys < 1).any():
        raise bad("steps", "a chunk or context below 1, or cached keys below 0", "positive lengths")
    counts = [[len(step.chunks) for step in steps], [len(step.contexts) for step in steps]]
    of = [np.concatenate([[0], np.cumsum(count)]) for count in counts]
    given = {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, "kv_dtype": DTYPES.index(kv_dtype or dtype)}
    shape = Heads.of({name: np.full(len(steps), value, np.int64) for name, value in given.items()}, dtype)
    chunks = Chunks(of[0], new[:, 0].copy(), new[:, 1].copy(), np.ones(len(new), np.int64))
    runs = Runs(len(steps))
    for group in programs_of(Device.of(machine), shape, chunks, Lengths(of[1], keys, np.ones_like(keys)), dtype):
        runs.add(group)
    for step, reason in runs.refused.items():
        raise bad(f"step {step}", reason, "a step that hwsim can count")
    return _result(machine, runs, dtype)


def _result(machine: Machine, runs: Runs, dtype: str) -> OpResult:
    """Picoseconds and joules of the runs, a replay's gap included."""
    load = limited(machine, load_of(machine, dtype, runs))
    load.bound[:, BOUND_INDEX["launch"]] += machine.timing.gap_ps
    return OpResult(
        time_ps=load.time,
        energy_pj=load.flops + load.bytes,
        active_pj=load.active,
        bound=load.bound,
        flops=runs.flops,
        bytes=runs.bytes,
        error=[None] * len(runs.end),
        choice=["the library's kernels"] * len(runs.end),
        law=memory_law(machine, "attention_mixed"),
    )
