"""A layer of experts on GPUs: programs against the reference, laws, and what cannot run."""

import numpy as np
import pytest
import tick_by_tick

from hwsim.errors import InputError
from hwsim.operators.machine import Machine
from hwsim.operators.mapper.gpu import moe
from hwsim.operators.operator import complete, kind_of
from hwsim.operators.simulate import OpResult, simulate

CHIPS = ("h100-sxm", "b200-sxm", "mi300x")
MIXTRAL = {"hidden": 4096, "intermediate": 14336, "experts": 8, "top_k": 2}
QWEN = {"hidden": 2048, "intermediate": 768, "experts": 128, "top_k": 8}
UNLIMITED = {"accelerator": ["power.limit=10 kW"]}


def ask(chip: str, dims: dict[str, object], dtype: str = "bf16") -> OpResult:
    return simulate(Machine.of(chip, "ideal", "in-model", UNLIMITED), "moe", dims, dtype)


@pytest.mark.parametrize("dtype", ["bf16", "fp8"])
def test_programs_equal_the_reference(dtype: str) -> None:
    small = ["clocks.core=5 MHz", "units.tensor.count=3", "units.vector.count=3", "tiers.hbm.rate=2 GB/s"]
    machine = Machine.of("h100-sxm", "ideal", "in-model", {"accelerator": small})
    asked = {"tokens": [1, 5, 40], "hidden": 192, "intermediate": 128, "experts": 6, "top_k": [1, 2, 4]}
    dims = complete(kind_of("moe"), asked | {"distribution": ["balanced", "power_law_1.2", "power_law_2"]})
    for group in moe.programs(machine, dims, dtype, moe.propose(machine, dims, dtype)):
        tick_by_tick.check(tick_by_tick.bound_of(group))


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("model", [MIXTRAL, QWEN], ids=["mixtral", "qwen"])
@pytest.mark.parametrize("distribution", ["balanced", "power_law_1.2"])
def test_more_tokens_are_not_cheaper(chip: str, model: dict[str, int], distribution: str) -> None:
    tokens = np.unique(np.geomspace(1, 16384, 60).astype(int))
    time = ask(chip, model | {"tokens": tokens, "distribution": distribution}).time_ps
    # A larger tile may leave a better last wave, and fixed draws fill it by chance.
    assert (time[1:] >= 0.94 * np.maximum.accumulate(time)[:-1]).all()
    assert (np.diff(time) >= 0).mean() > 0.9


@pytest.mark.parametrize("chip", CHIPS)
def test_never_faster_than_memory_or_arithmetic(chip: str) -> None:
    tokens = np.array([1, 2, 8, 64, 1024, 8192])
    result, machine = ask(chip, MIXTRAL | {"tokens": tokens}), Machine.of(chip, "ideal")
    touched = np.minimum(8, 2 * tokens)
    weights = touched * 3 * 4096 * 14336 * 2
    assert (result.bytes["hbm"] >= weights).all()
    seconds = result.time_ps / 1e12
    assert (seconds * machine.clock * float(machine.hbm_rate) >= weights).all()
    flop = 6 * tokens * 2 * 4096 * 14336
    assert (result.flops >= flop).all()
    assert (seconds * machine.clock * float(machine.tensor["bf16"]) * machine.cores >= flop).all()


def test_balanced_experts_split_evenly_over_devices() -> None:
    whole, half = (ask("h100-sxm", MIXTRAL | {"tokens": 512, "ep": ep}) for ep in (1, 2))
    assert half.bytes["hbm"] == pytest.approx(whole.bytes["hbm"] / 2, rel=0.05)
    assert half.flops * 2 == whole.flops


@pytest.mark.parametrize("model", [MIXTRAL, QWEN], ids=["mixtral", "qwen"])
def test_more_devices_are_not_slower_at_balanced_loads(model: dict[str, int]) -> None:
    for tokens in (1, 64, 4096):
        time = ask("h100-sxm", model | {"tokens": tokens, "ep": [1, 2, 4, 8]}).time_ps
        assert (np.diff(time) <= 0.05 * time[:-1]).all()


def test_uneven_loads_cost_more_on_the_fullest_device() -> None:
    names = ["balanced", "power_law_1.01", "power_law_2"]
    time = ask("h100-sxm", QWEN | {"tokens": 4096, "ep": 8, "distribution": names}).time_ps
    assert (np.diff(time) > 0).all()


def test_a_case_answers_alone_as_in_a_batch() -> None:
    tokens = np.array([3, 17, 333])
    together = ask("b200-sxm", QWEN | {"tokens": tokens, "distribution": "power_law_1.2"}, "fp8").time_ps
    alone = [ask("b200-sxm", QWEN | {"tokens": t, "distribution": "power_law_1.2"}, "fp8").time_ps[0] for t in tokens]
    assert together.tolist() == alone


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"top_k": 9}, "top_k 9 of 8 experts: a token chooses different ones"),
        ({"ep": 3}, "8 experts do not divide over ep 3"),
        ({"tp": 3}, "intermediate 14336 does not divide over tp 3"),
        ({"hidden": 1 << 20}, "needs 721.6 GB, h100-sxm has 80 GB"),
    ],
)
def test_what_cannot_run_says_why(changed: dict[str, int], message: str) -> None:
    result = ask("h100-sxm", MIXTRAL | {"tokens": 4} | changed)
    assert result.error == [message]
    assert result.time_ps.tolist() == [-1]


def test_an_unknown_distribution_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"distribution 'zipf', expected balanced, uniform or power_law_<a>"):
        ask("h100-sxm", MIXTRAL | {"tokens": 4, "distribution": "zipf"})
