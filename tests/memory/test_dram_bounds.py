"""Closed forms that hold whatever core and reference share."""

import numpy as np
import pytest

import hwsim
from hwsim.errors import InputError
from hwsim.memory.channel import Piece, new_channel, tables_of
from hwsim.memory.channel_tables import Options

N = 20_000


def scattered_reads(memory: str, n: int, **options) -> int:
    """Ticks that `n` scattered reads take."""
    found = tables_of(memory, Options(**options))
    address = np.random.default_rng(3).integers(0, found.capacity // found.access, n) * found.access
    zeros = np.zeros(n, np.int64)
    return int(hwsim.memory.run(memory, address, zeros, zeros, **options).depart.max())


@pytest.mark.parametrize("memory", ["hbm2-2000", "hbm3-5200", "hbm3-6400", "hbm3e-8000", "hbm4-8000"])
def test_scattered_reads_move_at_most_four_accesses_a_pseudo_channel_in_an_activate_window(memory):
    window = tables_of(memory, Options()).timings["FAW"]
    units = 2
    assert scattered_reads(memory, N, refresh="none") >= (N / (4 * units) - 1) * window


@pytest.mark.parametrize("memory", ["hbm2-2000", "hbm3-6400", "hbm4-8000"])
def test_a_row_conflict_takes_precharge_activate_and_read_of_an_idle_channel(memory):
    found = tables_of(memory, Options(mapping="robaracoch", refresh="none"))
    row = 1 << (found.address_map.bits["row"][0].bit_length() - 1)
    ticks = hwsim.memory.run(memory, [0, row], [0, 0], [0, 100_000], mapping="robaracoch", refresh="none")
    waited = int(ticks.depart[1] - ticks.arrive[1])
    named = found.timings
    # The controller sees a request one tick after it arrives.
    assert waited - 1 == named["RP"] + named["RCDRD"] + named["RL"] + named["BL"]


def test_refresh_takes_at_least_its_share_of_a_stream():
    n = 200_000
    address, zeros = np.arange(n) * 32, np.zeros(n, np.int64)
    plain, refreshed = (
        int(hwsim.memory.run("hbm3-6400", address, zeros, zeros, refresh=mode).depart.max())
        for mode in ("none", "all-bank")
    )
    named = tables_of("hbm3-6400", Options()).timings
    assert (refreshed - plain) / refreshed >= 0.99 * named["RFC"] / named["REFI"]


def test_refresh_per_bank_costs_a_stream_less_than_all_banks_at_once():
    n = 100_000
    address, zeros = np.arange(n) * 32, np.zeros(n, np.int64)
    ticks = {
        mode: int(hwsim.memory.run("hbm3-6400", address, zeros, zeros, refresh=mode).depart.max())
        for mode in ("none", "per-bank", "all-bank")
    }
    assert ticks["none"] < ticks["per-bank"] < ticks["all-bank"]


def test_a_stream_is_never_faster_than_its_data_bus():
    n = 50_000
    found = tables_of("hbm3-6400", Options())
    ticks = hwsim.memory.run("hbm3-6400", np.arange(n) * 32, np.zeros(n, bool), np.zeros(n, int), refresh="none")
    assert ticks.depart.max() >= n * found.timings["BL"] // 2
    assert ticks.depart.max() <= 1.15 * n * found.timings["BL"] // 2


def test_commands_balance():
    rng = np.random.default_rng(1)
    found = tables_of("hbm3-6400", Options(row_policy="closed", refresh="none"))
    address, write = rng.integers(0, 1 << 20, 5000) * 32, rng.integers(0, 2, 5000, dtype=np.uint8)
    piece = Piece.of(0, address, write, np.zeros(5000, np.int64))
    channel = new_channel(found)
    channel.feed(piece.address, piece.is_write, piece.earliest, piece.arrive, piece.depart, piece.delayed)
    counts = channel.counts
    columns = sum(counts[name] for name in ("RD", "WR", "RDA", "WRA"))
    assert columns + counts["merged"] + counts["forwarded"] == 5000
    assert counts["ACT"] + counts["hits"] == columns
    assert counts["ACT"] == counts["PRE"] + counts["RDA"] + counts["WRA"]


def test_a_write_in_the_buffer_answers_reads_of_its_address_and_takes_in_writes_of_it():
    address = [1 << 16, 2 << 16, 3 << 16, 96, 96, 96]
    ticks = hwsim.memory.run("hbm3-6400", address, [0, 0, 0, 1, 0, 1], [0] * 6)
    assert ticks.arrive.tolist() == [0, 1, 2, 3, 4, 5]
    assert ticks.depart.tolist()[4:] == [5, 6]


def test_refreshes_of_banks_that_would_fall_behind_are_refused():
    for change in ("REFI=400 ns", "RREFD=50 ns"):
        with pytest.raises(InputError, match="a bank's refresh every"):
            tables_of("hbm3-6400", Options(refresh="per-bank"), (f"commands.timings.{change}",))
