"""A program that stops short is reported queue by queue."""

import numpy as np

from hwsim._core import tables
from hwsim.operators.program import RESOURCE_DTYPE, TemplateBuilder, bind, explain_deadlock, run_one


def stuck():
    """The consumer gives credits only when two are full, the producer has one credit."""
    b = TemplateBuilder("stuck")
    hbm, tensor = b.resource("hbm", "hbm"), b.resource("tensor", "tensor")
    full, free, never = b.counter("full"), b.counter("free"), b.counter("never")
    trips, load, work = b.slot("trips"), b.slot("load"), b.slot("work")
    q = b.queue("load")
    with q.loop(trips):
        q.run(hbm, load, wait=[(free, 0)], done=full, name="fetch")
    q = b.queue("mma")
    with q.loop(trips):
        q.run(tensor, work, wait=[(full, 2, 2)], freed=free, name="multiply")
    q = b.queue("other")
    q.run(hbm, load, wait=[(never, 1)], name="sleep")
    return bind(b.build(), np.array([5, 30, 7], np.int64), np.ones(2, RESOURCE_DTYPE)).require()


def test_a_deadlock_keeps_the_time_reached():
    run = run_one(stuck())
    assert run.status == tables.DEADLOCK and run.end == 30 + 1 + 1 == sum(run.bound.values())


def test_the_report_names_row_counter_threshold_and_who_would_signal():
    lines = [str(entry) for entry in explain_deadlock(stuck())]
    assert lines == [
        "queue 'load' at 'load: fetch' after 1 issues waits for free >= 1, is 0; "
        "signalled by 'mma: multiply' (its queue: 'mma: multiply')",
        "queue 'mma' at 'mma: multiply' after 0 issues waits for full >= 2, is 1; "
        "signalled by 'load: fetch' (its queue: 'load: fetch')",
        "queue 'other' at 'other: sleep' after 0 issues waits for never >= 1, is 0; no row signals it",
    ]


def test_a_program_that_ends_has_nothing_to_report():
    b = TemplateBuilder("fine")
    b.queue("q").run(b.resource("hbm", "hbm"), b.slot("amount"))
    assert explain_deadlock(bind(b.build(), np.array([9]), np.ones(1, RESOURCE_DTYPE))) == []
