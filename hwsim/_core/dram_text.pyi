import numpy as np
from numpy.typing import NDArray

def parse(
    text: NDArray[np.uint8], address: NDArray[np.int64], is_write: NDArray[np.uint8], earliest: NDArray[np.int64]
) -> tuple[int, int, bool]: ...
def render(
    first: int,
    address: NDArray[np.int64],
    is_write: NDArray[np.uint8],
    arrive: NDArray[np.int64],
    depart: NDArray[np.int64],
) -> bytes: ...
