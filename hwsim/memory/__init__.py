"""Storey 1: what a memory tier or a link does with a stream of accesses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwsim.memory.channel import run as run


def __getattr__(name: str) -> Any:
    """`run`, imported when it is asked for."""
    if name == "run":
        from hwsim.memory.channel import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
