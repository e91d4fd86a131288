"""The core gives the reference's tables, row by row and column by column."""

import numpy as np
import pytest
from serve_cases import core, put, random_case, tables

from hwsim.reference import serve as reference

RUNS = 1000


def same(core_rows: np.ndarray, reference_rows: np.ndarray, what: str) -> None:
    assert core_rows.dtype == reference_rows.dtype
    count = min(len(core_rows), len(reference_rows))
    differ = np.flatnonzero(core_rows[:count] != reference_rows[:count])
    if len(differ) or len(core_rows) != len(reference_rows):
        at = int(differ[0]) if len(differ) else count
        names = core_rows.dtype.names
        shown = [dict(zip(names, rows[at])) if at < len(rows) else None for rows in (core_rows, reference_rows)]
        pytest.fail(f"{what} row {at}: core {shown[0]}, reference {shown[1]}")


@pytest.mark.fuzz
def test_core_and_reference_agree_on_every_row_of_random_runs(fuzz_share):
    preemptions = hits = 0
    for seed in range(max(1, int(RUNS * fuzz_share))):
        case = random_case(seed)
        expected = reference.replay(case.requests, case.rules, case.costs())
        _, requests, steps, chunks = core(case, case.costs())
        same(steps, expected.steps, f"case {seed}: steps")
        same(chunks, expected.chunks, f"case {seed}: chunks")
        same(requests, expected.requests, f"case {seed}: requests")
        preemptions += int(requests["preemptions"].sum())
        hits += int(requests["cached"].sum())
    assert preemptions > 0 and hits > 0, "the random runs no longer reach preemption or prefix hits"


def test_tables_are_equal_whatever_the_buffer_size_and_the_order_in_which_missing_samples_come():
    for seed in range(12):
        case = random_case(1000 + seed)
        _, *expected = core(case, case.costs())
        for room in (1, 2, 7):
            _, *found = core(case, case.costs(known=False), room, np.random.default_rng(room))
            for a, b in zip(found, expected):
                assert np.array_equal(a, b), (seed, room)


def test_reference_asks_for_missing_samples_one_by_one():
    case = random_case(1003)
    truth, costs = tables(case.costs()), case.costs(known=False)

    def fill(table: int, ix: int, iy: int) -> None:
        put(costs, truth, table, ix, iy)

    found = reference.replay(case.requests, case.rules, costs, fill)
    expected = reference.replay(case.requests, case.rules, case.costs())
    assert np.array_equal(found.steps, expected.steps)
