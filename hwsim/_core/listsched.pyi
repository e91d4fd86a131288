import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

def assign(first: Ints, cost: Ints, weight: Ints, slots: Ints) -> tuple[Ints, Ints]: ...
