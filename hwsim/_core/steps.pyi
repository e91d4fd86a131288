from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

class Steps:
    def __init__(self, axes: Sequence[Ints], keys: Ints, offsets: Ints, constants: Ints, parts: Ints) -> None: ...
    def ask(self, sums: Ints) -> Ints: ...
