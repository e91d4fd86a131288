"""Phases C and D of a tick: commands arrive at resources, are served and leave their events behind.

A FIFO serves by reservation: an arrival knows at once when it will be served, so no queue of requests exists.
A rotating resource keeps its requests in one line a queue, and the queues in one ring a prio.
"""

from libc.stdint cimport int32_t, int64_t

from hwsim._core.engine_heap cimport DONE_BEAT, FREED_BEAT, HOP_BEAT, Beat, beat_key, heap_push
from hwsim._core.engine_path cimport Path
from hwsim._core.engine_queues cimport free, post, twin
from hwsim._core.rows cimport CUT, FIFO, LATENCY, MORE, OK, RECORDS, SUB, CommandRow
from hwsim._core.engine_state cimport Line, Node, Ring, Server, State, Step

cdef enum:
    DECISION = 0xFFFF       # queue number of a rotating resource's decision: after all commands of the tick


# ---- resources

cdef inline void arrive(State* s, int node) noexcept nogil:
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


cdef inline void leave(State* s, int node, int64_t start, int64_t own, Path* head) noexcept nogil:
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

cdef inline void join(State* s, int node, int64_t work) noexcept nogil:
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


cdef inline void enter_ring(State* s, Server* server, int q) noexcept nogil:
    cdef Line* lines = &s.lines[server.rotor * s.n_queues]
    cdef Ring* ring = &s.rings[server.rotor * 4 + s.queues[q].prio]
    lines[q].ring = -1
    if ring.first < 0:
        ring.first = q
    else:
        lines[ring.last].ring = q
    ring.last = q


cdef inline int next_turn(State* s, Server* server) noexcept nogil:
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


cdef inline void decide(State* s, int resource) noexcept nogil:
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


cdef inline void serve_turn(State* s, Server* server, Line* line) noexcept nogil:
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
