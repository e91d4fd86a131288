"""No collective is faster than its wiring: the cut in the middle, a chip's own links, the way to the farthest rank.

The systems are written out chip by chip, each link once a direction, and asked for what no algorithm can be faster
than; the mappers know nothing of these graphs.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from hwsim.operators.machine import Machine
from hwsim.operators.mapper.wiring import box
from hwsim.operators.simulate import simulate

KINDS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
SIZES = np.array([64, 16_384, 1 << 20, 1 << 28])
# Chip, its software, devices of a group, sides of the box they lie in, which of them wrap, links to one neighbour.
BOXES = [
    ("tpu-v5e", "ideal", (2, 1), (0, 0), 1), ("tpu-v5e", "ideal", (4, 2), (0, 0), 1),
    ("tpu-v5e", "jax", (16, 8), (1, 0), 1), ("tpu-v5e", "ideal", (16, 16), (1, 1), 1),
    ("tpu-v6e", "jax", (4, 4), (0, 0), 1), ("tpu-v7", "jax", (3, 1, 1), (0, 0, 0), 1),
    ("tpu-v7", "ideal", (2, 2, 2), (0, 0, 0), 1), ("tpu-v7", "jax", (4, 2, 2), (0, 0, 0), 1),
    ("tpu-v7", "ideal", (4, 4, 4), (1, 1, 1), 1), ("tpu-v7", "jax", (8, 4, 4), (1, 1, 1), 1),
    ("trainium-2", "ideal", (4, 4), (1, 1), 1), ("trainium-2", "ideal", (4, 2), (1, 0), 1),
    ("wormhole", "ideal", (8, 4), (1, 1), 4), ("wormhole", "ideal", (4, 4), (0, 1), 4),
    ("ipu-bow", "ideal", (64,), (1,), 5), ("ipu-gc200", "poptransformer-2023", (7,), (1,), 5),
]  # fmt: skip
FULL = [
    ("h100-sxm", "ideal", 8), ("h100-sxm", "vllm", 4), ("b200-sxm", "trtllm", 8), ("gb200", "ideal", 72),
    ("mi300x", "ideal", 8), ("mi300x", "ideal", 3), ("gaudi-2", "lib-gaudi2", 8), ("mtia-v2", "ideal", 16),
    ("l40s", "vllm", 8), ("wse-3", "ideal", 64), ("sn40l", "ideal", 16),
]  # fmt: skip


def times_of(machine: Machine, kind: str, devices: int | np.ndarray, size: np.ndarray) -> np.ndarray:
    """Picoseconds of a collective, int64[P]."""
    result = simulate(machine, kind, {"devices": devices, "bytes": size}, machine.wide)
    assert result.error == [None] * len(size)
    return result.time_ps


def graph(sides: tuple[int, ...], wraps: tuple[int, ...], width: int) -> dict[tuple[int, ...], list[tuple[int, ...]]]:
    """Neighbours of every chip of a box, one entry a link; two chips that wrap have twice the links."""
    found = {}
    for chip in product(*map(range, sides)):
        found[chip] = []
        for axis, (side, closed) in enumerate(zip(sides, wraps, strict=True)):
            for step in (-1, 1):
                at = chip[axis] + step
                if side > 1 and (closed or 0 <= at < side):
                    found[chip] += [(*chip[:axis], at % side, *chip[axis + 1 :])] * width
    return found


def farthest(links: dict[tuple[int, ...], list[tuple[int, ...]]]) -> int:
    """Hops from the first chip to the one that is farthest, found breadth first."""
    start = next(iter(links))
    seen, edge, hops = {start}, {start}, -1
    while edge:
        hops += 1
        edge = {n for chip in edge for n in links[chip]} - seen
        seen |= edge
    return hops


def cuts(links: dict[tuple[int, ...], list[tuple[int, ...]]], sides: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """(Chips on one side, links out of it) of the cut through the middle of each dimension."""
    for axis, side in enumerate(sides):
        half = {chip for chip in links if chip[axis] < side // 2}
        if half:
            yield len(half), sum(n not in half for chip in half for n in links[chip])


def parts_out(kind: str, inside: int, devices: int) -> int:
    """Parts (a part = bytes / devices) that must leave `inside` chips for the others."""
    out = devices - inside
    # Of a sum every part is added up somewhere and comes back: at least one crossing each way.
    return {"all_to_all": inside * out, "all_gather": inside, "reduce_scatter": out, "all_reduce": devices}[kind]


@pytest.mark.parametrize(("chip", "software", "sides", "wraps", "width"), BOXES)
def test_a_group_of_a_torus_is_bound_by_its_box(
    chip: str, software: str, sides: tuple[int, ...], wraps: tuple[int, ...], width: int
) -> None:
    machine = Machine.of(chip, software)
    link = machine.chip.links.scale_up.link
    links = graph(sides, wraps, width)
    devices, corner = len(links), next(iter(links))
    assert box(devices, len(sides)) == sides
    for kind in KINDS:
        times = times_of(machine, kind, devices, SIZES)
        for size, time in zip(SIZES.tolist(), times.tolist(), strict=True):
            part = Fraction(size * 10**12, devices) / (link.rate * link.efficiency)
            assert time >= farthest(links) * link.latency * 10**12, kind
            into = {"all_reduce": 2 * (devices - 1)}.get(kind, devices - 1)  # of one rank's links
            assert time >= into * part / len(links[corner]), kind
            for inside, crossing in cuts(links, sides):
                assert time >= parts_out(kind, inside, devices) * part / crossing, kind


@pytest.mark.parametrize(("chip", "software", "devices"), FULL)
def test_where_every_chip_reaches_every_other_its_own_links_bound_a_group(
    chip: str, software: str, devices: int
) -> None:
    """In a mesh a pair has a share of a chip's links; a switch that adds spares a rank's second way out."""
    machine = Machine.of(chip, software)
    scale_up = machine.chip.links.scale_up
    share = Fraction(devices - 1, scale_up.devices - 1) if scale_up.topology == "mesh" else 1
    rate = scale_up.link.rate * scale_up.link.efficiency * scale_up.count * share
    adds = scale_up.link.id in ("nvlink-4", "nvlink-5")
    for kind in KINDS:
        parts = 2 * (devices - 1) if kind == "all_reduce" and not adds else devices - 1
        times = times_of(machine, kind, devices, SIZES)
        least = [Fraction(size * parts * 10**12, devices) / rate for size in SIZES.tolist()]
        assert all(time >= bound for time, bound in zip(times.tolist(), least, strict=True)), kind
        assert (times >= int(scale_up.link.latency * 10**12)).all(), kind


@pytest.mark.parametrize("devices", [2, 8, 16, 40, 72, 576])
def test_a_group_of_a_dragonfly_is_bound_by_its_links_inside_and_between_nodes(devices: int) -> None:
    machine = Machine.of("groq-lpu", "ideal")
    scale_up = machine.chip.links.scale_up
    link, node, nodes = scale_up.link, min(devices, scale_up.node), -(-devices // scale_up.node)
    hops = 1 if nodes == 1 else 2 if nodes - 1 <= scale_up.between else 3
    for kind in KINDS:
        times = times_of(machine, kind, devices, SIZES)
        for size, time in zip(SIZES.tolist(), times.tolist(), strict=True):
            part = Fraction(size * 10**12, devices) / (link.rate * link.efficiency)
            assert time >= hops * link.latency * 10**12, kind
            assert time >= (devices - 1) * part / (node - 1 + scale_up.between * (nodes > 1)), kind
            if nodes > 1:
                out = parts_out(kind, node, devices)
                assert time >= out * part / (node * scale_up.between), kind


IDEAL = ("h100-sxm", "mi300x", "mtia-v2", "wse-3", "tpu-v6e", "tpu-v7", "ipu-bow", "groq-lpu", "trainium-2", "wormhole")


@pytest.mark.parametrize("chip", IDEAL)
def test_half_a_sum_is_never_slower_than_a_sum_nor_a_sum_than_both_halves(chip: str) -> None:
    """all_gather, reduce_scatter <= all_reduce <= all_gather + reduce_scatter."""
    machine = Machine.of(chip, "ideal")
    largest = machine.chip.links.scale_up.devices
    groups = [n for n in (2, 3, 4, 8, 16, 64, largest) if n <= largest]
    devices, size = (a.ravel() for a in np.meshgrid(groups, SIZES))
    whole, gather, scatter = (times_of(machine, kind, devices, size) for kind in KINDS[:3])
    assert (np.maximum(gather, scatter) <= whole).all()
    assert (whole <= gather + scatter).all()


def test_more_chips_of_a_torus_do_not_add_up_faster_until_they_have_more_links() -> None:
    """2 chips of a TPU v7 share one link, a corner of 2 x 2 has two, of 2 x 2 x 2 three, of a whole cube six."""
    machine = Machine.of("tpu-v7", "jax")
    devices = np.array([2, 4, 8, 16, 64])
    times = times_of(machine, "all_reduce", devices, np.full(5, 1 << 28))
    corner = np.array([1, 2, 3, 3, 6])
    per_link = times * devices * corner / (2 * (devices - 1))
    assert per_link == pytest.approx(np.full(5, per_link.mean()), rel=0.02)
