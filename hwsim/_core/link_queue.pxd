"""The event heap, lists of messages, and when a part of the network looks again."""

from libc.stdint cimport int32_t, int64_t

from hwsim._core.link_state cimport FAR_TICK, ISSUE, MEMORY, SEND, Beat, Line, Message, Net, Way


cdef inline int64_t later(int64_t a, int64_t b) noexcept nogil:
    return a if a > b else b


cdef inline bint before(Beat* a, Beat* b) noexcept nogil:
    return a.t < b.t or (a.t == b.t and a.key < b.key)


cdef inline void push(Net* net, int64_t t, int phase, int64_t index, int64_t load) noexcept nogil:
    """Room is the caller's to see to: the loop stops for more before it runs short."""
    cdef int64_t i = net.n_heap, parent
    cdef Beat beat
    beat.t, beat.key, beat.load = t, (<int64_t>phase << 48) | index, load
    net.n_heap += 1
    while i > 0:
        parent = (i - 1) >> 1
        if not before(&beat, &net.heap[parent]):
            break
        net.heap[i] = net.heap[parent]
        i = parent
    net.heap[i] = beat


cdef inline Beat pop(Net* net) noexcept nogil:
    cdef Beat top = net.heap[0], last
    cdef int64_t i = 0, child
    net.n_heap -= 1
    last = net.heap[net.n_heap]
    while True:
        child = 2 * i + 1
        if child >= net.n_heap:
            break
        if child + 1 < net.n_heap and before(&net.heap[child + 1], &net.heap[child]):
            child += 1
        if not before(&net.heap[child], &last):
            break
        net.heap[i] = net.heap[child]
        i = child
    if net.n_heap > 0:
        net.heap[i] = last
    return top


cdef inline void add(Net* net, Line* line, int32_t message) noexcept nogil:
    net.messages[message].next = -1
    if line.first < 0:
        line.first = message
    else:
        net.messages[line.last].next = message
    line.last = message


cdef inline int32_t take(Net* net, Line* line) noexcept nogil:
    cdef int32_t message = line.first
    line.first = net.messages[message].next
    return message


cdef inline void wake(Net* net, int64_t* due, int64_t t, int phase, int64_t index) noexcept nogil:
    """Look again at tick t; of several wishes the earliest counts, a beat that is not the one due means nothing."""
    if t < due[0]:
        due[0] = t
        push(net, t, phase, index, 0)


cdef inline void wake_way(Net* net, int w) noexcept nogil:
    wake(net, &net.ways[w].due, later(net.t, net.ways[w].free), SEND, w)


cdef inline void enqueue(Net* net, int w, int port, int32_t message) noexcept nogil:
    """A message waits to leave by way w; it came through a port of the way's source."""
    cdef Message* m = &net.messages[message]
    m.stamp = net.stamp
    net.stamp += 1
    add(net, &net.lines[net.ways[w].lines + 4 * port + m.kind], message)
    wake_way(net, w)


cdef inline void let_go(Net* net, int32_t message) noexcept nogil:
    """The buffer that a message holds is free: its credit goes back by the other direction."""
    cdef int w = net.messages[message].way, back
    if w < 0:
        return
    net.messages[message].way = -1
    back = net.way_rows[w].reverse
    net.ways[back].returns[net.messages[message].kind] += 1
    wake_way(net, back)
