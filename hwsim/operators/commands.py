"""Operators whose memory is simulated command by command: `memory="commands"`.

The program that the law chose says how many bytes an operator moves. These go, in the access pattern of its commands,
through all channels of the device's memory from tick 0 on; the slowest channel's time over the time that the channel's
law gives as many granules is how much slower the memory was than its law says. The operator is then simulated again,
choice of the program included, with the memory's rate divided by that. What stays of the description: latency, the
tier's `efficiency` on top of the commands, and the window of the units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np

from hwsim.errors import bad
from hwsim.memory.commands import through_channels
from hwsim.memory.law import ServiceLaw
from hwsim.operators.machine import Machine
from hwsim.operators.operator import complete, kind_of
from hwsim.operators.simulate import BEST, OpResult, simulate

_PER_ROW = ("time_ps", "energy_pj", "active_pj", "bound", "flops")


def simulate_by_commands(
    machine: Machine, kind: str, dims: Mapping[str, object], dtype: str = "bf16", best: int = BEST
) -> OpResult:
    """As `simulate`, the memory's rate from its commands; operators of equal bytes send them once.

    Raises
    ------
    InputError
        As `simulate`; a memory whose commands are not described.
    """
    columns = complete(kind_of(kind), dims, dtype)
    result = simulate(machine, kind, columns, dtype, best)
    if result.law is None:  # a device without such a memory
        return result
    if result.law.channel is None:
        raise bad(machine.accelerator, "a memory without `commands`", "one whose commands are described")
    moved = result.bytes.get("hbm", np.zeros_like(result.flops))
    for size in np.unique(moved[moved > 0]):
        rows = np.flatnonzero(moved == size)
        slower = machine.with_memory_at(share_of_law(machine, result.law, int(size)))
        again = simulate(slower, kind, {name: column[rows] for name, column in columns.items()}, dtype, best)
        _put(result, rows, again)
    return replace(result, law=None)


def share_of_law(machine: Machine, law: ServiceLaw, size_bytes: int) -> Fraction:
    """Rate of a stream of so many bytes under commands, over the rate of its law; both without the first data's way."""
    channel = law.channel
    assert channel is not None
    done = through_channels(machine.chip, size_bytes, channel.access, options=channel.options)
    taken = max(1, int(done.ticks.max()) - max(0, channel.first))
    return done.requests // law.channels * channel.kept / taken


def _put(result: OpResult, rows: np.ndarray, part: OpResult) -> None:
    """Answers of some rows in their places."""
    for name in _PER_ROW:
        getattr(result, name)[rows] = getattr(part, name)
    for tier, amount in part.bytes.items():
        result.bytes.setdefault(tier, np.zeros_like(result.flops))[rows] = amount
    for row, choice in zip(rows, part.choice):
        result.choice[row] = choice
