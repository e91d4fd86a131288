"""Accelerators joined by their links. `h100-sxm-x8` needs no file: it is derived from h100-sxm."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hwsim.describe.accelerator import Accelerator
from hwsim.describe.block import Description, Reference
from hwsim.describe.quantity import Count


class System(Description):
    """Equal accelerators in one scale-up domain."""

    kind: ClassVar[str] = "system"

    accelerator: Annotated[Accelerator, Reference("accelerator")]
    count: Count = Field(description="accelerators")

    @model_validator(mode="after")
    def _count_fits(self) -> System:
        scale_up = self.accelerator.links.scale_up
        if self.count > scale_up.devices:
            raise PydanticCustomError(
                "hwsim",
                "{expected}",
                {
                    "got": str(self.count),
                    "expected": f"at most {scale_up.devices} accelerators",
                    "cure": f"{scale_up.link.name or scale_up.link.id} of {self.accelerator.id} joins no more",
                    "at": "count",
                },
            )
        return self
