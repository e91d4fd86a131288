"""Energy of a run by part: static power over the whole time, busy units, bytes and operations.

The form is the one that explains measured power of GPUs: a chip draws its static power as long as it is on, each unit
that holds a kernel draws the active power whether it waits or not, and bytes and operations cost energy each. Active
energy and that of operations come from the simulated operators: they are those at the clock the power limit leaves.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

from hwsim.describe.accelerator import Accelerator
from hwsim.serving.layers import Devices
from hwsim.units import pj_ceil


def energy_pj(
    accelerator: Accelerator, operators: list[dict[str, Any]], devices: int, tp: Devices, makespan_ps: int
) -> dict[str, int]:
    """Picojoules of all devices by part.

    Parameters
    ----------
    accelerator : Accelerator
    operators : list of dict
        Rows of `Account.operators`: sums over the run for one device of a replica.
    devices, tp : int or Fraction
        Devices of the system, those that share each matrix.
    makespan_ps : int
        How long the system was on.

    Returns
    -------
    dict of str to int
        static, active, bytes, flops.
    """
    power = accelerator.power
    each: dict[str, Fraction] = {str(tier): energy for tier, energy in power.per_byte.items()}
    each |= {"link": accelerator.links.scale_up.link.energy, "host": accelerator.links.host.link.energy}
    moved = sum((energy * sum(row[f"{tier}_bytes"] for row in operators) for tier, energy in each.items()), Fraction(0))
    parts = {
        "static": pj_ceil(power.static * makespan_ps / 10**12 * devices),
        "active": ceil(sum(row["active_pj"] for row in operators) * tp),
        "bytes": pj_ceil(moved * tp),
    }
    dynamic = ceil(sum(row["energy_pj"] for row in operators) * tp)
    return parts | {"flops": max(0, dynamic - parts["bytes"])}
