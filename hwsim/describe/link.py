"""One link between two devices, or between a device and a switch or host."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from hwsim.describe.block import Description
from hwsim.describe.quantity import BytesPerSecond, JoulesPerByte, Ratio, Seconds


class Link(Description):
    """One link; both directions at once."""

    kind: ClassVar[str] = "link"

    rate: BytesPerSecond = Field(description="bytes per second in ONE direction, as published")
    efficiency: Ratio = Field(description="share of the rate left for payload after headers and flow control")
    latency: Seconds = Field(description="time of the first byte from end to end, switch included")
    energy: JoulesPerByte = Field(description="energy of one byte, both ends")
