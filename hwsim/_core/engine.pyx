"""The program executor: runs the tables of rows.pxd event by event; reference/engine.py says tick by tick what is right.

Design: counters only grow and thresholds are private to a queue, so the order in which queues are looked at within
a tick cannot change a time; it is fixed (lowest index first) so that attribution is fixed too. A FIFO is a
reservation at arrival: no resource queue exists. A command is one pool node that turns into its own events; signals
at other ticks take further nodes with paths of their own. Too small a pool ends the run with status POOL and the
caller runs it again with a larger one, so nothing is allocated here. Rejected: a sorted array of events (slower
with many queues), reserving all hops at issue (a hit would queue behind a miss), one path for a command (its
signals leave at different times).
"""

import numpy as np

from hwsim._core import tables
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t, uint64_t

from hwsim._core.engine_arena cimport lay_out, load_rows, reset
from hwsim._core.engine_heap cimport FREED_BEAT, HOP_BEAT, WAKE_BEAT, Beat, heap_pop
from hwsim._core.engine_queues cimport free, release, run_queue, signal
from hwsim._core.rows cimport (DEADLOCK, N_BOUND, OK, POOL, REFUSED, STOPPED, WAIT_DONE, CommandRow, QueueRow,
                               ResourceRow, Row, VaryRow)
from hwsim._core.engine_servers cimport DECISION, arrive, decide, decide_now
from hwsim._core.engine_skip cimport try_skip
from hwsim._core.engine_state cimport ENDED, READY, Node, State, Step

cdef extern from *:
    """static inline int lowest_bit(unsigned long long word) { return __builtin_ctzll(word); }"""
    int lowest_bit(uint64_t word) noexcept nogil

cdef enum:
    LOOK_UP = 1 << 16       # ticks between two looks at the stop flag


# ---- ticks

cdef void happen(State* s, Beat beat) noexcept nogil:
    """Phase A: one event."""
    cdef int q = <int>(beat.key >> 48), kind = <int>(beat.key & 3), node = <int>beat.node
    cdef Node* n
    cdef Step* step
    if q == DECISION:
        decide_now(s, node)
        return
    if kind == WAKE_BEAT:
        s.queues[q].state = READY
        s.ready[q >> 6] |= <uint64_t>1 << (q & 63)
        return
    if kind == HOP_BEAT:
        arrive(s, node)
        return
    n = &s.nodes[node]
    step = &s.steps_of[n.row]
    if step.freed >= 0 and (kind == FREED_BEAT or step.transit == 0):
        signal(s, step.freed, step.freed_by, &n.path)
    if kind == FREED_BEAT:
        free(s, node)
        return
    if step.done >= 0:
        signal(s, step.done, step.done_by, &n.path)
    if step.flags & WAIT_DONE:
        release(s, q, &n.path)
    s.end = s.t
    free(s, s.last_node)
    s.last_node = node


cdef void act(State* s) noexcept nogil:
    """Phases B to D of the tick."""
    cdef int i, word
    cdef int words = (s.n_queues + 63) >> 6
    word = 0
    while word < words and s.status == OK:
        if s.ready[word] == 0:
            word += 1
            continue
        i = lowest_bit(s.ready[word])
        s.ready[word] &= s.ready[word] - 1
        run_queue(s, word * 64 + i)
        word = 0
    for i in range(s.n_issued):
        arrive(s, s.issued[i])
    s.n_issued = 0
    for i in range(s.n_due):
        decide(s, s.due[i])
    s.n_due = 0


cdef int run(State* s, const int32_t* stop) except -1 nogil:
    """All ticks that have events; s.status says how it ended. Raises only what a signal handler raises (Ctrl-C)."""
    cdef int64_t ticks = 0
    cdef int q
    while True:
        while s.n_heap > 0 and s.heap[0].t == s.t:
            happen(s, heap_pop(s.heap, &s.n_heap))
        act(s)
        if s.status != OK:
            return 0
        if s.pace_due:
            if s.skip:
                try_skip(s)
            s.pace_due = 0
        if s.n_heap == 0:
            break
        s.t = s.heap[0].t
        ticks += 1
        if ticks % LOOK_UP == 0:
            with gil:
                PyErr_CheckSignals()
            if stop[0]:
                s.status = STOPPED
                return 0
    for q in range(s.n_queues):
        if s.queues[q].state != ENDED:
            s.status = DEADLOCK
    return 0


# ---- from Python

cdef class Arena:
    """Scratch of one thread for the programs of one template, reused from run to run.

    Parameters
    ----------
    template : object with the arrays `resources`, `queues`, `rows`, `vary` and `size(what)`
    """

    cdef State s
    cdef object memory
    cdef const ResourceRow[::1] resources
    cdef const QueueRow[::1] queues
    cdef const Row[::1] rows
    cdef const VaryRow[::1] vary

    def __init__(self, template):
        for array, dtype in ((template.resources, tables.RESOURCE_ROW), (template.queues, tables.QUEUE_ROW),
                             (template.rows, tables.ROW), (template.vary, tables.VARY_ROW)):
            assert array.dtype == dtype, (array.dtype, dtype)
        self.resources, self.queues = template.resources, template.queues
        self.rows, self.vary = template.rows, template.vary
        self.s.n_rows, self.s.n_queues = len(template.rows), len(template.queues)
        self.s.n_servers, self.s.n_counters = len(template.resources), template.size("counters")
        self.s.n_slots = template.size("slots")
        self.s.n_pace = template.n_pace
        self.s.n_rotors = int(np.count_nonzero(template.resources["kind"] == tables.ROTATE))
        self.s.pool = 32
        self.grow()

    cdef void grow(self):
        cdef char[::1] memory
        self.s.pool *= 2
        self.memory = memory = np.empty(lay_out(&self.s, NULL) + 16, np.int8)
        lay_out(&self.s, <char*>((<size_t>&memory[0] + 15) & ~<size_t>15))

    cdef void start(self, const int64_t* work, const int64_t* latency, const int64_t* chunk,
                    const int64_t* cells) noexcept nogil:
        self.s.work = work
        self.s.vary = &self.vary[0] if self.vary.shape[0] else NULL
        load_rows(&self.s, &self.rows[0], latency, cells)
        reset(&self.s, &self.resources[0] if self.s.n_servers else NULL, &self.queues[0], chunk, cells)

    def run_range(self, bound, out, Py_ssize_t begin, Py_ssize_t end, bint skip, int64_t budget,
                  const int32_t[::1] stop, CommandRow[::1] records=None):
        """Run programs begin to end - 1 of `bound` without the GIL; their rows of `out` are written.

        A program that has more than 2^22 commands in flight, or more commands than `records` has rows, ends with
        status POOL or RECORDS. Returns the number of records of the last program.
        """
        cdef const int64_t[:, ::1] work = bound.work, latency = bound.latency, chunk = bound.chunk, cells = bound.cells
        cdef int64_t[::1] out_end = out.end
        cdef int32_t[::1] status = out.status
        cdef int64_t[:, ::1] parts = out.bound, busy = out.busy, passes = out.passes
        cdef Py_ssize_t i = begin
        cdef State* s = &self.s
        s.skip, s.budget = skip and records is None, budget
        s.records, s.record_room = NULL, 0
        if records is not None and records.shape[0]:
            s.records, s.record_room = &records[0], records.shape[0]
        while i < end:
            with nogil:
                while i < end:
                    if stop[0]:
                        status[i] = STOPPED
                    elif status[i] != REFUSED:
                        s.passes = &passes[i, 0] if s.n_slots else NULL
                        s.busy = &busy[i, 0] if s.n_servers else NULL
                        self.start(&work[i, 0] if s.n_slots else NULL, &latency[i, 0] if latency.shape[1] else NULL,
                                   &chunk[i, 0] if s.n_servers else NULL, &cells[i, 0] if cells.shape[1] else NULL)
                        run(s, &stop[0])
                        if s.status == POOL and s.pool < 1 << 22:
                            break
                        status[i], out_end[i] = s.status, s.end
                        self.copy_path(&parts[i, 0])
                    i += 1
            if i < end:
                self.grow()
        return s.n_records

    cdef void copy_path(self, int64_t* parts) noexcept nogil:
        cdef int c
        for c in range(N_BOUND):
            parts[c] = self.s.nodes[self.s.last_node].path.part[c]

    @property
    def work_done(self):
        """Of the last program: rows passed, and periods added instead of run."""
        return self.s.steps, self.s.skipped

    def standing(self):
        """Where the last program stands: row of each queue, counters, and the two thresholds of each row."""
        cdef State* s = &self.s
        queues = [(s.queues[q].pc, s.queues[q].state == ENDED, s.queues[q].seq) for q in range(s.n_queues)]
        counters = [s.counters[c].value for c in range(s.n_counters)]
        thresholds = [(s.steps_of[r].threshold0, s.steps_of[r].threshold1) for r in range(s.n_rows)]
        return queues, counters, thresholds
