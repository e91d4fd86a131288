"""Random request streams that meet what a controller can meet: conflicts, hits, turns, forwarding, merging, pauses."""

import numpy as np

from hwsim.memory.channel import Piece

STYLES = ("scattered", "few banks", "few rows", "walking", "bursts of a row")


def stream(rng: np.random.Generator, access: int, style: str, n: int) -> Piece:
    """`n` requests; writes and pauses in a share that is drawn too."""
    low = {"scattered": 25, "few banks": 13, "few rows": 8}.get(style, 0)
    if style == "walking":
        address = np.cumsum(rng.integers(0, 3, n)) * access
    elif style == "bursts of a row":
        place = rng.integers(0, 1 << 12, n // 4 + 1).repeat(4)[:n] << 16
        address = place + rng.integers(0, 16, n) * access
    else:
        address = rng.integers(0, 1 << low, n) * access
    write = rng.random(n) < rng.choice([0, 0.1, 0.33, 0.5, 0.9, 1])
    pause = rng.integers(0, rng.choice([3, 10, 50, 100]), n) * (rng.random(n) < 0.5)
    earliest = np.cumsum(pause) if rng.random() < 0.5 else np.zeros(n)
    return Piece.of(0, address.astype(np.int64), write.astype(np.uint8), earliest.astype(np.int64))
