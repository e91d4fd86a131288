import numpy as np
from numpy.typing import NDArray

def access(
    tags: NDArray[np.int64],
    dirty: NDArray[np.uint8],
    lines: NDArray[np.int64],
    is_write: NDArray[np.uint8],
    hit: NDArray[np.uint8],
    cleaned: NDArray[np.uint8],
) -> None: ...
def stack_distances(lines: NDArray[np.int64], n_lines: int) -> NDArray[np.int64]: ...
