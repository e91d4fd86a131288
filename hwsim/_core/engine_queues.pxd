"""Phase B of a tick: queues step over loops, wait for counters, fire zero rows and issue commands.

Everything a queue may touch is here: loops and edge terms, counters with the queues parked on them, nodes of the pool.
Functions that take a node return -1 and set status POOL when there is none.
"""

from libc.stdint cimport int64_t, uint64_t

from hwsim._core.engine_heap cimport WAKE_BEAT, Beat, beat_key, heap_push
from hwsim._core.engine_path cimport Path
from hwsim._core.rows cimport BUDGET, FIRST, ISSUE, LAST, LOOP, POOL, WAIT_DONE, VaryRow
from hwsim._core.engine_state cimport BLOCKED, ENDED, PARKED, READY, WAKING, Node, Queue, State, Step


# ---- loops and edge terms

cdef inline int64_t trips(State* s, Step* loop) noexcept nogil:
    """Trips of a loop; they depend on enclosing loops only, so any moment inside the loop gives the same."""
    if loop.trips < 0:
        loop.trips = s.work[loop.slot + offset(s, loop)]
    return loop.trips


cdef inline int offset(State* s, Step* step) noexcept nogil:
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


cdef inline bint pass_loops(State* s, Queue* queue) noexcept nogil:
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
    step.seen = s.t
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


cdef inline void signal(State* s, int counter, int64_t by, Path* path) noexcept nogil:
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
    if node >= 0:
        s.free_node = s.nodes[node].next
    elif s.fresh_node < s.pool:
        node = s.fresh_node
        s.fresh_node += 1
    else:
        s.status = POOL
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

cdef inline int fire_zero(State* s, Queue* queue, Step* step) noexcept nogil:
    """All signals of a chain without work, now. Returns its rows."""
    cdef int i, rows = step.chain
    for i in range(rows):
        if step.freed >= 0:
            signal(s, step.freed, step.freed_by, &queue.path)
        if step.done >= 0:
            signal(s, step.done, step.done_by, &queue.path)
        step += 1
    return rows


cdef inline void rest(State* s, int q) noexcept nogil:
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


cdef inline void issue(State* s, int q, Step* step, int off) noexcept nogil:
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


cdef inline void run_queue(State* s, int q) noexcept nogil:
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
