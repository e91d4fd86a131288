"""Laws of the energy of a run: parts add up, idle chips draw static power alone, more bytes never cost less."""

from typing import Any

import pytest

from hwsim.describe import load
from hwsim.operators.surface import COLUMNS
from hwsim.serving.energy import energy_pj

S = 10**12
CHIPS = ["h100-sxm", "tpu-v6e", "wse-3", "groq-lpu", "ipu-gc200", "mi300x", "northpole"]


def row(chip: Any, **columns: int) -> dict[str, int]:
    """One operator whose dynamic energy is that of its bytes and FLOPs, as `simulate` has it."""
    found = dict.fromkeys(COLUMNS, 0) | columns
    energy = sum(float(value) * found[f"{tier}_bytes"] for tier, value in chip.power.per_byte.items())
    return found | {"energy_pj": round(1e12 * energy) + columns.get("energy_pj", 0)}


@pytest.mark.parametrize("name", CHIPS)
def test_a_system_without_work_draws_its_static_power_and_what_is_not_gated(name: str) -> None:
    chip = load(name)
    parts = energy_pj(chip, [], devices=3, tp=1, makespan_ps=2 * S)
    ungated = 0.0 if chip.power.gating == "unit" else float(chip.power.active_per_unit * chip.units.tensor.count)
    assert parts["static"] == pytest.approx(6e12 * float(chip.power.static))
    assert parts["active"] == pytest.approx(6e12 * ungated)
    assert sum(parts.values()) == parts["static"] + parts["active"]
    assert sum(parts.values()) <= 6e12 * float(chip.power.limit)


@pytest.mark.parametrize("name", CHIPS)
def test_devices_without_a_program_draw_their_idle_power(name: str) -> None:
    chip = load(name)
    without, beside = (energy_pj(chip, [], 1, 1, S, spares) for spares in (0, 3))
    assert sum(beside.values()) - sum(without.values()) == pytest.approx(3e12 * float(chip.power.idle), abs=1)


@pytest.mark.parametrize("name", CHIPS)
def test_parts_sum_to_what_operators_spent_and_more_bytes_never_cost_less(name: str) -> None:
    chip = load(name)
    tier = f"{chip.home}_bytes"
    before = 0
    for size in (0, 1, 10**6, 10**12):
        one = row(chip, **{tier: size, "active_pj": 5 * S, "energy_pj": 7 * S})
        parts = energy_pj(chip, [one], devices=1, tp=1, makespan_ps=S)
        active = 5 * S if chip.power.gating == "unit" else parts["active"]
        assert sum(parts.values()) == pytest.approx(parts["static"] + active + one["energy_pj"], abs=2)
        assert sum(parts.values()) >= before
        before = sum(parts.values())
    assert parts[chip.home] > 0


def test_wafers_and_static_schedules_are_not_gated() -> None:
    gating = {name: load(name).power.gating for name in CHIPS}
    assert {name for name, value in gating.items() if value == "none"} == {"wse-3", "groq-lpu"}
