"""Sweeps: studies of many points, on a laptop or a cluster, that lose nothing.

`hwsim.sweep("study.yaml", output="out.h5")` runs a study: the room itself can be called, since the verb and the room
have one name.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Run a study: see `hwsim.sweep.run.sweep`."""
        from hwsim.sweep.run import sweep

        return sweep(*arguments, **options)


sys.modules[__name__].__class__ = _Room
