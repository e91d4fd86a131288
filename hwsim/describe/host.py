"""What accelerators stand in: a server or an appliance, its power beside them and the losses of its supplies."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from hwsim.describe.block import Description
from hwsim.describe.quantity import Parts, Share, Watts


class Host(Description):
    """One node."""

    kind: ClassVar[str] = "host"

    devices: Parts = Field(description="accelerators of ONE node")
    idle: Watts = Field(description="processors, memory, fans and network of ONE node while its accelerators wait")
    active: Watts = Field(description="what they draw more while its accelerators work")
    supply: Share = Field(description="share of the power at the wall that supplies pass on")
