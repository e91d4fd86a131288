"""hwsim as a user has it: run from an empty folder, by its command; `.ci/run` does so with the installed wheel."""

import csv
import importlib.resources
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [str(Path(place).resolve()) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path / "cache"))


def hwsim(*words: str, code: int = 0) -> str:
    """Output of a run of the command."""
    done = subprocess.run([sys.executable, "-m", "hwsim", *words], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_wanted_hwsim_is_the_one_that_runs() -> None:
    """HWSIM_EXPECT names a folder the package must lie in: an installed one must not be shadowed by a source tree."""
    package = importlib.resources.files("hwsim")
    assert str(package).startswith(os.environ.get("HWSIM_EXPECT", ""))


def test_help_is_quick() -> None:
    """Processor time, since a busy machine says nothing about hwsim."""
    hwsim("--help")
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "Commands" in hwsim("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.3


def test_descriptions_are_found_anywhere() -> None:
    assert "h100-sxm" in hwsim("list", "accelerator")
    assert "3350 GB/s" in hwsim("show", "h100-sxm", "--provenance")


def test_an_operator_is_simulated() -> None:
    Path("cases.csv").write_text("accelerator,software,op,dtype,m,n,k\nh100-sxm,vllm,gemm,bf16,4096,4096,4096\n")
    hwsim("op", "cases.csv", "-o", "out.csv")
    [row] = csv.DictReader(Path("out.csv").read_text().splitlines())
    assert 150_000 < float(row["time_ns"]) < 400_000
    assert row["bound"] == "tensor"


def test_a_recipe_is_replayed_and_repeated() -> None:
    words = "replay h100-sxm-x8 llama-3.1-8b azure-conversation --requests 20 --plan tp=8 --json -o out.h5"
    assert json.loads(hwsim(*words.split()))["requests"] == 20
    hwsim("rerun", "out.h5")


def test_a_wrong_name_is_one_line_and_exit_code_2() -> None:
    message = hwsim("show", "h100-smx", code=2)
    assert "did you mean 'h100-sxm'?" in message
    assert "Traceback" not in message
