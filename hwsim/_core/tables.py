"""The rows of rows.pxd as numpy dtypes, and the numbers both sides share."""

from __future__ import annotations

import numpy as np

SUB = 16
"""Work units in a cycle."""
CELL = 1 << 30
"""Operands below are values, from here on cells."""
MAX_PACE = 4
FIFO, ROTATE = 0, 1
RUN, LOOP = 0, 1
FIRST, LAST, ITER = 0, 1, 2
WAIT_DONE, MORE, CUT, HOP, ITERATED = 1, 2, 4, 8, 16
OK, BUDGET, DEADLOCK, REFUSED, POOL, RECORDS, STOPPED = range(7)
STATUS_NAMES = ("ok", "budget", "deadlock", "refused", "pool", "records", "stopped")


def _int32_row(names: str) -> np.dtype:
    return np.dtype([(name, np.int32) for name in names.split()])


RESOURCE_ROW = _int32_row("kind bound per_core")
QUEUE_ROW = _int32_row("first end prio issue mult")
ROW = _int32_row(
    "op resource law slot slots vary terms delay wait0 base0 step0 wait1 base1 step1 "
    "done done_by freed freed_by flags chain target pace"
)
VARY_ROW = _int32_row("loop kind stride")
COMMAND_ROW = np.dtype(
    [("queue", np.int32), ("row", np.int32), ("seq", np.int64), ("start", np.int64), ("finish", np.int64)]
)
