"""Goal: the Azure conversation trace (19,366 requests, 26.5 M tokens) on Llama-3.1-70B and eight H100s in 0.6 s of CPU
time warm, 60 s cold, the file included. Measured on one core of a 2-core EPYC machine: 0.48 s warm, 6.0 s cold."""

import json
import os
import subprocess
import sys

import pytest

TRACE = "traces/azure2023/AzureLLMInferenceTrace_conv.csv"


def replay(shared, folder):
    """CPU seconds of one `hwsim replay` in a process of its own, compile and file included."""
    command = [sys.executable, "-m", "hwsim", "replay", "h100-sxm-x8", "llama-3.1-70b", str(shared / TRACE)]
    environment = os.environ | {"HWSIM_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [*command, "--plan", "tp=8", "--json", "-o", str(folder / "out.h5")],
        env=environment, capture_output=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)["cpu_s"]


@pytest.mark.shared
def test_azure_conversation_warm(benchmark, shared, tmp_path):
    replay(shared, tmp_path)
    benchmark.extra_info["cpu_s"] = benchmark.pedantic(replay, (shared, tmp_path), rounds=3)


@pytest.mark.shared
def test_azure_conversation_cold(benchmark, shared, tmp_path):
    benchmark.extra_info["cpu_s"] = benchmark.pedantic(replay, (shared, tmp_path), rounds=1)
