"""Laws of programs: no resource is beaten, more is not slower where that is true, what goes in comes out."""

import numpy as np
import programs
import pytest
from random_programs import random_program

from hwsim._core import tables
from hwsim.operators.program import RESOURCE_DTYPE, Bound, TemplateBuilder, bind, run_many, run_one

GEMM = {"tile_bytes": 3000, "flop": 400_000, "unique_bytes": 40_000, "store_bytes": 9000}


def resources_of(bound: Bound) -> np.ndarray:
    """Resource rows that a program was bound with."""
    given = bound._given
    rows = np.zeros(given.chunk.shape, RESOURCE_DTYPE)
    for name in ("num", "den", "lat", "gap"):
        rows[name] = getattr(given, name)[:, : rows.shape[1]]
    return rows


def test_no_program_beats_a_resource():
    for seed in range(300):
        run = run_one(random_program(seed), budget=1 << 16)
        assert run.busy.max() <= 16 * run.end, seed


def random_max_plus(seed: int) -> tuple[Bound, Bound]:
    """A program whose FIFOs are each entered by one queue, without chains, and the same with something faster."""
    rng = np.random.default_rng(seed)
    b = TemplateBuilder("max-plus")
    queues = int(rng.integers(2, 5))
    counters = [b.counter(f"c{q}") for q in range(queues)]
    trips = b.slot("trips")
    for q in range(queues):
        resource, amount = b.resource(f"r{q}", "l2"), b.slot(f"a{q}", 3)
        queue = b.queue(f"q{q}", issue=int(rng.integers(1, 4)))
        before, ahead = (counters[q - 1], 1), (counters[(q + 1) % queues], int(rng.integers(-5, 1)))
        with queue.loop(trips, pace=True) as loop:
            queue.run(
                resource,
                amount,
                wait=[wait for wait in (before if q else None, ahead if q < queues - 1 else None) if wait],
                vary=[(loop, "first", 1), (loop, "last", 1)],
                done=counters[q],
                sync=bool(rng.random() < 0.2),
            )
    t = b.build()
    values = rng.integers(0, 90, t.size("slots"))
    values[t.slots["trips"].index] = rng.integers(2, 40)
    rows = np.zeros((2, queues), RESOURCE_DTYPE)
    for name, low, high in (("num", 1, 20), ("den", 1, 4), ("lat", 0, 30)):
        rows[name] = rng.integers(low, high, queues)
    faster = int(rng.integers(queues))
    rows["num"][1, faster] += rng.integers(0, 10)
    rows["lat"][1, faster] //= 2
    bound = bind(t, values, rows).require()
    return bound.only(0), bound.only(1)


@pytest.mark.fuzz
def test_more_is_never_slower_where_every_fifo_has_one_queue(fuzz_share):
    for seed in range(round(2000 * fuzz_share)):
        slow, fast = (run_one(bound) for bound in random_max_plus(seed))
        assert slow.status == fast.status == tables.OK and fast.end <= slow.end, seed


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_more_is_never_slower_for_gemm_programs(groups):
    base = programs.gemm(groups, 12, 5, 12, 3, 0.4, **GEMM)
    rng = np.random.default_rng(groups)
    rows = np.repeat(resources_of(base), 400, axis=0)
    kind = np.array(["hlpt".index(name[0]) for name in base.template.names["resources"]])  # hbm, l2, ports, tensors
    rows["num"][:] = np.take_along_axis(np.repeat(rng.integers(50, 6000, (200, 4)), 2, axis=0), kind[None], axis=1)
    faster = rng.integers(4, size=200)[:, None] == kind  # all cores alike
    rows["num"][1::2] += faster * rng.integers(1, 3000, (200, 1))
    end = run_many(bind(base.template, base.values, rows, cells=base.cells).require()).end
    assert (end[1::2] <= end[::2]).all()


@pytest.mark.parametrize("groups", [1, 4])
def test_deeper_buffers_are_never_slower_for_gemm_programs(groups):
    ends = [run_one(programs.gemm(groups, 12, 5, 12, stages, 0.4, **GEMM)).end for stages in (1, 2, 3, 4, 6)]
    assert ends == sorted(ends, reverse=True)


def test_passes_times_values_are_the_bytes_and_flops_of_the_operator():
    groups, cores, waves, steps = 4, 132, 16, 128
    bound = programs.gemm(groups, cores, waves, steps)
    run, slots = run_one(bound), bound.template.slots
    moved = run.passes * bound.values[0]
    assert sum(moved[slots[f"group_bytes{g}"].index] for g in range(groups)) == cores * (waves - 1) * steps * 49152
    assert sum(run.passes[slots[f"flop{g}"].index] for g in range(groups)) == groups * waves * steps
    assert run.passes[slots["waves"].index] == 0


def test_attribution_of_a_large_gemm_names_its_tensor_units():
    run = run_one(programs.gemm(4, rates={"l2": (16384, 1, 250)}))
    assert max(run.bound, key=run.bound.__getitem__) == "tensor" and run.bound["tensor"] > 0.98 * run.end
