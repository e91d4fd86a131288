"""Every program of the five classes takes the time that a formula gives, in the core and in the reference."""

import numpy as np
import programs
import pytest

from hwsim._core import tables
from hwsim.operators.executor import run_one
from hwsim.reference import engine as reference

CHIPS = [
    [(64, 21), (30, 40), (50, 30), (10, 5)],
    [(64, 60), (20, 31), (64, 40), (10, 10)],
    [(33, 17), (48, 30), (20, 16), (20, 2)],
]
PAIRS = [pair for chip in CHIPS for pair in chip]
LATENCY = sum(work + latency for work, latency in PAIRS)
WAFER = (32, 100, 16)
HBM, PCIE, DDR = (2048, 1, 500), (32, 1, 900), (256, 1, 80)


def end(bound) -> int:
    """End of a program, asserted equal with and without the skip."""
    whole, skipped = run_one(bound, skip=False), run_one(bound)
    assert skipped.status == tables.OK and (whole.end, whole.bound) == (skipped.end, skipped.bound)
    assert np.array_equal(whole.busy, skipped.busy) and np.array_equal(whole.passes, skipped.passes)
    return skipped.end


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_gemm_bound_by_its_tensor_units(groups):
    rates = {"hbm": (1 << 20, 1, 600), "l2": (1 << 24, 1, 250), "port*": (1 << 16, 1, 30)}
    first_tile = (1 + 600) + (250 + 1) + 30  # fill; through the L2 and, cut through, the port
    waves = 16 * (128 * 1024 + 1 + 30)  # k steps back to back, accumulators handed over
    assert end(programs.gemm(groups, rates=rates, store_bytes=16)) == first_tile + waves + (1 + 250)


def test_systolic_array_with_double_buffered_weights():
    assert end(programs.systolic(128, 128, 512, 16)) == 128 + 16 * 512 + 128 + 128 - 2 == 8574


def test_systolic_array_with_serial_folds():
    assert end(programs.systolic(128, 128, 512, 16, serial=True)) == 16 * (2 * 128 + 128 + 512 - 2) == 14304


def test_systolic_array_fed_from_memory():
    first = -(-2 * 128 * 128 * 2 // 933)
    formula = first + 128 + 4096 * 8192 + 128 + 128 - 2
    assert end(programs.systolic(128, 128, 8192, 4096, hbm=(933, 2))) == formula == 33_554_885


def test_a_billion_folds_take_a_few_rows():
    folds = 1 << 30
    run = run_one(programs.systolic(128, 128, 512, folds))
    assert run.end == 128 + folds * 512 + 128 + 128 - 2 and run.passes.tolist() == [0, folds, 0, folds]
    assert run.bound["tensor"] == folds * 512


def test_bulk_synchronous_steps_wait_for_the_slowest_group():
    bound = programs.bulk_synchronous(64, exchange=[700, 650], compute=[8000, 8300], sync=200)
    assert end(bound) == 64 * (700 + 200 + 8300 + 200)


def test_wafer_layers_one_token_after_the_other():
    bound = programs.wafer_folded(4, 20, 16, 3, WAFER, alone=True)
    assert end(bound) == 20 * 4 * (sum(WAFER) + 2 * 15 * 3)


def test_wafer_layers_with_tokens_in_a_pipeline():
    bound = programs.wafer_folded(4, 20, 16, 3, WAFER, alone=False)
    assert end(bound) == 4 * (sum(WAFER) + 2 * 15 * 3) + 19 * max(WAFER)


def test_a_folded_wafer_equals_the_mesh_link_by_link():
    folded = programs.wafer_folded(1, 6, 16, 3, WAFER, alone=True)
    assert end(programs.wafer_explicit(6, 16, 3, WAFER)) == end(folded) == 6 * (sum(WAFER) + 2 * 15 * 3)


@pytest.mark.parametrize("chips", [CHIPS, [PAIRS]], ids=["three chips", "one chain"])
def test_pipeline_without_jitter(chips):
    bound = programs.pipeline_chips(100, chips, 64)
    assert end(bound) == LATENCY + 99 * 64
    commands = run_one(bound, record="commands").commands
    for row in np.unique(commands["row"]):
        assert set(np.diff(commands["start"][commands["row"] == row])) == {64}


def test_ring_all_reduce_and_its_gang():
    chunk, rate = 16 * 2**20 // 8, (512, 1, 1265)
    formula = 14 * (chunk // 512 + 1265)
    assert end(programs.ring(8, chunk, rate)) == end(programs.ring_gang(8, chunk, rate)) == formula == 75_054


def test_tree_all_reduce_in_pieces():
    piece = 65536
    bound = programs.tree(3, 32, piece, (512, 1, 700))
    assert end(bound) == 2 * 3 * (piece // 512 + 700) + 31 * piece // 512


def test_in_network_all_reduce():
    piece = 65536
    bound = programs.in_network(8, 32, piece, (512, 1, 700), (256, 1, 40))
    assert end(bound) == 2 * (piece // 512 + 700) + piece // 256 + 40 + 31 * piece // 256


def test_dma_chain_cut_through_is_the_slowest_hop_and_all_latencies():
    bound = programs.dma(4096, 2**18, 8, (HBM, PCIE, DDR), cut=True)
    assert end(bound) == 4096 * 2**18 // 32 + 500 + 900 + 80


def test_dma_chain_store_and_forward_adds_the_other_hops_once():
    bound = programs.dma(4096, 2**18, 8, (HBM, PCIE, DDR), cut=False)
    assert end(bound) == 2**18 // 2048 + 500 + 4096 * 2**18 // 32 + 900 + 2**18 // 256 + 80


def test_dma_chain_with_one_credit_moves_one_piece_at_a_time():
    bound = programs.dma(100, 2**18, 1, (HBM, PCIE, DDR), cut=False)
    assert end(bound) == 100 * (2**18 // 2048 + 500 + 2**18 // 32 + 900 + 2**18 // 256 + 80)


def test_causal_attention_is_a_triangle():
    blocks = 40
    assert end(programs.causal_attention(blocks)) == 30 + 20 + 50 * blocks * (blocks + 1) // 2 + 7 * blocks


SMALL = {
    "gemm 1": lambda: programs.gemm(1, 4, 3, 5, tail=0.5, tile_bytes=700, flop=90_000, unique_bytes=9000),
    "gemm 4": lambda: programs.gemm(4, 12, 3, 5, 2, tail=0.3, tile_bytes=700, flop=90_000, unique_bytes=9000),
    "systolic": lambda: programs.systolic(8, 8, 20, 5, hbm=(7, 3)),
    "systolic serial": lambda: programs.systolic(8, 8, 20, 5, serial=True),
    "bulk-synchronous": lambda: programs.bulk_synchronous(5, [7, 6], [20, 31], 4),
    "wafer": lambda: programs.wafer_folded(3, 6, 4, 2, (5, 9, 3), alone=False),
    "wafer mesh": lambda: programs.wafer_explicit(4, 4, 2, (5, 9, 3)),
    "pipeline": lambda: programs.pipeline_chips(5, CHIPS, 64),
    "ring": lambda: programs.ring(4, 1000, (33, 2, 9)),
    "ring gang": lambda: programs.ring_gang(4, 1000, (33, 2, 9)),
    "tree": lambda: programs.tree(3, 4, 100, (7, 1, 5)),
    "in-network": lambda: programs.in_network(4, 5, 100, (7, 1, 5), (11, 1, 2)),
    "dma": lambda: programs.dma(20, 999, 3, ((70, 1, 9), (13, 1, 31), (40, 3, 2)), cut=True),
    "causal attention": lambda: programs.causal_attention(6),
}


@pytest.mark.parametrize("name", SMALL)
def test_core_and_reference_agree_on_the_program(name):
    bound = SMALL[name]()
    core, right = run_one(bound, record="commands"), reference.run(bound)
    assert (core.status, core.end) == (right.status, right.end) == (tables.OK, end(bound))
    assert core.commands.tolist() == [(c.queue, c.row, c.seq, c.start, c.finish) for c in right.commands]
    assert sum(core.bound.values()) == core.end
