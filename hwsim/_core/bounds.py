"""What can limit a time: the classes that the engine's attribution, traces and summaries share, in this order."""

from __future__ import annotations

BOUND_CLASSES: tuple[str, ...] = (
    "tensor", "vector", "sram", "l2", "hbm", "dram", "cxl", "flash",
    "link", "host", "sync", "latency", "issue", "launch", "queue", "idle",
)  # fmt: skip
"""Names by index; rows.pxd mirrors the indices as `cdef enum Bound` (a test keeps both equal)."""

TIERS: tuple[str, ...] = BOUND_CLASSES[BOUND_CLASSES.index("sram") : BOUND_CLASSES.index("sync")]
"""Those that move bytes: laws, surfaces and traces count what passes each."""

BOUND_INDEX: dict[str, int] = {name: index for index, name in enumerate(BOUND_CLASSES)}
