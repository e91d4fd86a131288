"""One memory: a stack of HBM, one chip of GDDR or one module channel of DDR. A tier of an accelerator multiplies it."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from hwsim.describe.block import Block, Description
from hwsim.describe.commands import Commands
from hwsim.describe.quantity import Bytes, BytesPerSecond, JoulesPerByte, Seconds, refuse

WITHIN = Fraction(1, 100)  # by which a rounded rate may differ from that of its wires


class Law(Block):
    """How long a stream of bytes takes: latency + bytes / rate."""

    rate: BytesPerSecond = Field(description="bytes per second of one stack or chip")
    latency: Seconds = Field(description="time from the controller's request to its first byte, idle")


class Memory(Description):
    """One stack or chip."""

    kind: ClassVar[str] = "memory"

    standard: Literal[
        "HBM2", "HBM2e", "HBM3", "HBM3e", "HBM4", "DDR4", "DDR5", "LPDDR5", "LPDDR5X", "GDDR6", "GDDR7", "NAND"
    ]
    capacity: Bytes = Field(description="bytes of one stack or chip")
    law: Law
    energy: JoulesPerByte = Field(description="energy of one byte, the way to the controller included")
    commands: Commands | None = Field(None, description="its channels command by command, where they are known")

    @model_validator(mode="after")
    def _rate_is_that_of_its_wires(self) -> Memory:
        wires = self.commands.wires if self.commands else Fraction(0)
        if wires and abs(self.law.rate / wires - 1) > WITHIN:
            raise refuse(
                f"{float(self.law.rate) / 1e9:g} GB/s",
                f"{float(wires) / 1e9:g} GB/s, what its commands' clock and burst give",
                "change commands.clock with it",
                at="law.rate",
            )
        return self
