"""Descriptions: YAML files read into frozen objects, every fault named by file, line and column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwsim.describe.loader import load, restore

__all__ = ["load", "restore"]


def __getattr__(name: str) -> Any:
    """`load` and `restore`, imported when asked for: they bring pydantic and ruamel.yaml with them."""
    if name in __all__:
        from hwsim.describe import loader

        return getattr(loader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
