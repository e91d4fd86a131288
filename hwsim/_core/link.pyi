from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim._core.dram import Channel

class Network:
    counts: NDArray[np.void]
    events: int
    def __init__(self, tables: Any, memories: list[Channel | None] | None = None) -> None: ...
    def run(self) -> int: ...
    def offered(self, c: int) -> tuple[NDArray[Any], ...]: ...
    def credits(self) -> NDArray[np.int32]: ...
