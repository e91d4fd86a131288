"""Paths from hosts through links and switches to memory devices: a description's tables, and runs of requests."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hwsim._core import link_tables as rows
from hwsim.describe.device import Device
from hwsim.describe.link import MESSAGES, Flits, Link
from hwsim.errors import bad
from hwsim.units import ceil_div, ceil_fraction

Ticks = NDArray[np.int64]
_CARRIES_DATA = ("write", "data")


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
    """

    address: NDArray[np.int64]
    is_write: NDArray[np.bool_]
    earliest: Ticks
    host: NDArray[np.int64]


def ticks(seconds: Fraction) -> int:
    """Femtoseconds, rounded up."""
    return ceil_fraction(seconds * rows.TICKS)


def way_row(link: Link, line: int, source: int, target: int, reverse: int, hop: int) -> tuple[object, ...]:
    """WAY_ROW of one direction of a link that carries lines of so many bytes."""
    flits = flits_of(link)
    slot = int(flits.slot)
    header = {kind: -(-int(flits.headers.get(kind, 0)) // slot) for kind in MESSAGES}
    data = {kind: ceil_div(line, slot) if kind in _CARRIES_DATA else 0 for kind in MESSAGES}
    format_ = {"slots": rows.SLOTS, "stream": rows.STREAM, "packets": rows.PACKETS}[flits.format]
    first = flits.per_first_slot or flits.per_slot
    shares = (flits.per_slot, first) if format_ == rows.SLOTS else ({}, {})
    return (
        source, target, reverse, format_, flits.slots, bool(flits.per_first_slot), flits.all_data,
        ceil_div(int(flits.update), slot), flits.update_every,
        [ceil_div(rows.ROOM, share[kind]) if share else 0 for share in shares for kind in MESSAGES],
        [header[kind] + data[kind] for kind in MESSAGES],
        [flits.credits[kind] if format_ == rows.SLOTS or header[kind] + data[kind] else 0 for kind in MESSAGES],
        ticks(flits.size / link.rate), ticks(flits.latency), hop,
    )  # fmt: skip


def flits_of(link: Link) -> Flits:
    """What a link sends; one described by rate and latency alone is refused."""
    if link.flits is None:
        raise bad(f"link {link.id}", "no `flits`", "what it sends, message by message", "describe its flits or packets")
    return link.flits


def network(device: Device, requests: Requests) -> Tables:
    """Tables of a device with its hosts: one host on its link, or hosts and devices around a switch."""
    switch = device.switch
    n_hosts, n_devices = (switch.hosts, switch.devices) if switch else (1, 1)
    middle = n_hosts + n_devices
    way_in = ticks(device.controller.latency / 2)
    hop = ticks(switch.latency) if switch else 0
    ways: list[tuple[object, ...]] = []
    for node in range(middle):
        is_host = node < n_hosts
        link = switch.link if switch and is_host else device.link
        far = middle if switch else 1 - node
        if not switch and not is_host:
            break
        here, there = (0 if is_host else way_in), (hop if switch else way_in)
        w, line = len(ways), int(device.line)
        ways += [way_row(link, line, node, far, w + 1, there), way_row(link, line, far, node, w, here)]
    # A node's own way is the even one of its link; a device without a switch answers on the host's link.
    own = [2 * node for node in range(middle)] if switch else [0, 1]
    kinds = [rows.HOST] * n_hosts + [rows.DEVICE] * n_devices + ([rows.SWITCH] if switch else [])
    nodes = [
        (kind, node - n_hosts if kind == rows.DEVICE else node, 1 if node < middle else middle)
        for node, kind in enumerate(kinds)
    ]
    route = np.full((len(nodes), middle), -1, np.int32)
    if switch:
        route[middle] = [2 * place + 1 for place in range(middle)]
    gaps = [_gap(device.line, rate) for rate in (device.controller.read_path, device.controller.write_path)]
    n_channels = device.media.channels
    made, hosts = _requests(device, requests, own)
    return Tables(
        np.array(ways, rows.WAY_ROW),
        np.array(nodes, rows.NODE_ROW),
        hosts,
        np.array(
            [
                (own[n_hosts + d], n_hosts + d, d * n_channels, n_channels, device.controller.posted, gaps, way_in)
                for d in range(n_devices)
            ],
            rows.DEVICE_ROW,
        ),
        np.array([_channel(device, d) for d in range(n_devices) for _ in range(n_channels)], rows.CHANNEL_ROW),
        route,
        made,
    )


def _gap(line: Fraction, rate: Fraction | None) -> int:
    return ticks(line / rate) if rate else 0


def _channel(device: Device, number: int) -> tuple[object, ...]:
    """A memory known by its rate and latency alone."""
    law = device.media.memory.law
    gap = ticks(device.line / law.rate)
    latency = ticks(law.latency)
    return number, rows.FIXED, 1, [gap, gap], [latency, latency], 1, 1


def _requests(device: Device, asked: Requests, own: list[int]) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """REQUEST_ROW array by host, and HOST_ROW array."""
    n_hosts, n_devices = (device.switch.hosts, device.switch.devices) if device.switch else (1, 1)
    order = np.argsort(asked.host, kind="stable")
    stripe, n_channels = int(device.media.stripe), device.media.channels
    address = asked.address[order]
    piece, offset = np.divmod(address, stripe)
    piece, where = np.divmod(piece, n_devices)
    piece, channel = np.divmod(piece, n_channels)
    made = np.zeros(len(order), rows.REQUEST_ROW)
    made["device"], made["channel"] = where, where * n_channels + channel
    made["write"], made["address"] = asked.is_write[order], piece * stripe + offset
    made["earliest"], made["issued"], made["done"] = asked.earliest[order], -1, -1
    edges = np.searchsorted(asked.host[order], np.arange(n_hosts + 1))
    limits = [device.host.reads, device.host.writes]
    hosts = [(own[h], h, limits, edges[h], edges[h + 1]) for h in range(n_hosts)]
    return made, np.array(hosts, rows.HOST_ROW)
