"""The rows of dram_rows.pxd as numpy dtypes, and the numbers both sides share."""

from __future__ import annotations

import numpy as np

LEVELS, UNITS, UNIT_BANKS, QUEUE, RULES, WINDOWS, WINDOW = 5, 8, 64, 1024, 320, 8, 16
ACT, PRE, PREA, RD, WR, RDA, WRA, REF, REFPB = range(9)
COMMAND_NAMES = ("ACT", "PRE", "PREA", "RD", "WR", "RDA", "WRA", "REF", "REFPB")
WAITING = {ACT: 0, PRE: 1, PREA: 2, RD: 3, WR: 4, RDA: 3, WRA: 4, REF: 5, REFPB: 6}
"""Class of a command that waits."""
NO_REFRESH, ALL_BANK, PER_BANK = range(3)
OPEN_ROWS, CLOSED_ROWS, TIMEOUT_ROWS = range(3)

RULE_ROW = np.dtype([(name, np.int32) for name in ("level", "after", "before", "ticks", "window", "siblings")])
SETTINGS_ROW = np.dtype(
    [("shift", np.int64, 5)]
    + [
        (name, np.int64)
        for name in (
            *("half", "shared", "protect", "policy", "timeout", "refresh", "interval", "phase", "recovery"),
            *("reads", "writes", "low", "high", "latency", "act_length"),
        )
    ]
)
NODES = UNITS + 2 * UNITS * UNIT_BANKS
NOTE_ROW = np.dtype([(name, np.int32) for name in ("after", "place", "level", "flip", "ticks")])
WINDOW_ROW = np.dtype([(name, np.int32) for name in ("after", "place", "level", "flip", "ticks", "width", "shift")])
COMMAND_ROW = np.dtype([("tick", np.int64), ("command", np.int32), ("bank", np.int32)])
