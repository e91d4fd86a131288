"""Replays end to end: tokens conserved, files that open, runs that repeat, errors that leave nothing behind."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import hwsim
from hwsim.cli import cli
from hwsim.errors import InputError
from hwsim.workload.table import RequestTable


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HWSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def deployment():
    return hwsim.compile("h100-sxm", "llama-3.1-8b", "tp=1", token_budget=512, max_num_seqs=16)


def table(count=40, seed=0, most=800):
    rng = np.random.default_rng(seed)
    return RequestTable.of(
        np.cumsum(rng.integers(1, 10**11, count)),
        rng.integers(1, most, count),
        rng.integers(1, 60, count),
        name="random",
    )


@pytest.fixture
def trace_file(tmp_path):
    rows = table(12)
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for at, prompt, output in zip(rows.arrival_ps, rows.prompt_tokens, rows.output_tokens):
        lines.append(f"2023-11-16 18:15:{at / 1e12:010.7f},{prompt},{output}")
    path = tmp_path / "trace.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_token_is_accounted_for(deployment):
    rows = table()
    run = hwsim.replay(deployment, rows)
    assert run.requests["prompt"].sum() == rows.total_prompt_tokens
    assert np.all(run.requests["finish_ps"] >= run.requests["first_token_ps"])
    metrics = hwsim.measure(run)
    assert (metrics.finished, metrics.output_tokens) == (len(rows), rows.total_output_tokens)


def test_shares_of_time_by_bound_add_up_to_the_time_on_the_device(deployment):
    run = hwsim.replay(deployment, table())
    assert sum(run.account.bound_ps(run.operators).values()) == run.account.busy_ps
    assert sum(hwsim.measure(run).bound.values()) == pytest.approx(1)


def test_a_request_alone_takes_the_sum_of_its_steps(deployment):
    rows = RequestTable.of(np.zeros(1, np.int64), np.array([100]), np.array([3]), name="one")
    run = hwsim.replay(deployment, rows)
    costs = run.deployment.costs
    gap = 10**9
    pads = list(run.deployment.software.scheduler.capture_sizes)
    padded = min(size for size in pads if size >= 100)
    prefill = int(costs.prefill.ask(np.array([[100, 100]]))[0, 0])
    first = costs.token_time[0, padded] + costs.seq_time[0, 1] + 32 * prefill + gap
    spent = run.requests["first_token_ps"][0] - run.requests["queued_ps"][0]
    assert spent == first


def test_a_request_alone_takes_the_sum_of_its_stages_and_what_crosses_between_them(deployment):
    """Two stages of 16 layers: what one stage of 32 takes, one host gap and one crossing more."""
    rows = RequestTable.of(np.zeros(1, np.int64), np.array([100]), np.array([3]), name="one")
    staged = hwsim.compile("h100-sxm-x2", "llama-3.1-8b", "pp=2")
    spent = []
    for each in (deployment, staged):
        run = hwsim.replay(each, rows)
        spent.append(run.requests["first_token_ps"][0] - run.requests["admitted_ps"][0])
    pads = list(staged.software.scheduler.capture_sizes)
    padded = min(size for size in pads if size >= 100)
    send = staged.costs.phases[0].tokens.surfaces["send"].times[padded - 1]
    assert 0 < send < 10**8
    assert spent[1] - spent[0] == 10**9 + send


def test_stages_share_the_work_of_a_replica_and_keep_its_energy_in_parts(deployment):
    rows = RequestTable.of(np.zeros(64, np.int64), np.full(64, 200), np.full(64, 20), name="many")
    staged = hwsim.replay(hwsim.compile("h100-sxm-x2", "llama-3.1-8b", "pp=2"), rows)
    whole = hwsim.replay(deployment, rows)
    assert staged.account.busy_ps == sum(staged.account.bound_ps(staged.operators).values())
    gemm = {name: sum(r["flops"] for r in run.operators if r["name"] == name and r["kind"] == "gemm")
            for run, name in ((staged, "qkv"), (whole, "qkv"))}  # fmt: skip
    assert gemm["qkv"] > 0
    sent = next(row for row in staged.operators if row["name"] == "send")
    assert sent["calls"] == staged.account.steps
    assert sent["link_bytes"] >= 64 * 219 * 4096 * 2
    assert staged.requests["finish_ps"].max() < whole.requests["finish_ps"].max() * 1.6


@pytest.mark.parametrize(("system", "plan"), [("h100-sxm-x2", "tp=2"), ("h100-sxm-x2", "pp=2"), ("h100-sxm-x2", "")])
def test_operators_and_tiers_of_a_trace_are_those_of_all_devices(deployment, tmp_path, system, plan):
    """Energy over bytes is the tier's own, and dividing a model over devices neither adds nor loses work."""
    rows = RequestTable.of(np.zeros(1, np.int64), np.array([200]), np.array([5]), name="one")
    hwsim.replay(deployment, rows, output=tmp_path / "one.h5")
    shared = hwsim.compile(system, "llama-3.1-8b", plan)
    hwsim.replay(shared, rows, output=tmp_path / "two.h5")
    one, two = (hwsim.open_trace(tmp_path / name) for name in ("one.h5", "two.h5"))
    of = [trace.to_pandas("operators").groupby("name").sum(numeric_only=True) for trace in (one, two)]
    for column in ("bytes", "flops"):
        assert of[1][column]["gate_up"] == pytest.approx(of[0][column]["gate_up"], rel=0.05)
    accelerator = shared.system.accelerator
    for tier in two.to_pandas("tiers").itertuples():
        assert tier.energy_pj == pytest.approx(float(accelerator.energy_per_byte(tier.name)) * tier.bytes * 1e12)
        assert tier.capacity_bytes == accelerator.capacities().get(tier.name, 0) * 2
    tiers = two.to_pandas("tiers").energy_pj.sum()
    assert tiers == pytest.approx(two.attrs["energy_pj"]["bytes"], rel=1e-9)
    dynamic = of[1].energy_pj.sum()
    assert dynamic == pytest.approx(tiers + two.attrs["energy_pj"]["flops"], rel=1e-6)


def test_one_token_more_is_never_sooner(deployment):
    ends = []
    for output in (10, 11, 20):
        rows = RequestTable.of(np.zeros(4, np.int64), np.full(4, 50), np.full(4, output), name="four")
        ends.append(hwsim.replay(deployment, rows).requests["finish_ps"].max())
    assert ends == sorted(ends) and ends[0] < ends[2]


def test_the_file_opens_in_xarray_and_repeats_bit_by_bit(deployment, trace_file, tmp_path):
    xarray = pytest.importorskip("xarray")
    out = tmp_path / "out.h5"
    hwsim.replay(deployment, trace_file, output=out, record="events")
    data = xarray.open_dataset(out, group="requests")
    assert data.sizes["request"] == 12 and data.arrival_ps.attrs["units"] == "ps"
    trace = hwsim.open_trace(out)
    assert set(trace.groups) >= {"requests", "steps", "operators", "kv", "events"}
    done = CliRunner().invoke(cli, ["rerun", str(out)], catch_exceptions=False)
    assert done.exit_code == 0 and "equal in all" in done.output


def test_rerun_refuses_other_requests(deployment, trace_file, tmp_path):
    out = tmp_path / "out.h5"
    hwsim.replay(deployment, trace_file, output=out)
    trace_file.write_text(trace_file.read_text().replace(",100,", ",101,") + "2023-11-16 18:16:50.0000000,5,5\n")
    with pytest.raises(InputError, match="those of the recorded run"):
        CliRunner().invoke(cli, ["rerun", str(out)], catch_exceptions=False)


def test_results_do_not_depend_on_what_was_simulated_before(trace_file):
    def fresh():
        return hwsim.compile("h100-sxm-x2", "llama-3.1-8b", "tp=2", token_budget=256, max_num_seqs=8)

    alone = hwsim.replay(fresh(), table(30, seed=3))
    used = fresh()
    hwsim.replay(used, table(30, seed=4, most=300))
    hwsim.replay(used, trace_file)
    again = hwsim.replay(used, table(30, seed=3))
    assert np.array_equal(alone.requests, again.requests)
    assert alone.operators == again.operators


def test_replicas_share_the_requests():
    deployment = hwsim.compile("h100-sxm-x4", "llama-3.1-8b", "tp=2")
    run = hwsim.replay(deployment, table(20))
    assert np.bincount(run.requests["replica"]).tolist() == [10, 10]
    least = hwsim.replay(deployment, table(20), router="least-loaded")
    assert set(least.requests["replica"]) == {0, 1}


def test_the_verb_prints_one_screen_or_one_object(trace_file, tmp_path):
    arguments = [
        "replay",
        "h100-sxm-x2",
        "llama-3.1-8b",
        str(trace_file),
        "--plan",
        "tp=2",
        "--slo",
        "ttft=2s,tpot=50ms",
    ]
    screen = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    for word in ("ttft", "tpot", "itl", "e2e", "goodput", "J per output token", "limited by", "token budget 2048"):
        assert word in screen.output
    done = CliRunner().invoke(cli, [*arguments, "--json", "-o", str(tmp_path / "out.h5")], catch_exceptions=False)
    found = json.loads(done.output)
    assert found["requests"] == 12 and found["ttft_ms"].keys() == {"p50", "p90", "p99", "mean"}
    assert (tmp_path / "out.h5").exists()


BAD = [
    (["--plan", "tp=3"], ["tp=3", "a divisor of 32"]),
    (["--record", "everything"], ["--record", "'everything'", "requests"]),
    (["--slo", "ttft=fast"], ["ttft"]),
    (["--slo", "tftt=2s"], ["tftt"]),
    (["--requests", "0"], ["--requests", "1 to 12"]),
    (["--requests", "13"], ["--requests", "1 to 12"]),
    (["--rate-scale", "fast"], ["--rate-scale", "'fast'"]),
    (["--rate-scale", "0"], ["--rate-scale"]),
    (["--router", "random"], ["router", "'random'", "round-robin"]),
    (["--software", "vlm"], ["vlm", "vllm"]),
    (["--max-num-seqs", "0"], ["max_num_seqs"]),
    (["--token-budget", "-1"], ["token_budget"]),
    (["--precision", "fp4"], ["--precision", "'fp4'"]),
    (["--kv-dtype", "int4"], ["--kv-dtype", "'int4'"]),
    (["--set", "model.layer=40"], ["layer"]),
    (["--set", "nonsense"], ["--set", "'nonsense'"]),
]


@pytest.mark.parametrize("arguments, words", BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_bad_option_is_named_and_nothing_is_written(arguments, words, trace_file, tmp_path):
    out = tmp_path / "out.h5"
    base = ["replay", "h100-sxm", "llama-3.1-8b", str(trace_file), "-o", str(out)]
    done = CliRunner().invoke(cli, [*base, *arguments])
    assert isinstance(done.exception, InputError), done.output
    for word in words:
        assert word in str(done.exception)
    assert not list(tmp_path.glob("out*"))


def test_requests_out_of_order_are_sorted_and_that_is_said(tmp_path):
    trace, stamp = tmp_path / "late.csv", "2023-11-16 18:15:4{}.0,{},2\n"
    trace.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(stamp.format(9 - i, 50 + i) for i in range(3))
    )
    base, note = ["replay", "h100-sxm", "llama-3.1-8b", str(trace)], "2 requests stood behind a later one: sorted"
    assert note in CliRunner().invoke(cli, base, catch_exceptions=False).stdout
    done = CliRunner().invoke(cli, [*base, "--json"], catch_exceptions=False)
    assert note in done.stderr
    assert json.loads(done.stdout)["requests"] == 3


def test_requests_that_never_fit_are_refused_by_name(tmp_path):
    deployment = hwsim.compile("h100-sxm-x2", "llama-3.1-70b", "tp=2")
    rows = RequestTable.of(np.zeros(2, np.int64), np.full(2, 10**5), np.full(2, 5), name="long")
    with pytest.raises(InputError, match=r"longer than the .* tokens of a replica's KV cache"):
        hwsim.replay(deployment, rows, output=tmp_path / "out.h5")
    assert not list(tmp_path.iterdir())


@pytest.mark.shared
def test_the_azure_conversation_trace_is_replayed_whole(shared, tmp_path):
    trace = shared / "traces" / "azure2023" / "AzureLLMInferenceTrace_conv.csv"
    deployment = hwsim.compile("h100-sxm-x8", "llama-3.1-70b", "tp=8")
    metrics = hwsim.measure(hwsim.replay(deployment, trace, output=tmp_path / "out.h5"))
    assert (metrics.finished, metrics.prompt_tokens, metrics.output_tokens) == (19_366, 22_361_870, 4_088_665)


@pytest.mark.parametrize("watts", [700, 400])
def test_long_prompts_draw_no_more_than_the_limit_and_parts_of_energy_add_up(watts):
    sets = [f"system.accelerator.power.limit={watts} W"]
    deployment = hwsim.compile("h100-sxm", "llama-3.1-8b", "tp=1", sets=sets)
    rows = RequestTable.of(np.zeros(10, np.int64), np.full(10, 7000), np.full(10, 8), name="long")
    run = hwsim.replay(deployment, rows)
    metrics = hwsim.measure(run)
    assert metrics.energy_j / metrics.makespan_s <= 1.02 * watts
    parts = metrics.energy_pj
    power = deployment.system.accelerator.power
    spent = sum(row["energy_pj"] + row["active_pj"] for row in run.operators)
    assert parts["static"] == pytest.approx(float(power.static) * metrics.makespan_ps, rel=1e-9)
    assert sum(parts.values()) == pytest.approx(parts["static"] + spent, rel=1e-9)
