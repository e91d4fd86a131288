"""Laws of the power limit: no operator draws more, less power is never faster, energy is the sum of its parts."""

from fractions import Fraction

import numpy as np
import pytest

from hwsim._core.bounds import BOUND_INDEX
from hwsim.errors import InputError
from hwsim.operators.machine import Machine
from hwsim.operators.power import ONE, energy_factors
from hwsim.operators.simulate import OpResult, simulate

CHIPS = ("a100-sxm", "h100-sxm", "b200-sxm")
DTYPES = {"a100-sxm": ("bf16",), "h100-sxm": ("bf16", "fp8"), "b200-sxm": ("bf16", "fp8", "nvfp4")}
CLASSES = ("h100-sxm", "mi300x", "gaudi-2", "sn40l", "tpu-v6e", "ipu-gc200", "northpole", "wse-3", "groq-lpu")
KINDS = {
    "gemm": {"m": (1, 512), "n": (64, 4096), "k": (64, 4096)},
    "attention_prefill": {"q_len": (16, 256), "kv_len": (256, 1024)},
    "attention_decode": {"batch": (1, 8), "kv_len": (16, 2048)},
    "norm": {"rows": (1, 512), "cols": (64, 4096)},
}
GROWS = {"gemm": "k", "attention_prefill": "kv_len", "attention_decode": "kv_len", "norm": "cols"}
SHARES = (1, 0.8, 0.6, 0.5, 0.4, 0.3)  # of the described limit


def machine(chip: str, watts: float | None = None, protocol: str = "in-model") -> Machine:
    return Machine.of(chip, "vllm", protocol, {"accelerator": [f"power.limit={watts} W"]} if watts else None)


def gemms(count: int = 40) -> dict[str, np.ndarray]:
    """Random shapes from one row to 8192, and one that all units work on for a millisecond."""
    rng = np.random.Generator(np.random.PCG64(5))
    dims = {name: (2 ** rng.uniform(low, 13, count)).astype(np.int64) for name, low in (("m", 0), ("n", 7), ("k", 8))}
    return {name: np.append(column, 8192) for name, column in dims.items()}


def described(chip: str, seed: int, limit: float | None = None) -> Machine:
    """A chip whose power is drawn at random; its limit is a share of what it could draw, or beyond all that it does."""
    rng = np.random.Generator(np.random.PCG64(seed))
    power, cores = Machine.of(chip, "ideal").power, Machine.of(chip, "ideal").cores
    static, active = rng.uniform(0.1, 0.6, 2) * float(power.limit)
    whole = static + active + rng.uniform(0.5, 2) * float(power.limit)
    standing = static + active * (power.gating == "none")
    most = 999_000 if limit is None else standing + limit * (whole - standing)
    sets = {"static": f"{static:.1f} W", "idle": f"{rng.uniform(0, 1) * static:.1f} W", "limit": f"{most:.1f} W",
            "active_per_unit": f"{active / cores:.9f} W"}  # fmt: skip
    sets |= {f"per_flop.{dtype}": f"{rng.uniform(0, 2):.3f} pJ/FLOP" for dtype in power.per_flop}
    sets |= {f"per_byte.{tier}": f"{rng.uniform(0, 8):.3f} pJ/bit" for tier in power.per_byte}
    return Machine.of(
        chip, "ideal", "in-model", {"accelerator": [f"power.{name}={text}" for name, text in sets.items()]}
    )


def operators(kind: str, seed: int, count: int = 8) -> dict[str, np.ndarray]:
    """Random operators of a kind."""
    rng = np.random.Generator(np.random.PCG64(seed))
    dims = {name: rng.integers(*ends, count) for name, ends in KINDS[kind].items()}
    shape = {"batch": 1, "q_len": 1, "heads": 8, "kv_heads": 2, "head_dim": 128} if "attention" in kind else {}
    return {name: np.full(count, value) for name, value in shape.items()} | dims


def watts(on: Machine, result: OpResult) -> np.ndarray:
    return (result.energy_pj + result.active_pj) / result.time_ps + float(on.power.static)


@pytest.mark.parametrize("chip", CHIPS)
def test_no_operator_draws_more_than_the_limit_and_a_lower_limit_is_never_faster(chip: str) -> None:
    described = float(machine(chip).power.limit)
    for dtype in DTYPES[chip]:
        before = np.zeros(1)
        for share in SHARES:
            on = machine(chip, share * described)
            result = simulate(on, "gemm", gemms(), dtype)
            assert (watts(on, result) <= share * described * 1.0001).all()
            assert (result.time_ps >= before).all()
            assert (result.bound.sum(axis=1) == result.time_ps).all()
            before = result.time_ps


@pytest.mark.parametrize(
    ("kind", "dims"),
    [
        ("attention_prefill", {"batch": 1, "q_len": 8192, "kv_len": 8192, "heads": 32, "kv_heads": 8, "head_dim": 128}),
        ("attention_decode", {"batch": 256, "kv_len": 4096, "heads": 32, "kv_heads": 8, "head_dim": 128}),
        ("norm", {"rows": 8192, "cols": 8192}),
    ],
)
def test_other_kinds_keep_the_limit_too(kind: str, dims: dict[str, int]) -> None:
    on = machine("h100-sxm", 250)
    result = simulate(on, kind, dims)
    assert watts(on, result)[0] <= 250.01
    assert result.time_ps[0] >= simulate(machine("h100-sxm"), kind, dims).time_ps[0]


def test_a_limit_of_almost_nothing_takes_as_long_as_its_energy_asks_for() -> None:
    on = machine("h100-sxm", 191)
    result = simulate(on, "gemm", {"m": 8192, "n": 8192, "k": 8192})
    assert watts(on, result)[0] == pytest.approx(191, rel=1e-6)
    assert result.bound[0, BOUND_INDEX["idle"]] > result.time_ps[0] // 2


def test_memory_bound_work_keeps_its_time_where_the_clock_has_slack() -> None:
    dims = {"m": 1, "n": 8192, "k": 8192}
    full, less = (simulate(machine("h100-sxm", limit), "gemm", dims) for limit in (700, 500))
    assert less.time_ps[0] <= full.time_ps[0] * 1.005
    assert less.active_pj[0] < full.active_pj[0]


def test_the_energy_of_an_unlimited_operator_is_that_of_its_flops_bytes_and_units() -> None:
    on = machine("h100-sxm", 10_000)
    result = simulate(on, "gemm", {"m": 4096, "n": 4096, "k": 4096})
    flops = float(on.power.per_flop["bf16"]) * 1e12 * result.flops[0]
    moved = float(on.power.per_byte["hbm"]) * 1e12 * result.bytes["hbm"][0]
    assert result.energy_pj[0] == pytest.approx(flops + moved, rel=1e-9)
    assert result.active_pj[0] == pytest.approx(1.3 * 132 * result.time_ps[0], rel=1e-9)


def test_replays_too_short_for_the_limit_run_at_the_highest_clock() -> None:
    dims = {"m": [1024, 16384], "n": [4096, 16384], "k": [4096, 8192]}
    full, limited = (simulate(machine("h100-sxm", limit, "graph-replay"), "gemm", dims) for limit in (10_000, 700))
    in_model = simulate(machine("h100-sxm"), "gemm", dims)
    assert limited.time_ps[0] == full.time_ps[0]
    assert full.time_ps[1] < limited.time_ps[1] <= in_model.time_ps[1] * 1.02


def test_a_limit_below_static_power_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        machine("h100-sxm", 100)
    message = str(caught.value)
    assert "power.limit" in message
    assert "got 100 W, expected more than the static power of 190 W" in message


def test_a_chip_that_gates_nothing_keeps_its_limit_with_all_units_on() -> None:
    """At 19 kW the cores of a wafer leave nothing for work, nor at ten times what a core draws."""
    for change in ("power.limit=19 kW", "power.active_per_unit=20 mW"):
        with pytest.raises(InputError, match=r"W that all units draw, of which nothing is gated"):
            Machine.of("wse-3", "cerebras-2024-08", sets={"accelerator": [change]})


def test_regions_that_all_work_keep_the_limit_of_their_wafer() -> None:
    dims = {"m": 1, "n": 4096, "k": [1024, 4096, 14336]}
    for limit in ("23 kW", "21 kW", "20.3 kW"):
        wafer = Machine.of("wse-3", "cerebras-2024-08", sets={"accelerator": [f"power.limit={limit}"]})
        standing = float(wafer.power.static + wafer.power.active_per_unit * wafer.cores)
        for side in (60, 161, 300, 660):
            found = simulate(wafer.on(side), "gemm", dims, "fp16")
            work = found.energy_pj / found.time_ps * (wafer.cores // side**2)
            assert (standing + work <= float(wafer.power.limit) * 1.001).all()


def test_energy_factors_are_the_power_of_the_clock_rounded_up() -> None:
    for exponent in (Fraction(1), Fraction(2), Fraction(5, 2)):
        factors = energy_factors(exponent)
        assert factors[ONE] == 1 << 20
        exact = (np.arange(ONE + 1) / ONE) ** float(exponent) * (1 << 20)
        assert (factors >= exact - 1e-6).all() and (factors <= exact + 2).all()


@pytest.mark.parametrize("chip", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_energy_of_any_class_is_that_of_its_flops_bytes_and_units(chip: str, kind: str) -> None:
    for seed in range(3):
        on = described(chip, seed)
        dtype = "bf16" if "bf16" in on.power.per_flop else "fp16"
        found = simulate(on, kind, operators(kind, seed), dtype)
        moved = sum(float(on.chip.energy_per_byte(tier)) * 1e12 * size for tier, size in found.bytes.items())
        parts = float(on.power.per_flop[dtype]) * 1e12 * found.flops + moved
        assert found.energy_pj == pytest.approx(parts, rel=1e-3, abs=8)  # factors are fractions of three digits
        busy = float(on.power.active_per_unit * on.cores) * found.time_ps
        assert found.active_pj == pytest.approx(busy, rel=2e-3, abs=8)


@pytest.mark.parametrize("chip", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_no_class_draws_more_than_its_limit(chip: str, kind: str) -> None:
    for seed, limit in enumerate((0.01, 0.1, 0.5)):
        on, free = described(chip, seed, limit), described(chip, seed)
        dtype = "bf16" if "bf16" in on.power.per_flop else "fp16"
        found, unlimited = (simulate(each, kind, operators(kind, seed), dtype) for each in (on, free))
        assert (watts(on, found) <= float(on.power.limit) * 1.001).all()
        assert (found.time_ps >= unlimited.time_ps).all()
        same = [i for i, choice in enumerate(found.choice) if choice == unlimited.choice[i]]
        assert (found.energy_pj[same] <= unlimited.energy_pj[same]).all()  # another program may move more


@pytest.mark.parametrize("chip", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_more_bytes_never_cost_less_in_any_class(chip: str, kind: str) -> None:
    for seed in range(3):
        on, dims = described(chip, seed), operators(kind, seed)
        dtype = "bf16" if "bf16" in on.power.per_flop else "fp16"
        found = [simulate(on, kind, dims | {GROWS[kind]: dims[GROWS[kind]] * by}, dtype) for by in (1, 2)]
        energy = np.concatenate([result.energy_pj for result in found])
        amounts = np.array([np.concatenate(list(each)) for each in zip(*([r.flops, *r.bytes.values()] for r in found))])
        no_less = (amounts[:, :, None] >= amounts[:, None, :]).all(axis=0)  # of FLOPs and of bytes of each tier
        assert no_less.sum() > 4 * len(energy)
        assert (energy[:, None] >= energy[None, :])[no_less].all()
