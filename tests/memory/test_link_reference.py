"""The compiled network agrees with the plain one to the tick, and gives back all that it was lent."""

from __future__ import annotations

import numpy as np
import pytest
from link_cases import random_tables

from hwsim._core import link_tables as rows
from hwsim._core.link import Network
from hwsim.reference.link import Network as Reference


def compare(seed: int) -> None:
    tables = random_tables(seed)
    reference = Reference(tables)
    end = reference.run()
    net = Network(tables)
    assert net.run() == end, seed
    for name in ("issued", "done"):
        assert np.array_equal(tables.requests[name], reference.requests[name]), (seed, name)
    for name in rows.COUNT_ROW.names:
        assert np.array_equal(net.counts[name], reference.counts[name]), (seed, name)
    conserves(tables, net)


def conserves(tables, net) -> None:
    """Every message arrived, every credit came back, every request was answered after it was sent."""
    assert np.array_equal(net.credits(), tables.ways["credits"])
    assert np.array_equal(net.counts["sent"], net.counts["received"])
    asked = tables.requests
    assert (asked["issued"] >= asked["earliest"]).all() and (asked["done"] > asked["issued"]).all()
    for kind, write in ((rows.READ, 0), (rows.DATA, 0), (rows.WRITE, 1), (rows.COMPLETION, 1)):
        hops = 1 + (tables.nodes["kind"] == rows.SWITCH).sum()
        assert net.counts["sent"][:, kind].sum() == hops * (asked["write"] == write).sum()
    slots = np.where(tables.ways["format"] == rows.SLOTS, tables.ways["slots"], 1)
    filled = net.counts["headers"] + np.where(tables.ways["format"] == rows.SLOTS, net.counts["data"], 0)
    assert (filled <= slots * (net.counts["flits"] - net.counts["bare"])).all()


def test_random_networks_agree_to_the_tick():
    for seed in range(40):
        compare(seed)


@pytest.mark.fuzz
def test_many_random_networks_agree_to_the_tick(fuzz_share):
    for seed in range(1000, 1000 + int(1000 * fuzz_share)):
        compare(seed)


def test_the_same_run_gives_the_same_bits():
    first, second = random_tables(7), random_tables(7)
    for tables in (first, second):
        Network(tables).run()
    assert np.array_equal(first.requests, second.requests)
