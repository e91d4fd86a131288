"""Networks of links for the tests: described ones with a memory that bounds nothing, and random tables."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import hwsim
from hwsim._core import link_tables as rows
from hwsim._core.link import Network
from hwsim.describe.device import Device
from hwsim.memory.path_tables import Requests, Tables, network

DEVICE = """
name: memory that bounds nothing
source: the test
status: assumed
tier: cxl
capacity: 1 TB
line: {line}
link: {link}
controller: {{latency: {latency}, posted: true}}
media:
  memory: {memory}
  channels: 2
  stripe: 256 B
host: {{reads: {reads}, writes: {writes}}}
"""
SWITCH = "switch: {{link: {link}, hosts: {hosts}, devices: {devices}, latency: {latency}}}\n"


def device(folder: Path, link: str, switch: str = "", sets: Sequence[str] = (), **fields: object) -> Device:
    """A device behind a link, with a memory of any rate and latency, or a described one."""
    values = {"line": "64 B", "latency": "20 ns", "rate": "1 EB/s", "media": "10 ns", "reads": 1024, "writes": 1024}
    values |= {
        "memory": "{{extends: gddr6-18000, law: {{rate: {rate}, latency: {media}}}, commands: null}}".format(
            **(values | fields)
        )
    }
    path = folder / "device.yaml"
    path.write_text(DEVICE.format(link=link, **(values | fields)) + switch)
    found = hwsim.load(str(path), kind="device", sets=sets)
    assert isinstance(found, Device)
    return found


def requests(n: int, reads: int, writes: int, line: int = 64, hosts: int = 1) -> Requests:
    """n lines in order, all wanted at once, in an exact mix; hosts ask for equal shares."""
    i = np.arange(n)
    is_write = i * writes // (reads + writes) != (i + 1) * writes // (reads + writes)
    return Requests(i * line, is_write, np.zeros(n, np.int64), i * hosts // n)


def rate(done: np.ndarray, line: int = 64) -> float:
    """GB/s between an eighth and seven eighths of the answers."""
    times = np.sort(done)
    first, last = len(times) // 8, len(times) * 7 // 8
    return (last - first) * line / float(times[last] - times[first]) * 1e6


def run(device: Device, asked: Requests) -> tuple[Tables, Network]:
    """Tables after a run, and the network that ran them."""
    tables = network(device, asked)
    net = Network(tables)
    net.run()
    return tables, net


def random_tables(seed: int) -> Tables:
    """Any network: formats, packing, credits, latencies, no switch, one or two, several hosts, devices and channels."""
    draw, rng = random.Random(seed), np.random.default_rng(seed)
    n_hosts, n_devices, n_channels = draw.choice((1, 1, 2, 3)), draw.choice((1, 1, 2, 3)), draw.randint(1, 3)
    switched = n_hosts + n_devices > 2 or draw.random() < 0.3
    ends = n_hosts + n_devices
    nodes = [(rows.HOST, h, 1) for h in range(n_hosts)] + [(rows.DEVICE, d, 1) for d in range(n_devices)]
    two = switched and draw.random() < 0.4
    ports = (n_hosts + 1, n_devices + 1) if two else (ends,) if switched else ()
    nodes += [(rows.SWITCH, 0, n) for n in ports]
    ways = []
    for end in range(ends if switched else 1):
        far = ends if switched else 1
        if switched and end >= n_hosts and two:
            far = ends + 1
        ways += random_link(draw, end, far, len(ways))
    own = [2 * end for end in range(ends)] if switched else [0, 1]
    route = np.full((len(nodes), ends), -1, np.int32)
    if switched:
        route[ends:] = [2 * end + 1 for end in range(ends)]
    if two:  # hosts on the first switch, devices on the second, a link between
        route[ends, n_hosts:], route[ends + 1, :n_hosts] = len(ways), len(ways) + 1
        ways += random_link(draw, ends, ends + 1, len(ways))
    made, edges = random_requests(draw, rng, n_hosts, n_devices, n_channels)
    limits = [[draw.randint(1, 8), draw.randint(1, 8)] for _ in range(n_hosts)]
    hosts = [(own[h], h, limits[h], edges[h], edges[h + 1]) for h in range(n_hosts)]
    devices = [
        (own[n_hosts + d], n_hosts + d, d * n_channels, n_channels, draw.randint(0, 1),
         [draw.choice((0, 3)), draw.choice((0, 4))], draw.choice((0, 5)))
        for d in range(n_devices)
    ]  # fmt: skip
    channels = [
        (d, rows.FIXED, 1, 0, [draw.choice((0, 2, 7)) for _ in "rw"], [draw.choice((0, 9)) for _ in "rw"], 1, 1)
        for d in range(n_devices)
        for _ in range(n_channels)
    ]
    return Tables(
        np.array(ways, rows.WAY_ROW),
        np.array(nodes, rows.NODE_ROW),
        np.array(hosts, rows.HOST_ROW),
        np.array(devices, rows.DEVICE_ROW),
        np.array(channels, rows.CHANNEL_ROW),
        route,
        made,
    )


def random_link(draw: random.Random, one: int, other: int, first: int) -> list[tuple[object, ...]]:
    """Both ways of a link of any format."""
    format_ = draw.choice((rows.SLOTS, rows.SLOTS, rows.STREAM, rows.PACKETS))
    return [random_way(draw, one, other, first + 1, format_), random_way(draw, other, one, first, format_)]


def random_way(draw: random.Random, source: int, target: int, reverse: int, format_: int) -> tuple[object, ...]:
    """WAY_ROW of any kind."""
    is_slots = format_ == rows.SLOTS
    head = int(is_slots and draw.random() < 0.5)
    slots = 1 if format_ == rows.PACKETS else draw.randint(1 + head, 5)
    units = [rows.ROOM // draw.randint(1, 4) if is_slots else 0 for _ in range(8)]
    body = [draw.choice((0, 0, 1)), draw.randint(1, 6), draw.randint(1, 6), 0]
    if not is_slots:
        body = [draw.randint(1, 3), draw.randint(1, 9), draw.randint(1, 9), draw.randint(0, 2)]
    return (
        source, target, reverse, format_, slots, head, is_slots and draw.randint(0, 1),
        draw.choice((0, 1, 2)) if format_ == rows.PACKETS else 0, draw.randint(1, 3), units, body,
        [draw.choice((0, 1, 2, 3, 5)) for _ in range(4)],
        draw.randint(1, 9), draw.randint(0, 20), draw.choice((0, 0, 3, 10)),
    )  # fmt: skip


def random_requests(
    draw: random.Random, rng: np.random.Generator, n_hosts: int, n_devices: int, n_channels: int
) -> tuple[np.ndarray, np.ndarray]:
    """REQUEST_ROW array by host, and where each host's begin."""
    n = draw.randint(1, 120)
    edges = np.searchsorted(np.sort(rng.integers(0, n_hosts, n)), np.arange(n_hosts + 1))
    made = np.zeros(n, rows.REQUEST_ROW)
    made["device"] = rng.integers(0, n_devices, n)
    made["channel"] = made["device"] * n_channels + rng.integers(0, n_channels, n)
    made["write"] = rng.random(n) < draw.choice((0, 0.3, 0.5, 1))
    for first, end in itertools.pairwise(edges):
        made["earliest"][first:end] = np.cumsum(rng.integers(0, draw.choice((1, 3, 30)), end - first))
    made["issued"] = made["done"] = -1
    return made, edges
