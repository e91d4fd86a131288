"""The program executor: runs the tables of rows.pxd event by event; reference/engine.py says tick by tick what is right.

Design: counters only grow and thresholds are private to a queue, so the order in which queues are looked at within
a tick cannot change a time; it is fixed (lowest index first) so that attribution is fixed too. A FIFO is a
reservation at arrival: no resource queue exists. A command is one pool node that turns into its own events; signals
at other ticks take further nodes with paths of their own. Too small a pool ends the run with status POOL and the
caller runs it again with a larger one, so nothing is allocated here. Rejected: a sorted array of events (slower
with many queues), reserving all hops at issue (a hit would queue behind a miss), one path for a command (its
signals leave at different times).
"""

import threading

import numpy as np

from hwsim._core import tables
from libc.stdint cimport int32_t, int64_t, uint64_t

from hwsim._core.arena cimport lay_out, load_rows, reset
from hwsim._core.heap cimport DONE_BEAT, FREED_BEAT, HOP_BEAT, WAKE_BEAT, Beat, beat_key, heap_pop, heap_push
from hwsim._core.path cimport Path
from hwsim._core.rows cimport (BUDGET, CUT, DEADLOCK, FIFO, FIRST, HOP, ISSUE, LAST, LATENCY, LOOP, MORE, N_BOUND, OK,
                               POOL, RECORDS, REFUSED, STOPPED, SUB, WAIT_DONE, CommandRow, QueueRow, ResourceRow,
                               Row, VaryRow)
from hwsim._core.skip cimport try_skip
from hwsim._core.state cimport (BLOCKED, ENDED, PARKED, READY, WAKING, Line, Node, Queue, Ring, Server, State, Step)

cdef extern from *:
    """static inline int lowest_bit(unsigned long long word) { return __builtin_ctzll(word); }"""
    int lowest_bit(uint64_t word) noexcept nogil

cdef enum:
    DECISION = 0xFFFF       # queue number of a rotating resource's decision: after all commands of the tick
    LOOK_UP = 1 << 16       # ticks between two looks at the stop flag


# ---- loops and edge terms

cdef int64_t trips(State* s, Step* loop) noexcept nogil:
    """Trips of a loop; they depend on enclosing loops only, so any moment inside the loop gives the same."""
    if loop.trips < 0:
        loop.trips = s.work[loop.slot + offset(s, loop)]
    return loop.trips


cdef int offset(State* s, Step* step) noexcept nogil:
    """Column of a row's slot, from its vary terms."""
    cdef int i, off = 0
    cdef const VaryRow* term
    cdef Step* loop
    for i in range(step.vary, step.vary + step.terms):
        term = &s.vary[i]
        loop = &s.steps_of[term.loop]
        if term.kind == FIRST:
            off += term.stride if loop.it == 0 else 0
        elif term.kind == LAST:
            off += term.stride if loop.it == trips(s, loop) - 1 else 0
        else:
            off += term.stride * <int>loop.it
    return off


cdef bint pass_loops(State* s, Queue* queue) noexcept nogil:
    """Step over LOOP rows; False when the budget is used up."""
    cdef Step* step
    while queue.pc < queue.end:
        step = &s.steps_of[queue.pc]
        if step.op != LOOP:
            break
        s.steps += 1
        if s.steps > s.budget:
            return False
        step.it += 1
        if step.it < trips(s, step):
            queue.pc = step.target
            if step.pace >= 0 and step.trips >= 8:
                s.pace_due |= 1 << step.pace
        else:
            step.it, step.trips = 0, -1
            step.exits += 1
            queue.pc += 1
            if step.pace >= 0:
                s.snapshots[step.pace].tries = s.snapshots[step.pace].n_words = 0
    return True


# ---- counters

cdef inline int unmet(State* s, Step* step) noexcept nogil:
    """Counter that a row waits for, -1 if none."""
    if step.wait0 >= 0 and s.counters[step.wait0].value < step.threshold0:
        return step.wait0
    if step.wait1 >= 0 and s.counters[step.wait1].value < step.threshold1:
        return step.wait1
    return -1


cdef inline void park(State* s, int q, int counter) noexcept nogil:
    s.queues[q].state, s.queues[q].parked = PARKED, counter
    s.queues[q].link = s.counters[counter].parked
    s.counters[counter].parked = q


cdef inline void wake(State* s, int q) noexcept nogil:
    """A beat at not_before; by proof there is room: one such beat a queue."""
    s.queues[q].state = WAKING
    heap_push(s.heap, &s.n_heap, Beat(s.queues[q].not_before, beat_key(q, s.queues[q].seq, 0, WAKE_BEAT), -1))


cdef inline void release(State* s, int q, Path* path) noexcept nogil:
    """What a queue waited for happened now: it goes on now, by that path, or when its issue interval is over."""
    cdef Queue* queue = &s.queues[q]
    if s.t < queue.not_before:
        wake(s, q)
        return
    queue.state = READY
    queue.path = path[0]
    s.ready[q >> 6] |= <uint64_t>1 << (q & 63)


cdef void signal(State* s, int counter, int64_t by, Path* path) noexcept nogil:
    """Raise a counter and look at every queue parked on it."""
    cdef int q = s.counters[counter].parked, following, on
    s.counters[counter].value += by
    s.counters[counter].parked = -1
    while q >= 0:
        following = s.queues[q].link
        on = unmet(s, &s.steps_of[s.queues[q].pc])
        if on >= 0:
            park(s, q, on)
        else:
            s.queues[q].parked = -1
            release(s, q, path)
        q = following


# ---- nodes

cdef inline int new_node(State* s) noexcept nogil:
    """A free node, or -1 and status POOL."""
    cdef int node = s.free_node
    if node < 0:
        s.status = POOL
    else:
        s.free_node = s.nodes[node].next
    return node


cdef inline void free(State* s, int node) noexcept nogil:
    s.nodes[node].next = s.free_node
    s.free_node = node


cdef inline int twin(State* s, int node) noexcept nogil:
    """A copy of a node for an event of its own, or -1 and status POOL."""
    cdef int copy = new_node(s)
    if copy >= 0:
        s.nodes[copy] = s.nodes[node]
        s.nodes[copy].tail = -1
    return copy


cdef inline void post(State* s, int node, int64_t t, int kind) noexcept nogil:
    cdef Node* n = &s.nodes[node]
    heap_push(s.heap, &s.n_heap, Beat(t, beat_key(n.queue, n.seq, n.hop, kind), node))


# ---- queues

cdef int fire_zero(State* s, Queue* queue, Step* step) noexcept nogil:
    """All signals of a chain without work, now. Returns its rows."""
    cdef int i, rows = step.chain
    for i in range(rows):
        if step.freed >= 0:
            signal(s, step.freed, step.freed_by, &queue.path)
        if step.done >= 0:
            signal(s, step.done, step.done_by, &queue.path)
        step += 1
    return rows


cdef void rest(State* s, int q) noexcept nogil:
    """After an issue: end, park at once, or wake when the issue interval is over."""
    cdef Queue* queue = &s.queues[q]
    cdef int on
    if not pass_loops(s, queue):
        s.status = BUDGET
    elif queue.pc == queue.end:
        queue.state = ENDED
    else:
        on = unmet(s, &s.steps_of[queue.pc])
        if on >= 0:
            park(s, q, on)
        else:
            wake(s, q)


cdef void issue(State* s, int q, Step* step, int off) noexcept nogil:
    """Put the command of `step` among those issued in this tick."""
    cdef Queue* queue = &s.queues[q]
    cdef int node = new_node(s), i = s.n_issued
    cdef Node* n
    if node < 0:
        return
    n = &s.nodes[node]
    queue.seq += 1
    n.seq, n.queue, n.row, n.off, n.hop = queue.seq, q, queue.pc, off, 0
    n.bound, n.tail, n.record, n.path = 0, -1, -1, queue.path
    while i > 0 and s.nodes[s.issued[i - 1]].queue > q:
        s.issued[i] = s.issued[i - 1]
        i -= 1
    s.issued[i] = node
    s.n_issued += 1
    queue.pc += step.chain
    queue.not_before = s.t + queue.issue
    queue.path.part[<int>ISSUE] += queue.issue
    if step[step.chain - 1].flags & WAIT_DONE:
        queue.state = BLOCKED
    else:
        rest(s, q)


cdef void run_queue(State* s, int q) noexcept nogil:
    """Advance a queue that may act in this tick until it issues, parks or ends."""
    cdef Queue* queue = &s.queues[q]
    cdef Step* step
    cdef int off, on
    while True:
        if not pass_loops(s, queue):
            s.status = BUDGET
            return
        if queue.pc == queue.end:
            queue.state = ENDED
            return
        step = &s.steps_of[queue.pc]
        on = unmet(s, step)
        if on >= 0:
            park(s, q, on)
            return
        s.steps += 1
        if s.steps > s.budget:
            s.status = BUDGET
            return
        step.threshold0 += step.step0
        step.threshold1 += step.step1
        off = offset(s, step)
        if step.resource >= 0 and s.work[step.slot + off] > 0:
            issue(s, q, step, off)
            return
        queue.pc += fire_zero(s, queue, step)


# ---- resources

cdef void arrive(State* s, int node) noexcept nogil:
    """A command reaches the resource of its row now."""
    cdef Node* n = &s.nodes[node]
    cdef Step* step = &s.steps_of[n.row]
    cdef Server* server = &s.servers[step.resource]
    cdef int slot = step.slot + n.off
    cdef int64_t work = s.work[slot], start, at, x, path_t
    cdef Path head
    s.passes[slot] += 1
    s.busy[step.resource] += work
    record_start(s, n)
    if server.kind != FIFO:
        join(s, node, work)
        return
    at = server.free + (server.part > 0)
    if at > s.t:
        n.path = server.path            # it waits for the resource: the resource's past explains it
        path_t = at
    else:
        path_t = server.free = s.t
        server.part = 0
    start = server.free
    if step.flags & CUT:
        head = n.path
        head.part[<int>LATENCY] += start + step.transit - path_t
    x = server.part + work
    server.free += x // SUB
    server.part = <int32_t>(x % SUB)
    at = server.free + (server.part > 0)
    n.path.part[server.bound] += at - path_t
    server.path = n.path
    leave(s, node, start, at, &head)


cdef void leave(State* s, int node, int64_t start, int64_t own, Path* head) noexcept nogil:
    """Served: post the events of a command whose work here ends at `own`, its path summing to that."""
    cdef Node* n = &s.nodes[node]
    cdef Step* step = &s.steps_of[n.row]
    cdef int64_t tail = own, after
    cdef int copy
    if n.tail >= 0:
        if n.bound > own:
            tail = n.bound
            n.path = s.nodes[n.tail].path
        free(s, n.tail)
        n.tail = -1
    n.bound = 0
    after = tail + step.transit
    if n.record >= 0:
        s.records[n.record].start = start
        s.records[n.record].finish = tail if step.flags & MORE else after
    if step.freed >= 0 and (step.transit > 0 or (step.flags & MORE and step.done < 0)):
        copy = twin(s, node)
        if copy < 0:
            return
        post(s, copy, tail, FREED_BEAT)
    n.path.part[<int>LATENCY] += step.transit
    if not step.flags & MORE:
        post(s, node, after, DONE_BEAT)
        return
    if step.done >= 0:
        copy = twin(s, node)
        if copy < 0:
            return
        post(s, copy, after, DONE_BEAT)
    if step.flags & CUT:
        n.tail = twin(s, node)          # keeps the path of the tail, summing to `after`
        if n.tail < 0:
            return
        n.bound = after
        n.path = head[0]
        after = start + step.transit
    n.row += 1
    n.hop += 1
    post(s, node, after, HOP_BEAT)


cdef inline void record_start(State* s, Node* n) noexcept nogil:
    if s.records is NULL:
        return
    if s.n_records == s.record_room:
        s.status = RECORDS
        return
    n.record = s.n_records
    s.records[n.record] = CommandRow(n.queue, n.row, n.seq, -1, -1)
    s.n_records += 1


# ---- rotating resources

cdef void join(State* s, int node, int64_t work) noexcept nogil:
    """A request arrives; its queue enters the ring unless it is there or has the turn."""
    cdef Node* n = &s.nodes[node]
    cdef Server* server = &s.servers[s.steps_of[n.row].resource]
    cdef Line* line = &s.lines[server.rotor * s.n_queues + n.queue]
    n.left, n.arrival, n.next = work, s.t, -1
    if line.first >= 0:
        s.nodes[line.last].next = node
    else:
        line.first = node
        if not (server.busy and server.current == n.queue):
            enter_ring(s, server, n.queue)
    line.last = node
    if not server.busy:
        decide_now(s, s.steps_of[n.row].resource)


cdef inline void decide_now(State* s, int resource) noexcept nogil:
    if not s.servers[resource].due:
        s.servers[resource].due = 1
        s.due[s.n_due] = resource
        s.n_due += 1


cdef void enter_ring(State* s, Server* server, int q) noexcept nogil:
    cdef Line* lines = &s.lines[server.rotor * s.n_queues]
    cdef Ring* ring = &s.rings[server.rotor * 4 + s.queues[q].prio]
    lines[q].ring = -1
    if ring.first < 0:
        ring.first = q
    else:
        lines[ring.last].ring = q
    ring.last = q


cdef int next_turn(State* s, Server* server) noexcept nogil:
    """Queue at the head of the lowest ring that is not empty, taken out of it; -1 none."""
    cdef int prio, q
    cdef Ring* ring
    for prio in range(4):
        ring = &s.rings[server.rotor * 4 + prio]
        if ring.first >= 0:
            q = ring.first
            ring.first = s.lines[server.rotor * s.n_queues + q].ring
            return q
    return -1


cdef void decide(State* s, int resource) noexcept nogil:
    """Give turns that start in this tick."""
    cdef Server* server = &s.servers[resource]
    cdef Line* lines = &s.lines[server.rotor * s.n_queues]
    server.due = 0
    if server.free < s.t:
        server.free, server.part, server.current = s.t, 0, -1
    while s.status == OK:
        if server.current >= 0 and lines[server.current].first >= 0:
            enter_ring(s, server, server.current)
        server.current = next_turn(s, server)
        server.busy = server.current >= 0
        if not server.busy:
            return
        serve_turn(s, server, &lines[server.current])
        if server.free > s.t:
            heap_push(s.heap, &s.n_heap, Beat(server.free, beat_key(DECISION, resource, 0, 0), resource))
            return


cdef void serve_turn(State* s, Server* server, Line* line) noexcept nogil:
    """One turn for the first request of a queue."""
    cdef int node = line.first
    cdef Node* n = &s.nodes[node]
    cdef int64_t grant = n.left, at = server.free + (server.part > 0), x
    if server.chunk > 0 and server.chunk < grant:
        grant = server.chunk
    if n.arrival >= 0:                  # its first turn
        if n.record >= 0:
            s.records[n.record].start = server.free
        if at <= n.arrival:
            server.path = n.path        # the resource was idle: the command's own past explains it
            at = n.arrival
        n.arrival = -1
    x = server.part + grant
    server.free += x // SUB
    server.part = <int32_t>(x % SUB)
    server.path.part[server.bound] += server.free + (server.part > 0) - at
    n.left -= grant
    if n.left == 0:
        line.first = n.next
        n.path = server.path
        leave(s, node, s.records[n.record].start if n.record >= 0 else 0, server.free + (server.part > 0), NULL)


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


cdef void run(State* s, const int32_t* stop) noexcept nogil:
    """All ticks that have events; s.status says how it ended."""
    cdef int64_t ticks = 0
    cdef int q
    while True:
        while s.n_heap > 0 and s.heap[0].t == s.t:
            happen(s, heap_pop(s.heap, &s.n_heap))
        act(s)
        if s.status != OK:
            return
        if s.pace_due:
            if s.skip:
                try_skip(s)
            s.pace_due = 0
        if s.n_heap == 0:
            break
        s.t = s.heap[0].t
        ticks += 1
        if ticks % LOOK_UP == 0 and stop[0]:
            s.status = STOPPED
            return
    for q in range(s.n_queues):
        if s.queues[q].state != ENDED:
            s.status = DEADLOCK


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
        cdef const int64_t* no = NULL
        s.skip, s.budget = skip and records is None, budget
        s.records, s.record_room = NULL, 0
        if records is not None and records.shape[0]:
            s.records, s.record_room = &records[0], records.shape[0]
        while i < end:
            with nogil:
                while i < end:
                    if status[i] != REFUSED and not stop[0]:
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
