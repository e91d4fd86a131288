"""Rates of the network of links on one core.

Goal: 1 M lines/s through one CXL link with a memory behind it (10 events a line), 0.5 M lines/s through a switch.
"""

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "memory"))
from link_cases import SWITCH, device, requests

from hwsim._core.link import Network
from hwsim.memory.path_tables import network

LINES = 100_000

# Time of the process, so that others on the machine do not count.
pytestmark = pytest.mark.benchmark(timer=time.process_time)


@pytest.mark.parametrize(("hosts", "goal"), [(1, 1.0), (4, 0.5)])
def test_lines_a_second(benchmark, tmp_path, hosts, goal):
    """Two reads to a write; one host on its link, or four hosts around a switch."""
    switch = SWITCH.format(link="cxl-2-x8", hosts=hosts, devices=4, latency="100 ns") if hosts > 1 else ""
    tables = network(device(tmp_path, "cxl-2-x8", switch), requests(LINES, 2, 1, hosts=hosts))
    nets = []

    def run():
        nets.append(Network(tables))
        nets[-1].run()

    benchmark(run)
    seconds = benchmark.stats["min"]
    benchmark.extra_info.update(
        lines=LINES,
        M_lines_s=round(LINES / seconds / 1e6, 2),
        events_a_line=round(nets[-1].events / LINES, 1),
        goal=goal,
    )
    assert LINES / seconds / 1e6 > 0.5 * goal
