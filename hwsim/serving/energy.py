"""Energy of a run by part: static power over the whole time, busy units, bytes and operations.

The form is the one that explains measured power of GPUs: a chip draws its static power as long as it is on, each unit
that holds a kernel draws the active power whether it waits or not, and bytes and operations cost energy each. Active
energy and that of operations come from the simulated operators: they are those at the clock the power limit leaves.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

from hwsim._core.bounds import TIERS
from hwsim.describe.accelerator import Accelerator
from hwsim.describe.system import System
from hwsim.serving.layers import Devices
from hwsim.serving.offload import FETCH, Offload
from hwsim.units import pj_ceil


def energy_pj(
    accelerator: Accelerator,
    operators: list[dict[str, Any]],
    devices: int,
    tp: Devices,
    makespan_ps: int,
    spares: int = 0,
    offload: Offload | None = None,
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
    offload : Offload or None
        Where weights come from that are not in the devices.

    Returns
    -------
    dict of str to int
        static, active, bytes (of tiers and links; a trace has them one by one), flops. Units that are not gated draw
        their active power as long as the system serves.
    """
    power, seconds = accelerator.power, Fraction(makespan_ps, 10**12)
    ways = pj_ceil(sum(ways_j(accelerator, operators, offload).values(), Fraction(0)) * tp)
    if power.gating == "unit":
        active = ceil(sum(row["active_pj"] for row in operators) * tp)
    else:
        active = pj_ceil(power.active_per_unit * accelerator.units.tensor.count * devices * seconds)
    dynamic = ceil(sum(row["energy_pj"] for row in operators) * tp)
    static = pj_ceil((power.static * devices + power.idle * spares) * seconds)
    return {"static": static, "active": active, "bytes": ways, "flops": max(0, dynamic - ways)}


def ways_j(accelerator: Accelerator, operators: list[dict[str, Any]], offload: Offload | None) -> dict[str, Fraction]:
    """Joules of the bytes of one device by tier; what is fetched passes another memory and link than the chip's own."""
    joules = {
        tier: accelerator.energy_per_byte(tier) * sum(row[f"{tier}_bytes"] for row in operators) for tier in TIERS
    }
    if offload is not None:
        tier = offload.device.tier
        fetched = sum(row[f"{tier}_bytes"] for row in operators if row["kind"] == FETCH)
        joules[tier] += (offload.energy - accelerator.energy_per_byte(tier)) * fetched
    return joules


def around_pj(system: System, chips_pj: int, makespan_ps: int, busy_ps: int) -> dict[str, int]:
    """Picojoules beside the accelerators by part: of their hosts, and lost in supplies; empty without a host.

    Parameters
    ----------
    chips_pj : int
        Of all accelerators.
    makespan_ps, busy_ps : int
        How long the system was on, and how much of that a step ran on its devices.
    """
    host = system.host
    if host is None:
        return {}
    drawn = host.idle * makespan_ps + host.active * min(busy_ps, makespan_ps)
    node = pj_ceil(drawn * system.nodes / 10**12)
    return {"host": node, "supply": ceil((chips_pj + node) * (1 / host.supply - 1))}
