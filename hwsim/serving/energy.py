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
    accelerator: Accelerator,
    operators: list[dict[str, Any]],
    devices: int,
    tp: Devices,
    makespan_ps: int,
    spares: int = 0,
) -> dict[str, int]:
    """Picojoules of all devices by part.

    Parameters
    ----------
    accelerator : Accelerator
    operators : list of dict
        Rows of `Account.operators`: sums over the run for one device of a replica.
    devices, tp : int or Fraction
        Devices that serve, those that share each matrix.
    makespan_ps : int
        How long the system was on.
    spares : int
        Further devices, without a program: they draw their idle power.

    Returns
    -------
    dict of str to int
        static, active, flops, and each tier and link that bytes passed. Units that are not gated draw their active
        power as long as the system serves.
    """
    power, seconds = accelerator.power, Fraction(makespan_ps, 10**12)
    each: dict[str, Fraction] = {str(tier): energy for tier, energy in power.per_byte.items()}
    each |= {"link": accelerator.links.scale_up.link.energy, "host": accelerator.links.host.link.energy}
    moved = {tier: energy * sum(row[f"{tier}_bytes"] for row in operators) for tier, energy in each.items()}
    ways = {tier: pj_ceil(energy * tp) for tier, energy in moved.items() if energy}
    if power.gating == "unit":
        active = ceil(sum(row["active_pj"] for row in operators) * tp)
    else:
        active = pj_ceil(power.active_per_unit * accelerator.units.tensor.count * devices * seconds)
    dynamic = ceil(sum(row["energy_pj"] for row in operators) * tp)
    parts = {"static": pj_ceil((power.static * devices + power.idle * spares) * seconds), "active": active}
    return parts | {"flops": max(0, dynamic - sum(ways.values()))} | ways
