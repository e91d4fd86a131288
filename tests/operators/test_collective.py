"""Collectives: closed forms, one rank against all of them, laws, the library's choice, measured times."""

import csv
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from hwsim._core.bounds import BOUND_CLASSES
from hwsim.errors import InputError
from hwsim.operators.machine import Machine
from hwsim.operators.mapper import collective
from hwsim.operators.mapper.fabric import group_of
from hwsim.operators.program import RESOURCE_DTYPE, TemplateBuilder, bind, run_many
from hwsim.operators.simulate import OpResult, simulate

KINDS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
CHIPS = ("a100-sxm", "h100-sxm", "b200-sxm", "l40s")
SIZES = np.array([1, 7, 512, 4097, 65_536, 1_000_003, 1 << 24, 1 << 28])


def run(chip: str, kind: str, devices: object, size: object, software: str = "nccl", **more: object) -> OpResult:
    return simulate(Machine.of(chip, software, **more), kind, {"devices": devices, "bytes": size})  # type: ignore[arg-type]


def up(above: int, below: int) -> int:
    return -(-above // below)


def test_a_ring_takes_its_steps_times_chunk_and_latency() -> None:
    """2 (n - 1) steps of ceil(S / n) bytes, at the links' payload rate, each a link latency long besides."""
    machine = Machine.of("sn40l", "sambaflow-2024")
    group = group_of(machine)
    [ring] = [a for a in group.algorithms["all_gather"] if a.name == "ring Simple"]
    chunk = up(up((1 << 24) * 16 * ring.rate[1], ring.rate[0]), 16)  # the last step is not cut to whole cycles
    result = run("sn40l", "all_gather", 8, 1 << 27, "sambaflow-2024")
    exact = ring.launch + 7 * (Fraction((1 << 24) * ring.rate[1], ring.rate[0]) + ring.step)
    most = ring.launch + 7 * (chunk + ring.step)
    assert machine.ps(np.array([int(exact)]))[0] <= result.time_ps[0] <= machine.ps(np.array([most]))[0]


@pytest.mark.parametrize(("kind", "size", "steps"), [("all_reduce", 1 << 14, 1), ("all_gather", 1 << 10, 7)])
def test_the_latency_of_the_link_counts_once_a_step(kind: str, size: int, steps: int) -> None:
    sets = {"accelerator": ["links.scale_up.link.latency=2 us"]}
    near, far = (
        simulate(Machine.of("h100-sxm", "vllm", sets=s), kind, {"devices": 8, "bytes": size}) for s in ({}, sets)
    )
    assert near.choice == far.choice
    assert far.time_ps[0] - near.time_ps[0] == pytest.approx(steps * 1.5e6, rel=0.01)


def test_a_send_takes_its_launch_its_bytes_at_the_links_rate_and_the_first_byte() -> None:
    machine = Machine.of("h100-sxm", "nccl")
    ways = group_of(machine).algorithms["send"]
    result = simulate(machine, "send", {"bytes": SIZES})
    for size, time in zip(SIZES.tolist(), result.time_ps.tolist()):
        size += size % 2
        fixed = [way.launch + way.start + way.step for way in ways]
        least = min(f + Fraction(size * way.rate[1], way.rate[0]) for f, way in zip(fixed, ways))
        assert machine.ps(np.array([int(least)]))[0] <= time <= machine.ps(np.array([int(least) + 3]))[0]
    assert result.bytes["link"].tolist() == [size + size % 2 for size in SIZES.tolist()]


def test_a_send_is_half_an_exchange_of_two_without_its_copy() -> None:
    exchange = run("a100-sxm", "all_to_all", 2, 2 * SIZES)
    sent = run("a100-sxm", "send", 2, SIZES)
    assert np.all(sent.time_ps <= exchange.time_ps)
    assert np.all(sent.time_ps * 2 >= exchange.time_ps)


def test_a_send_goes_to_one_other() -> None:
    with pytest.raises(InputError, match="devices = 3"):
        run("h100-sxm", "send", 3, 1024)


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_one_rank_stands_for_all(ranks: int) -> None:
    """Every rank written out, each waiting for its left neighbour, ends when the folded program ends."""
    chunk, latency, steps = 1_000_003, 990, 2 * (ranks - 1)
    b = TemplateBuilder("ring written out")
    links = [b.resource(f"link {rank}", bound="link") for rank in range(ranks)]
    arrived = [b.counter(f"arrived {rank}") for rank in range(ranks)]
    count, size = b.slot("steps"), [b.slot(f"chunk {rank}") for rank in range(ranks)]
    for rank in range(ranks):
        q = b.queue(f"rank {rank}")
        with q.loop(count):
            q.run(links[rank], size[rank], delay=latency, wait=[(arrived[rank], 0)], done=arrived[(rank + 1) % ranks])
    rates = np.zeros(ranks, RESOURCE_DTYPE)
    rates["num"], rates["den"] = 26181, 128
    outcome = run_many(bind(b.build(), np.array([[steps] + [chunk] * ranks]), rates).require())
    folded = collective.template(False)
    rates = np.zeros(5, RESOURCE_DTYPE)
    rates["num"], rates["den"] = 26181, 128
    by_slot = {"launch": 0, "start": 0, "steps": steps, "chunk": chunk, "copy": 0, "shared": 0}
    cells = {"step": latency, "steps": steps}
    values = np.array([[by_slot[name] for name in folded.names["slots"]]])
    bound = bind(folded, values, rates, cells=np.array([[cells[name] for name in folded.names["cells"]]])).require()
    assert outcome.end[0] == run_many(bound).end[0] == steps * (up(chunk * 128, 26181) + latency)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_collective_is_faster_than_its_links(chip: str, kind: str) -> None:
    """Every rank must take in what it lacks: all but its own part (all_reduce in the switch: the whole sum)."""
    machine = Machine.of(chip, "vllm")
    link = machine.chip.links.scale_up
    rate = link.link.rate * link.link.efficiency * link.count
    for devices in (2, 4, 8):
        least = [Fraction(int(size) * (devices - 1) * 10**12, devices) / rate for size in SIZES]
        result = run(chip, kind, devices, SIZES, "vllm")
        assert all(time >= bound for time, bound in zip(result.time_ps, least))


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_sum_to_the_time_and_large_buffers_wait_for_links(kind: str) -> None:
    result = run("h100-sxm", kind, 8, SIZES, protocol="graph-replay")
    assert (result.bound.sum(axis=1) == result.time_ps).all()
    assert result.bound_name(-1) == "link"
    assert result.bound[0, BOUND_CLASSES.index("latency")] > 0 and result.bound[0, BOUND_CLASSES.index("launch")] > 0


@pytest.mark.parametrize(("kind", "share"), [("all_reduce", 14), ("all_gather", 7), ("reduce_scatter", 7)])
def test_a_rank_sends_the_bytes_of_a_ring(kind: str, share: int) -> None:
    result = run("a100-sxm", kind, 8, 1 << 20)
    sent = share << 17
    assert result.bytes["link"][0] == sent
    assert result.energy_pj[0] >= sent * 40  # 5 pJ/bit


@pytest.mark.parametrize("kind", KINDS)
def test_more_bytes_are_never_faster(kind: str) -> None:
    sizes = np.arange(1, 2000) ** 2 * 17
    for devices in (2, 8):
        assert (np.diff(run("b200-sxm", kind, devices, sizes).time_ps) >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("faster", ["rate=60 GB/s", "latency=100 ns"])
def test_a_better_link_is_never_slower(kind: str, faster: str) -> None:
    sets = {"accelerator": [f"links.scale_up.link.{faster}"]}
    for software in ("ideal", "vllm"):
        base = run("h100-sxm", kind, 8, SIZES, software).time_ps
        assert (run("h100-sxm", kind, 8, SIZES, software, sets=sets).time_ps <= base).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_rank_alone_does_nothing(kind: str) -> None:
    result = run("h100-sxm", kind, 1, 1 << 20)
    assert result.time_ps[0] == 0 and result.error[0] is None


def test_a_group_that_does_not_fit_is_an_error_of_its_row() -> None:
    result = run("h100-sxm", "all_reduce", [16, 8], 1 << 20)
    assert result.error == ["16 devices, but a system of h100-sxm has at most 8", None]
    assert result.time_ps[0] == -1 and result.time_ps[1] > 0


def test_the_library_takes_its_own_kernel_below_its_limit() -> None:
    """vLLM on 8 H100: one-shot below 256 KiB, the sum in the switch below 64 MiB, then NCCL."""
    sizes = [(256 << 10) - 1, 256 << 10, (64 << 20) - 1, 64 << 20]
    choice = run("h100-sxm", "all_reduce", 8, sizes, "vllm").choice
    assert choice[:3] == ["one-shot", "in-switch", "in-switch"]
    assert choice[3].startswith("ring") or choice[3] == "in-switch"
    assert run("h100-sxm", "all_reduce", 4, [(512 << 10) - 1, 512 << 10], "vllm").choice == ["one-shot", "two-shot"]
    assert run("h100-sxm", "all_reduce", 3, [1024], "vllm").choice == ["ring LL"]


def test_the_ideal_library_takes_the_algorithm_that_sends_least() -> None:
    choice = run("h100-sxm", "all_reduce", 8, [64, 1 << 28], "ideal").choice
    assert choice == ["in-switch", "in-switch"]
    assert run("mi300x", "all_reduce", 8, [64, 1 << 28], "ideal").choice == ["one-shot", "two-shot"]


def test_replays_add_their_gap_and_nothing_else() -> None:
    machine = Machine.of("h100-sxm", "vllm", "graph-replay")
    model = run("h100-sxm", "all_reduce", 8, SIZES, "vllm").time_ps
    replay = run("h100-sxm", "all_reduce", 8, SIZES, "vllm", protocol="graph-replay").time_ps
    assert set(replay - model) == {up(machine.timing.gap_ps, machine.timing.most_copies)}


def test_cards_without_links_share_the_path_through_the_host() -> None:
    """Four cards of one socket move 20.2 GB/s together; a pair has its links to itself."""
    four = run("l40s", "all_gather", 4, 1 << 28)
    assert four.bound_name(0) == "host"
    assert four.time_ps[0] >= 3 * (1 << 26) * 4 * 10**12 / 20.2e9
    assert run("l40s", "all_gather", 2, 1 << 28).bound_name(0) == "link"


def errors_of(rows: list[dict[str, str]], chip: str, software: str) -> dict[str, np.ndarray]:
    """Relative errors by operator."""
    by_kind = defaultdict(list)
    for row in rows:
        by_kind[{"alltoall": "all_to_all"}.get(row["op_name"], row["op_name"])].append(row)
    found = {}
    for kind, group in by_kind.items():
        devices, size = ([int(row[name]) for row in group] for name in ("num_gpus", "message_size"))
        result = run(chip, kind, devices, 2 * np.array(size), software, protocol="graph-replay")
        found[kind] = result.time_ps / 1e9 / np.array([float(row["latency_ms"]) for row in group]) - 1
    return found


def read(path: Path, **wanted: str) -> list[dict[str, str]]:
    with path.open() as file:
        return [row for row in csv.DictReader(file) if all(row[name] == value for name, value in wanted.items())]


@pytest.mark.shared
@pytest.mark.parametrize("chip", CHIPS)
def test_nccl_as_measured(shared: Path, chip: str) -> None:
    """Message sizes of the table count elements of two bytes."""
    errors = errors_of(read(shared / "measured" / "nccl.csv", system=chip.replace("-", "_")), chip, "nccl")
    assert set(errors) == set(KINDS)
    for kind, error in errors.items():
        assert np.median(abs(error)) <= 0.10, kind
        assert np.quantile(abs(error), 0.9) <= (0.30 if chip == "l40s" else 0.20), kind


@pytest.mark.shared
@pytest.mark.parametrize(("chip", "version"), [("a100-sxm", "0.14.0"), ("h100-sxm", "0.19.0"), ("b200-sxm", "0.19.0")])
def test_all_reduce_of_vllm_as_measured(shared: Path, chip: str, version: str) -> None:
    table = shared / "measured" / "custom_allreduce.csv"
    rows = read(table, system=chip.replace("-", "_"), framework="vLLM", version=version)
    error = errors_of(rows, chip, "vllm")["all_reduce"]
    assert len(error) == 39
    assert np.median(abs(error)) <= 0.05 and np.quantile(abs(error), 0.9) <= 0.15
