"""Cost of sweeps. Goals: 0.3 ms a point beyond its replay; 10,000 operators in 20 s; 10,000 served points of 100
requests in 120 s, 100 hardware variants x 10 loads in 300 s, both on two cores; 1.85 times as fast on two cores as on
one; memory flat over 10^5 points."""

import os
import resource
import time
from concurrent.futures import Executor, Future

import numpy as np
import pytest

import hwsim
from hwsim.analyse.of_run import measure
from hwsim.serving.run import run
from hwsim.sweep.check import checked
from hwsim.sweep.drive import Driver
from hwsim.sweep.executors import opener
from hwsim.sweep.journal import DONE, Journal
from hwsim.sweep.merge import gather
from hwsim.sweep.run import folder_of
from hwsim.sweep.work import Report, Worker, write_study

GPU = {"system": "h100-sxm"}
SERVED = GPU | {"model": "llama-3.1-8b", "trace": "azure-conversation", "workload": {"requests": 100}}
CLOCK = "system.accelerator.clocks.core"
OPERATORS = {
    "study": "operators",
    "base": GPU | {"operator": {"op": "gemm", "n": 4096, "k": 4096}},
    "axes": {
        CLOCK: {"from": "1 GHz", "to": "1.99 GHz", "count": 100},
        "operator.m": {"from": 1, "to": 9901, "step": 100},
    },
}
LOADS = {
    "study": "loads",
    "base": SERVED,
    "axes": {
        "software.scheduler.max_num_seqs": [8, 16, 32, 48, 64, 96, 128, 192, 256, 512],
        "software.scheduler.token_budget": [512, 1024, 1536, 2048, 3072, 4096, 5120, 6144, 7168, 8192],
        "software.scheduler.block_tokens": [16, 32],
        "workload.rate_scale": {"from": 1.0, "to": 50.0, "count": 50},
    },
}
SCHEDULERS = LOADS | {
    "study": "schedulers",
    "axes": {
        "workload.rate_scale": {"from": 1.0, "to": 50.0, "count": 50},
        "software.scheduler.max_num_seqs": [8, 16, 32, 48, 64, 96, 128, 192, 256, 512],
        "software.scheduler.token_budget": [512, 1024, 2048, 4096, 8192],
    },
}
VARIANTS = {
    "study": "variants",
    "base": SERVED,
    "axes": {
        CLOCK: {"from": "1 GHz", "to": "1.99 GHz", "count": 100},
        "workload.rate_scale": {"from": 1, "to": 46, "step": 5},
    },
}


def two_cores(benchmark, study, tmp_path, goal_s):
    """A study on two processes; figures beside the goal."""
    cpu = []
    watch = lambda report: cpu.append(report.cpu_s)  # noqa: E731
    options = {"output": tmp_path / "out.h5", "workers": 2, "watch": watch}
    result = benchmark.pedantic(hwsim.sweep, (study,), options, rounds=1)
    points = sum(result.counts.values())
    assert result.counts["done"] == points
    benchmark.extra_info.update(goal_s=goal_s, points=points, cpu_ms_a_point=round(sum(cpu) / points * 1e3, 3))


def test_ten_thousand_operators(benchmark, tmp_path):
    two_cores(benchmark, OPERATORS, tmp_path, 20)


def test_ten_thousand_served_points(benchmark, tmp_path, monkeypatch):
    """Cold: every sample is simulated here."""
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path / "cache"))
    two_cores(benchmark, LOADS, tmp_path, 120)


def test_a_hundred_hardware_variants(benchmark, tmp_path, monkeypatch):
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path / "cache"))
    two_cores(benchmark, VARIANTS, tmp_path, 300)


def test_two_cores_against_one(benchmark, tmp_path):
    """The same points once with one worker and once with two; a machine with other work on it shows less."""
    seconds = []
    for workers in (1, 2):
        started = time.perf_counter()
        hwsim.sweep(OPERATORS, output=tmp_path / f"{workers}.h5", workers=workers)
        seconds.append(time.perf_counter() - started)
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info.update(goal=1.85, times_as_fast=round(seconds[0] / seconds[1], 2), cores=os.cpu_count())


@pytest.mark.parametrize("study", [LOADS, SCHEDULERS], ids=["shared", "own"])
def test_a_point_beyond_its_replay(benchmark, study, tmp_path):
    """A worker's CPU time for points against bare replays and figures of the same; goal 0.3 ms a point.

    The worker resolves descriptions and compiles deployments, which the bare replays find made: of one scheduler for 50
    points, and of one for each point.
    """
    space = checked(study)
    write_study(tmp_path, space.study)
    worker = Worker(tmp_path, "bench")
    kind = worker.space.kind
    points = np.concatenate([space.task(number) for number in np.linspace(0, space.tasks - 1, 10).astype(int)])
    worker.answer(worker.space, points)  # simulates what is missing
    assigned = [heavy + light[0] for heavy, light, _ in space.batches(points)]
    made = [(kind.deployment(point), kind.table(point)) for point in assigned]

    def bare():
        for deployment, table in made:
            measure(run(deployment, table))

    def swept():
        kind.deployments.kept.clear()
        kind.variants.kept.kept.clear()
        worker.answer(worker.space, points)

    def ms(work):
        started = time.process_time()
        work()
        return (time.process_time() - started) / len(points) * 1e3

    times = np.array([(ms(swept), ms(bare)) for _ in range(3)])  # in turns: what else runs here hits both
    benchmark.pedantic(lambda: None, rounds=1)
    both, beyond = times.min(axis=0).round(3), float(np.diff(-times.min(axis=0)).item())
    benchmark.extra_info.update(goal_ms=0.3, ms_swept=both[0], ms_bare=both[1], ms_beyond=round(beyond, 3))


class Nothing(Executor):
    """Answers every task at once without doing it."""

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        future.set_result(Report(0, 0, "nobody", 0.0))
        return future


@pytest.mark.parametrize("points", [10**5, 10**6])
def test_the_driver_and_the_merge(benchmark, points, tmp_path):
    """CPU of the driver a task and a point, a journal's row, a merged point: what a scaling model starts from."""
    axes = {"operator.m": {"from": 1, "to": points // 100, "step": 1}, "operator.n": {"from": 1, "to": 100, "step": 1}}
    space = checked({"study": "big", "base": GPU | {"operator": {"op": "gemm", "k": 64}}, "axes": axes})
    folder = folder_of(tmp_path / "out.h5")
    started = time.process_time()
    Driver(space, folder, opener(Nothing, 16)).run()
    driver = time.process_time() - started
    journal = Journal(folder / "journals", space.layout, len(space.kind.outputs))
    rows = np.zeros(1, journal.dtype)
    rows["status"] = DONE
    started = time.process_time()
    for index in range(10**4):
        rows["key"] = space.keys(np.array([index]))
        journal.begin(rows["key"])
        journal.rows(rows)
    row = time.process_time() - started
    journal.close()
    table = benchmark.pedantic(gather, (space, folder, ["time_ns"]), rounds=1)
    assert table.counts()["done"] == 10**4
    benchmark.extra_info.update(
        driver_us_a_task=round(driver / space.tasks * 1e6, 1),
        driver_us_a_point=round(driver / points * 1e6, 2),
        journal_us_a_row=round(row / 10**4 * 1e6, 1),
        merge_us_a_point=round(benchmark.stats["mean"] / points * 1e6, 2),
    )


def test_memory_of_a_worker_over_a_hundred_thousand_points(benchmark, tmp_path):
    """Peak memory after the first tenth and after all; goal: within 20 MB."""
    axes = {
        CLOCK: {"from": "1 GHz", "to": "1.99 GHz", "count": 100},
        "operator.rows": {"from": 1, "to": 1000, "step": 1},
    }
    space = checked({"study": "long", "base": GPU | {"operator": {"op": "norm", "cols": 4096}}, "axes": axes})
    write_study(tmp_path, space.study)
    worker, peak = Worker(tmp_path, "bench"), []

    def all_points():
        for number in range(space.tasks):
            worker.answer(worker.space, space.task(number))
            if number == space.tasks // 10:
                peak.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    benchmark.pedantic(all_points, rounds=1)
    peak.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    benchmark.extra_info.update(points=len(space), goal_mb=20, grown_mb=round((peak[1] - peak[0]) / 1024, 1))
    assert peak[1] - peak[0] < 20 * 1024
