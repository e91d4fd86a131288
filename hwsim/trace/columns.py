"""The columns of a trace: every group, its dimension, and for each column its element type, unit and long name."""

from __future__ import annotations

from typing import NamedTuple

from hwsim._core.bounds import BOUND_CLASSES

# A time of -1 never came (a request that no replica could hold).

# Record levels, each holding all of the one before.
LEVELS = ("requests", "steps", "operators", "events")


class Column(NamedTuple):
    """One dataset: element type (numpy, or "str"), unit, long name, labels of a second dimension if it has one."""

    dtype: str
    units: str
    long_name: str
    labels: tuple[str, ...] = ()


class Table(NamedTuple):
    """One group: its dimension, the least record level that writes it, rows of a chunk, columns."""

    dimension: str
    level: str
    chunk: int
    columns: dict[str, Column]


TABLES: dict[str, Table] = {
    "requests": Table("request", "requests", 8192, {
        "arrival_ps": Column("i8", "ps", "arrival"),
        "queued_ps": Column("i8", "ps", "taken from the input by the engine"),
        "admitted_ps": Column("i8", "ps", "first scheduled"),
        "first_token_ps": Column("i8", "ps", "first output token delivered"),
        "finish_ps": Column("i8", "ps", "last output token delivered"),
        "prompt_tokens": Column("i8", "tokens", "prompt length"),
        "output_tokens": Column("i8", "tokens", "output length"),
        "cached_tokens": Column("i8", "tokens", "prompt tokens found in the prefix cache"),
        "preemptions": Column("i4", "1", "times the request lost its KV blocks"),
        "replica": Column("i4", "1", "replica that served the request"),
    }),
    "steps": Table("step", "steps", 16384, {
        "replica": Column("i4", "1", "replica"),
        "lane": Column("i4", "1", "decodes of the replica that are stepped together; -1 where chunks are alone"),
        "scheduled_ps": Column("i8", "ps", "time the batch was chosen"),
        "start_ps": Column("i8", "ps", "start of the step on its first stage"),
        "end_ps": Column("i8", "ps", "end of the step on its last stage"),
        "busy_ps": Column("i8", "ps", "time of the step on all its stages"),
        "attention_ps": Column("i8", "ps", "attention of all layers"),
        "tokens": Column("i4", "tokens", "tokens scheduled"),
        "padded": Column("i4", "tokens", "tokens computed, after padding to a captured size"),
        "n_decode": Column("i4", "requests", "decoding requests in the batch"),
        "n_last": Column("i4", "requests", "decoding requests that get their last token"),
        "n_prefill": Column("i4", "requests", "prompt chunks in the batch"),
        "sum_context": Column("i8", "tokens", "sum of the contexts of decoding requests"),
        "sum_tiles": Column("i8", "1", "sum of their KV tiles"),
        "longest": Column("i4", "tokens", "longest context of a decoding request"),
        "n_sched": Column("i4", "requests", "requests scheduled"),
        "preempted": Column("i4", "requests", "requests preempted while scheduling"),
        "kv_used_blocks": Column("i4", "blocks", "KV blocks in use after scheduling"),
        "waiting": Column("i4", "requests", "requests waiting after scheduling"),
        "running": Column("i4", "requests", "requests running after scheduling"),
    }),
    "operators": Table("operator", "requests", 64, {
        "name": Column("str", "", "operator of a step"),
        "kind": Column("str", "", "kind of operator, as in hwsim op"),
        "calls": Column("i8", "1", "times it ran, all layers and steps"),
        "time_ps": Column("i8", "ps", "time of all calls, on one device of each stage"),
        "energy_pj": Column("i8", "pJ", "dynamic energy of all calls, all devices"),
        "flops": Column("i8", "FLOP", "operations issued by all calls, padding included, all devices"),
        "bytes": Column("i8", "B", "bytes of all calls, all devices, in the tier of the weights, else over links"),
        "samples": Column("i8", "1", "points of its cost surface that the run used"),
        "bound_ps": Column("i8", "ps", "time by what limited it", BOUND_CLASSES),
    }),
    "tiers": Table("tier", "requests", 64, {
        "name": Column("str", "", "memory tier or link"),
        "capacity_bytes": Column("i8", "B", "capacity, all devices"),
        "bytes": Column("i8", "B", "bytes read and written, all devices"),
        "energy_pj": Column("i8", "pJ", "energy of the bytes, all devices"),
    }),
    "kv": Table("pool", "requests", 64, {
        "replica": Column("i4", "1", "replica"),
        "tier": Column("str", "", "tier of the pool"),
        "block_tokens": Column("i4", "tokens", "tokens of a block"),
        "blocks": Column("i8", "blocks", "blocks of the pool"),
        "peak_blocks": Column("i8", "blocks", "most blocks in use at once"),
        "hit_tokens": Column("i8", "tokens", "prompt tokens found in the pool"),
    }),
    "events": Table("event", "events", 16384, {
        "step": Column("i4", "1", "step"),
        "request": Column("i4", "1", "request"),
        "chunk": Column("i4", "tokens", "prompt tokens computed in the step"),
        "cached": Column("i4", "tokens", "tokens of the request already in the KV cache"),
    }),
}  # fmt: skip
