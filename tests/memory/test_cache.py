"""Banks and ports of an SRAM, and caches that evict the least recently used line."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hwsim._core import cache as core
from hwsim.errors import InputError
from hwsim.memory.cache import Banks, Cache, miss_curve
from hwsim.reference import cache as reference


@pytest.mark.parametrize("ports", [1, 2])
@pytest.mark.parametrize("count", [8, 32, 12])
def test_strides_conflict_as_their_common_divisor_with_the_banks_says(count, ports):
    banks = Banks(count, 4, ports)
    for stride in range(1, 70):
        lanes = np.arange(32)[None, :] * stride * 4
        assert banks.cycles(lanes)[0] == banks.strided(32, stride * 4), stride


@pytest.mark.parametrize(("stride", "cycles"), [(4, 1), (8, 2), (16, 4), (128, 32), (132, 1), (0, 1)])
def test_a_warp_on_32_banks_of_4_bytes(stride, cycles):
    assert Banks(32, 4).strided(32, stride) == cycles


def test_lanes_that_ask_for_one_word_share_it_and_idle_lanes_cost_nothing():
    address = np.array([[0, 0, 1, 3], [0, 128, 0, 128], [-1, -1, -1, -1], [-1, 4, 8, -1]])
    assert Banks(32, 4).cycles(address).tolist() == [1, 2, 0, 1]


def test_random_groups_cost_what_counting_says():
    rng = np.random.default_rng(0)
    address = rng.integers(0, 4000, (200, 32))
    banks = Banks(16, 8, 2)
    for lanes, cycles in zip(address.tolist(), banks.cycles(address).tolist()):
        words = {at // 8 for at in lanes}
        assert cycles == -(-max(sum(1 for word in words if word % 16 == b) for b in range(16)) // 2)


def test_more_banks_or_ports_are_never_slower():
    address = np.random.default_rng(1).integers(0, 1 << 16, (100, 32))
    assert (Banks(32, 4).cycles(address) <= Banks(16, 4).cycles(address)).all()
    assert (Banks(32, 4, 2).cycles(address) <= Banks(32, 4).cycles(address)).all()


def lines_of(rng: np.random.Generator, n: int) -> np.ndarray:
    """Lines with reuse: loops, a hot part, strangers."""
    kind = rng.integers(0, 3, n)
    return np.where(kind == 0, np.arange(n) % 37, np.where(kind == 1, rng.integers(0, 12, n), rng.integers(0, 500, n)))


def test_random_traffic_hits_where_stack_distances_say():
    rng = np.random.default_rng(2)
    for _ in range(60):
        sets, ways, n = int(rng.integers(1, 9)), int(rng.integers(1, 9)), int(rng.integers(1, 400))
        lines, writes = lines_of(rng, n), rng.random(n) < 0.3
        hit, cleaned = reference.set_associative(lines.tolist(), writes.tolist(), sets, ways)
        cache = Cache(sets * ways * 64, 64, ways)
        passed = cache.access(lines * 64, writes)
        assert passed.hit.tolist() == hit and passed.written_back == sum(cleaned)


def test_stack_distances_of_the_tree_are_those_of_the_list():
    rng = np.random.default_rng(3)
    for _ in range(20):
        lines = lines_of(rng, int(rng.integers(1, 300))).astype(np.int64)
        assert core.stack_distances(lines, 500).tolist() == reference.stack_distances(lines.tolist())


def test_the_miss_curve_is_what_a_cache_of_each_size_misses():
    address = lines_of(np.random.default_rng(4), 3000) * 128
    curve = miss_curve(address, 128)
    for lines in (1, 5, 20, 37, 60, 200, len(curve) - 1):
        assert Cache(lines * 128, 128, ways=0).access(address).misses == curve[lines]
    assert curve[0] == 3000 and curve[-1] == len(curve) - 1 and (np.diff(curve) <= 0).all()


@pytest.mark.parametrize(("footprint", "hits"), [(64, 3 * 64), (65, 0), (100, 0)])
def test_a_loop_hits_always_or_never(footprint, hits):
    """LRU keeps nothing of a loop that is one line too long."""
    address = np.tile(np.arange(footprint) * 64, 4)
    assert Cache(64 * 64, 64, ways=0).access(address).hits == hits


def test_partitions_share_consecutive_lines_and_pieces_give_what_the_whole_gives():
    rng = np.random.default_rng(5)
    address, writes = lines_of(rng, 2000) * 64, rng.random(2000) < 0.5
    whole, pieces = Cache(16384, 64, 4, partitions=4), Cache(16384, 64, 4, partitions=4)
    passed = whole.access(address, writes)
    parts = [pieces.access(a, w) for a, w in zip(np.array_split(address, 7), np.array_split(writes, 7))]
    assert np.array_equal(passed.hit, np.concatenate([part.hit for part in parts]))
    assert passed.written_back == sum(part.written_back for part in parts)
    assert Cache(16384, 64, 4, partitions=4).access(np.arange(400) * 64).busiest == 100


def test_a_stream_takes_the_longer_of_its_partition_and_the_memory():
    cache = Cache(1 << 20, 64, 16, partitions=2, rate=Fraction(10**9))
    cold = cache.access(np.arange(1000) * 64)
    warm = cache.access(np.arange(1000) * 64)
    assert cache.seconds(cold, Fraction(10**9)) == Fraction(1000 * 64, 10**9)
    assert warm.hits == 1000 and cache.seconds(warm, Fraction(10**9)) == Fraction(500 * 64, 10**9)


def test_what_is_written_and_pushed_out_is_what_was_written_less_what_stays():
    rng = np.random.default_rng(6)
    cache = Cache(64 * 64, 64, 8)
    passed = cache.access(rng.integers(0, 300, 5000) * 64, np.ones(5000, bool))
    assert passed.written_back == passed.misses - 64 and int(cache.dirty.sum()) == 64


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Banks(0, 4), "banks: count: got 0, expected at least 1"),
        (lambda: Banks(32, 4).strided(32, 6), "stride: got 6, expected a multiple of the word of 4 B"),
        (lambda: Cache(1024, 64, 17), "cache: ways: got 17, expected 1 to 16; a partition holds 16 lines"),
        (lambda: Cache(1024, 64).access([-64]), "cache: address: got -64"),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(InputError) as caught:
        make()
    assert words in str(caught.value)
