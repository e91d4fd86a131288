"""The rows of link_rows.pxd as numpy dtypes, and the numbers both sides share."""

from __future__ import annotations

from typing import Any

import numpy as np

ROOM = 12
"""Units a slot has for headers."""
READ, WRITE, DATA, COMPLETION = range(4)
SLOTS, STREAM, PACKETS = range(3)
HOST, SWITCH, DEVICE = range(3)
FIXED, DRAM = range(2)
TICKS = 10**15
"""Ticks of a second."""


def _row(*fields: tuple[Any, ...]) -> np.dtype:
    return np.dtype([field for names, *rest in fields for field in ((name, *rest) for name in names.split())])


WAY_ROW = _row(
    ("source target reverse format slots head all_data update every", np.int32),
    ("units", np.int32, 8),
    ("body credits", np.int32, 4),
    ("time latency hop", np.int64),
)
NODE_ROW = _row(("kind index ports", np.int32))
HOST_ROW = _row(("way place", np.int32), ("limit", np.int32, 2), ("first end", np.int64))
DEVICE_ROW = _row(("way place first channels posted", np.int32), ("gap", np.int64, 2), ("latency", np.int64))
CHANNEL_ROW = _row(("device backend parts access", np.int32), ("gap latency", np.int64, 2), ("tick per", np.int64))
REQUEST_ROW = _row(("device channel write", np.int32), ("address earliest issued done", np.int64))
COUNT_ROW = _row(("flits bare headers data", np.int64), ("sent received", np.int64, 4), ("busy", np.int64))
"""Of one way: flits, those of credits alone, slots of headers and of data, messages sent and received, busy ticks."""
