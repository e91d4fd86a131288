"""Streams that skip whole periods end in the tick in which they end request by request."""

import pytest

import hwsim
from hwsim.errors import InputError
from hwsim.memory.channel_tables import Options
from hwsim.memory.streams import stream, stream_stack

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
