"""Accelerators joined by their links. `h100-sxm-x8` needs no file: it is derived from h100-sxm."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from hwsim.describe.accelerator import Accelerator
from hwsim.describe.block import Description, Reference
from hwsim.describe.host import Host
from hwsim.describe.quantity import Natural, Parts, refuse
from hwsim.units import ceil_div


class System(Description):
    """Equal accelerators in one scale-up domain."""

    kind: ClassVar[str] = "system"

    accelerator: Annotated[Accelerator, Reference("accelerator")]
    count: Parts = Field(description="accelerators")
    spares: Natural = Field(0, description="accelerators among them that stand by and hold nothing")

    host: Annotated[Host | None, Reference("host")] = Field(None, description="what they stand in; none: not known")

    @property
    def nodes(self) -> int:
        """Hosts that hold all accelerators; 0 where they are not known."""
        return 0 if self.host is None else ceil_div(self.count, self.host.devices)

    @property
    def active(self) -> int:
        """Accelerators that hold the model."""
        return self.count - self.spares

    @model_validator(mode="after")
    def _count_fits(self) -> System:
        if self.spares >= self.count:
            raise refuse(self.spares, f"fewer than the {self.count} accelerators", at="spares")
        scale_up = self.accelerator.links.scale_up
        if self.count > scale_up.devices:
            cure = f"{scale_up.link.name or scale_up.link.id} of {self.accelerator.id} joins no more"
            raise refuse(self.count, f"at most {scale_up.devices} accelerators", cure, at="count")
        return self
