"""Weights behind a link: what is fetched in a step, what the step waits for, and plans that are refused."""

from fractions import Fraction

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import hwsim
from hwsim.cli import cli
from hwsim.describe import load
from hwsim.errors import InputError
from hwsim.serving.deployment import compile
from hwsim.serving.energy import energy_pj
from hwsim.serving.layers import weight_bytes
from hwsim.workload.table import RequestTable

PCIE = "host-dram-pcie-5"


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HWSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def alone(plan, system="h100-sxm", model="llama-3.1-8b", tokens=6):
    """A run of one request."""
    rows = RequestTable.of(np.zeros(1, np.int64), np.array([200]), np.array([tokens]), name="one")
    return hwsim.replay(compile(system, model, plan, token_budget=512, max_num_seqs=16), rows)


def decode_ps(run):
    """The last step."""
    return int(run.steps["end_ps"][-1] - run.steps["start_ps"][-1])


@pytest.mark.parametrize("plan", ["offload=nvme-gen4-x4,offload_layers=0", f"offload={PCIE}"])
def test_a_plan_that_offloads_nothing_runs_as_one_without(plan):
    """The second because 8 B parameters and the keys of a longest request fit."""
    plain, spilled = alone(""), alone(plan)
    assert np.array_equal(plain.requests, spilled.requests)
    assert plain.deployment.placement.kv_blocks == spilled.deployment.placement.kv_blocks
    assert all(np.array_equal(plain.steps[name], spilled.steps[name]) for name in plain.steps)


def test_more_layers_behind_the_link_are_never_faster_and_no_step_ends_before_their_bytes_have_come():
    times = []
    for layers in (0, 1, 2, 4, 8, 16, 32):
        run = alone(f"offload={PCIE},offload_layers={layers}")
        of, span = run.deployment.placement.offload, run.deployment.placement.decode.spans[0]
        times.append(decode_ps(run))
        assert times[-1] >= Fraction(span.fetched * 10**12) / of.rate
    assert times == sorted(times)
    assert times[-1] == of.fetch_ps(span)


def test_a_step_that_computes_for_longer_hides_the_stream_but_for_what_its_memory_takes():
    plain, spilled = alone(""), alone("offload=host-dram-c2c,offload_layers=2")
    of, span = spilled.deployment.placement.offload, spilled.deployment.placement.decode.spans[0]
    assert 0 < of.fetch_ps(span) < decode_ps(plain)
    assert decode_ps(spilled) - decode_ps(plain) == of.landing_ps(span) > 0
    assert spilled.account.wait_ps == 0


def test_a_faster_device_is_never_slower():
    devices = [load(name, "device") for name in ("nvme-gen4-x4", "cxl2-x16", PCIE, "host-dram-c2c")]
    runs = [alone(f"offload={device.id},offload_layers=16") for device in devices]
    rates = [run.deployment.placement.offload.rate for run in runs]
    assert rates == sorted(rates)
    assert [decode_ps(run) for run in runs] == sorted((decode_ps(run) for run in runs), reverse=True)


@pytest.mark.parametrize(
    ("device", "bound"), [("nvme-gen4-x4", "flash"), ("cxl2-x16", "cxl"), (PCIE, "link"), ("host-dram-c2c", "dram")]
)
def test_the_wait_is_of_the_class_that_bounds_the_device_and_all_shares_add_up(device, bound):
    run = alone(f"offload={device},offload_layers=32")
    found = run.account.bound_ps(run.operators)
    assert sum(found.values()) == run.account.busy_ps
    assert max(found, key=found.get) == bound
    assert found[bound] >= run.account.wait_ps > 0


def test_bytes_and_energy_of_the_stream_are_those_of_the_device_on_all_chips():
    run = alone(f"tp=2,offload={PCIE},offload_layers=8", system="h100-sxm-x2")
    placement, device = run.deployment.placement, load(PCIE, "device")
    row = next(row for row in run.operators if row["name"] == "fetch")
    assert row["calls"] == 8 * run.account.steps
    assert row["host_bytes"] == row["hbm_bytes"] == placement.decode.spans[0].fetched * run.account.steps
    chip = run.deployment.system.accelerator
    each = device.link.energy + device.media.memory.energy + chip.energy_per_byte("hbm")
    parts = energy_pj(chip, [row], 2, 2, 0, offload=placement.offload)
    assert parts["bytes"] == pytest.approx(float(2 * row["host_bytes"] * each * 10**12), rel=1e-9)
    assert parts["flops"] <= 2


@pytest.mark.parametrize("model", ["llama-3.1-8b", "mixtral-8x7b"])
def test_a_chip_keeps_what_it_does_not_fetch_and_room_for_two_layers(model):
    for layers in (3, 10):
        system, plan = "h100-sxm-x4", f"tp=4,offload={PCIE},offload_layers={layers}"
        placement = compile(system, model, plan).placement
        span = placement.decode.spans[0]
        kept = weight_bytes(load(model, "model"), 4, "bf16") - span.fetched
        assert placement.weight_bytes - kept == pytest.approx(span.fetched * 2 / layers, rel=1e-6)


def test_so_few_layers_are_offloaded_that_a_longest_request_has_room():
    placement = compile("h100-sxm", "llama-3.1-70b", f"offload={PCIE}").placement
    layers = placement.decode.spans[0].offloaded
    fewer = compile("h100-sxm", "llama-3.1-70b", f"offload={PCIE},offload_layers={layers - 1}").placement
    assert 16 * (fewer.kv_blocks - 1) < 131072 <= 16 * (placement.kv_blocks - 1)


def test_each_stage_offloads_layers_of_its_own():
    placement = compile("h100-sxm-x2", "llama-3.1-70b", f"pp=2,offload={PCIE},offload_layers=20").placement
    assert [span.offloaded for span in placement.decode.spans] == [20, 20]
    run = alone(f"pp=2,offload={PCIE},offload_layers=16", system="h100-sxm-x2")
    spans = run.deployment.placement.decode.spans
    assert decode_ps(run) >= sum(run.deployment.placement.offload.fetch_ps(span) for span in spans)
    assert sum(run.account.bound_ps(run.operators).values()) == run.account.busy_ps


REFUSED = [
    (("h100-sxm", "llama-3.1-70b", ""), ["would fit with tp=2 on h100-sxm-x2", f"tp=1,offload={PCIE}"]),
    (
        ("h100-sxm", "llama-3.1-405b", "offload=host-dram-c2c"),
        ["803.30 GB", "at most its 480.00 GB", "--precision fp8"],
    ),
    (("h100-sxm", "llama-3.1-70b", f"offload={PCIE},offload_layers=10"), ["at most 71.45 GB", "tp=2,offload="]),
    (("h100-sxm", "llama-3.1-8b", f"offload={PCIE},offload_layers=33"), ["offload_layers=33", "at most 32"]),
    (("h100-sxm", "llama-3.1-8b", "offload_layers=3"), ["offload=DEVICE with it"]),
    (("h100-sxm", "llama-3.1-8b", "offload=cxl-pool"), ["a pool behind a switch"]),
    (("h100-sxm", "llama-3.1-8b", "offload=cxl2-x61"), ["no such description", "cxl2-x16"]),
    (("h100-sxm", "llama-3.1-8b", f"offload={PCIE},offload_layers=-1"), ["offload_layers=-1"]),
    (("ipu-gc200-x8", "gpt2-xl", "offload=cxl2-x16"), ["no offload", "ipu-gc200 streams no weights"]),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: "-".join(case[0]))
def test_what_cannot_be_offloaded_is_refused_with_what_would(case):
    (system, model, plan), words = case
    with pytest.raises(InputError) as caught:
        compile(system, model, plan, "poptransformer-2023" if "ipu" in system else "vllm")
    for word in words:
        assert word in str(caught.value)


def test_a_plan_s_file_names_the_device_and_a_run_of_it_repeats(tmp_path):
    plan, trace, out = tmp_path / "plan.yaml", tmp_path / "trace.csv", tmp_path / "one.h5"
    plan.write_text(f"offload: {PCIE}\noffload_layers: 16\n")
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:01.0000000,200,5\n")
    asked = ["replay", "h100-sxm", "llama-3.1-8b", str(trace), "--plan", str(plan), "-o", str(out)]
    assert CliRunner().invoke(cli, asked, catch_exceptions=False).exit_code == 0
    tiers = hwsim.open_trace(out).tiers
    assert tiers["bytes"][list(tiers["name"]).index("host")] > 0
    assert "equal" in CliRunner().invoke(cli, ["rerun", str(out)], catch_exceptions=False).output


def test_a_point_takes_the_device_and_the_layers():
    plain, spilled = (
        hwsim.point("h100-sxm", "llama-3.1-8b", 1, 64, 4, software="vllm", **more)
        for more in ({}, {"offload": PCIE, "offload_layers": 16})
    )
    assert spilled.tpot_ms > 5 * plain.tpot_ms
    assert spilled.bound == "link"


def test_a_study_may_vary_the_device_and_the_layers_or_whole_plans(tmp_path):
    base = "name: spilled\nbase: {system: h100-sxm, model: llama-3.1-8b, software: vllm, concurrency: 1}\n"
    base = base.replace("1}", "1, workload: {isl: 64, osl: 4}}") + "outputs: [tpot_ms]\naxes:\n"
    axes = {
        "plans": f'  plan: ["tp=1", "offload={PCIE},offload_layers=32"]\n',
        "fields": f"  plan.offload: [{PCIE}, host-dram-c2c]\n  plan.offload_layers: [0, 32]\n",
    }
    times = []
    for name, lines in axes.items():
        study, out = tmp_path / f"{name}.yaml", tmp_path / f"{name}.h5"
        study.write_text(base + lines)
        done = CliRunner().invoke(cli, ["sweep", str(study), "-o", str(out)], catch_exceptions=False)
        assert done.exit_code == 0
        with h5py.File(out) as file:
            times.append(file["tpot_ms"][()].ravel()[:2])
    assert np.array_equal(*times)
    assert times[0][1] > 10 * times[0][0]
