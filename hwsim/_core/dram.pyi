import numpy as np
from numpy.typing import NDArray

class Channel:
    """One channel and its state (the whole text is in dram.pyx)."""

    now: int
    counts: dict[str, int]
    def __init__(self, settings: NDArray[np.void], rules: NDArray[np.void], decode: NDArray[np.uint64]) -> None: ...
    def feed(
        self,
        address: NDArray[np.int64],
        is_write: NDArray[np.uint8],
        earliest: NDArray[np.int64],
        arrive: NDArray[np.int64],
        depart: NDArray[np.int64],
        delayed: NDArray[np.uint8],
        more: bool = ...,
        log: NDArray[np.void] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]: ...
    def stream(
        self, base: int, stride: int, count: int, is_write: bool, start: int, interval: int, period: int
    ) -> tuple[int, int]: ...
