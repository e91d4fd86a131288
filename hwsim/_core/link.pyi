from typing import Any

import numpy as np
from numpy.typing import NDArray

class Network:
    counts: NDArray[np.void]
    events: int
    def __init__(self, tables: Any) -> None: ...
    def run(self) -> int: ...
    def credits(self) -> NDArray[np.int32]: ...
