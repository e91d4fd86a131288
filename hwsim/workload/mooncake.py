"""Mooncake traces (FAST'25, Apache-2.0): one JSON object a line, milliseconds, ids of the prompt's 512-token blocks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from hwsim.errors import bad
from hwsim.units import ceil_div
from hwsim.workload.table import MAX_SPAN_PS, MAX_TOKENS, RequestTable
from hwsim.workload.text import Faults, Lines, Source

FORMAT = "mooncake-jsonl"
BLOCK_TOKENS = 512
PS_PER_MS = 10**9
KEYS = ("timestamp", "input_length", "output_length", "hash_ids")
FAILED_CURE = "a request that failed; load with failures='drop' (--failures drop) to leave such rows out"
EXPECTED_TOKENS = f"a whole number of tokens from 1 to {MAX_TOKENS}"


def detects(first_line: str) -> bool:
    """Whether a file's first line is a request of a Mooncake trace."""
    return first_line.startswith("{") and '"input_length"' in first_line and '"hash_ids"' in first_line


def load(source: Source, failures: str = "refuse") -> RequestTable:
    """Read a Mooncake trace; parameters, result and errors as `hwsim.workload.azure.load`, with prefix ids."""
    lines, faults, rows = Lines.of(source.data), Faults(source.where), _Rows()
    for line in range(len(lines)):
        _read_line(lines, line, rows, faults, failures)
    faults.raise_if_any()
    if not rows.time:
        raise bad(source.where, "0 output tokens in every row", "at least one request that did not fail")
    first = min(rows.time)
    if max(rows.time) - first > MAX_SPAN_PS:
        days = MAX_SPAN_PS // PS_PER_MS // 86400_000
        raise bad(
            source.where,
            f"{(max(rows.time) - first) // PS_PER_MS} ms between the first and the last timestamp",
            f"at most {days} days",
            "timestamps are milliseconds",
        )
    notes = (f"{rows.failed} rows left out: failed requests, 0 output tokens",) if rows.failed else ()
    return RequestTable.of(
        np.array([time - first for time in rows.time], np.int64),
        np.array(rows.prompt, np.int64),
        np.array(rows.output, np.int64),
        np.array(rows.counts, np.int64),
        np.array(rows.ids, np.int64),
        BLOCK_TOKENS,
        notes,
        format=FORMAT,
        sha256=source.sha256,
    )


@dataclass
class _Rows:
    time: list[int] = field(default_factory=list)
    prompt: list[int] = field(default_factory=list)
    output: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    failed: int = 0


def _read_line(lines: Lines, line: int, rows: _Rows, faults: Faults, failures: str) -> None:
    number, text = int(lines.number[line]), lines.text(line)
    try:
        row = json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError as error:
        last = line == len(lines) - 1 and not text.rstrip().endswith("}")
        cure = "the file was cut off here: download it again or delete this line" if last else ""
        got = repr(text[max(0, error.colno - 20) : error.colno + 20])
        faults.add(number, error.colno, got, f"JSON ({error.msg.lower()})", cure)
        return
    except (RecursionError, ValueError) as error:  # nested too deeply; a number of too many digits
        faults.add(number, 1, str(error), "a JSON object of four keys")
        return
    wrong = _wrong(row, failures)
    if wrong:
        for key, got, expected, cure in wrong:
            faults.add(number, text.find(f'"{key}"') + 1 or 1, got, expected, cure)
    elif row["output_length"] == 0:
        rows.failed += 1
    else:
        rows.time.append(int(row["timestamp"] * PS_PER_MS))
        rows.prompt.append(row["input_length"])
        rows.output.append(row["output_length"])
        rows.counts.append(len(row["hash_ids"]))
        rows.ids += row["hash_ids"]


def _wrong(row: Any, failures: str) -> list[tuple[str, str, str, str]]:
    """Faults of one row: (key, got, expected, cure)."""
    if type(row) is not dict:
        return [("", f"a {type(row).__name__}", f"a JSON object with {', '.join(KEYS)}", "")]
    missing = [key for key in KEYS if key not in row]
    if missing:
        return [("", f"no {', '.join(missing)} among {', '.join(map(str, row))}", f"the keys {', '.join(KEYS)}", "")]
    found: list[tuple[str, str, str, str]] = []
    time, prompt, output, ids = (row[key] for key in KEYS)
    if not _is_time(time):
        found.append(("timestamp", f"timestamp {time!s}", "milliseconds, zero or more", ""))
    if not _is_count(prompt, 1):
        found.append(("input_length", f"input_length {prompt!r}", EXPECTED_TOKENS, ""))
    if not _is_count(output, 0) or (output == 0 and failures != "drop"):
        cure = FAILED_CURE if type(output) is int and output == 0 else ""
        found.append(("output_length", f"output_length {output!r}", EXPECTED_TOKENS, cure))
    if type(ids) is not list or not all(type(i) is int and 0 <= i < 2**63 for i in ids):
        found.append(("hash_ids", f"hash_ids {ids!r}", "a list of whole numbers, zero or more", ""))
    elif _is_count(prompt, 1) and len(ids) != ceil_div(prompt, BLOCK_TOKENS):
        needed = ceil_div(prompt, BLOCK_TOKENS)
        found.append(
            (
                "hash_ids",
                f"{len(ids)} hash_ids for {prompt} prompt tokens",
                f"{needed} (one for each {BLOCK_TOKENS} tokens or part of them)",
                "",
            )
        )
    return found


def _is_count(value: Any, least: int) -> bool:
    return type(value) is int and least <= value <= MAX_TOKENS


def _is_time(value: Any) -> bool:
    # json gives float for NaN and Infinity alone, every other fraction is a Decimal here
    return type(value) in (int, Decimal) and 0 <= value < MAX_SPAN_PS
