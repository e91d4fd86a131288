"""Memory of the host, flash and expanders as the operators see them: a rate and a latency, from their simulation."""

from __future__ import annotations

import pytest

import hwsim
from hwsim.memory.device_law import device_law


def law(name: str, pattern="sequential", sets=()):
    found = device_law(hwsim.load(name, sets=sets), pattern)
    return float(found.rate) / 1e9, float(found.latency) * 1e9


def test_host_memory_behind_pcie_gives_what_packets_of_256_bytes_leave_of_the_link():
    rate, latency = law("host-dram-pcie-5")
    assert rate == pytest.approx(63 * 256 / 276, rel=0.02)
    assert 600 < latency < 750


def test_host_memory_behind_c2c_is_bound_by_the_memory():
    assert law("host-dram-c2c")[0] == pytest.approx(384, rel=0.01)


@pytest.mark.parametrize("depth", [1, 8, 32])
def test_a_shallow_queue_of_a_drive_gives_so_many_blocks_a_latency(depth):
    """Little's law, as long as neither dies nor path are the limit."""
    rate, latency = law("nvme-gen4-x4", sets=[f"host.reads={depth}"])
    assert rate == pytest.approx(depth * 4096 / latency, rel=0.02)


def test_a_deep_queue_of_a_drive_gives_its_published_rate():
    assert law("nvme-gen4-x4")[0] == pytest.approx(7, rel=0.05)
    assert law("nvme-gen4-x4", "write")[0] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("pattern", ["sequential", "paged", "write"])
def test_a_law_is_never_faster_than_the_links_bound(pattern):
    rate, latency = law("cxl2-x8-expander", pattern)
    assert rate < (23.8 if pattern == "write" else 18.21) and latency > 240


def test_a_law_says_where_it_comes_from():
    found = device_law(hwsim.load("cxl2-x8-expander"))
    assert (found.tier, found.status) == ("cxl", "derived") and found.provenance.startswith(
        "cxl2-x8-expander: 20000 lines"
    )
