"""What links carry and how long it takes, against closed forms."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from link_cases import SWITCH, device, rate, requests, run

import hwsim
from hwsim._core import link_tables as rows
from hwsim._core.link import Network
from hwsim.errors import InputError
from hwsim.memory.path_tables import network

N = 16_000


def slot_rate(link: str) -> float:
    """GB/s of one direction's slots: 64 B in the time of a flit of 68 B."""
    return 64 / 68 * float(hwsim.load(link, "link").rate) / 1e9


@pytest.mark.parametrize("link", ["cxl-2-x8", "cxl-2-x16"])
@pytest.mark.parametrize(("reads", "writes"), [(1, 0), (3, 1), (2, 1), (1, 1), (1, 2), (0, 1)])
def test_cxl_2_carries_what_the_slots_of_both_directions_allow(tmp_path, link, reads, writes):
    """R + 5 W <= 4 C towards the device, 4.5 R + 0.5 W <= 4 C towards the host."""
    tables, _ = run(device(tmp_path, link), requests(N, reads, writes))
    r, w = reads / (reads + writes), writes / (reads + writes)
    most = 4 * slot_rate(link) / max(r + 5 * w, 4.5 * r + 0.5 * w)
    assert rate(tables.requests["done"]) == pytest.approx(most, rel=0.01 if reads == writes else 0.005)


@pytest.mark.parametrize(("reads", "writes", "published"), [(1, 0, 26.36), (3, 1, 33.9), (2, 1, 37.46), (0, 1, 23.7)])
def test_cxl_2_x8_rates_are_the_known_ones(tmp_path, reads, writes, published):
    tables, _ = run(device(tmp_path, "cxl-2-x8"), requests(N, reads, writes))
    assert rate(tables.requests["done"]) == pytest.approx(published, rel=0.005)


def test_headers_that_are_not_packed_cost_a_tenth_of_the_reads(tmp_path):
    """One header a slot: 5 slots a line towards the host, 23.7 GB/s."""
    tables = network(device(tmp_path, "cxl-2-x8"), requests(N, 1, 0))
    tables.ways["units"] = rows.ROOM
    Network(tables).run()
    assert rate(tables.requests["done"]) == pytest.approx(23.72, rel=0.005)


def test_without_all_data_flits_each_flit_spends_a_slot_on_headers(tmp_path):
    """Three data slots a flit: 3/4 of a line, whether the first slot holds a header or nothing."""
    tables = network(device(tmp_path, "cxl-2-x8"), requests(N, 1, 0))
    tables.ways["all_data"] = 0
    Network(tables).run()
    assert rate(tables.requests["done"]) == pytest.approx(0.75 * slot_rate("cxl-2-x8"), rel=0.005)


@pytest.mark.parametrize("credits", [4, 16, 32, 48])
def test_credits_bound_reads_to_so_many_lines_a_round_trip(tmp_path, credits):
    """A read's buffer is held from its flit through the controller until a flit has carried its credit back."""
    found = device(tmp_path, "cxl-2-x8")
    tables = network(found, requests(N, 1, 0))
    tables.ways["credits"][0, rows.READ] = credits
    Network(tables).run()
    flit = float(found.link.flits.size / found.link.rate)
    least = 2 * float(found.link.flits.latency) + float(found.controller.latency) / 2 + 2 * flit
    # It waits for the end of the flit that is being sent: up to a flit more each way.
    fastest, slowest = (min(26.36, credits * 64 / time / 1e9) for time in (least, least + 2 * flit))
    assert 0.995 * slowest < rate(tables.requests["done"]) < 1.005 * fastest


def test_fewer_credits_are_never_faster(tmp_path):
    found, rates = device(tmp_path, "cxl-2-x8"), []
    for credits in (2, 8, 24, 64, 128):
        tables = network(found, requests(4000, 2, 1))
        tables.ways["credits"] = credits
        rates.append(-Network(tables).run())
    assert rates == sorted(rates)


def test_an_idle_read_takes_the_sum_of_its_parts(tmp_path):
    """Two flits, two latencies of the link, the controller both ways and the memory."""
    found = device(tmp_path, "cxl-2-x8")
    asked = requests(1, 1, 0)
    tables, _ = run(found, asked)
    link = found.link
    # The answer's header and three quarters of the line are in one flit, the rest in a second.
    parts = 3 * (link.flits.size / link.rate) + 2 * link.flits.latency + found.controller.latency + Fraction(10, 10**9)
    assert tables.requests["done"][0] == pytest.approx(float(parts * 10**15), abs=8)


def test_a_posted_write_does_not_wait_for_the_memory(tmp_path):
    fast = run(device(tmp_path, "cxl-2-x8", media="10 ns"), requests(1, 0, 1))[0].requests["done"][0]
    slow = run(device(tmp_path, "cxl-2-x8", media="900 ns"), requests(1, 0, 1))[0].requests["done"][0]
    assert fast == slow


@pytest.mark.parametrize("link", ["cxl-3-x8", "cxl-3-x16"])
def test_cxl_3_flits_have_fourteen_slots_for_data_and_room_for_two_headers_beside_them(tmp_path, link):
    """All reads: 4 x + (x - 2) / 3 = 14 slots, x = 44 / 13 lines a flit; all writes: a header slot more a line."""
    raw = float(hwsim.load(link, "link").rate) / 1e9
    reads, _ = run(device(tmp_path, link, reads=4096), requests(2 * N, 1, 0))
    assert rate(reads.requests["done"]) == pytest.approx(raw * 64 * 44 / 13 / 256, rel=0.01)
    writes, _ = run(device(tmp_path, link, writes=4096), requests(2 * N, 0, 1))
    assert rate(writes.requests["done"]) == pytest.approx(raw * 64 * 3 / 256, rel=0.01)


@pytest.mark.parametrize(
    ("link", "line", "of_rate"),
    [
        ("nvlink-4", "256 B", 16 / 17),
        ("nvlink-5", "128 B", 8 / 9),
        ("pcie-5-x16", "256 B", 256 / (20 + 256)),
        ("pcie-6-x16", "256 B", 236 / 256 * 256 / (12 + 256)),
    ],
)
def test_packets_lose_what_their_headers_take(tmp_path, link, line, of_rate):
    size = int(line.split()[0])
    tables, _ = run(device(tmp_path, link, line=line, reads=8192), requests(N, 1, 0, size))
    raw = float(hwsim.load(link, "link").rate) / 1e9
    assert rate(tables.requests["done"], size) == pytest.approx(raw * of_rate, rel=0.01)


def test_pcie_writes_pay_for_credit_updates_of_the_other_direction_only(tmp_path):
    tables, _ = run(device(tmp_path, "pcie-5-x16", line="256 B", writes=8192), requests(N, 0, 1, 256))
    raw = float(hwsim.load("pcie-5-x16", "link").rate) / 1e9
    assert rate(tables.requests["done"], 256) == pytest.approx(raw * 256 / 280, rel=0.01)


PACKETS = ("pcie-4-x16", "pcie-5-x16", "pcie-6-x16", "nvlink-3", "nvlink-4", "nvlink-5")
CXL = ("cxl-2-x8", "cxl-2-x16", "cxl-3-x8", "cxl-3-x16")


@pytest.mark.parametrize("link", [*PACKETS, *CXL])
def test_the_efficiency_a_link_states_is_what_its_messages_leave(tmp_path, link):
    """Stated for collectives and copies, where measured shares stay a little below what headers leave."""
    size = 64 if link in CXL else 256
    tables, _ = run(device(tmp_path, link, line=f"{size} B", reads=8192), requests(N, 1, 0, size))
    found = hwsim.load(link, "link")
    simulated = rate(tables.requests["done"], size) * 1e9 / float(found.rate)
    assert float(found.efficiency) == pytest.approx(simulated, rel=0.06)


def test_large_lines_take_a_header_for_each_payload(tmp_path):
    tables = network(device(tmp_path, "pcie-5-x16", line="4 KiB"), requests(1, 1, 0, 4096))
    assert tables.ways["body"][1].tolist() == [6, 16 * 6 + 1024, 16 * 5 + 1024, 0]


def test_a_switch_adds_its_latency_and_another_link_both_ways(tmp_path):
    alone = run(device(tmp_path, "cxl-2-x8"), requests(1, 1, 0))[0].requests["done"][0]
    switch = SWITCH.format(link="cxl-2-x8", hosts=1, devices=1, latency="100 ns")
    through, _ = run(device(tmp_path, "cxl-2-x8", switch), requests(1, 1, 0))
    link = hwsim.load("cxl-2-x8", "link")
    more = 3 * (link.flits.size / link.rate) + 2 * link.flits.latency + Fraction(200, 10**9)
    assert through.requests["done"][0] - alone == pytest.approx(float(more * 10**15), abs=8)


@pytest.mark.parametrize("hosts", [2, 3, 4])
def test_hosts_share_a_device_fairly_and_fill_its_link(tmp_path, hosts):
    switch = SWITCH.format(link="cxl-2-x8", hosts=hosts, devices=1, latency="100 ns")
    tables, _ = run(device(tmp_path, "cxl-2-x8", switch, reads=256), requests(4000 * hosts, 1, 0, hosts=hosts))
    last = [tables.requests["done"][host["first"] : host["end"]].max() for host in tables.hosts[:hosts]]
    assert max(last) < 1.002 * min(last)
    assert rate(tables.requests["done"]) == pytest.approx(26.36, rel=0.005)


def test_a_host_with_few_requests_is_not_held_up_by_a_host_with_many(tmp_path):
    """Round robin: the lone reader waits for one line of each port, not for the other's queue."""
    switch = SWITCH.format(link="cxl-2-x8", hosts=2, devices=1, latency="100 ns")
    asked = requests(8000, 1, 0, hosts=2)
    asked.host[:] = np.arange(8000) < 200
    asked.earliest[:200] = np.arange(200) * 100_000_000
    tables, _ = run(device(tmp_path, "cxl-2-x8", switch, reads=64), asked)
    lone = tables.requests[tables.hosts[1]["first"] : tables.hosts[1]["end"]]
    waited = lone["done"] - lone["issued"]
    assert len(lone) == 200 and waited.max() < 4 * waited.min()


def test_a_full_device_holds_back_the_switch_and_its_hosts_lose_nothing(tmp_path):
    """The memory takes 10 GB/s: buffers fill back to the hosts, and the memory's rate is what is left."""
    switch = SWITCH.format(link="cxl-2-x8", hosts=3, devices=1, latency="100 ns")
    found = device(tmp_path, "cxl-2-x8", switch, rate="5 GB/s")
    tables, net = run(found, requests(9000, 1, 2, hosts=3))
    assert rate(tables.requests["done"]) == pytest.approx(10, rel=0.01)
    assert np.array_equal(net.credits(), tables.ways["credits"])


def test_devices_behind_a_switch_add_up_until_the_host_link_is_full(tmp_path):
    rates = []
    for devices in (1, 2, 4):
        switch = SWITCH.format(link="cxl-2-x16", hosts=1, devices=devices, latency="100 ns")
        tables, _ = run(device(tmp_path, "cxl-2-x8", switch), requests(N, 1, 0))
        rates.append(rate(tables.requests["done"]))
    assert rates == pytest.approx([26.36, 52.72, 52.72], rel=0.005)


def test_a_link_without_flits_is_refused_by_name(tmp_path):
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "wire.yaml").write_text(
        "name: a\nsource: b\nstatus: assumed\nrate: 25 GB/s\nefficiency: 90 %\nlatency: 1 us\nenergy: 5 pJ/bit\n"
    )
    found = device(tmp_path, str(folder / "wire.yaml"))
    with pytest.raises(InputError, match=r"link wire.*no `flits`.*describe its flits or packets"):
        network(found, requests(1, 1, 0))


def test_flits_without_all_kinds_of_headers_are_refused(tmp_path):
    path = tmp_path / "half.yaml"
    path.write_text("extends: cxl-2-x8\nname: half\nflits: {format: packets, source: a, status: assumed}\n")
    with pytest.raises(InputError, match=r"flits.headers: got nothing for read, write, data, completion"):
        hwsim.load(str(path), "link")
