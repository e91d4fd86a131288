"""What laws and whole streams cost on one core.

Goals: a service law computed from commands in under 1 s (0.05 s for weights, 0.2 s for KV blocks); the weights one
decode token of Llama-3.1-70B reads on one of 8 H100s (17.6 GB through 80 channels) in under 0.5 s.
"""

import time

import pytest

from hwsim.describe import load
from hwsim.memory.channel_tables import Options
from hwsim.memory.commands import through_channels
from hwsim.memory.law import ACCESS
from hwsim.memory.law_measure import Bench, measure_law

# Time of the process, so that others on the machine do not count.
pytestmark = pytest.mark.benchmark(timer=time.process_time)

WEIGHTS = 141_000_000_000 // 8


@pytest.mark.parametrize("pattern", ACCESS)
def test_a_law_from_commands(benchmark, pattern):
    """H100's memory: three long streams with and without refresh, sixteen short ones."""
    memory = load("hbm3-5200", "memory")
    benchmark.pedantic(lambda: measure_law(Bench(memory, Options()), ACCESS[pattern]), rounds=3)
    assert benchmark.stats["min"] < 1


def test_weights_of_one_token_through_all_channels(benchmark):
    """141 GB over 8 devices, every command; periods of a repeating state are added."""
    device = load("h100-sxm", "accelerator")
    done = benchmark.pedantic(lambda: through_channels(device, WEIGHTS), rounds=3)
    benchmark.extra_info.update(
        requests=done.requests, added=done.added, GB_s=round(float(WEIGHTS / done.seconds) / 1e9), goal_s=0.5
    )
    assert benchmark.stats["min"] < 0.5
