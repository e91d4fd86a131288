"""The scheduler against a real vLLM 0.19 run, with that chip's measured kernels: what is left is scheduling.

Limits are those of a step-time model without any fit: one gap of 1 ms a step, 0.5 ms from arrival to engine.
"""

import csv
import json

import numpy as np
import pytest

from hwsim._core import serve_types as types
from hwsim._core.serve import ServeRun
from hwsim.operators.machine import Machine
from hwsim.operators.mapper.gpu.step_surface import StepSurface
from hwsim.operators.simulate import OpResult
from hwsim.operators.step import StepShape
from hwsim.operators.surface import BOUNDS

BUDGET, SEQS, LAYERS = 2048, 128, 32
FIXED_US = 8.0  # smallest attention kernel of the table
CALLS = {"embedding": 1, "final_layernorm": 1, "layernorm": 2 * LAYERS}  # a step; other layers once a layer


def column(path, *names):
    with open(path) as lines:
        return zip(*[[row[name] for name in names] for row in csv.DictReader(lines)])


def picoseconds(us) -> np.ndarray:
    return np.ascontiguousarray(np.rint(np.asarray(us) * 1e6).astype(np.int64))


def summed(path, count_name, most, skip=()):
    """Time of all layers of a table, by count."""
    layer, count, us = (np.array(c) for c in column(path, "layer", count_name, "time_us"))
    count, us = count.astype(int), us.astype(float)
    total = np.zeros(most + 1)
    for name in sorted(set(layer) - set(skip)):
        mine = layer == name
        order = np.argsort(count[mine])
        calls = CALLS.get(name, LAYERS if count_name == "tokens" else 1)
        total += calls * np.interp(np.arange(most + 1), count[mine][order], us[mine][order])
    return picoseconds(total)


class Grid:
    """Measured times in us over two axes, linear between."""

    def __init__(self, x, y, us, xs, ys):
        rows = {value: sorted(zip(y[x == value], us[x == value])) for value in sorted(set(x))}
        lines = np.array([np.interp(ys, *zip(*row)) for row in rows.values()])
        self.xs, self.ys = xs, ys
        self.us = np.array([np.interp(xs, list(rows), line) for line in lines.T]).T

    def at(self, x, y):
        return np.interp(x, self.xs, [np.interp(y, self.ys, line) for line in self.us])


class Measured(StepSurface):
    """Steps of the kernels that were measured on the chip, instead of simulated ones."""

    def measure(self, path):
        names = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us")
        chunk, cached, n, context, us = (np.array(c, float) for c in column(path, *names))
        contexts, decodes = np.unique(context[context > 0]), 2 ** np.arange(8)
        alone, prompts = chunk == 0, n == 0
        chunks = np.unique(np.append(1, chunk[chunk > 0]))
        self.prefill = Grid(chunk[prompts], cached[prompts], us[prompts], chunks, np.append(0, contexts))
        self.decode = Grid(n[alone], context[alone], us[alone], decodes, contexts)
        # Decodes inside a mixed kernel: what they add to a chunk of 256 tokens.
        mixed = (chunk == 256) & (cached == 0) & (n > 0)
        joined = Grid(n[mixed], context[mixed], us[mixed], decodes, contexts)
        joined.us = np.maximum(joined.us - self.prefill.at(256, 0) + FIXED_US, self.decode.us)
        self.joined = joined

    def simulate(self, steps):
        time = picoseconds([self.of_step(step) for step in steps])
        zero = np.zeros_like(time)
        return OpResult(time, zero, zero, np.zeros((len(time), BOUNDS.stop - BOUNDS.start), np.int64), zero, {},
                        [None] * len(time), [""] * len(time))  # fmt: skip

    def of_step(self, step):
        us = sum(self.prefill.at(*chunk) for chunk in step.chunks) - FIXED_US * max(len(step.chunks) - 1, 0)
        if len(step.contexts):
            decodes = len(step.contexts), np.mean(step.contexts)
            us += self.joined.at(*decodes) - FIXED_US if step.chunks else self.decode.at(*decodes)
        return us


@pytest.fixture(scope="module")
def measured_costs(shared):
    folder = shared / "measured" / "kernels_rtxpro6000_llama31_8b"
    steps = Measured(Machine.of("rtx-pro-6000", "vllm"), StepShape(32, 8, 128, BUDGET, SEQS, 20_000))
    steps.measure(folder / "attention.csv")
    return types.Costs(
        token_time=summed(folder / "dense.csv", "tokens", BUDGET, skip=["layer"]),
        seq_time=summed(folder / "per_sequence.csv", "sequences", SEQS),
        prefill=None,
        decode=None,
        step=steps,
        layers=LAYERS,
        step_gap_ps=10**9,
    )


@pytest.fixture(scope="module")
def real(shared):
    """Columns of the real run, sorted by arrival; seconds since the first arrival."""
    text = (shared / "measured/vllm_runs/RTXPRO6000__Llama-3.1-8B/requests.jsonl").read_text()
    rows = sorted((json.loads(line) for line in text.splitlines()), key=lambda row: row["arrival_time"])
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0] if name != "request_id"}
    clocks = (columns["queued_ts"] - columns["arrival_time"]).min()  # arrival is wall clock, the rest monotonic
    begin = columns["arrival_time"][0]
    for name in ("queued_ts", "scheduled_ts", "first_token_ts", "last_token_ts"):
        columns[name] = columns[name] - clocks - begin
    columns["arrival_time"] = columns["arrival_time"] - begin
    return columns


def served(real, costs, depth):
    """The same requests through the core: its request table, in seconds."""
    rules = types.Rules(BUDGET, SEQS, 30_000, async_depth=depth, frontend_ps=5 * 10**8)
    arrival = np.rint(real["arrival_time"] * 1e12).astype(np.int64)
    run = ServeRun(types.Requests(arrival, real["input_toks"], real["output_toks"]), rules, costs)
    while (status := run.run()) == types.MISSING:
        costs.step.fill(run.missing()[:, 1])
    assert status == types.DONE
    table = run.requests()
    return {
        name: table[name] / 1e12 for name in ("arrival_ps", "queued_ps", "admitted_ps", "first_token_ps", "finish_ps")
    }


def medians(arrival, first, last, output):
    return np.array([np.median(first - arrival), np.median((last - first) / (output - 1)), np.median(last - arrival)])


def test_median_latencies_follow_the_real_run(real, measured_costs):
    sim = served(real, measured_costs, depth=2)
    found = medians(sim["arrival_ps"], sim["first_token_ps"], sim["finish_ps"], real["output_toks"])
    truth = medians(real["arrival_time"], real["first_token_ts"], real["last_token_ts"], real["output_toks"])
    error = np.abs(found / truth - 1)
    assert np.all(error <= [0.08, 0.02, 0.02]), error


def test_requests_running_and_waiting_follow_the_log_of_the_real_run(real, measured_costs, shared):
    sim = served(real, measured_costs, depth=2)
    log = column(shared / "measured/vllm_runs/RTXPRO6000__Llama-3.1-8B/timeseries.csv", "t", "running", "waiting")
    t, running, waiting = (np.array(c, float) for c in log)
    inside = [(sim[a][None] <= t[:, None]) & (sim[b][None] > t[:, None]) for a, b in
              (("admitted_ps", "finish_ps"), ("queued_ps", "admitted_ps"))]  # fmt: skip
    assert np.abs(inside[0].sum(1) - running).mean() <= 1
    assert np.abs(inside[1].sum(1) - waiting).mean() <= 1


def test_two_batches_in_flight_explain_the_first_token_of_requests_that_did_not_queue(real, measured_costs):
    at_once = real["scheduled_ts"] - real["queued_ts"] < 1e-3
    truth = np.median((real["first_token_ts"] - real["arrival_time"])[at_once])
    error = {}
    for depth in (1, 2):
        sim = served(real, measured_costs, depth)
        error[depth] = abs(np.median((sim["first_token_ps"] - sim["arrival_ps"])[at_once]) / truth - 1)
    assert error[2] <= 0.08 < error[1], error
