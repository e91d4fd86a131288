"""Azure LLM inference traces: CSV with wall-clock stamps, published 2023 and 2024 (CC-BY-4.0).

2023 has 7 fractional digits and no zone, 2024 ends in +00:00 and leaves the fraction out where it is zero, 2025
writes `T` and `Z`. Stamps become integers (seconds since 1970 and picoseconds) before anything is subtracted: a float
of seconds since 1970 would lose the last digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwsim.errors import bad
from hwsim.workload.table import MAX_SPAN_PS, MAX_TOKENS, PS_PER_SECOND, Ints, RequestTable
from hwsim.workload.text import Faults, Lines, Source

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
FORMAT = "azure-csv"
SEPARATORS = {4: "-", 7: "-", 10: " T", 13: ":", 16: ":"}
NUMBERS = {"year": (0, 4), "month": (5, 7), "day": (8, 10), "hour": (11, 13), "minute": (14, 16), "second": (17, 19)}
DAYS_OF_MONTH = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
STAMP_EXPECTED = "a stamp like 2023-11-16 18:15:46.6805900 or 2024-05-10 00:00:00.009930+00:00"
FAILED_CURE = "a request that failed; load with failures='drop' (--failures drop) to leave such rows out"

Mask = NDArray[np.bool_]


def detects(first_line: str) -> bool:
    """Whether a file's first line is the header of an Azure trace."""
    return {name.strip() for name in first_line.split(",")} >= set(COLUMNS)


def load(source: Source, failures: str = "refuse") -> RequestTable:
    """Read an Azure trace.

    Parameters
    ----------
    source : Source
        The file's bytes.
    failures : {"refuse", "drop"}
        What to do with rows of 0 generated tokens (failed or cancelled requests).

    Returns
    -------
    RequestTable
        Without prefix ids.

    Raises
    ------
    InputError
        Every bad line as `file:line:column`.
    """
    lines = Lines.of(source.data)
    header = [name.strip() for name in lines.text(0).split(",")]
    fields, faults = _fields(lines, len(header), source), Faults(source.where)
    if len(lines) == 1:
        raise bad(source.where, "a header and no request", "at least one request below the header")
    _name_short_lines(fields, lines, len(header), not source.data.endswith(b"\n"), faults)
    time, prompt, output = (header.index(name) for name in COLUMNS)
    seconds, fraction_ps = _stamps(fields, time, faults)
    prompts = _counts(fields, prompt, COLUMNS[1], faults, {0: "a request has at least one prompt token"})
    outputs = _counts(fields, output, COLUMNS[2], faults, {} if failures == "drop" else {0: FAILED_CURE})
    faults.raise_if_any()
    kept = outputs > 0
    if not kept.any():
        raise bad(source.where, "0 generated tokens in every row", "at least one request that did not fail")
    notes = [f"{np.count_nonzero(~kept)} rows left out: failed requests, 0 output tokens"] if not kept.all() else []
    extra = [name for name in header if name not in COLUMNS]
    notes += [f"columns not used: {', '.join(extra)}"] if extra else []
    arrival = _since_first(seconds[kept], fraction_ps[kept], source)
    return RequestTable.of(
        arrival, prompts[kept], outputs[kept], notes=tuple(notes), format=FORMAT, sha256=source.sha256
    )


def write(table: RequestTable, path: Path, first: str = "2023-11-16 00:00:00") -> None:
    """Write requests as an Azure trace of 2023: stamps of 100 ns (rounded down) from `first` on, no prefix ids."""
    rows = [",".join(COLUMNS)]
    begin = datetime.fromisoformat(first)
    for arrival, prompt, output in zip(table.arrival_ps.tolist(), table.prompt_tokens, table.output_tokens):
        seconds, rest = divmod(arrival, PS_PER_SECOND)
        rows.append(f"{begin + timedelta(seconds=seconds)}.{rest // 10**5:07d},{prompt},{output}")
    path.write_text("\r\n".join(rows) + "\r\n", newline="")


@dataclass(frozen=True)
class _Fields:
    """Fields of the data lines that have the right number of them: [start, end) in `buffer`, int64[rows, columns]."""

    buffer: NDArray[np.uint8]
    start: Ints
    end: Ints
    number: Ints  # line number of each row
    line_start: Ints
    short: Ints  # lines (indices into Lines) with another number of fields

    def text(self, row: np.intp, column: int) -> str:
        return self.buffer[self.start[row, column] : self.end[row, column]].tobytes().decode("utf-8", "replace")

    def column_of(self, row: np.intp, column: int) -> int:
        return int(self.start[row, column] - self.line_start[row]) + 1


def _fields(lines: Lines, columns: int, source: Source) -> _Fields:
    commas = np.flatnonzero(lines.buffer == ord(","))
    first = np.searchsorted(commas, lines.start)
    counts = np.searchsorted(commas, lines.end) - first
    good = np.flatnonzero(counts[1:] == columns - 1) + 1
    inner = commas[first[good][:, None] + np.arange(columns - 1)]
    return _Fields(
        lines.buffer,
        np.concatenate((lines.start[good][:, None], inner + 1), axis=1),
        np.concatenate((inner, lines.end[good][:, None]), axis=1),
        lines.number[good],
        lines.start[good],
        np.flatnonzero(counts[1:] != columns - 1) + 1,
    )


def _name_short_lines(fields: _Fields, lines: Lines, columns: int, unfinished: bool, faults: Faults) -> None:
    for line in fields.short:
        text = lines.text(line)
        cut = unfinished and line == len(lines) - 1 and text.count(",") < columns - 1
        cure = "the file was cut off here: download it again or delete this line" if cut else ""
        faults.add(int(lines.number[line]), 1, f"{text.count(',') + 1} fields in {text!r}", f"{columns} fields", cure)


def _counts(fields: _Fields, column: int, name: str, faults: Faults, refused: dict[int, str]) -> Ints:
    """Whole numbers of a column; anything else, a number in `refused` or above MAX_TOKENS becomes a fault and 1."""
    start, end = fields.start[:, column], fields.end[:, column]
    length = end - start
    value, good = np.zeros(len(start), np.int64), (length >= 1) & (length <= len(str(MAX_TOKENS)))
    for place in range(int(length[good].max(initial=0))):
        here = good & (place < length)
        digit = fields.buffer[np.where(here, start + place, 0)].astype(np.int64) - ord("0")
        good &= ~here | ((digit >= 0) & (digit <= 9))
        value = np.where(here, value * 10 + digit, value)
    expected = f"a whole number of tokens from 1 to {MAX_TOKENS}"
    wrong = ~good | (value > MAX_TOKENS) | np.isin(value, list(refused))
    for row in np.flatnonzero(wrong):
        cure = refused.get(int(value[row]), "") if good[row] else ""
        got = f"{name} {fields.text(row, column)!r}"
        faults.add(int(fields.number[row]), fields.column_of(row, column), got, expected, cure)
    return np.where(wrong, 1, value)


def _stamps(fields: _Fields, column: int, faults: Faults) -> tuple[Ints, Ints]:
    """Seconds since 1970 (UTC; a stamp without a zone is taken as UTC) and picoseconds within the second."""
    start, end = fields.start[:, column], fields.end[:, column]
    length, rows = end - start, len(start)
    seconds, fraction_ps, good = np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows, bool)
    zone = _zone_width(fields.buffer, start, end)
    shapes, shape_of = np.unique(length * 8 + zone, return_inverse=True)
    for index, shape in enumerate(shapes):  # one pass for each written form, usually one or two
        rows_of, (size, zone_size) = np.flatnonzero(shape_of == index), divmod(int(shape), 8)
        if 19 <= size - zone_size <= 32 and size - zone_size != 20:
            text = fields.buffer[start[rows_of][:, None] + np.arange(size)]
            seconds[rows_of], fraction_ps[rows_of], good[rows_of] = _read_stamps(text, zone_size)
    for row in np.flatnonzero(~good):
        got = f"{COLUMNS[0]} {fields.text(row, column)!r}"
        faults.add(int(fields.number[row]), fields.column_of(row, column), got, STAMP_EXPECTED)
    return seconds, fraction_ps


def _zone_width(buffer: NDArray[np.uint8], start: Ints, end: Ints) -> Ints:
    """Characters of the zone: 1 for Z, 6 for +hh:mm, 0 for none."""
    long = end - start >= 25
    sign = buffer[np.where(long, end - 6, 0)]
    colon = buffer[np.where(long, end - 3, 0)] == ord(":")
    offset = long & colon & ((sign == ord("+")) | (sign == ord("-")))
    utc = (end > start) & (buffer[np.maximum(end - 1, 0)] == ord("Z"))
    return np.where(offset, 6, np.where(utc, 1, 0))


def _read_stamps(text: NDArray[np.uint8], zone: int) -> tuple[Ints, Ints, Mask]:
    """Read stamps of one written form, uint8[rows, characters], whose last `zone` characters are the zone."""
    size = text.shape[1] - zone
    digit = text.astype(np.int64) - ord("0")
    good = np.ones(len(text), bool)

    def number(first: int, last: int) -> Ints:
        nonlocal good
        part = digit[:, first:last]
        good = good & ((part >= 0) & (part <= 9)).all(axis=1)
        return part @ 10 ** np.arange(last - first)[::-1]

    for place, allowed in SEPARATORS.items():
        good &= np.isin(text[:, place], list(allowed.encode()))
    year, month, day, hour, minute, second = (number(*place) for place in NUMBERS.values())
    month_in_range = np.clip(month, 0, 12)
    leap = (month == 2) & ((year % 4 == 0) & (year % 100 != 0) | (year % 400 == 0))
    good &= (year >= 1970) & (month == month_in_range) & (day >= 1) & (day <= DAYS_OF_MONTH[month_in_range] + leap)
    good &= (hour < 24) & (minute < 60) & (second < 60)
    fraction = np.zeros(len(text), np.int64)
    if size > 20:
        good &= text[:, 19] == ord(".")
        fraction = number(20, size) * 10 ** (32 - size)
    seconds = _days_since_1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
    if zone == 6:
        east = number(size + 1, size + 3) * 3600 + number(size + 4, size + 6) * 60
        seconds -= np.where(text[:, size] == ord("-"), -east, east)
    return seconds, fraction, good


def _days_since_1970(year: Ints, month: Ints, day: Ints) -> Ints:
    """Days of the Gregorian calendar, counted from March so that the leap day ends a year."""
    year = year - (month <= 2)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + of_year - 719468


def _since_first(seconds: Ints, fraction_ps: Ints, source: Source) -> Ints:
    first = seconds.min()
    if int(seconds.max() - first) * PS_PER_SECOND > MAX_SPAN_PS:
        days = MAX_SPAN_PS // PS_PER_SECOND // 86400
        got = f"{int(seconds.max() - first) // 86400} days between the first and the last stamp"
        raise bad(source.where, got, f"at most {days} days", "cut the file, or look for a stamp with a wrong year")
    return (seconds - first) * PS_PER_SECOND + fraction_ps
