"""Exact steady-state skip: when the whole state repeats, the periods still to come are added instead of run.

At a back-edge of a PACE loop the state relative to the current tick is compared with a snapshot of the same loop
(Brent: saved at tries 2, 4, 8, ...). Equal words mean that the future repeats the past period as long as every
decision falls the same way: no loop reaches its first or last iteration, no wait that was met is unmet or the other
way round. So k periods advance every time, counter, threshold and count at once.
Critical paths advance too: `tag` says from which path of the snapshot each one descends, so a period is a map
(source, gain) on the paths, applied k times by repeated squaring.

Not in the words: iterations, counters, issue numbers. A wait's slack (threshold - counter) need not repeat either:
buffers may fill and totals may grow from period to period, `periods` says for how long that decides nothing.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from hwsim._core.engine_heap cimport Beat, heap_pop
from hwsim._core.engine_path cimport Flow, Path, power
from hwsim._core.rows cimport ITERATED, LOOP, MAX_PACE, N_BOUND, SUB
from hwsim._core.engine_state cimport Node, Queue, Server, Snapshot, State, Step

cdef extern from *:
    """#define FOR_EVER (1LL << 62)"""
    const int64_t FOR_EVER


cdef inline void try_skip(State* s) noexcept nogil:
    """Check every PACE loop that took its back-edge in this tick."""
    cdef int i
    for i in range(s.n_servers):
        if s.servers[i].busy:
            return                      # turns in progress are not in the words
    for i in range(s.n_pace):
        if s.pace_due >> i & 1:
            visit(s, &s.snapshots[i], i)


cdef inline void visit(State* s, Snapshot* snapshot, int pace) noexcept nogil:
    cdef int64_t k
    snapshot.tries += 1
    if snapshot.n_words and walk(s, snapshot, False):
        k = periods(s, snapshot)
        if k > 0:
            advance(s, snapshot, pace, k)
            snapshot.tries = snapshot.n_words = 0
            return
    if snapshot.tries >= 2 and snapshot.tries & (snapshot.tries - 1) == 0 and affordable(s):
        walk(s, snapshot, True)
        save(s, snapshot, pace)


cdef inline bint affordable(State* s) noexcept nogil:
    """Whether the events may be sorted once more: a vain search must not cost more than the run itself."""
    if s.effort + s.n_heap > s.steps + 1024:
        return False
    s.effort += s.n_heap
    return True


# ---- the state in words

cdef inline bint put(Snapshot* snapshot, int64_t* n, int64_t word, bint keep) noexcept nogil:
    """Save one word, or compare it: False at the first difference."""
    if keep:
        snapshot.words[n[0]] = word
    elif n[0] >= snapshot.n_words or snapshot.words[n[0]] != word:
        return False
    n[0] += 1
    return True


cdef inline bint walk(State* s, Snapshot* snapshot, bint keep) noexcept nogil:
    """Go through the state, cheapest to differ first; saves it or says whether it is the saved one."""
    cdef int64_t n = 0, word
    cdef int i
    cdef Server* server
    cdef Queue* queue
    for i in range(s.n_servers):
        server = &s.servers[i]
        word = (server.free - s.t) * SUB + server.part if server.free >= s.t else 0
        if not put(snapshot, &n, word, keep):
            return False
    for i in range(s.n_queues):
        queue = &s.queues[i]
        if not put(snapshot, &n, (<int64_t>queue.pc << 32) | (queue.state << 24) | (queue.parked + 1), keep):
            return False
        if not put(snapshot, &n, queue.not_before - s.t if queue.not_before > s.t else 0, keep):
            return False
    if not put(snapshot, &n, s.t - s.end, keep) or not put(snapshot, &n, s.n_heap, keep):
        return False
    if not put(snapshot, &n, mix_beats(s), keep):
        return False
    if not keep and not affordable(s):
        return False
    if not walk_beats(s, snapshot, &n, keep):
        return False
    if keep:
        snapshot.n_words = n
    return n == snapshot.n_words


cdef inline int64_t mix_beats(State* s) noexcept nogil:
    """One word of all pending events in any order: differs cheaply before they are sorted."""
    cdef int i
    cdef uint64_t sum = 0, word
    for i in range(s.n_heap):
        word = <uint64_t>(s.heap[i].t - s.t) * 0x9E3779B97F4A7C15ULL + (s.heap[i].key >> 48 << 8) + (s.heap[i].key & 0xFF)
        sum += (word ^ (word >> 29)) * 0xBF58476D1CE4E5B9ULL
    return <int64_t>sum


cdef inline bint walk_beats(State* s, Snapshot* snapshot, int64_t* n, bint keep) noexcept nogil:
    """Pending events in order; leaves the order in s.sorted."""
    cdef int i, count = s.n_heap, left = s.n_heap
    cdef Beat* copy = <Beat*>s.flows    # scratch, read no more when the flows are
    cdef Beat beat
    cdef Node* node
    cdef int64_t row = -1, bound = 0, distance
    memcpy(copy, s.heap, count * sizeof(Beat))
    for i in range(count):
        beat = heap_pop(copy, &left)
        s.sorted[i] = beat
        distance = s.queues[beat.key >> 48].seq - <int64_t>(beat.key << 16 >> 24)
        row, bound = -1, 0
        if beat.node >= 0:
            node = &s.nodes[beat.node]
            row = (<int64_t>node.row << 32) | node.off
            bound = node.bound - s.t if node.tail >= 0 else 0
        if not put(snapshot, n, beat.t - s.t, keep) or not put(snapshot, n, row, keep):
            return False
        if not put(snapshot, n, (<int64_t>(beat.key >> 48) << 48) | (distance << 8) | <int64_t>(beat.key & 0xFF), keep):
            return False
        if not put(snapshot, n, bound, keep):
            return False
    return True


cdef inline int list_alive(State* s) noexcept nogil:
    """Pointers to every path that may be read again, in the order of the words; returns their number."""
    cdef int i, n = 0
    cdef Node* node
    for i in range(s.n_servers):
        s.alive[n] = &s.servers[i].path
        n += 1
    for i in range(s.n_queues):
        s.alive[n] = &s.queues[i].path
        n += 1
    s.alive[n] = &s.nodes[s.last_node].path
    n += 1
    for i in range(s.n_heap):
        if s.sorted[i].node >= 0:
            node = &s.nodes[s.sorted[i].node]
            s.alive[n] = &node.path
            n += 1
            if node.tail >= 0:
                s.alive[n] = &s.nodes[node.tail].path
                n += 1
    return n


cdef inline void save(State* s, Snapshot* snapshot, int pace) noexcept nogil:
    """What the words leave out, and a number for every path."""
    cdef int i, n = list_alive(s)
    snapshot.t = s.t
    for i in range(s.n_rows):
        snapshot.it[i], snapshot.exits[i] = s.steps_of[i].it, s.steps_of[i].exits
        snapshot.threshold[2 * i] = s.steps_of[i].threshold0
        snapshot.threshold[2 * i + 1] = s.steps_of[i].threshold1
    for i in range(s.n_counters):
        snapshot.counter[i] = s.counters[i].value
    memcpy(snapshot.passes, s.passes, s.n_slots * 8)
    memcpy(snapshot.busy, s.busy, s.n_servers * 8)
    for i in range(n):
        s.alive[i].tag[pace] = i
        snapshot.path[i] = s.alive[i][0]


# ---- the jump

cdef inline int64_t periods(State* s, Snapshot* snapshot) noexcept nogil:
    """Periods that may be added with every decision as in the last one; 0 none."""
    cdef int i
    cdef int64_t k = 0, moved, fits
    cdef Step* step
    for i in range(s.n_rows):
        step = &s.steps_of[i]
        if step.op != LOOP or step.it == snapshot.it[i]:
            continue
        moved = step.it - snapshot.it[i]
        if moved < 0 or step.exits != snapshot.exits[i] or snapshot.it[i] < 1 or step.flags & ITERATED:
            return 0
        fits = (step.trips - 2 - step.it) // moved
        if k == 0 or fits < k:
            k = fits
        if k < 1:
            return 0
    for i in range(s.n_rows):
        step = &s.steps_of[i]
        if step.seen > snapshot.t:
            if step.wait0 >= 0:
                k = min(k, alike(s, snapshot, step.wait0, step.threshold0, snapshot.threshold[2 * i]))
            if step.wait1 >= 0:
                k = min(k, alike(s, snapshot, step.wait1, step.threshold1, snapshot.threshold[2 * i + 1]))
    return k


cdef inline int64_t alike(State* s, Snapshot* snapshot, int counter, int64_t now, int64_t before) noexcept nogil:
    """For how many more periods a wait looked at in this one is met (or unmet) each time, as it was.

    Threshold and counter only grow, so every look in the period saw a slack between `low` and `high`.
    """
    cdef int64_t value = s.counters[counter].value, was = snapshot.counter[counter]
    cdef int64_t drift = (now - before) - (value - was), low = before - value, high = now - was
    if drift == 0:
        return FOR_EVER
    if high <= 0:                       # met at every look
        return FOR_EVER if drift < 0 else -high // drift
    if low > 0:                         # unmet at every look, so never passed: drift < 0
        return (low - 1) // -drift
    return 0


cdef inline void advance(State* s, Snapshot* snapshot, int pace, int64_t k) noexcept nogil:
    """Add k periods."""
    cdef int i
    cdef int64_t shift = k * (s.t - snapshot.t)
    cdef Step* step
    advance_paths(s, snapshot, pace, k)
    for i in range(s.n_rows):
        step = &s.steps_of[i]
        step.it += k * (step.it - snapshot.it[i])
        step.threshold0 += k * (step.threshold0 - snapshot.threshold[2 * i])
        step.threshold1 += k * (step.threshold1 - snapshot.threshold[2 * i + 1])
        if step.seen > snapshot.t:
            step.seen += shift
    for i in range(s.n_counters):
        s.counters[i].value += k * (s.counters[i].value - snapshot.counter[i])
    for i in range(s.n_slots):
        s.passes[i] += k * (s.passes[i] - snapshot.passes[i])
    for i in range(s.n_servers):
        s.busy[i] += k * (s.busy[i] - snapshot.busy[i])
        if s.servers[i].free >= s.t:
            s.servers[i].free += shift
    for i in range(s.n_queues):
        s.queues[i].not_before += shift
    for i in range(s.n_heap):
        s.heap[i].t += shift
        if s.heap[i].node >= 0:
            s.nodes[s.heap[i].node].bound += shift if s.nodes[s.heap[i].node].tail >= 0 else 0
    s.t += shift
    s.end += shift
    s.skipped += k
    s.effort = 0


cdef inline void advance_paths(State* s, Snapshot* snapshot, int pace, int64_t k) noexcept nogil:
    """Apply the period's map to every path k times; the other loops' tags come along from the source."""
    cdef int i, c, n = list_alive(s)
    cdef Flow* period = s.flows
    cdef Flow* total
    cdef Path* now
    cdef int64_t source
    for i in range(n):
        now = s.alive[i]
        source = now.tag[pace]
        period[i].source = source
        for c in range(N_BOUND):
            period[i].gain[c] = <uint64_t>now.part[c] - <uint64_t>snapshot.path[source].part[c]
    total = power(period, &s.flows[n], &s.flows[2 * n], n, k)
    for i in range(n):
        snapshot.path[i] = s.alive[i][0]
    for i in range(n):
        now = s.alive[i]
        source = total[i].source
        for c in range(N_BOUND):
            now.part[c] = <int64_t>(<uint64_t>snapshot.path[source].part[c] + total[i].gain[c])
        for c in range(MAX_PACE):
            now.tag[c] = snapshot.path[source].tag[c]
