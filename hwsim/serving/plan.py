"""What each device of a system holds under a plan: the stages a batch passes, and whether they fit.

How a model is spread is the class's own affair: `PLACERS` names a function for each. What they give is common to all
(`Placement`), so serving does not ask for classes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from hwsim.describe.model import Model
from hwsim.describe.plan import Plan
from hwsim.describe.software import Software
from hwsim.describe.system import System
from hwsim.errors import bad
from hwsim.operators.machine import Machine
from hwsim.operators.simulate import MAPPERS
from hwsim.serving.layers import AttentionShape, Devices, Span, Use

if TYPE_CHECKING:
    from hwsim.serving.offload import Offload

# Class of accelerators -> "module:function", Question -> Placement. A new class is a line here.
PLACERS: Mapping[str, str] = {
    "gpu": "hwsim.serving.spread:place",
    "systolic": "hwsim.serving.spread:place",
    "pipeline": "hwsim.serving.line:place",
    "wafer": "hwsim.serving.regions:place",
    "manycore": "hwsim.serving.deal:place",
}


@dataclass(frozen=True)
class Question:
    """What is to be placed where."""

    system: System
    model: Model
    plan: Plan
    software: Software
    precision: str
    kv_dtype: str
    machine: Machine


@dataclass(frozen=True)
class Phase:
    """How steps run, without prompts (decode) or with them (prefill); most classes run both alike.

    Attributes
    ----------
    machine : Machine
        What the operators of a stage are simulated on.
    spans : tuple of Span
        The stages that a batch passes, in order.
    """

    machine: Machine
    spans: tuple[Span, ...]

    @property
    def kinds(self) -> tuple[Span, ...]:
        """Different stages, in the order of their first appearance."""
        return tuple(dict.fromkeys(self.spans))


@dataclass(frozen=True)
class Placement:
    """One replica's share of a system.

    Attributes
    ----------
    tp : int or Fraction
        Devices that share each matrix of a layer.
    devices, replicas : int
        Devices of a replica, all stages; replicas of the system.
    attention : AttentionShape
        Of a layer on one device; its count is the layers of all stages.
    decode, prefill : Phase
        The same object where both run alike.
    tokens, sequences : tuple of Use
        Operators whose cost depends on the number of tokens, of scheduled sequences; those that carry tokens from stage
        to stage are among them, a span names the one it ends with.
    weight_bytes, kv_bytes : int
        What a device keeps of the weights, the fullest one, and has for the KV cache, the one with the fewest blocks.
    kv_blocks : int
        Blocks of a replica (each device holds its layers' and heads' part of every block): the least of its stages.
    change_ps : int
        Picoseconds between the end of all steps of one phase and the first step of the other: the model is laid out
        anew.
    offload : Offload or None
        Where weights lie that come in every step; None: all are in the devices.
    """

    tp: Devices
    devices: int
    replicas: int
    attention: AttentionShape
    decode: Phase
    prefill: Phase
    tokens: tuple[Use, ...]
    sequences: tuple[Use, ...]
    weight_bytes: int
    kv_bytes: int
    kv_blocks: int
    change_ps: int = 0
    offload: Offload | None = None

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases that differ: of all steps, or of decode and of prefill."""
        return (self.decode,) if self.decode == self.prefill else (self.decode, self.prefill)

    @property
    def stages(self) -> int:
        """Stages that a batch passes."""
        return max(len(phase.spans) for phase in self.phases)

    def orders(self) -> list[np.ndarray]:
        """For each of `phases` the stages' kinds, counted through all phases; -1 where a step has no stage left."""
        found, first = [], 0
        for phase in self.phases:
            kinds = [first + phase.kinds.index(span) for span in phase.spans]
            found.append(np.array(kinds + [-1] * (self.stages - len(kinds)), np.int64))
            first += len(phase.kinds)
        return found


def place(question: Question) -> Placement:
    """Divide a model over the devices as the accelerator's class does.

    Raises
    ------
    InputError
        The plan does not divide the model or the system, or the weights leave no room for the KV cache of one request;
        the message says what would fit.
    """
    chip = question.system.accelerator
    if question.model.experts and (chip.class_, "moe") not in MAPPERS:
        cure = "choose a dense model, or an accelerator of class " + " or ".join(
            c for c, kind in MAPPERS if kind == "moe"
        )
        raise bad(question.model.id, f"experts on {chip.id}, of class {chip.class_}", "a class that runs them", cure)
    module, _, function = PLACERS[question.machine.class_].partition(":")
    found = getattr(import_module(module), function)(question)
    assert isinstance(found, Placement)
    return found
