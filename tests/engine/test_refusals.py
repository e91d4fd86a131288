"""What may not be built or bound, and the words in which it is refused."""

import numpy as np
import pytest

from hwsim._core import tables
from hwsim.errors import InputError
from hwsim.operators.program import LAW_DTYPE, RESOURCE_DTYPE, TemplateBuilder, bind


class Small:
    """One queue that runs one slot in a loop, with parts to misuse."""

    def __init__(self, kind: str = "fifo"):
        self.b = TemplateBuilder("small")
        self.hbm = self.b.resource("hbm", "hbm", kind)
        self.l2 = self.b.resource("l2", "l2")
        self.paged = self.b.law("hbm paged", self.hbm)
        self.full, self.other = self.b.counter("full"), self.b.counter("other")
        self.trips, self.size, self.more = self.b.slot("trips"), self.b.slot("size", 2), self.b.slot("more", 2)
        self.depth = self.b.cell("depth")
        self.q = self.b.queue("load", issue=self.b.cell("issue"))

    def bind(self, trips=3, size=(5, 6), more=(7, 8), rate=(1, 1, 0, 0, 0), law=(1, 1, 0, 0), cells=(0, 1)):
        resources = np.array([rate, (1, 1, 0, 0, 0)], RESOURCE_DTYPE)
        values = np.array([trips, *size, *more], np.int64)
        return bind(self.b.build(), values, resources, np.array([law], LAW_DTYPE), np.array(cells, np.int64))

    def plain(self, **options):
        with self.q.loop(self.trips) as loop:
            self.q.run(self.hbm, self.size, vary=[(loop, "last", 1)], **options)
        return self


def refused(call, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    for word in words:
        assert word in str(caught.value), str(caught.value)


# ---- build


def test_an_unknown_bound_class_is_refused_with_the_list():
    refused(lambda: TemplateBuilder("t").resource("hbm", "memory"), "'memory'", "bound class", "hbm, dram")


def test_an_unknown_resource_kind_is_refused():
    refused(lambda: TemplateBuilder("t").resource("hbm", "hbm", "lifo"), "'lifo'", "'fifo' or 'rotate'")


def test_a_name_may_be_given_once():
    s = Small()
    refused(lambda: s.b.counter("full"), "counter 'full'", "the name twice")


def test_a_queue_without_rows_is_refused():
    refused(Small().b.build, "queue 'load'", "no rows")


def test_a_loop_without_rows_is_refused():
    def empty():
        s = Small()
        with s.q.loop(s.trips):
            pass

    refused(empty, "a loop without rows")


def test_vary_needs_a_loop_around_the_row():
    s = Small()
    with s.q.loop(s.trips) as loop:
        s.q.run(s.l2, s.more)
    refused(lambda: s.q.run(s.hbm, s.size, vary=[(loop, "last", 1)]), "does not enclose it")


def test_vary_of_another_queue_is_refused():
    s = Small()
    with s.q.loop(s.trips) as loop:
        s.q.run(s.l2, s.more)
        other = s.b.queue("other")
        refused(lambda: other.run(s.hbm, s.size, vary=[(loop, "first", 1)]), "queue 'other'", "does not enclose it")


def test_edge_terms_must_stay_inside_the_slot():
    s = Small()
    with s.q.loop(s.trips) as loop:
        s.q.run(s.hbm, s.size, vary=[(loop, "last", 2)])
    refused(s.b.build, "vary terms that reach column 2", "below the slot's size 2")


def test_cut_through_out_of_a_rotating_resource_is_refused():
    s = Small("rotate")
    s.q.run(s.hbm, s.size, then=[(s.l2, s.more)])
    refused(s.b.build, "cut-through from a rotating resource", "cut=False")


def test_hops_have_slots_of_one_size():
    s = Small()
    s.q.run(s.hbm, s.size, then=[(s.l2, s.trips)])
    refused(s.b.build, "slots of different sizes")


def test_a_slot_serves_one_law():
    s = Small()
    s.q.run(s.hbm, s.size)
    s.q.run(s.paged, s.size)
    refused(s.b.build, "slot 'size'", "one law, unit and mult")


def test_counters_only_grow():
    s = Small()
    refused(lambda: s.plain(done=(s.full, 0)), "counter 'full'", "at least 1")


@pytest.mark.parametrize("options", [{"delay": -1}, {"wait": [("full", 1, -1)]}])
def test_constants_below_their_limits_are_refused(options):
    s = Small()
    if "wait" in options:
        options = {"wait": [(s.full, 1, -1)]}
    refused(s.plain(**options).b.build, "-1", "0 or more")


def test_five_pace_loops_are_too_many():
    s = Small()
    for _ in range(5):
        with s.q.loop(s.trips, pace=True):
            s.q.run(None, done=s.full)
    refused(s.b.build, "5 loops with pace=True", "at most 4")


class TestCounterLaw:
    """Commands of one queue that signal one counter must complete in the order of issue."""

    def test_two_resources_for_one_counter_are_refused(self):
        s = Small()
        s.q.run(s.hbm, s.size, done=s.full)
        s.q.run(s.l2, s.more, done=s.full)
        refused(s.b.build, "counter 'full'", "overtake", "one counter for each stream")

    def test_done_and_freed_of_one_counter_are_refused(self):
        s = Small()
        s.q.run(s.hbm, s.size, done=s.full, freed=s.full)
        refused(s.b.build, "counter 'full'", "2 paths")

    def test_a_zero_row_behind_a_command_is_refused(self):
        s = Small()
        s.q.run(s.hbm, s.size, done=s.full)
        s.q.run(None, done=s.full)
        refused(s.b.build, "counter 'full'")

    def test_different_delays_are_refused(self):
        s = Small()
        s.q.run(s.hbm, s.size, done=s.full, delay=9)
        s.q.run(s.hbm, s.size, done=s.full)
        refused(s.b.build, "counter 'full'")

    def test_two_laws_of_one_resource_are_refused(self):
        s = Small()
        s.q.run(s.hbm, s.size, done=s.full)
        s.q.run(s.paged, s.more, done=s.full)
        refused(s.b.build, "counter 'full'")

    def test_sync_makes_the_order_certain(self):
        s = Small()
        s.q.run(s.hbm, s.size, done=s.full, sync=True)
        s.q.run(s.l2, s.more, done=s.full, sync=True)
        s.q.run(None, done=s.full)
        s.b.build()

    def test_the_same_path_twice_is_in_order(self):
        s = Small()
        s.q.run(s.hbm, s.size, done=s.full)
        s.q.run(s.hbm, s.size, done=s.full)
        s.b.build()

    def test_two_queues_may_share_a_counter(self):
        s = Small()
        s.q.run(s.hbm, s.size, done=s.full)
        s.b.queue("other").run(s.l2, s.more, done=s.full)
        s.b.build()


# ---- bind

BAD = {
    "a rate of zero": ({"rate": (0, 1, 0, 0, 0)}, "hbm", "got 0", "numerator of 1"),
    "a negative latency": ({"rate": (1, 1, -2, 0, 0)}, "hbm", "got -2", "a latency of 0"),
    "a negative gap": ({"law": (1, 1, 0, -1)}, "hbm paged", "a gap of 0"),
    "a negative amount": ({"size": (5, -6)}, "size[1]", "got -6", "an amount >= 0"),
    "an amount past 62 bits": ({"size": (1 << 58, 6)}, "size", "62 bits"),
    "a chunk below zero": ({"rate": (1, 1, 0, 0, -1)}, "a chunk >= 0"),
    "no trips": ({"trips": 0}, "trips", "got 0", "trips of 1"),
    "an issue interval of zero": ({"cells": (0, 0)}, "load: issue", "got 0", "issue and signal >= 1"),
    "a cell past its limit": ({"cells": (1 << 31, 1)}, "depth", "magnitude"),
    "a program without end": ({"trips": 1 << 40, "size": (1 << 40, 1)}, "2^58 cycles"),
}


@pytest.mark.parametrize("case", BAD)
def test_bind_refuses(case):
    given, *words = BAD[case]
    bound = Small().plain().bind(**given)
    assert bound.status.tolist() == [tables.REFUSED]
    refused(bound.require, "program 0 of 'small'", *words)


def test_bind_refuses_cut_through_without_latency():
    s = Small()
    s.q.run(s.hbm, s.size, then=[(s.l2, s.more)])
    refused(s.bind(rate=(1, 1, 0, 0, 0)).require, "latency + delay >= 1", "cut=False")
    assert s.bind(rate=(1, 1, 1, 0, 0)).status[0] == tables.OK


def test_bind_refuses_a_hop_that_loses_its_amount():
    s = Small()
    s.q.run(s.hbm, s.size, then=[(s.l2, s.more)], cut=False)
    refused(s.bind(more=(7, 0)).require, "load: l2 more", "got 0", "as on the chain's first hop")
    assert s.bind(size=(5, 0), more=(7, 0)).status[0] == tables.OK


def test_bind_refuses_iterations_past_the_slot():
    s = Small()
    with s.q.loop(s.trips) as loop:
        s.q.run(s.hbm, s.size, vary=[(loop, "iter", 1)])
    refused(s.bind(trips=3).require, "got 2", "below the slot's size 2")
    assert s.bind(trips=2).status[0] == tables.OK


def test_wrong_shapes_are_refused():
    t = Small().plain().b.build()
    resources, laws, cells = np.ones(2, RESOURCE_DTYPE), np.ones(1, LAW_DTYPE), np.ones(2, np.int64)
    refused(lambda: bind(t, np.ones(4, np.int64), resources, laws, cells), "values", "(1, 4)", "5")
    refused(lambda: bind(t, np.ones((3, 5), np.int64), np.ones((2, 2), RESOURCE_DTYPE), laws, cells), "resources")
    refused(lambda: bind(t, np.ones(5), resources, laws, cells), "values", "float64", "integers")


def test_work_is_rounded_up_to_a_sixteenth_of_a_cycle():
    bound = Small().plain().bind(size=(100, 0), rate=(7, 3, 0, 2, 0))
    assert bound.work[0, 1:3].tolist() == [2 * 16 + -(-100 * 3 * 16 // 7), 0]
