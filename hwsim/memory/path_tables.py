"""From descriptions of links and devices to the tables that core and reference run: all times become femtoseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hwsim._core import link_tables as rows
from hwsim._core.dram import Channel
from hwsim.describe.device import Device
from hwsim.describe.link import MESSAGES, Flits, Link
from hwsim.describe.memory import Memory
from hwsim.errors import bad
from hwsim.memory.channel import new_channel
from hwsim.memory.channel_tables import Options, channel_tables
from hwsim.units import ceil_div, ceil_fraction

_CARRIES_DATA = ("write", "data")
_FORMATS = {"slots": rows.SLOTS, "stream": rows.STREAM, "packets": rows.PACKETS}
Row = tuple[object, ...]


@dataclass(frozen=True)
class Tables:
    """A network and its requests, as core and reference read them (link_rows.pxd)."""

    ways: NDArray[np.void]
    nodes: NDArray[np.void]
    hosts: NDArray[np.void]
    devices: NDArray[np.void]
    channels: NDArray[np.void]
    route: NDArray[np.int32]
    requests: NDArray[np.void]


@dataclass(frozen=True)
class Requests:
    """What hosts ask, in the order each sends it.

    Attributes
    ----------
    address : int64[n]
        Bytes, each the start of a line.
    is_write : bool[n]
    earliest : int64[n]
        Femtoseconds; a host sends its requests in order, none before its time.
    host : int64[n]
        Number of the host.
    chase : int64[m]
        Addresses that host 0 reads beside these, one after the other: each is sent when the one before is answered.
    """

    address: NDArray[np.int64]
    is_write: NDArray[np.bool_]
    earliest: NDArray[np.int64]
    host: NDArray[np.int64]
    chase: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


def ticks(seconds: Fraction) -> int:
    """Femtoseconds, rounded up."""
    return ceil_fraction(seconds * rows.TICKS)


def network(device: Device, asked: Requests) -> Tables:
    """Tables of a device with its hosts: one host on its link, or hosts and devices around a switch."""
    n_hosts, n_devices = sizes(device)
    ends = n_hosts + n_devices
    ways = _switched(device, n_hosts, n_devices) if device.switch else _direct(device)
    own = [2 * node for node in range(ends)] if device.switch else [0, 1]
    nodes = [(rows.HOST, h, 1) for h in range(n_hosts)] + [(rows.DEVICE, d, 1) for d in range(n_devices)]
    route = np.full((ends + bool(device.switch), ends), -1, np.int32)
    if device.switch:
        nodes.append((rows.SWITCH, 0, ends))
        route[ends] = [2 * place + 1 for place in range(ends)]
    controller, n_channels = device.controller, device.media.channels
    gaps = [ticks(device.line / rate) if rate else 0 for rate in (controller.read_path, controller.write_path)]
    devices = [
        (
            own[n_hosts + d],
            n_hosts + d,
            d * n_channels,
            n_channels,
            controller.posted,
            gaps,
            ticks(controller.latency / 2),
        )
        for d in range(n_devices)
    ]
    made, edges = _requests(device, asked)
    limits = [device.host.reads, device.host.writes]
    hosts = [(own[h], h, limits, edges[h], edges[h + 1]) for h in range(n_hosts)]
    hosts.append((own[0], 0, [1, 1], edges[n_hosts], len(made)))
    channels = [
        channel_row(device.media.memory, int(device.line), d) for d in range(n_devices) for _ in range(n_channels)
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


def sizes(device: Device) -> tuple[int, int]:
    """Hosts and devices."""
    return (device.switch.hosts, device.switch.devices) if device.switch else (1, 1)


def _direct(device: Device) -> list[Row]:
    """Both directions of the one link: host 0, device 1."""
    line, way_in = int(device.line), ticks(device.controller.latency / 2)
    return [way_row(device.link, line, 0, 1, 1, way_in), way_row(device.link, line, 1, 0, 0, 0)]


def _switched(device: Device, n_hosts: int, n_devices: int) -> list[Row]:
    """Two ways for each host and device: to the switch, and back."""
    assert device.switch is not None
    ways: list[Row] = []
    middle, hop, line = n_hosts + n_devices, ticks(device.switch.latency), int(device.line)
    for node in range(middle):
        link = device.switch.link if node < n_hosts else device.link
        way_in = 0 if node < n_hosts else ticks(device.controller.latency / 2)
        ways.append(way_row(link, line, node, middle, len(ways) + 1, hop))
        ways.append(way_row(link, line, middle, node, len(ways) - 1, way_in))
    return ways


def way_row(link: Link, line: int, source: int, target: int, reverse: int, hop: int) -> Row:
    """WAY_ROW of one direction of a link that carries lines of so many bytes."""
    flits = flits_of(link)
    slot, format_ = int(flits.slot), _FORMATS[flits.format]
    data = {kind: ceil_div(line, slot) if kind in _CARRIES_DATA else 0 for kind in MESSAGES}
    pieces = ceil_div(line, int(flits.payload)) if flits.payload else 1
    headers = {kind: ceil_div(int(flits.headers.get(kind, 0)), slot) for kind in MESSAGES}
    body = [headers[kind] * (pieces if data[kind] else 1) + data[kind] for kind in MESSAGES]
    shares = (flits.per_slot, flits.per_first_slot or flits.per_slot)
    units = [ceil_div(rows.ROOM, share[kind]) for share in shares for kind in MESSAGES] if flits.per_slot else [0] * 8
    credits = [flits.credits[kind] if units[i] + body[i] else 0 for i, kind in enumerate(MESSAGES)]
    return (
        source, target, reverse, format_, flits.slots, bool(flits.per_first_slot), flits.all_data,
        ceil_div(int(flits.update), slot), flits.update_every, units, body, credits,
        ticks(flits.size / link.rate), ticks(flits.latency), hop,
    )  # fmt: skip


def flits_of(link: Link) -> Flits:
    """What a link sends; one described by rate and latency alone is refused."""
    if link.flits is None:
        raise bad(f"link {link.id}", "no `flits`", "what it sends, message by message", "describe its flits or packets")
    return link.flits


def channel_row(memory: Memory, line: int, device: int) -> Row:
    """CHANNEL_ROW: a memory's commands where they are described, else its rate and latency."""
    commands = memory.commands
    if commands is not None:
        tick = Fraction(rows.TICKS) / (commands.clock * commands.ticks)
        access = int(commands.organisation.access)
        if line % access:
            raise bad(f"{memory.id}: organisation.access", f"{access} B", f"a divisor of the line of {line} B")
        return device, rows.DRAM, line // access, access, [0, 0], [0, 0], tick.numerator, tick.denominator
    gap, latency = ticks(line / memory.law.rate), ticks(memory.law.latency)
    return device, rows.FIXED, 1, 0, [gap, gap], [latency, latency], 1, 1


def memories(device: Device) -> list[Channel | None]:
    """A DRAM channel at tick 0 for each CHANNEL_ROW that has commands."""
    count = sizes(device)[1] * device.media.channels
    if device.media.memory.commands is None:
        return [None] * count
    tables = channel_tables(device.media.memory, Options(queues=device.media.queues))
    return [new_channel(tables) for _ in range(count)]


def _requests(device: Device, asked: Requests) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """REQUEST_ROW array by host, the chase last, and where each host's begin."""
    n_hosts, n_devices = sizes(device)
    order = np.argsort(asked.host, kind="stable")
    stripe, n_channels = int(device.media.stripe), device.media.channels
    piece, offset = np.divmod(np.concatenate((asked.address[order], asked.chase)), stripe)
    piece, where = np.divmod(piece, n_devices)
    piece, channel = np.divmod(piece, n_channels)
    made = np.zeros(len(piece), rows.REQUEST_ROW)
    made["device"], made["channel"], made["address"] = where, where * n_channels + channel, piece * stripe + offset
    made["write"][: len(order)], made["earliest"][: len(order)] = asked.is_write[order], asked.earliest[order]
    made["issued"] = made["done"] = -1
    return made, np.searchsorted(asked.host[order], np.arange(n_hosts + 1))


def channel_network(memory: Memory, asked: Requests, limits: tuple[int, int]) -> Tables:
    """Tables of one channel with a host beside it: the link between them takes no time worth the name."""
    commands = memory.commands
    assert commands is not None
    line = int(commands.organisation.access)
    ways: list[Row] = [
        (w, 1 - w, 1 - w, rows.PACKETS, 1, 0, 0, 0, 1, [0] * 8, [1] * 4, [0] * 4, 1, 0, 0) for w in range(2)
    ]
    made = np.zeros(len(asked.address) + len(asked.chase), rows.REQUEST_ROW)
    made["address"] = np.concatenate((asked.address, asked.chase))
    made["write"][: len(asked.address)], made["earliest"][: len(asked.address)] = asked.is_write, asked.earliest
    made["issued"] = made["done"] = -1
    n = len(asked.address)
    return Tables(
        np.array(ways, rows.WAY_ROW),
        np.array([(rows.HOST, 0, 1), (rows.DEVICE, 0, 1)], rows.NODE_ROW),
        np.array([(0, 0, limits, 0, n), (0, 0, [1, 1], n, len(made))], rows.HOST_ROW),
        np.array([(1, 1, 0, 1, 0, [0, 0], 0)], rows.DEVICE_ROW),
        np.array([channel_row(memory, line, 0)], rows.CHANNEL_ROW),
        np.full((2, 2), -1, np.int32),
        made,
    )
