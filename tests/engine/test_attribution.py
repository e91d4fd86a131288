"""The critical path of small programs, part by part."""

import numpy as np
import programs

from hwsim.operators.program import RESOURCE_DTYPE, TemplateBuilder, bind, run_one


def parts(run) -> dict[str, int]:
    assert sum(run.bound.values()) == run.end
    return {name: cycles for name, cycles in run.bound.items() if cycles}


def rates(*rows) -> np.ndarray:
    table = np.zeros(len(rows), RESOURCE_DTYPE)
    for index, (num, lat) in enumerate(rows):
        table[index] = (num, 1, lat, 0, 0)
    return table


def test_one_command_is_its_work_and_its_latency():
    b = TemplateBuilder("one")
    b.queue("q").run(b.resource("hbm", "hbm"), b.slot("amount"), delay=5)
    assert parts(run_one(bind(b.build(), np.array([100]), rates((8, 40))))) == {"hbm": 13, "latency": 45}


def test_waiting_in_a_queue_is_the_resource_s_time():
    b = TemplateBuilder("two")
    l2, port = b.resource("l2", "l2"), b.resource("port", "sram")
    b.queue("first").run(l2, b.slot("large"))
    b.queue("second").run(l2, b.slot("small"), then=[(port, b.slot("load"))])
    bound = bind(b.build(), np.array([90, 10, 7]), rates((1, 20), (1, 0)))
    assert parts(run_one(bound)) == {"l2": 100, "latency": 20}  # the port is done before the tail arrives


def test_a_slow_next_hop_starts_with_the_first_data():
    b = TemplateBuilder("cut")
    l2, port = b.resource("l2", "l2"), b.resource("port", "sram")
    b.queue("q").run(l2, b.slot("load"), then=[(port, b.slot("in"))])
    assert parts(run_one(bind(b.build(), np.array([10, 70]), rates((1, 20), (1, 3))))) == {"sram": 70, "latency": 23}


def test_a_queue_that_cannot_issue_faster_is_bound_by_issue():
    b = TemplateBuilder("issue")
    trips, tiny = b.slot("trips"), b.slot("tiny")
    q = b.queue("q", issue=10)
    with q.loop(trips, pace=True):
        q.run(b.resource("unit", "vector"), tiny)
    assert parts(run_one(bind(b.build(), np.array([50, 3]), rates((1, 0))))) == {"issue": 490, "vector": 3}


def test_a_barrier_follows_the_slowest():
    bound = programs.bulk_synchronous(10, exchange=[70, 65], compute=[80, 83], sync=20)
    assert parts(run_one(bound)) == {"link": 700, "tensor": 830, "sync": 400}


def test_a_copy_is_bound_by_its_slowest_hop():
    run = run_one(programs.dma(400, 2**18, 8, ((2048, 1, 500), (32, 1, 900), (256, 1, 80)), cut=True))
    assert parts(run) == {"host": 400 * 2**18 // 32, "latency": 500 + 900 + 80}


def test_prefetch_hides_all_loads_but_the_first():
    run = run_one(programs.causal_attention(20, load=(1, 1, 5)))
    assert parts(run) == {"hbm": 30, "latency": 5, "tensor": 50 * 210 + 7 * 20}
