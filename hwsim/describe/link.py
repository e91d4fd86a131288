"""One link between two devices, or between a device and a switch or host."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from hwsim.describe.block import Block, Description
from hwsim.describe.quantity import Bytes, BytesPerSecond, Count, JoulesPerByte, Seconds, Share, refuse

Message = Literal["read", "write", "data", "completion"]
MESSAGES: tuple[Message, ...] = ("read", "write", "data", "completion")


class Flits(Block):
    """What the link sends: flits of slots that messages share (CXL), flits they run through (PCIe 6), or packets."""

    format: Literal["slots", "stream", "packets"] = Field(
        description="slots: headers share slots, data fill them; stream: headers and data run on; packets: one by one"
    )
    latency: Seconds = Field(description="from the end of a flit at one port to its arrival at the other")
    size: Bytes = Field(description="bytes of a flit on the wire, checks included; of a slot of a packet")
    slots: Count = Field(description="slots of a flit (packets: 1)")
    slot: Bytes = Field(description="bytes of messages a slot holds")
    per_slot: dict[Message, Count] = Field({}, description="slots: headers of one kind that fit into a slot")
    per_first_slot: dict[Message, Count] = Field(
        {}, description="slots: the same of the first slot, which takes headers only; empty: all slots are alike"
    )
    all_data: bool = Field(False, description="slots: a flit may be all data when so much of it is owed")
    headers: dict[Message, Bytes] = Field({}, description="stream, packets: bytes of a message beside its data")
    payload: Bytes = Field(
        Fraction(0), description="stream, packets: most data of one message; more takes several headers"
    )
    credits: dict[Message, Count] = Field(description="messages the receiver has room for")
    update: Bytes = Field(Fraction(0), description="packets: bytes of a credit update; 0 B: any packet carries credits")
    update_every: Count = Field(1, description="packets: buffers freed before an update goes before waiting messages")

    @model_validator(mode="after")
    def _complete(self) -> Flits:
        wanted = {"slots": ("per_slot",), "stream": ("headers",), "packets": ("headers",)}[self.format]
        for name in (*wanted, "credits"):
            lacking = [kind for kind in MESSAGES if kind not in getattr(self, name)]
            if lacking:
                raise refuse("nothing for " + ", ".join(lacking), "each of " + ", ".join(MESSAGES), at=name)
        if self.per_first_slot and self.slots == 1:
            raise refuse(1, "2 at least", "the first slot takes headers only: data need another", at="slots")
        return self


class Link(Description):
    """One link; both directions at once."""

    kind: ClassVar[str] = "link"

    rate: BytesPerSecond = Field(description="bytes per second in ONE direction, as published")
    efficiency: Share = Field(description="share of the rate left for payload after headers and flow control")
    latency: Seconds = Field(description="time of the first byte from end to end, switch included")
    energy: JoulesPerByte = Field(description="energy of one byte, both ends")
    flits: Flits | None = Field(None, description="what it sends, where messages are simulated one by one")
