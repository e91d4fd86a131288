"""Rotating resources: turns of one chunk, lower prio first, no pre-emption of a turn."""

import numpy as np
import pytest

from hwsim.operators.program import RESOURCE_DTYPE, Single, TemplateBuilder, bind, run_one


def share(requests: list[tuple[int, int, int]], chunk: int, kind: str = "rotate") -> Single:
    """Requests (prio, start, amount), each of a queue of its own, on one resource of one unit a cycle."""
    b = TemplateBuilder("share")
    memory, clock = b.resource("memory", "hbm", kind), b.resource("clock", "idle")
    values = []
    for index, (prio, start, amount) in enumerate(requests):
        q = b.queue(f"q{index}", prio=prio)
        if start:
            q.run(clock, b.slot(f"start{index}"), sync=True)
            values.append(start)
        q.run(memory, b.slot(f"amount{index}"))
        values.append(amount)
    rates = np.zeros(2, RESOURCE_DTYPE)
    rates["num"] = rates["den"] = 1
    rates["chunk"][0] = chunk
    return run_one(bind(b.build(), np.array(values), rates).require(), record="commands")


def finish(run: Single) -> list[int]:
    """Finish of the last command of each queue."""
    return [int(run.commands["finish"][run.commands["queue"] == q].max()) for q in np.unique(run.commands["queue"])]


def test_a_small_request_waits_for_one_turn_only():
    assert finish(share([(0, 0, 160), (0, 0, 16)], 16)) == [176, 32]
    assert finish(share([(0, 0, 160), (0, 0, 16)], 0, "fifo")) == [160, 176]


def test_whole_requests_without_a_chunk():
    assert finish(share([(0, 0, 160), (0, 0, 16)], 0)) == [160, 176]


def test_equal_queues_finish_one_turn_apart():
    assert finish(share([(0, 0, 64)] * 4, 8)) == [232, 240, 248, 256]


def test_lower_prio_is_served_first_and_takes_nothing_from_a_turn_in_progress():
    assert finish(share([(1, 0, 100), (0, 30, 50)], 20)) == [150, 90]


def test_a_turn_smaller_than_a_cycle_shares_the_cycle():
    b = TemplateBuilder("fine")
    memory = b.resource("memory", "hbm", "rotate")
    for index in range(2):
        b.queue(f"q{index}").run(memory, b.slot(f"amount{index}"))
    rates = np.array([(16, 1, 0, 0, 4)], RESOURCE_DTYPE)
    run = run_one(bind(b.build(), np.array([40, 12]), rates), record="commands")
    assert finish(run) == [4, 2] and run.busy.tolist() == [52]


@pytest.mark.parametrize(("kind", "cores_wait"), [("fifo", True), ("rotate", False)])
def test_bulk_copies_hold_up_small_loads_in_a_fifo_only(kind, cores_wait):
    b = TemplateBuilder("bulk")
    memory = b.resource("memory", "hbm", kind)
    b.queue("dma", prio=1).run(memory, b.slot("bulk"))
    trips, load, loaded = b.slot("trips"), b.slot("load"), b.counter("loaded")
    q = b.queue("core")
    with q.loop(trips):
        q.run(memory, load, wait=[(loaded, -1)], done=loaded)
    rates = np.array([(1, 1, 0, 0, 48)], RESOURCE_DTYPE)
    run = run_one(bind(b.build(), np.array([64_000, 100, 24]), rates), record="commands")
    cores = run.commands["finish"][run.commands["queue"] == 1].max()
    assert run.end == 64_000 + 100 * 24
    assert (cores > 64_000) == cores_wait and (cores_wait or cores < 100 * (24 + 48) + 48)
