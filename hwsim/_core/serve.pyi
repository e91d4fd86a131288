from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim._core.serve_types import Costs, Requests, Rules

class _Counted:
    """A part of the core that counts the entries it visits."""

    work: int

class ServeRun:
    """One serving run, which can be continued until it is done (the whole text is in serve.pyx)."""

    rules: Rules
    costs: Costs
    n_steps: int
    n_chunks: int
    total_steps: int
    total_chunks: int
    finished: int
    preemptions: int
    now_ps: int
    guess: bool
    loops: int
    decodes: _Counted
    kv: _Counted
    def __init__(self, requests: Requests, rules: Rules, costs: Costs) -> None: ...
    def run(
        self, steps: NDArray[np.void] | None = None, chunks: NDArray[np.void] | None = None, max_steps: int = ...
    ) -> int: ...
    def missing(self) -> NDArray[np.int64]: ...
    def step_in_hand(self) -> tuple[dict[str, Any], NDArray[np.void]]: ...
    def requests(self) -> NDArray[np.void]: ...
    @property
    def refused(self) -> int: ...
