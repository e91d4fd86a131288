"""kill -9 of a worker, of the pool, of the driver and of a shard, at random times: nothing is lost."""

import multiprocessing
import os
import random
import signal
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import pytest
from engines import command, run
from studies import GEMM

import hwsim
from hwsim.sweep.drive import TRIES
from hwsim.sweep.journal import GAVE_UP, journals
from hwsim.sweep.points import OperatorPoints

pytestmark = pytest.mark.hpc

STUDY = """\
study: kills
base: {system: h100-sxm-x8, operator: {op: gemm, n: 2048, k: 1024}}
axes:
  operator.m: {from: 1, to: 601, step: 10}
  system.accelerator.clocks.core: {from: 1 GHz, to: 1.9 GHz, count: 10}
"""

KILLS = ("worker", "pool", "driver", "shard")
CI, EACH = 4, 20  # kills in all; of each kind


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study and its undisturbed result."""
    folder = tmp_path_factory.mktemp("kills")
    (folder / "study.yaml").write_text(STUDY)
    run(command("sweep", "study.yaml", "-o", "whole.h5", "--executor", "threads", "--workers", 1), cwd=folder)
    return folder


@pytest.mark.parametrize("number", range(EACH * len(KILLS)))
def test_after_a_kill_every_point_is_there_once(home, number, fuzz_share):
    if number >= CI and fuzz_share < 1:
        pytest.skip(f"{CI} kills; make fuzz runs {EACH} of each kind")
    what, name = KILLS[number % len(KILLS)], f"kill-{number}.h5"
    shard = ("--shard", "1/1") if what == "shard" else ()
    driver = subprocess.Popen(
        command("sweep", "study.yaml", "-o", name, "--workers", 2, *shard),
        cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    folder = home / f"{name}.journal" / "journals"
    wait_for(folder, random.Random(number).uniform(0.02, 0.8), driver)
    kill(what, folder, driver)
    if what in ("worker", "pool"):
        assert driver.wait(120) == 0, driver.stderr.read().decode()  # it opened a new pool and went on
    else:
        driver.wait(120)
        gone(folder)
        run(command("sweep", "study.yaml", "-o", name, "--resume", "--workers", 2), cwd=home)
    assert (home / name).read_bytes() == (home / "whole.h5").read_bytes()


def wait_for(folder: Path, share: float, driver: subprocess.Popen) -> None:
    """Wait until a share of the undisturbed journals' bytes is written: a time that does not depend on the machine."""
    whole = sum(path.stat().st_size for path in journals(folder.parent.with_name("whole.h5.journal") / "journals"))
    while sum(path.stat().st_size for path in journals(folder)) < share * whole and driver.poll() is None:
        time.sleep(0.002)


def pid_of(path: Path) -> int:
    return int(path.stem.split("-")[-2])


def kill(what: str, folder: Path, driver: subprocess.Popen) -> None:
    found = sorted({pid_of(path) for path in journals(folder)} - {driver.pid})
    targets = {"worker": found[:1], "pool": found}.get(what, [driver.pid])
    for pid in targets:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # the study was quicker
            continue


def gone(folder: Path) -> None:
    """Wait until the workers of a killed driver have noticed."""
    for _ in range(200):
        if not any(Path(f"/proc/{pid_of(path)}").exists() for path in journals(folder)):
            return
        time.sleep(0.05)
    raise AssertionError("workers outlive their driver")


def test_a_point_that_kills_its_worker_is_given_up_and_its_neighbours_are_not(tmp_path, monkeypatch):
    driver, answer = os.getpid(), OperatorPoints.answer

    def deadly(self, heavy, light):
        if os.getpid() != driver and any(("operator.m", 65) in each for each in light):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer(self, heavy, light)

    monkeypatch.setattr(OperatorPoints, "answer", deadly)
    study = GEMM | {"axes": {"operator.m": [1, 64, 65, 4096], "operator.n": [256, 512]}}
    fork = multiprocessing.get_context("fork")
    options = {"executor": lambda: ProcessPoolExecutor(2, mp_context=fork), "output": tmp_path / "out.h5"}
    result = hwsim.sweep(study, **options)
    assert (result.counts["done"], result.counts["gave_up"]) == (6, 2)
    with h5py.File(result.output) as file:
        assert {text.decode() for text in file["errors/text"]} == {
            f"its worker died {TRIES} times with this point alone in hand"
        }
        assert (file["status"][2] == GAVE_UP).all()
    monkeypatch.undo()
    assert hwsim.sweep(study, retry_failed=True, **options).counts["done"] == 8
