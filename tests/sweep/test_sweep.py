"""Studies from file to result on this machine."""

import json
import threading
from concurrent.futures import Executor, Future
from pathlib import Path

import h5py
import numpy as np
import pytest
from studies import GEMM, SERVING, equal, table

import hwsim
from hwsim.cli.sweep import said
from hwsim.errors import InputError
from hwsim.operators.machine import Machine
from hwsim.operators.simulate import simulate
from hwsim.sweep.journal import journals
from hwsim.sweep.run import folder_of, merged


class Backwards(Executor):
    """Runs tasks one at a time in the reverse order of their submission, as far as it may wait."""

    def __init__(self) -> None:
        self.waiting: list = []

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        self.waiting.append((future, fn, args))
        if len(self.waiting) == 2:
            threading.Thread(target=self.flush).start()
        return future

    def flush(self):
        while self.waiting:
            future, fn, args = self.waiting.pop()
            future.set_result(fn(*args))

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.flush()


def test_operators_are_those_of_the_engine(place):
    hwsim.sweep(GEMM, "threads", output=place, workers=1)
    made = table(GEMM, place)
    for column, clock in enumerate(("1.2 GHz", "1.755 GHz")):
        machine = Machine.of("h100-sxm", "ideal", "in-model", {"accelerator": [f"clocks.core={clock}"]})
        alone = simulate(machine, "gemm", {"m": [1, 64, 65, 4096], "n": [1024] * 4, "k": [1024] * 4})
        assert (made.values["time_ns"].reshape(4, 2)[:, column] == alone.time_ps / 1e3).all()


def test_operators_may_say_which_model_and_plan_they_are_of(place):
    named = GEMM | {"base": GEMM["base"] | {"model": "llama-3.1-8b", "plan": {"tp": 8}}}
    hwsim.sweep(named, "threads", output=place, workers=1)
    other = place.with_name("alone.h5")
    hwsim.sweep(GEMM, "threads", output=other, workers=1)
    assert equal(table(named, place), table(GEMM, other))


def test_a_finished_study_is_read_again_and_a_grown_one_asks_for_a_word(place):
    first = hwsim.sweep(GEMM, "threads", output=place, workers=1)
    again = hwsim.sweep(GEMM, "threads", output=place, workers=1)
    assert again.counts == first.counts and equal(again.table, first.table)
    assert len(journals(folder_of(place) / "journals")) == 1
    grown = GEMM | {"axes": GEMM["axes"] | {"operator.m": [1, 64, 65, 4096, 32]}}
    with pytest.raises(InputError, match=r"without answers of 2 points of this study, expected --resume .* --restart"):
        hwsim.sweep(grown, "threads", output=place, workers=1)
    assert hwsim.sweep(grown, "threads", output=place, workers=1, resume=True).counts["done"] == 10


def test_served_points_are_those_of_replay(place):
    hwsim.sweep(SERVING, "threads", output=place, workers=1)
    made = table(SERVING, place)
    deployment = hwsim.compile("h100-sxm", "llama-3.1-8b")
    run = hwsim.replay(deployment, "azure-conversation", limit=4, rate_scale=20, seed=1)
    alone = hwsim.measure(run, "ttft=1s,tpot=20ms")
    assert made.values["tpot_p90_ms"][-1] == alone.tpot.in_ms()["p90"]
    assert made.values["energy_j"][-1] == alone.energy_j
    assert made.values["goodput_share"][-1] == alone.goodput.share
    assert made.values["seed"].tolist() == [0, 1, 0, 1]


def test_points_that_share_tables_are_those_of_deployments_of_their_own(place):
    axes = {"software.scheduler.token_budget": [300, 16384], "software.scheduler.max_num_seqs": [2, 600]}
    hwsim.sweep(SERVING | {"axes": axes}, "threads", output=place, workers=1)
    found = table(SERVING | {"axes": axes}, place).values["makespan_s"].tolist()
    alone = []
    for budget in (300, 16384):
        for users in (2, 600):
            deployment = hwsim.compile("h100-sxm", "llama-3.1-8b", token_budget=budget, max_num_seqs=users)
            alone.append(hwsim.measure(hwsim.replay(deployment, "azure-conversation", limit=4)).makespan_s)
    assert found == alone
    assert len(set(found)) > 1


@pytest.mark.parametrize(("executor", "workers"), [("local", 2), ("threads", 3), (lambda: Backwards(), 2)])
def test_bits_are_equal_whatever_runs_the_points(executor, workers, place):
    study = GEMM | {"axes": {"operator.m": list(range(1, 60)), **GEMM["axes"]}} if workers > 3 else GEMM
    hwsim.sweep(study, "threads", output=place, workers=1)
    first = place.read_bytes()
    hwsim.sweep(study, executor, output=place, workers=workers, restart=True)
    assert place.read_bytes() == first


def test_a_point_that_fails_is_recorded_and_the_others_go_on(place):
    study = SERVING | {"axes": {"software.scheduler.memory_fraction": ["1 %", "90 %"], "workload.seed": [0, 1]}}
    result = hwsim.sweep(study, "threads", output=place, workers=1)
    assert result.counts == {"missing": 0, "done": 2, "failed": 2, "gave_up": 0, "excluded": 0}
    with h5py.File(place) as file:
        assert np.isnan(file["tokens_per_s"][0]).all() and (file["tokens_per_s"][1] > 0).all()
        assert "weights" in file["errors/text"][0].decode()
        assert file["errors/point"][:].tolist() == [0, 1]


def test_one_bad_operator_of_a_batch_fails_alone(place):
    study = GEMM | {"axes": {"operator.m": [1, 2], "operator.dtype": ["bf16", "nvfp4"]}}
    made = hwsim.sweep(study, "threads", output=place, workers=1)
    assert (made.counts["done"], made.counts["failed"]) == (2, 2)
    first, *rest = said(made).splitlines()
    assert first.endswith(f"2 failed; errors by point in the group `errors` of {place}:")
    assert len(rest) == 1 and rest[0].startswith("  2 x ") and "nvfp4" in rest[0]


def test_a_study_grows_and_runs_only_what_is_new(place):
    hwsim.sweep(GEMM, "threads", output=place, workers=1)
    ran = []
    grown = GEMM | {"axes": GEMM["axes"] | {"operator.m": [1, 64, 65, 2048, 4096]}}
    hwsim.sweep(grown, "threads", output=place, workers=1, resume=True, watch=ran.append)
    assert sum(report.done for report in ran) == 2
    fresh = place.with_name("fresh.h5")
    hwsim.sweep(grown, "threads", output=fresh, workers=1)
    assert fresh.read_bytes() == place.read_bytes()


def test_shards_join_to_the_whole(place, tmp_path):
    hwsim.sweep(GEMM, "threads", output=tmp_path / "whole.h5", workers=1)
    for shard in ("2/3", "1/3", "3/3"):
        assert hwsim.sweep(GEMM, "threads", output=place, workers=1, shard=shard).counts == {}
    assert merged(GEMM, place).counts["done"] == 8
    assert place.read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_missing_points_are_nan_with_a_status(place):
    hwsim.sweep(GEMM, "threads", output=place, workers=1, shard="1/4")
    counts = merged(GEMM, place).counts
    assert (counts["missing"], counts["done"]) == (6, 2)
    with h5py.File(place) as file:
        assert (np.isnan(file["time_ns"][:]) == (file["status"][:] == 0)).all()
        assert file["status"].attrs["flag_meanings"].split()[:2] == ["missing", "done"]


def test_journals_of_a_part_are_not_overwritten(place):
    hwsim.sweep(GEMM, "threads", output=place, workers=1, shard="1/2")
    with pytest.raises(InputError, match="--resume to run those alone"):
        hwsim.sweep(GEMM, "threads", output=place, workers=1)


def test_derived_columns_and_constraints(place):
    study = GEMM | {
        "derived": {"rows_per_us": "operator.m / time_ns * 1000"},
        "constraints": ["operator.m > 1", "time_ns < 100000", "bound != 'idle'"],
        "outputs": ["time_ns", "bound"],
        "objectives": {"energy_j": "min"},
    }
    hwsim.sweep(study, "threads", output=place, workers=1)
    with h5py.File(place) as file:
        columns = {"time_ns", "bound", "rows_per_us", "energy_j", "feasible", "status", "errors"}
        assert set(file) - set(GEMM["axes"]) == columns
        assert (file["status"][0] == 4).all() and np.isnan(file["feasible"][0]).all()
        assert file["rows_per_us"][1, 0] == 64 / file["time_ns"][1, 0] * 1000
        assert ((file["time_ns"][1:] < 100000) == file["feasible"][1:]).all()
        assert json.loads(file.attrs["study"])["study"] == "gemm"


def test_a_result_opens_in_xarray_by_name(place):
    pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    pair = {"zip": {"operator.n": [64, 128], "operator.k": [256, 512]}}
    axes = GEMM["axes"] | {"pair": pair, "operator.batch": [1, 3]}
    data = hwsim.sweep(GEMM | {"axes": axes}, "threads", output=place, workers=2).dataset()
    assert dict(data.sizes) == {"operator.m": 4, "system.accelerator.clocks.core": 2, "pair": 2, "operator.batch": 2}
    at = {"operator.m": 65, "system.accelerator.clocks.core": 1_755_000_000, "pair": 1, "operator.batch": 3}
    one = data.sel(at)
    assert one["operator.n"] == 128 and one["operator.k"] == 512 and one.time_ns > 0
    assert data.time_ns.attrs["units"] == "ns" and data["system.accelerator.clocks.core"].attrs["units"] == "Hz"
    assert str(one.bound.values) in ("tensor", "launch", "hbm", "latency", "l2", "sync", "vector", "sram")


def test_equal_tables_are_equal(place):
    hwsim.sweep(GEMM, "threads", output=place, workers=1)
    assert equal(table(GEMM, place), table(GEMM, place))


def test_closed_loops_are_those_of_point(place):
    base = {"system": "h100-sxm", "model": "llama-3.1-8b", "concurrency": 1, "workload": {"isl": 32, "osl": 4}}
    study = {"study": "loop", "base": base, "axes": {"concurrency": [1, 2], "workload.osl": [4, 1]}}
    hwsim.sweep(study, "threads", output=place, workers=1)
    made = table(study, place)
    alone = hwsim.point("h100-sxm", "llama-3.1-8b", 2, 32, 4)
    for name in ("ttft_ms", "tpot_ms", "itl_p99_ms", "tok_s", "tok_s_user", "req_s", "energy_j_token", "power_w"):
        assert made.values[name][2] == getattr(alone, name)
    assert made.columns["bound"].labels[int(made.values["bound"][2])] == alone.bound
    assert np.isnan(made.values["tpot_ms"][1]) and not made.errors


def test_a_shard_reads_its_own_journals_alone(place):
    hwsim.sweep(GEMM, "threads", output=place, workers=1, shard="1/2")
    folder = folder_of(place) / "journals"
    assert len(journals(folder, "1of2")) == 1 and not journals(folder, "2of2")
    ran = []
    hwsim.sweep(GEMM, "threads", output=place, workers=1, shard="1/1", watch=ran.append)
    assert sum(report.done for report in ran) == 4  # other cuts read all: nothing is run twice
    ran.clear()
    hwsim.sweep(GEMM, "threads", output=place, workers=1, shard="2/2", watch=ran.append)
    assert not ran and len(journals(folder)) == 2


def test_kernels_of_a_class_tell_in_a_chip_of_its_own_generation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own-gen.yaml").write_text("kind: generation\nextends: tsp-1\nname: own\n")
    Path("own.yaml").write_text("kind: accelerator\nextends: groq-lpu\ngeneration: own-gen.yaml\n")
    loop = {"system": "own-x72", "model": "llama-2-7b", "software": "ideal", "precision": "int8", "concurrency": 1}
    study = {
        "study": "own",
        "base": loop | {"workload": {"isl": 16, "osl": 3}},
        "axes": {"software.kernels.pipeline.efficiency": ["100 %", "50 %"]},
    }
    fast, slow = hwsim.sweep(study, "threads", output="own.h5", workers=1).table.values["tpot_ms"]
    assert slow > 1.2 * fast


def test_a_scheduler_changes_no_operator():
    keys = {
        Machine.of("h100-sxm", "vllm", "in-model", {"software": [f"scheduler.{change}"]}).key
        for change in ("token_budget=512", "token_budget=8192", "max_num_seqs=7")
    }
    assert len(keys) == 1
    assert Machine.of("h100-sxm", "ideal", "in-model").key not in keys
