"""ServiceLaw: rates never rise and latencies never fall by rounding; a law says how it was come by."""

from fractions import Fraction

import pytest

import hwsim.describe
from hwsim.describe.accelerator import Accelerator
from hwsim.errors import InputError
from hwsim.memory.access import Access
from hwsim.memory.commands import through_channels
from hwsim.memory.law import PATTERNS, ServiceLaw, allowed, laws


@pytest.fixture(scope="module")
def h100() -> Accelerator:
    return hwsim.describe.load("h100-sxm", "accelerator")


def law(rate: Fraction | int, latency: Fraction | int = 0) -> ServiceLaw:
    return ServiceLaw("hbm", "sequential", Fraction(rate), Fraction(latency), "assumed", "a test")


@pytest.mark.parametrize("rate", [1, 10**6 + 1, 16 * 10**9, 3_085_350_000_000, 21 * 10**15])
@pytest.mark.parametrize("clock", [10**9, 1_980_000_000, 1_410_000_000])
def test_a_rate_per_cycle_is_never_faster_and_at_most_one_part_in_2_to_the_14_slower(rate: int, clock: int) -> None:
    numerator, denominator = law(rate).per_cycle(clock)
    given, exact = Fraction(numerator, denominator), Fraction(rate, clock)
    assert exact * (1 - Fraction(1, 1 << 14)) <= given <= exact
    assert denominator >= 16 and denominator & (denominator - 1) == 0


def test_a_latency_is_rounded_up_to_whole_cycles() -> None:
    assert law(1, Fraction(6, 10**7)).latency_cycles(1_980_000_000) == 1188
    assert law(1, Fraction(6, 10**7)).latency_cycles(1_980_000_001) == 1189
    assert law(1).latency_cycles(1_980_000_000) == 0


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_tier_and_link_has_a_law_that_says_where_it_comes_from(h100: Accelerator, pattern: str) -> None:
    found = laws(h100, pattern)
    assert tuple(found) == ("sram", "l2", "hbm", "link", "host")
    for tier, each in found.items():
        assert (each.tier, each.pattern) == (tier, pattern)
        assert each.rate > 0 and each.latency >= 0
        assert each.status in ("measured", "derived", "assumed")
        assert len(each.provenance) > 20 and "no source" not in each.provenance


def test_a_tiers_rate_is_the_described_rate_times_its_efficiency(h100: Accelerator) -> None:
    hbm = laws(h100)["hbm"]
    assert hbm.channel is not None
    assert hbm.rate == h100.tiers.hbm.rate * hbm.channel.share * h100.tiers.hbm.efficiency
    assert hbm.status == "measured" and "fitted to decode attention times" in hbm.provenance


def test_another_rate_of_the_device_is_the_same_memory_on_another_clock() -> None:
    base, faster = (laws(hwsim.load("h100-sxm", sets=sets))["hbm"] for sets in ([], ["tiers.hbm.rate=5 TB/s"]))
    assert faster.rate / base.rate == Fraction(5000, 3350)
    with pytest.raises(InputError, match=r"got 1200 GB/s, expected 665.6 GB/s.*commands.clock"):
        hwsim.load("h100-sxm", sets=["tiers.hbm.memory.law.rate=1200 GB/s"])


def test_a_pattern_nobody_measured_is_derived_from_commands_or_assumed(h100: Accelerator) -> None:
    paged = laws(h100, "paged")
    assert paged["hbm"].status == "derived" and "commands of hbm3-5200, paged" in paged["hbm"].provenance
    assert paged["hbm"].rate < laws(h100)["hbm"].rate
    assert paged["l2"].status == "assumed" and "assumed for paged" in paged["l2"].provenance


def test_a_memory_without_commands_keeps_its_published_rate() -> None:
    card = hwsim.describe.load("l40s", "accelerator", ("tiers.hbm.memory.commands=null",))
    hbm = laws(card, "paged")["hbm"]
    assert hbm.channel is None and hbm.rate == card.tiers.hbm.rate * card.tiers.hbm.efficiency
    assert allowed(card, "random") == card.tiers.hbm.rate
    assert "no commands described" in hbm.warning(1 << 40)


def test_all_channels_of_all_stacks_share_a_stream(h100: Accelerator) -> None:
    hbm = laws(h100)["hbm"]
    assert hbm.channel is not None and hbm.channels == 5 * 16
    assert hbm.valid_from == 80 * hbm.channel.valid_from
    assert hbm.error is not None and hbm.error < Fraction(1, 100)
    refresh_interval = float(hbm.channel.interval * hbm.channel.tick_ps) / 1e12
    assert refresh_interval == pytest.approx(3.9e-6 / 32, rel=0.01)  # one of 32 banks


def test_streams_without_a_base_class_are_flagged_at_every_size(h100: Accelerator) -> None:
    hbm = laws(h100, Access("sequential", streams=4))["hbm"]
    assert "bases nobody knows" in hbm.warning(1 << 40)


def test_the_link_law_counts_all_links_of_a_device(h100: Accelerator) -> None:
    scale_up = h100.links.scale_up
    assert laws(h100)["link"].rate == scale_up.link.rate * scale_up.link.efficiency * scale_up.count


def test_a_law_is_flagged_below_its_range_and_where_nobody_compared(h100: Accelerator) -> None:
    assert law(1).warning(1 << 40)
    compared = laws(h100)["hbm"]
    assert compared.valid_from is not None
    assert compared.warning(compared.valid_from - 1) and not compared.warning(compared.valid_from)


def test_a_small_dispatch_window_lowers_the_rate_and_may_starve_staggered_channels(h100: Accelerator) -> None:
    source = "tiers.hbm.window={value: 1 KiB, source: a test, status: assumed}"
    small = hwsim.describe.load("h100-sxm", "accelerator", (source,))
    assert laws(small)["hbm"].rate < laws(h100)["hbm"].rate
    name = "tiers.hbm.memory.commands.refresh"
    staggered = (source, f"{name}.mode=all-bank", f"{name}.alignment=staggered")
    hbm = laws(hwsim.describe.load("h100-sxm", "accelerator", staggered))["hbm"]
    assert "refreshes starve the others" in hbm.warning(1 << 40)


def test_a_chip_without_memory_of_its_own_keeps_models_in_its_sram(h100: Accelerator) -> None:
    tiers = h100.tiers.model_copy(update={"hbm": None})
    bare = h100.model_copy(update={"tiers": tiers})
    assert "hbm" not in laws(bare) and laws(bare)["sram"] == laws(h100)["sram"]
    assert (h100.home, bare.home) == ("hbm", "sram")
    assert bare.room == h100.units.tensor.count * int(h100.tiers.sram.usable) < bare.capacities()["sram"]
    for needs_memory in (allowed, lambda chip, _: through_channels(chip, 1 << 20)):
        with pytest.raises(InputError, match="no memory beside its SRAM"):
            needs_memory(bare, "sequential")
