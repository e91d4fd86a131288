"""Laws of the energy of a run: parts add up, idle chips draw static power alone, more bytes never cost less."""

from typing import Any

import numpy as np
import pytest

from hwsim.analyse.of_run import measure
from hwsim.analyse.point import point
from hwsim.describe import load
from hwsim.operators.surface import COLUMNS
from hwsim.serving.deployment import compile
from hwsim.serving.energy import around_pj, energy_pj
from hwsim.serving.run import run
from hwsim.workload.table import RequestTable

S = 10**12
CHIPS = ["h100-sxm", "tpu-v6e", "wse-3", "groq-lpu", "ipu-gc200", "mi300x", "gaudi-2", "sn40l", "northpole"]


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
    assert parts["bytes"] > 0


def test_wafers_and_static_schedules_are_not_gated() -> None:
    gating = {name: load(name).power.gating for name in CHIPS}
    assert {name for name, value in gating.items() if value == "none"} == {"wse-3", "groq-lpu"}


@pytest.mark.parametrize("name", CHIPS)
def test_units_that_are_not_gated_cost_what_they_idle(name: str) -> None:
    described = load(name)
    busy = int(float(described.power.active_per_unit * described.units.tensor.count) * S / 4)  # a quarter of a second
    runs = {}
    for gating in ("unit", "none"):
        power = described.power.model_copy(update={"gating": gating})
        chip = described.model_copy(update={"power": power})
        runs[gating] = energy_pj(chip, [row(chip, active_pj=busy)], devices=1, tp=1, makespan_ps=S)
    assert runs["none"]["active"] == pytest.approx(4 * runs["unit"]["active"], rel=1e-6)
    assert {part: energy for part, energy in runs["none"].items() if part != "active"} == {
        part: energy for part, energy in runs["unit"].items() if part != "active"
    }


@pytest.mark.parametrize("name", CHIPS)
def test_chips_host_and_losses_sum_to_the_wall_in_every_class(name: str) -> None:
    system = load(name, "system")
    chips = sum(energy_pj(system.accelerator, [], devices=system.count, tp=1, makespan_ps=S).values())
    idle, busy = (around_pj(system, chips, S, work) for work in (0, S))
    for around in (idle, busy):
        assert chips + sum(around.values()) == pytest.approx((chips + around["host"]) / float(system.host.supply))
    assert busy["host"] - idle["host"] == pytest.approx(float(system.host.active) * S * system.nodes)


def test_hosts_and_supplies_come_on_top_of_the_accelerators() -> None:
    system = load("h100-sxm-x16", "system", ["accelerator.links.scale_up.devices=16"])
    around = around_pj(system, chips_pj=1000 * S, makespan_ps=S, busy_ps=S // 2)
    assert around["host"] == 2 * (700 + 150) * S
    assert around["supply"] == pytest.approx((1000 + 1700) * S * (1 / 0.94 - 1))


def test_a_wafer_under_load_keeps_its_power_limit() -> None:
    """Thirty-two users, a batch in every region; what the limit forbids takes longer."""
    spans = {}
    for limit in (23, 20.5):
        sets = (f"system.accelerator.power.limit={limit} kW",)
        made = compile("wse-3", "llama-3.1-8b", "", "cerebras-2024-08", precision="fp16", sets=sets)
        sizes = [np.full(32, size, np.int64) for size in (0, 64, 32)]
        found = measure(run(made, RequestTable.of(*sizes, name="equal")))
        assert sum(found.energy_pj.values()) <= limit * 1000 * found.makespan_ps
        spans[limit] = found.makespan_ps
    assert spans[20.5] > 1.05 * spans[23]


def test_a_wafer_is_measured_at_the_wall_and_an_unknown_host_adds_nothing() -> None:
    assert around_pj(load("wse-3-x4", "system"), 1000 * S, S, S) == {"host": 0, "supply": 0}
    unknown = load("h100-sxm-x8", "system").model_copy(update={"host": None})
    assert around_pj(unknown, 1000 * S, S, S) == {}


def test_a_point_has_all_the_energy_of_its_run() -> None:
    found = point("h100-sxm", "llama-3.1-8b", 1, 16, 4, software="vllm")
    assert sum(found.parts.values()) == pytest.approx(found.energy_j_token)
    assert found.parts["bytes"] > 0.05 * found.energy_j_token


def test_node_and_wall_of_a_point_hold_its_chips_its_host_and_the_losses_of_supplies() -> None:
    found = point("h100-sxm", "llama-3.1-8b", 1, 16, 4, software="vllm")
    host = load("h100-sxm", "system").host
    seconds = 1 / found.tok_s  # a token
    idle, busy = (float(watts) * seconds for watts in (host.idle, host.idle + host.active))
    assert idle < found.node_j_token - found.energy_j_token <= busy
    assert found.wall_j_token == pytest.approx(found.node_j_token / float(host.supply))
    assert found.gating == "unit"
