"""What a table of steps is asked by and made of (steps.pxd), and the numbers both sides share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwsim._core.serve_types import TILE_TOKENS

AXES = 7
TILE = TILE_TOKENS
QUARTERS = 4
"""New tokens of a step over those of its widest chunk are counted in quarters."""
MEAN, SPREAD = 4, 16
"""A mean context is counted in 1/4 tiles, longest / mean in 1/16."""
FINE = 10
"""Work of the closed form is counted in 1/1024 ps."""
MOST_WAVES = 4
"""Waves of query tiles that are told apart."""
MOST_PARTS = 128
"""No library cuts a sequence into more parts."""


class StepSums(NamedTuple):
    """What the attention of a step is asked by: columns of tables of steps, the core's fields."""

    tokens: int  # of the chunks: sum of new tokens
    squares: int  # sum of their squares
    behind: int  # sum of new tokens x cached keys
    reach: int  # largest cached + new
    widest: int  # most new tokens of one
    decodes: int  # decoding sequences
    tiles: int  # sum of their contexts in tiles of TILE keys, each rounded up
    longest: int  # largest of them
    keys: int  # sum of their contexts in keys
    moment: int  # sum of the squares of these


FORM_ROW = np.dtype(
    [
        (name, np.int64)
        for name in (
            *("one_kernel", "heads_first", "start_prefill", "start_decode", "token"),
            *("chunk_token", "chunk_pair", "chunk_once", "chunk_step"),
            *("mixed_item", "mixed_tile", "mixed_once", "mixed_step"),
            *("decode_item", "decode_tile", "decode_once", "decode_step"),
            *("tile_bytes", "group", "kv_heads", "cores", "rows", "keys", "items"),
        )
    ]
)
"""The closed form of a step: `StepForm` of steps.pxd, where the fields are explained."""
