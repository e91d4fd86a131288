from typing import Any

import numpy as np

class Arena:
    def __init__(self, template: Any) -> None: ...
    def run_range(
        self,
        bound: Any,
        out: Any,
        begin: int,
        end: int,
        skip: bool,
        budget: int,
        stop: np.ndarray,
        records: np.ndarray | None = None,
    ) -> int: ...
    @property
    def work_done(self) -> tuple[int, int]: ...
    def standing(self) -> tuple[list[tuple[int, bool, int]], list[int], list[tuple[int, int]]]: ...
