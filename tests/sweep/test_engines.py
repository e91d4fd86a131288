"""The engines people run: the same 500 points with equal bits on each of them."""

import os
from pathlib import Path

import pytest
from engines import command, mpiexec, run, slurm

STUDY = """\
study: engines
base: {system: h100-sxm-x8, operator: {op: gemm, n: 2048, k: 1024}}
axes:
  operator.m: {from: 1, to: 2498, step: 50}
  system.accelerator.clocks.core: {from: 1 GHz, to: 1.9 GHz, count: 10}
"""

pytestmark = pytest.mark.hpc


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study and its result by one thread."""
    folder = tmp_path_factory.mktemp("engines")
    (folder / "study.yaml").write_text(STUDY)
    sweep(folder, "one", "--executor", "threads", "--workers", 1)
    return folder


def sweep(home: Path, name: str, *options: object, before: tuple[str, ...] = ()) -> bytes:
    """Result of the study under an executor."""
    run([*before, *command("sweep", "study.yaml", "-o", f"{name}.h5", *options)], cwd=home)
    return (home / f"{name}.h5").read_bytes()


def test_the_study_has_500_points(home):
    from hwsim.sweep.check import checked

    assert len(checked(home / "study.yaml")) == 500


@pytest.mark.parametrize("executor", ["local", "threads"])
def test_processes_and_threads_have_equal_bits(home, executor):
    assert sweep(home, executor, "--executor", executor, "--workers", 2) == (home / "one.h5").read_bytes()


def test_a_dask_cluster_of_two_workers_has_equal_bits(home):
    pytest.importorskip("distributed")
    assert sweep(home, "dask", "--executor", "dask", "--workers", 2) == (home / "one.h5").read_bytes()


def test_three_ranks_of_mpi_have_equal_bits(home):
    before = (mpiexec(), "-n", "3")
    assert sweep(home, "mpi", "--executor", "mpi", before=before) == (home / "one.h5").read_bytes()


def test_a_job_array_of_slurm_has_equal_bits(home, tmp_path):
    with slurm(tmp_path):
        run(command("sweep", "study.yaml", "-o", "slurm.h5", "--executor", "slurm", "--shards", 3, "--wait"), cwd=home)
    logs = "\n".join(log.read_text() for log in (home / "slurm.h5.journal").glob("*.log"))
    assert (home / "slurm.h5").exists(), logs
    assert (home / "slurm.h5").read_bytes() == (home / "one.h5").read_bytes()


def test_mpi_with_one_rank_says_what_to_do(home):
    pytest.importorskip("mpi4py")
    with pytest.raises(AssertionError, match="mpiexec -n 3 hwsim sweep"):
        sweep(home, "alone", "--executor", "mpi")
    assert not os.path.exists(home / "alone.h5")
