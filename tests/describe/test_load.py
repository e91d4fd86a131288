"""Loading descriptions: names, derived systems, overrides, digests."""

import hwsim
from hwsim import describe


def test_a_system_of_any_count_is_derived_from_its_accelerator():
    system = hwsim.load("h100-sxm-x8")
    assert (system.kind, system.count, system.accelerator.id) == ("system", 8, "h100-sxm")
    assert system.accelerator.tiers.hbm.rate == 3350 * 10**9


def test_an_override_changes_one_value_and_the_digest():
    plain, slow = hwsim.load("h100-sxm-x4"), hwsim.load("h100-sxm-x4", sets=["accelerator.clocks.core=1.5 GHz"])
    assert slow.accelerator.clocks.core == 1500 * 10**6
    assert slow.digest != plain.digest
    assert slow.accelerator.tiers == plain.accelerator.tiers


def test_resolved_values_read_back_equal():
    system = hwsim.load("h100-sxm-x8", sets=["accelerator.power.exponent=1.5"])
    assert describe.restore("system", system.resolved()) == system
