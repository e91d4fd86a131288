"""Event heap: a binary heap of beats, ordered by (tick, key)."""

from libc.stdint cimport int32_t, int64_t, uint64_t

cdef enum BeatKind:
    FREED_BEAT      # the resource lets go
    DONE_BEAT       # the data have arrived
    HOP_BEAT        # the command arrives at its next resource
    WAKE_BEAT       # a queue may issue again

cdef struct Beat:
    int64_t t
    uint64_t key    # queue:16 | seq:40 | hop:6 | kind:2, so one queue's commands keep their order
    int64_t node    # command in flight; a resource for a decision


cdef inline uint64_t beat_key(int queue, int64_t seq, int hop, int kind) noexcept nogil:
    return (<uint64_t>queue << 48) | (<uint64_t>seq << 24 >> 16) | (<uint64_t>hop << 2) | <uint64_t>kind


cdef inline bint before(Beat* a, Beat* b) noexcept nogil:
    return a.t < b.t or (a.t == b.t and a.key < b.key)


cdef inline void heap_push(Beat* heap, int* n, Beat beat) noexcept nogil:
    cdef int i = n[0], parent
    n[0] += 1
    while i > 0:
        parent = (i - 1) >> 1
        if not before(&beat, &heap[parent]):
            break
        heap[i] = heap[parent]
        i = parent
    heap[i] = beat


cdef inline Beat heap_pop(Beat* heap, int* n) noexcept nogil:
    cdef Beat top = heap[0], last
    cdef int i = 0, child
    n[0] -= 1
    last = heap[n[0]]
    while True:
        child = 2 * i + 1
        if child >= n[0]:
            break
        if child + 1 < n[0] and before(&heap[child + 1], &heap[child]):
            child += 1
        if not before(&heap[child], &last):
            break
        heap[i] = heap[child]
        i = child
    if n[0] > 0:
        heap[i] = last
    return top
