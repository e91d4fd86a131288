"""How an operator is timed: what is warm, how many copies run, what gap a replay adds. No hardware in it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from hwsim.describe.block import Block, Description
from hwsim.describe.quantity import Count, Natural, Seconds


class Copies(Block):
    """Copies of the operator in one replay, each with weights of its own."""

    rule: Literal["fixed", "fill-l2"] = Field(description="fixed: `most`; fill-l2: until the weights fill the L2")
    most: Count = Field(description="largest number of copies")


class Warm(Block):
    """What the L2 holds when the operator starts, as far as it fits."""

    weights: bool = Field(description="weights of the last replay")
    activations: bool = Field(description="activations, as the operator before left them")
    kv: bool = Field(description="keys and values of the last replay")


class Protocol(Description):
    """One way of timing."""

    kind: ClassVar[str] = "protocol"

    copies: dict[str, Copies] = Field(description="by software (its id without the version); `default` for the others")
    gap: Seconds = Field(description="gap of one replay, shared by its copies")
    warmups: Natural = Field(0, description="replays before the timed ones, as long a load as they are")
    replays: Count = Field(1, description="replays timed")
    warm: Warm
    served: bool = Field(
        False, description="kernels as a server has them: tuned at its start, scales of small types in the checkpoint"
    )
    sustained: bool = Field(description="the device is under load long enough for its power limit to act")
