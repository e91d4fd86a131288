"""Lays a State out in one block of memory, and sets it to the start of a program."""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from hwsim._core.engine_heap cimport Beat
from hwsim._core.engine_path cimport Flow, Path
from hwsim._core.rows cimport CELL, LOOP, ROTATE, QueueRow, ResourceRow, Row
from hwsim._core.engine_state cimport Counter, Line, Node, Queue, Ring, Server, Snapshot, State, Step, READY


cdef inline char* take(char** at, int64_t size) noexcept nogil:
    cdef char* place = at[0]
    at[0] = place + ((size + 15) & ~<int64_t>15)
    return place


cdef inline int64_t lay_out(State* s, char* base) noexcept nogil:
    """Point the arrays of `s` into `base`; returns the bytes needed. With base NULL only the size means something."""
    cdef char* at = base
    cdef int64_t beats = s.pool + s.n_queues + s.n_servers
    cdef int64_t alive = s.pool + s.n_queues + s.n_servers + 1
    cdef int64_t words = 3 + s.n_servers + 2 * s.n_queues + 4 * beats
    cdef int p
    cdef Snapshot* snapshot
    s.steps_of = <Step*>take(&at, s.n_rows * sizeof(Step))
    s.queues = <Queue*>take(&at, s.n_queues * sizeof(Queue))
    s.servers = <Server*>take(&at, s.n_servers * sizeof(Server))
    s.counters = <Counter*>take(&at, s.n_counters * sizeof(Counter))
    s.heap = <Beat*>take(&at, beats * sizeof(Beat))
    s.issued = <int32_t*>take(&at, s.n_queues * sizeof(int32_t))
    s.due = <int32_t*>take(&at, s.n_servers * sizeof(int32_t))
    s.ready = <uint64_t*>take(&at, (s.n_queues // 64 + 1) * sizeof(uint64_t))
    s.lines = <Line*>take(&at, s.n_rotors * s.n_queues * sizeof(Line))
    s.rings = <Ring*>take(&at, s.n_rotors * 4 * sizeof(Ring))
    s.snapshots = <Snapshot*>take(&at, s.n_pace * sizeof(Snapshot))
    s.nodes = <Node*>take(&at, s.pool * sizeof(Node))
    s.sorted = <Beat*>take(&at, beats * sizeof(Beat))
    s.alive = <Path**>take(&at, alive * sizeof(Path*))
    s.flows = <Flow*>take(&at, 3 * alive * sizeof(Flow))
    for p in range(s.n_pace):
        snapshot = &s.snapshots[p]
        at_words = take(&at, words * 8)
        at_it = take(&at, s.n_rows * 8)
        at_exits = take(&at, s.n_rows * 8)
        at_threshold = take(&at, 2 * s.n_rows * 8)
        at_counter = take(&at, s.n_counters * 8)
        at_passes = take(&at, s.n_slots * 8)
        at_busy = take(&at, s.n_servers * 8)
        at_path = take(&at, alive * sizeof(Path))
        if base is not NULL:
            snapshot.words = <int64_t*>at_words
            snapshot.it = <int64_t*>at_it
            snapshot.exits = <int64_t*>at_exits
            snapshot.threshold = <int64_t*>at_threshold
            snapshot.counter = <int64_t*>at_counter
            snapshot.passes = <int64_t*>at_passes
            snapshot.busy = <int64_t*>at_busy
            snapshot.path = <Path*>at_path
    return at - base


cdef inline int64_t operand(int32_t value, const int64_t* cells) noexcept nogil:
    return value if value < CELL else cells[value - CELL]


cdef inline void load_rows(State* s, const Row* rows, const int64_t* latency, const int64_t* cells) noexcept nogil:
    """Resolve the operands of every row for one program."""
    cdef int i
    cdef Step* step
    cdef const Row* row
    for i in range(s.n_rows):
        step, row = &s.steps_of[i], &rows[i]
        step.op, step.resource, step.slot, step.flags = row.op, row.resource, row.slot, row.flags
        step.chain, step.target, step.pace, step.vary, step.terms = row.chain, row.target, row.pace, row.vary, row.terms
        step.wait0, step.wait1, step.done, step.freed = row.wait0, row.wait1, row.done, row.freed
        step.threshold0, step.step0 = operand(row.base0, cells), operand(row.step0, cells)
        step.threshold1, step.step1 = operand(row.base1, cells), operand(row.step1, cells)
        step.done_by, step.freed_by = operand(row.done_by, cells), operand(row.freed_by, cells)
        step.transit = operand(row.delay, cells) if row.op != LOOP else 0
        if row.law >= 0:
            step.transit += latency[row.law]
        step.it, step.trips, step.exits, step.seen = 0, -1, 0, 0


cdef inline void reset(State* s, const ResourceRow* resources, const QueueRow* queues, const int64_t* chunk,
                       const int64_t* cells) noexcept nogil:
    """Everything but the rows to tick 0."""
    cdef int i, rotor = 0
    memset(s.queues, 0, s.n_queues * sizeof(Queue))
    memset(s.servers, 0, s.n_servers * sizeof(Server))
    memset(s.passes, 0, s.n_slots * sizeof(int64_t))
    memset(s.busy, 0, s.n_servers * sizeof(int64_t))
    memset(s.ready, 0, (s.n_queues // 64 + 1) * sizeof(uint64_t))
    for i in range(s.n_queues):
        s.queues[i].first = s.queues[i].pc = queues[i].first
        s.queues[i].end, s.queues[i].prio, s.queues[i].parked = queues[i].end, queues[i].prio, -1
        s.queues[i].issue, s.queues[i].state = operand(queues[i].issue, cells), READY
        s.ready[i >> 6] |= <uint64_t>1 << (i & 63)
    for i in range(s.n_servers):
        s.servers[i].kind, s.servers[i].bound = resources[i].kind, resources[i].bound
        s.servers[i].chunk, s.servers[i].current, s.servers[i].rotor = chunk[i], -1, -1
        if resources[i].kind == ROTATE:
            s.servers[i].rotor = rotor
            rotor += 1
    for i in range(s.n_counters):
        s.counters[i].value, s.counters[i].parked = 0, -1
    for i in range(s.n_rotors * s.n_queues):
        s.lines[i].first = s.lines[i].last = s.lines[i].ring = -1
    for i in range(s.n_rotors * 4):
        s.rings[i].first = s.rings[i].last = -1
    for i in range(s.n_pace):
        s.snapshots[i].tries = s.snapshots[i].n_words = 0
    memset(&s.nodes[0].path, 0, sizeof(Path))
    s.last_node, s.fresh_node, s.free_node = 0, 1, -1   # node 0 holds the path of the last DONE: none yet
    s.n_heap = s.n_issued = s.n_due = s.status = 0
    s.pace_due = 0
    s.t = s.end = s.steps = s.n_records = s.effort = s.skipped = 0
