"""Cycle-level simulation of LLM inference on described AI accelerators."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwsim.analyse.of_run import measure as measure
    from hwsim.analyse.of_run import plot as plot
    from hwsim.analyse.of_run import summary as summary
    from hwsim.analyse.point import point as point
    from hwsim.describe.loader import load as load
    from hwsim.operators.mapper.systolic.folds import systolic_cycles as systolic_cycles
    from hwsim.serving.deployment import compile as compile
    from hwsim.serving.replay import replay as replay
    from hwsim.trace import open_trace as open_trace

__version__ = "0.1.0"

# Public name -> the module that has it, imported when the name is first asked for: `hwsim --help` needs none of them.
_LAZY: dict[str, str] = {
    "load": "hwsim.describe.loader",
    "compile": "hwsim.serving.deployment",
    "replay": "hwsim.serving.replay",
    "point": "hwsim.analyse.point",
    "measure": "hwsim.analyse.of_run",
    "summary": "hwsim.analyse.of_run",
    "plot": "hwsim.analyse.of_run",
    "open_trace": "hwsim.trace",
    "systolic_cycles": "hwsim.operators.mapper.systolic.folds",
}
_ROOMS = ("memory", "sweep")


def __getattr__(name: str) -> Any:
    """A public name from its module, or a room with public functions."""
    if name in _ROOMS:
        return import_module(f"hwsim.{name}")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'hwsim' has no attribute '{name}'")


def __dir__() -> list[str]:
    """Names of the package, the ones not yet imported included."""
    return sorted([*globals(), *_LAZY, *_ROOMS])
