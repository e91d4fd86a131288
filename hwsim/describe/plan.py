"""How a model is spread over a system."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from hwsim.describe.block import Description, Reference
from hwsim.describe.device import Device
from hwsim.describe.quantity import Natural, Parts, Tile
from hwsim.describe.routing import Routing


class Plan(Description):
    """Degrees of parallelism, where weights lie that do not fit, and on a wafer the regions of cores of a layer."""

    kind: ClassVar[str] = "plan"
    needs_source: ClassVar[bool] = False

    tp: Parts = Field(1, description="devices that share each matrix")
    pp: Parts = Field(1, description="stages that hold layers in turn")
    dp: Parts | None = Field(None, description="replicas; unset = as many as the system holds")
    ep: Parts = Field(1, description="devices that share the experts")
    routing: Routing | None = Field(None, description="how tokens choose experts; unset = uniform, with equal chance")
    offload: Annotated[Device | None, Reference("device")] = Field(
        None, description="memory of each chip that holds the layers beyond its own; unset = all lie in its own"
    )
    offload_layers: Natural | None = Field(
        None, description="layers of a stage that lie there; unset = so few that the KV cache holds a longest request"
    )
    prefill_region: Tile | None = Field(None, description="cores of a prefill region, rows x columns; unset = chosen")
    decode_region: Tile | None = Field(None, description="cores of a decode region, rows x columns; unset = chosen")
