"""Every command of docs/sweeps.md, run as it is written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from engines import mpiexec, slurm

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "sweeps.md"
STUDY = re.search(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1]
BLOCKS = re.findall(r"```console\n(.*?)```", GUIDE.read_text(), re.DOTALL)
PYTHON = re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1]

pytestmark = pytest.mark.hpc


@pytest.fixture
def shell(tmp_path: Path):
    """Runs the lines of a block in a folder with the study; what it left behind is ended with its session."""
    (tmp_path / "clocks.yaml").write_text(STUDY)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "hwsim").write_text(f'#!/bin/sh\nexec {sys.executable} -m hwsim "$@"\n')
    (tmp_path / "bin" / "hwsim").chmod(0o755)
    places = [tmp_path / "bin", Path(sys.executable).parent]
    path = os.pathsep.join([*map(str, places), os.environ["PATH"]])

    def run(block: str) -> str:
        environment = os.environ | {"PATH": path}
        lines = [line.removeprefix("$ ") for line in block.splitlines()]
        script = "\n".join(["set -e", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT", *lines])
        script = script.replace("pip install", "true pip install")
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def block(part: str) -> str:
    """The block of the guide that holds a text."""
    return next(each for each in BLOCKS if part in each)


def test_every_block_of_the_guide_is_run_here():
    told = ("--dry-run", "--resume", "--executor dask --workers 2", "tcp:", "mpiexec", "--shard 1/2", "slurm", "search")
    assert sorted(BLOCKS) == sorted(block(part) for part in told)


def test_on_a_laptop_and_in_python(shell, tmp_path):
    pytest.importorskip("h5netcdf")
    assert "1200000000" in shell(block("--dry-run")) and (tmp_path / "clocks.png").is_file()
    assert "40 points, 40 done" in shell(block("--resume"))
    (tmp_path / "script.py").write_text(PYTHON)
    assert "'done': 40" in shell("python script.py")
    assert (tmp_path / "clocks.h5").read_bytes() == (tmp_path / "clocks2.h5").read_bytes()


def test_on_dask(shell):
    pytest.importorskip("distributed")
    assert "40 points, 40 done" in shell(block("--executor dask --workers 2"))
    assert "40 points, 40 done" in shell(block("tcp:"))


def test_on_mpi(shell):
    assert mpiexec()
    assert "40 points, 40 done" in shell(block("mpiexec"))


def test_on_a_slurm_site(shell, tmp_path):
    assert "40 points, 40 done" in shell(block("--shard 1/2"))
    (tmp_path / "slurm").mkdir()
    with slurm(tmp_path / "slurm"):
        shell(block("slurm"))
    assert (tmp_path / "array.h5").read_bytes() == (tmp_path / "sharded.h5").read_bytes()


def test_search(shell):
    pytest.importorskip("optuna")
    assert "on the front of min time_ns, min energy_j" in shell(block("search"))
