"""Service-level objectives: `ttft=2s,tpot=50ms` and which requests met it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim import units
from hwsim.analyse.percentile import Ints
from hwsim.errors import bad

LIMITS = ("ttft", "tpot", "e2e")
EXAMPLE = "limits such as ttft=2s,tpot=50ms"


@dataclass(frozen=True)
class Slo:
    """Limits in picoseconds; None where there is none. `text` is what the user wrote."""

    text: str
    ttft: int | None = None
    tpot: int | None = None
    e2e: int | None = None

    @classmethod
    def parse(cls, text: str) -> Slo:
        """Read `NAME=TIME,...` with the names ttft, tpot (mean of a request) and e2e.

        Raises
        ------
        InputError
            Unknown or repeated name, no unit, or a time that is not positive.
        """
        limits: dict[str, int] = {}
        for part in text.split(","):
            name, equals, time = (piece.strip() for piece in part.partition("="))
            if not equals or name not in LIMITS:
                cure = "itl has no value of a request; limit tpot instead" if name == "itl" else ""
                raise bad("--slo", repr(part.strip()), f"{EXAMPLE}; names are {', '.join(LIMITS)}", cure)
            if name in limits:
                raise bad("--slo", f"{name} twice", EXAMPLE)
            limits[name] = int(units.parse(time, "s", f"--slo {name}") * 10**12)
            if limits[name] <= 0:
                raise bad(f"--slo {name}", repr(time), "a time above zero")
        return cls(text, **limits)

    def met(self, ttft: Ints, tpot: Ints, e2e: Ints) -> NDArray[np.bool_]:
        """Which requests met every limit; a tpot of -1 (a single output token) meets any."""
        met = np.ones(len(ttft), bool)
        for limit, times in ((self.ttft, ttft), (self.tpot, tpot), (self.e2e, e2e)):
            if limit is not None:
                met &= times <= limit
        return met
