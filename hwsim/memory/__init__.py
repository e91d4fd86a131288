"""Storey 1: what a memory tier or a link does with a stream of accesses."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwsim.memory.channel import run as run
    from hwsim.memory.streams import stream as stream
    from hwsim.memory.streams import stream_stack as stream_stack

_LAZY = {"run": "channel", "stream": "streams", "stream_stack": "streams"}


def __getattr__(name: str) -> Any:
    """A public function, imported when it is asked for."""
    if name in _LAZY:
        return getattr(import_module(f"hwsim.memory.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
