"""How a model is spread over a system."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from hwsim.describe.block import Description
from hwsim.describe.quantity import Parts, Tile
from hwsim.describe.routing import Routing


class Plan(Description):
    """Degrees of parallelism; on a wafer also the regions of cores that a layer's weights lie on."""

    kind: ClassVar[str] = "plan"
    needs_source: ClassVar[bool] = False

    tp: Parts = Field(1, description="devices that share each matrix")
    pp: Parts = Field(1, description="stages that hold layers in turn")
    dp: Parts | None = Field(None, description="replicas; unset = as many as the system holds")
    ep: Parts = Field(1, description="devices that share the experts")
    routing: Routing | None = Field(None, description="how tokens choose experts; unset = uniform, with equal chance")
    prefill_region: Tile | None = Field(None, description="cores of a prefill region, rows x columns; unset = chosen")
    decode_region: Tile | None = Field(None, description="cores of a decode region, rows x columns; unset = chosen")
