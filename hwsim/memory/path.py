"""Paths from hosts through links and switches to memory devices: runs of requests, every flit and every command."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim._core.dram import Channel
from hwsim._core.link import Network
from hwsim.describe.device import Device
from hwsim.describe.memory import Memory
from hwsim.errors import bad
from hwsim.memory.channel import new_channel
from hwsim.memory.channel_tables import channel_tables
from hwsim.memory.path_tables import Requests, Tables, channel_network, memories, network, sizes

Times = NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """When each request was sent and answered, in the order asked.

    Attributes
    ----------
    issued, done : int64[n]
        Femtoseconds: the host sent it (a place among its outstanding requests was free); its data or completion came.
    chase_issued, chase_done : int64[m]
        The same of the reads that wait for each other.
    ways : COUNT_ROW[ways]
        What each direction of each link carried.
    """

    issued: Times
    done: Times
    chase_issued: Times
    chase_done: Times
    ways: NDArray[np.void]


def run(device: Device, requests: Requests) -> Answers:
    """Answer requests of the hosts of a device or pool.

    Raises
    ------
    InputError
        Requests that are unaligned, beyond the capacity or of no host; a link without `flits`.
    """
    _check(requests, int(device.line), pool_bytes(device), sizes(device)[0])
    return _run(network(device, requests), memories(device), requests)


def run_channel(memory: Memory, requests: Requests, limits: tuple[int, int]) -> Answers:
    """Answer requests of one host that sits beside one channel of a memory and has so many reads and writes out."""
    tables = channel_tables(memory)
    _check(requests, tables.access, tables.capacity, 1)
    return _run(channel_network(memory, requests, limits), [new_channel(tables)], requests)


def _run(tables: Tables, channels: list[Channel | None], asked: Requests) -> Answers:
    net = Network(tables, channels)
    net.run()
    found, n = tables.requests, len(asked.address)
    if (found["done"] < 0).any():
        raise RuntimeError("requests without an answer though nothing is left to happen")
    order = np.argsort(asked.host, kind="stable")
    issued, done = np.empty((2, n), np.int64)
    issued[order], done[order] = found["issued"][:n], found["done"][:n]
    return Answers(issued, done, found["issued"][n:].copy(), found["done"][n:].copy(), net.counts)


def pool_bytes(device: Device) -> int:
    """Bytes hosts can address: what the channels of all devices hold, no more than is sold."""
    memory, stripe = device.media.memory, int(device.media.stripe)
    channel = int(device.capacity) // device.media.channels
    if memory.commands is not None:
        channel = min(channel, channel_tables(memory).capacity)
    return channel // stripe * stripe * device.media.channels * sizes(device)[1]


def _check(asked: Requests, line: int, size: int, hosts: int) -> None:
    for name, values, low, high, step in (
        ("address", asked.address, 0, size - line, line),
        ("chase", asked.chase, 0, size - line, line),
        ("host", asked.host, 0, hosts - 1, 1),
        ("earliest", asked.earliest, 0, 1 << 60, 1),
    ):
        wrong = (values < low) | (values > high) | (values % step != 0)
        if wrong.any():
            i = int(np.argmax(wrong))
            expected = f"{low} to {high}" + (f", a multiple of {step}" if step > 1 else "")
            raise bad(f"request {i}: {name}", int(values[i]), expected)
