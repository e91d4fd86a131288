"""An operator's whole traffic through all channels of a device, against its law and against plain runs."""

from fractions import Fraction

import numpy as np
import pytest

import hwsim.describe
from hwsim.errors import InputError
from hwsim.memory.access import SEQUENTIAL, Access
from hwsim.memory.channel_law import channel_law
from hwsim.memory.channel_tables import Options
from hwsim.memory.commands import through_channels
from hwsim.memory.law_measure import Bench

H100 = hwsim.describe.load("h100-sxm", "accelerator")
LAW = channel_law(H100.tiers.hbm.memory, SEQUENTIAL)


def test_the_weights_of_one_token_take_what_the_law_says() -> None:
    size = 141_000_000_000 // 8
    done = through_channels(H100, size)
    assert size // 32 <= done.requests < size // 32 + 80 and done.added > done.requests // 2
    assert len(done.ticks) == 80
    told = int(LAW.averaged_ticks(size // 80))
    assert abs(int(done.ticks.max()) - told) <= told // 200


@pytest.mark.parametrize("refresh", ["none", "all-bank", "per-bank"])
def test_added_periods_end_at_the_tick_of_requests_run_one_by_one(refresh: str) -> None:
    bench = Bench(H100.tiers.hbm.memory, Options(refresh=refresh))
    count = 300_000
    address = np.arange(count, dtype=np.int64) * 32
    run = bench.run((address, np.zeros(count, np.uint8)), phase=bench.start + 77)[0]
    assert bench.read_all(count, 77)[0] == run.max()


def test_channels_share_the_bytes_and_the_busiest_decides() -> None:
    one = through_channels(H100, 80 * (1 << 16) + 32, Access("paged", block=1 << 12), seed=3)
    two = through_channels(H100, 80 * (1 << 16) + 32, Access("paged", block=1 << 12), seed=3, threads=1)
    assert (one.ticks == two.ticks).all()
    assert one.seconds == int(one.ticks.max()) * one.tick_ps / 10**12
    assert one.requests == 80 * 2049 and len(set(one.ticks.tolist())) > 40


def test_staggered_channels_refresh_at_ticks_of_their_own() -> None:
    name = "tiers.hbm.memory.commands.refresh"
    staggered = hwsim.describe.load("h100-sxm", "accelerator", (f"{name}.alignment=staggered", f"{name}.mode=all-bank"))
    size = 80 * (1 << 19)
    ticks = through_channels(staggered, size).ticks
    assert len(set(through_channels(H100, size).ticks.tolist())) == 1 < len(set(ticks.tolist()))
    law = channel_law(staggered.tiers.hbm.memory, SEQUENTIAL)
    phases = law.interval + law.interval * np.arange(80) // 80
    assert abs(int(law.ticks(1 << 19, phases).max()) - int(ticks.max())) <= int(ticks.max()) // 50


def test_what_cannot_be_sent_is_named() -> None:
    with pytest.raises(InputError, match="capacity of all channels"):
        through_channels(H100, 10**12)
    with pytest.raises(InputError, match="without `commands`"):
        through_channels(hwsim.describe.load("l40s", "accelerator", ("tiers.hbm.memory.commands=null",)), 1 << 20)


def test_no_bytes_take_no_time() -> None:
    assert through_channels(H100, 0).seconds == Fraction(0)
