"""A channel's service law against its commands; closed forms beside it; where a law breaks it says so."""

from fractions import Fraction

import numpy as np
import pytest

from hwsim.describe import load
from hwsim.errors import InputError
from hwsim.memory.access import SEQUENTIAL, Access
from hwsim.memory.channel_law import ChannelLaw, channel_law
from hwsim.memory.channel_tables import Options
from hwsim.memory.law import ACCESS

MIX = Access("sequential", reads=2, writes=1)
PAGED = [Access("paged", block=block << 10) for block in (4, 8, 16, 64)]
RANDOM = Access("random")
PATTERNS = [SEQUENTIAL, *PAGED, MIX, RANDOM]


def law(access: Access = SEQUENTIAL, memory: str = "hbm3-6400", **options: str | int) -> ChannelLaw:
    return channel_law(load(memory, "memory"), access, Options(**options))


def named(access: Access) -> str:
    return f"{access.kind}-{access.block}-{access.reads}:{access.writes}"


@pytest.mark.parametrize("access", PATTERNS, ids=named)
def test_at_1_mib_a_law_with_its_phase_known_is_within_1_percent_and_at_most_2_and_a_half(access: Access) -> None:
    worst = law(access).errors()[-1]
    assert worst.size == 1 << 20
    assert worst.mean <= Fraction(1, 100) and worst.most <= Fraction(25, 1000), worst


@pytest.mark.parametrize("access", PATTERNS, ids=named)
def test_from_128_kib_the_phase_averaged_law_is_within_2_percent(access: Access) -> None:
    for error in law(access).errors()[1:]:
        assert error.averaged <= Fraction(2, 100), error


@pytest.mark.parametrize("access", [SEQUENTIAL, PAGED[0]], ids=named)
@pytest.mark.parametrize("memory", ["hbm2e-3200", "hbm3-5200", "hbm3e-8000"])
def test_accelerators_memories_keep_their_laws_too(memory: str, access: Access) -> None:
    error = law(access, memory).errors()[-1]
    assert error.mean <= Fraction(25, 1000) and error.averaged <= Fraction(25, 1000), error


def test_rates_are_those_of_the_findings() -> None:
    found = {"seq": SEQUENTIAL, "16": PAGED[2], "4": PAGED[0], "mix": MIX, "random": RANDOM}
    with_refresh = {"seq": 45.0, "16": 44.2, "4": 41.4, "mix": 37.6, "random": 14.9}
    without = {"seq": 50.5, "16": 49.8, "4": 46.5, "mix": 42.6, "random": 16.6}
    for name, access in found.items():
        assert float(law(access).rate) == pytest.approx(with_refresh[name] * 1e9, rel=0.01)
        assert float(law(access, refresh="none").rate) == pytest.approx(without[name] * 1e9, rel=0.03)
        assert 1200 <= law(access).stall <= 1470  # more than the standard's 1120 ticks: drain and refill


def test_refresh_costs_at_least_its_share_and_random_reads_keep_to_the_four_activate_window() -> None:
    assert law(MIX).kept >= law(MIX).free / (1 - Fraction(1120, 12480))
    assert law(RANDOM).rate <= Fraction(2 * 4 * 32 * 10**9, 15)


def test_a_lone_read_takes_activate_read_and_burst() -> None:
    timings = 31 * 2 + 20 * 2 + 2 * 2  # clocks of tRCD, RL and BL at 1.6 GHz, two ticks each
    assert timings <= law().idle <= timings + 4


def test_the_stall_of_a_refresh_is_met_when_the_stream_reaches_it() -> None:
    one = law()
    size, work = 1 << 18, int(one.ticks(1 << 18, 1 << 40))
    assert int(one.ticks(size, work + 100)) == work
    assert int(one.ticks(size, work - 100)) == work + one.stall
    assert int(one.ticks(size, work - one.interval + one.stall - 100)) == work + 2 * one.stall


def test_more_bytes_never_take_less_time() -> None:
    one = law(PAGED[0])
    ticks = one.ticks(np.arange(1 << 16, 1 << 20, 1 << 10), 5000)
    assert (np.diff(ticks) >= 0).all()


def test_latency_grows_with_load_and_refresh_is_its_tail() -> None:
    loads = law(RANDOM).loads()
    assert [load.p50 for load in loads] == sorted(load.p50 for load in loads)
    assert all(load.p99 > load.p50 + 500 for load in loads)
    assert Fraction(1120, 12480) < loads[0].refreshed < Fraction(15, 100)


def test_the_rate_by_outstanding_requests_rises_to_the_sustained_one() -> None:
    one = law()
    rates = [one.rate_by_outstanding(1 << i) for i in range(10)]
    assert rates == sorted(rates)
    assert rates[0] == 32 * 10**12 / (one.idle * one.tick_ps) and one.rate * Fraction(9, 10) < rates[-1] <= one.rate


def test_queue_depth_is_of_first_order() -> None:
    rates = [float(law(PAGED[0], queues=queues).rate) / 1e9 for queues in (8, 16, 32, 64, 128)]
    assert rates == pytest.approx([11, 20, 28, 42, 45], rel=0.07)


def test_streams_with_aligned_bases_meet_in_one_bank_and_the_key_holds_the_alignment() -> None:
    aligned = Access("sequential", streams=4, base=1 << 19)
    assert law(aligned).rate != law(Access("sequential", streams=4)).rate
    assert not aligned.open_question


def test_a_law_says_where_it_breaks() -> None:
    assert "bases nobody knows" in Access("sequential", streams=4).open_question
    one = law()
    assert 800 << 10 < one.valid_from < 1 << 20  # one refresh more or less is 2 % there
    assert 17_000 < one.window_bytes < 23_000


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"kind": "zigzag"}, "sequential or paged or random"),
        ({"kind": "paged"}, "bytes of a block"),
        ({"kind": "sequential", "reads": 0}, "reads or writes"),
        ({"kind": "sequential", "streams": 0}, "at least 1"),
    ],
)
def test_a_wrong_pattern_is_named(wrong: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Access(**wrong)


def test_a_block_that_is_no_multiple_of_a_request_is_refused() -> None:
    with pytest.raises(InputError, match="multiple of 32 B"):
        law(Access("paged", block=100))


def test_mixes_have_the_exact_ratio_in_turns() -> None:
    address, is_write = MIX.requests(3 * 128 * 5, 7, 32, 1 << 30)
    assert is_write.reshape(-1, 128).all(axis=1).tolist() == [False, False, True] * 5
    assert (np.diff(address[is_write == 1]) == 32).all() and (np.diff(address[is_write == 0]) == 32).all()


def test_every_named_pattern_has_a_law_on_an_h100() -> None:
    shares = {name: law(access, "hbm3-5200").share for name, access in ACCESS.items()}
    assert shares["random"] < shares["mixed"] < shares["paged"] < shares["sequential"] <= 1
