"""Devices behind links: the published expander, devices without limits of their own, a pool; what must always hold."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from link_cases import SWITCH, device

import hwsim
from hwsim._core.link import Network
from hwsim.describe.device import Device
from hwsim.errors import InputError
from hwsim.memory import channel
from hwsim.memory.curve import curve
from hwsim.memory.path import run
from hwsim.memory.path_tables import Requests, memories, network

FULL = (Fraction(5, 4),)
NONE = np.empty(0, np.int64)


def full_rate(found: Device, reads: int, writes: int, lines: int = 20_000, seed: int = 0) -> float:
    """GB/s under more load than it takes."""
    return next(curve(found, [(reads, writes)], FULL, lines, seed=seed)).achieved_gbps


def chase(found: Device, n: int) -> np.ndarray:
    """Nanoseconds of n reads at random places that wait for each other, nothing beside them."""
    at = np.random.default_rng(1).integers(0, 1 << 20, n) * int(found.line) * 37 % (1 << 30)
    empty = Requests(NONE, NONE.astype(bool), NONE, NONE, at // 64 * 64)
    answers = run(found, empty)
    return (answers.chase_done - answers.chase_issued) / 1e6


@pytest.mark.parametrize(("reads", "writes", "published"), [(1, 0, 17.8), (3, 1, 23.6), (2, 1, 25.1), (1, 1, 27.2)])
def test_the_expander_reaches_its_published_bandwidths(reads, writes, published):
    rates = [full_rate(hwsim.load("cxl2-x8-expander"), reads, writes, seed=seed) for seed in (0, 1)]
    assert np.mean(rates) == pytest.approx(published, rel=0.04) and rates == pytest.approx([published] * 2, rel=0.05)


def test_the_expander_answers_an_idle_read_in_250_ns():
    waited = chase(hwsim.load("cxl2-x8-expander"), 500)
    assert np.median(waited) == pytest.approx(250, rel=0.03) and waited.mean() == pytest.approx(250, rel=0.05)


def test_a_curve_rises_and_never_gives_more_than_it_is_offered():
    loads = [Fraction(n, 10) for n in (1, 4, 7, 9, 12)]
    points = list(curve(hwsim.load("cxl2-x8-expander"), [(2, 1)], loads, 5000))
    rates, waits = [p.achieved_gbps for p in points], [p.latency_mean_ns for p in points]
    assert rates == sorted(rates) and waits == sorted(waits)
    assert all(p.achieved_gbps < 1.03 * p.offered_gbps for p in points)
    assert points[-1].achieved_gbps < 0.95 * points[-1].offered_gbps and waits[-1] > 2 * waits[0]


def test_an_x8_device_without_limits_of_its_own_reaches_36_at_two_reads_a_write():
    """Micron publish 36 GB/s at 2:1; nothing is fitted."""
    assert full_rate(hwsim.load("micron-cz120"), 2, 1) == pytest.approx(36, rel=0.05)


@pytest.mark.parametrize(("name", "flits"), [("micron-cz120", 1), ("cxl2-x16", 2)])
@pytest.mark.parametrize(("reads", "writes"), [(1, 0), (3, 1), (2, 1), (1, 1), (0, 1)])
def test_devices_that_bound_nothing_reach_what_the_slots_of_their_link_allow(name, flits, reads, writes):
    r, w = reads / (reads + writes), writes / (reads + writes)
    most = 4 * 29.654 * flits / max(r + 5 * w, 4.5 * r + 0.5 * w)
    assert full_rate(hwsim.load(name), reads, writes) == pytest.approx(most, rel=0.01 if reads == writes else 0.005)


def test_a_peer_is_read_through_nvswitch_at_what_headers_leave_of_450_gbps():
    """H100 peers are measured at some 390 to 400 GB/s in one direction."""
    assert full_rate(hwsim.load("peer-h100-nvswitch"), 1, 0) == pytest.approx(450 * 8 / 9, rel=0.01)


@pytest.mark.parametrize(("name", "published"), [("samsung-cmm-d", 36), ("samsung-cmm-d-3", 72), ("cxl-pool", 60)])
def test_published_bandwidths_of_no_stated_mix_lie_between_those_of_reads_and_of_the_best_mix(name, published):
    found = hwsim.load(name)
    assert full_rate(found, 1, 0) < published < max(full_rate(found, 2, 1), full_rate(found, 1, 1))


def test_the_pool_answers_an_idle_read_in_596_ns():
    assert np.median(chase(hwsim.load("cxl-pool"), 100)) == pytest.approx(596, rel=0.02)


def test_memory_behind_a_link_gets_the_requests_and_ticks_a_run_of_the_channel_gives():
    """What was offered to each channel while the links ran, run as a whole afterwards, departs at the same ticks."""
    found = hwsim.load("cxl2-x8-expander")
    rng = np.random.default_rng(3)
    n = 3000
    asked = Requests(
        rng.integers(0, 1 << 24, n) * 64,
        rng.random(n) < 0.4,
        np.cumsum(rng.integers(0, 9_000_000, n)),
        np.zeros(n, int),
    )
    tables = network(found, asked)
    net = Network(tables, memories(found))
    net.run()
    for number in range(2):
        address, is_write, earliest, arrive, depart = net.offered(number)
        assert len(address) == (tables.requests["channel"] == number).sum()
        alone = channel.run(found.media.memory, address, is_write, earliest, queues=found.media.queues)
        assert np.array_equal(alone.arrive, arrive) and np.array_equal(alone.depart, depart)


def test_lines_of_several_accesses_are_answered_by_the_last(tmp_path):
    """A line of 64 B is two accesses of HBM3: no faster than one of 32 B, and all of both are there."""
    found = device(tmp_path, "cxl-2-x8", memory="hbm3-6400")
    asked = Requests(np.arange(500) * 64, np.zeros(500, bool), np.zeros(500, np.int64), np.zeros(500, int))
    tables = network(found, asked)
    net = Network(tables, memories(found))
    net.run()
    assert (tables.requests["done"] > 0).all()
    assert sum(len(net.offered(number)[0]) for number in range(2)) == 1000


@pytest.mark.parametrize("hosts", [1, 3])
def test_more_credits_queues_or_channels_are_never_slower(tmp_path, hosts):
    switch = SWITCH.format(link="cxl-2-x8", hosts=hosts, devices=2, latency="100 ns")
    base = ["media.channels=2", "media.queues=16", "host.reads=64"]
    rates = []
    for more in ([], ["media.channels=4"], ["media.channels=4", "media.queues=64"],
                 ["media.channels=4", "media.queues=64", "host.reads=256"]):  # fmt: skip
        found = device(tmp_path, "cxl-2-x8", switch, memory="ddr5-4800", sets=[*base, *more])
        rates.append(full_rate(found, 1, 0, 4000))
    assert all(later >= 0.99 * sooner for sooner, later in itertools.pairwise(rates))


def test_answers_come_in_the_order_asked_whatever_the_host():
    found = hwsim.load("cxl-pool", sets=["switch.hosts=3"])
    host = np.arange(300) % 3
    asked = Requests(np.arange(300) * 64, np.zeros(300, bool), np.arange(300) * 10**9, host)
    answers = run(found, asked)
    assert (answers.issued == asked.earliest).all() and (np.diff(answers.done) > 0).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"address": np.array([64, 100])}, "request 1: address: got 100, expected 0 to .* a multiple of 64"),
        ({"address": np.array([-64, 0])}, "request 0: address: got -64"),
        ({"address": np.array([0, 1 << 60])}, "request 1: address"),
        ({"host": np.array([0, 1])}, "request 1: host: got 1, expected 0 to 0"),
        ({"earliest": np.array([-1, 0])}, "request 0: earliest"),
    ],
)
def test_bad_requests_are_named(change, words):
    good = {
        "address": np.array([0, 64]),
        "is_write": np.zeros(2, bool),
        "earliest": np.zeros(2, int),
        "host": np.zeros(2, int),
    }
    with pytest.raises(InputError, match=words):
        run(hwsim.load("cxl2-x8-expander"), Requests(**(good | change)))
