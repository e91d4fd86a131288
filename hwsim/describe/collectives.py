"""A library of collectives: for each kind of link the algorithms it has and what they cost beside the link itself."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar, Literal

from pydantic import Field

from hwsim.describe.block import Block, Description
from hwsim.describe.quantity import Bytes, BytesPerSecond, Count, Factor, Seconds, Share


class Ring(Block):
    """One protocol of the ring: every step passes a chunk to the neighbour."""

    rate: Share = Field(description="share of the links' published rate that a chunk moves at")
    start: Seconds = Field(description="set-up beyond the launch")
    step: Seconds = Field(description="fixed part of a step beyond the link's latency")
    copy_: Factor = Field(alias="copy", description="local copy of the own chunk, as a share of the chunk at that rate")
    wire: Count = Field(1, description="bytes on a host path per byte (LL sends a flag with each word)")


class Exchange(Block):
    """One protocol of the direct exchange: every rank sends to every other at once."""

    rate: Share = Field(description="share of the links' published rate that the parts move at")
    start: Seconds = Field(description="set-up beyond the launch and the link's latency")
    copy_: Factor = Field(alias="copy", description="local copy of the own part, as a share of the part at that rate")
    wire: Count = Field(1, description="bytes on a host path per byte (LL sends a flag with each word)")


class Kernel(Block):
    """One kernel of its own, beside the ring."""

    algorithm: Literal["one-shot", "two-shot", "in-switch", "direct"] = Field(
        description="one-shot: all read all; two-shot: reduce-scatter, all-gather; in-switch: the switch adds; "
        "direct: reduce-scatter or all-gather alone, each rank with every other at once"
    )
    launch: Seconds = Field(description="start, barriers, drain; the link's latency comes on top, once a step")
    peer: Seconds = Field(Fraction(0), description="the same per other rank")
    rate: Share = Field(description="share of the links' published rate that bytes move at")
    below: dict[str, Bytes] = Field(
        {}, description="by number of devices: smaller buffers always take it; empty: taken where fastest"
    )
    devices: Count = Field(2, description="fewest devices it works for")


class HostPath(Block):
    """Path through the host that all devices of a group share, where links do not join them."""

    devices: Count = Field(description="largest group it holds for")
    rate: BytesPerSecond = Field(description="bytes per second of all devices together, one direction")


class Fabric(Block):
    """The library on one kind of link."""

    launch: Seconds = Field(description="start and drain of a ring or exchange kernel")
    ring: dict[str, Ring] = Field(description="by protocol; the fastest is taken")
    exchange: dict[str, Exchange] = Field(description="by protocol; the fastest is taken")
    kernels: list[Kernel] = Field([], description="in the order the library asks them")
    host_paths: list[HostPath] = Field([], description="smallest group first; larger groups take the last")


class Collectives(Description):
    """One version of a library."""

    kind: ClassVar[str] = "collectives"

    fabrics: dict[str, Fabric] = Field(description="by name of the link; `any` for the others")
