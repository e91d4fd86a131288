"""Memory behind a link: a controller with its channels, or a pool of such devices that hosts share through a switch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hwsim.describe.block import Block, Description, Reference
from hwsim.describe.link import Link
from hwsim.describe.memory import Memory
from hwsim.describe.quantity import Bytes, BytesPerSecond, Seconds, Width


class Controller(Block):
    """What lies between a device's link and its memory."""

    latency: Seconds = Field(description="the way in and the way out together, beside link and memory; half of it each")
    read_path: BytesPerSecond | None = Field(None, description="most bytes per second of all reads, where it has such")
    write_path: BytesPerSecond | None = Field(None, description="the same of all writes")
    posted: bool = Field(description="a write is done when the controller has taken it, not when the memory has")


class Media(Block):
    """The memory of a device."""

    memory: Annotated[Memory, Reference("memory")]
    channels: Width = Field(description="channels of the memory that work on their own")
    stripe: Bytes = Field(description="consecutive bytes of one channel")
    queues: Width | None = Field(None, description="entries of its read and of its write buffer, if not the memory's")


class Host(Block):
    """What one host asks of it."""

    reads: Width = Field(description="most reads outstanding")
    writes: Width = Field(description="most writes outstanding")


class Switch(Block):
    """A switch between hosts and devices."""

    link: Annotated[Link, Reference("link")]
    hosts: Width = Field(description="hosts, each with a link of its own to the switch")
    devices: Width = Field(description="devices behind it; lines go round them by the stripe")
    latency: Seconds = Field(description="from port to port, beside the links")


class Device(Description):
    """One device behind a link, or a pool."""

    kind: ClassVar[str] = "device"

    tier: Literal["cxl", "host", "flash", "link"] = Field(description="what it is to an accelerator")
    capacity: Bytes = Field(description="bytes of one device")
    line: Bytes = Field(description="bytes of one request")
    link: Annotated[Link, Reference("link")]
    controller: Controller
    media: Media
    host: Host
    switch: Switch | None = Field(None, description="what stands between hosts and devices; none: one host, one device")
