"""Streams that skip whole periods end in the tick in which they end request by request."""

import numpy as np
import pytest
from request_streams import stream as random_requests
from test_dram_random import MEMORIES, random_tables

import hwsim
from hwsim.errors import InputError
from hwsim.memory.channel import new_channel
from hwsim.memory.channel_tables import ChannelTables, Options, channel_tables
from hwsim.memory.streams import stream, stream_stack, stream_tables
from hwsim.reference import dram as reference

CASES = {
    "no refresh": Options(refresh="none"),
    "all banks": Options(refresh="all-bank", queues=32),
    "per bank": Options(refresh="per-bank"),
    "closed": Options(refresh="none", row_policy="closed"),
    "timeout": Options(refresh="none", row_policy="timeout", mapping="robaracoch"),
    "rows": Options(refresh="all-bank", mapping="robaracoch"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("stride", "interval", "is_write"), [(32, 0, False), (64, 0, True), (1024, 5, False)])
def test_a_stream_that_skips_ends_as_one_that_does_not(name, stride, interval, is_write):
    count = 400_000 if stride == 32 else 40_000
    skipped, run = (
        stream("hbm3-6400", count, stride=stride, interval=interval, is_write=is_write, skip=skip, options=CASES[name])
        for skip in (True, False)
    )
    assert (skipped.last, skipped.counts) == (run.last, run.counts)
    assert run.added == 0


def afterwards(found: ChannelTables, arguments: tuple, period: int, seed: int) -> list:
    """Last tick and counts of a stream, then the ticks of requests that follow it: these see the state it left."""
    channel = new_channel(found)
    last, added = channel.stream(*arguments, period)
    counts = channel.counts
    piece = random_requests(np.random.default_rng(seed), found.access, "few rows", 60)
    piece.earliest += last - 40
    channel.feed(piece.address, piece.is_write, piece.earliest, piece.arrive, piece.depart, piece.delayed)
    return [added, last, counts, piece.arrive.tolist(), piece.depart.tolist()]


@pytest.mark.fuzz
def test_streams_leave_the_channel_as_request_by_request(fuzz_share):
    """All standards, policies, buffers and refreshes, strides and paces."""
    added = 0
    for seed in range(round(400 * fuzz_share)):
        rng = np.random.default_rng(seed)
        memory = MEMORIES[seed % len(MEMORIES)]
        found = random_tables(rng, memory)
        period = found.address_map.row_period()
        assert period
        count = int(rng.choice([3_000, 10_000, 30_000]))
        stride = found.access * int(rng.choice([1, 1, 1, 2, 3, 32]))
        base = int(rng.integers(0, 1000)) * found.access
        count = min(count, (found.capacity - base) // stride)
        pace = int(rng.choice([0, 0, 0, 1, 3, 7, 40, 401]))
        arguments = (base, stride, count, bool(rng.random() < 0.3), int(rng.integers(0, 50)), pace)
        skipped, *some = afterwards(found, arguments, period, seed)
        none, *every = afterwards(found, arguments, 0, seed)
        assert (some, none) == (every, 0), f"seed {seed}, {memory}, {arguments}"
        added += skipped > 0
    assert added > 100 * fuzz_share


SMALL = "commands.organisation.columns=8", "commands.organisation.bank_groups=2", "commands.organisation.banks=2"


@pytest.mark.parametrize("refresh", ["none", "all-bank", "per-bank"])
@pytest.mark.parametrize("policy", ["open", "closed", "timeout"])
def test_a_skipping_stream_of_a_small_channel_ends_as_the_reference(refresh, policy):
    options = Options(refresh=refresh, row_policy=policy, queues=8)
    found = channel_tables(hwsim.load("hbm3-6400", sets=SMALL), options)
    n = 2500 if refresh == "per-bank" else 1000
    done = stream_tables(found, n)
    assert done.added > 0
    requests = range(0, n * found.access, found.access)
    result = reference.run(found.settings, found.rules, found.address_map.bits, requests, [False] * n, [0] * n)
    assert done.last == max(result.depart)
    assert {name: count for name, count in done.counts.items() if count and name != "open_ticks"} == result.counts


def test_a_stream_under_refresh_runs_a_small_part_of_its_requests():
    """What follows a refresh is the same as after earlier ones long before a refresh meets the same place of a row."""
    done = stream("hbm4-8000", 3_000_000)
    assert done.counts["REF"] > 800
    assert done.added > 2_900_000


def test_a_stream_of_ten_million_requests_is_mostly_skipped():
    done = stream("hbm3-6400", 10_000_000, options=Options(refresh="none"))
    assert done.added > 9_900_000
    assert done.counts["RD"] == 10_000_000


def test_a_stream_is_the_same_requests_as_arrays():
    n = 20_000
    ticks = hwsim.memory.run("hbm4-8000", [32 * i for i in range(n)], [0] * n, [3 * i for i in range(n)])
    assert stream("hbm4-8000", n, interval=3).last == ticks.depart.max()


def test_channels_of_a_stack_end_alike_for_any_number_of_threads():
    sets = ("commands.refresh.alignment=staggered",)
    one, two = (stream_stack("hbm3-6400", 8 << 20, threads=threads, sets=sets) for threads in (1, 2))
    assert one == two and len(one) == 16
    assert len({done.last for done in one}) > 1
    aligned = stream_stack("hbm3-6400", 8 << 20)
    assert len({done.last for done in aligned}) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"count": 10, "stride": 48}, "multiples of 32"),
        ({"count": 0}, "at least one request"),
        ({"count": 1 << 30}, "one below 0x40000000"),
    ],
)
def test_a_stream_outside_the_channel_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        stream("hbm3-6400", **arguments)
