# Queues of requests: intrusive lists through RequestRow.prev and next.
from libc.stdint cimport int64_t
from hwsim._core.serve_rows cimport Queue, RequestRow


cdef inline void link_tail(RequestRow[::1] rows, Queue *queue, int64_t r) noexcept nogil:
    rows[r].prev = queue.tail
    rows[r].next = -1
    if queue.tail < 0:
        queue.head = r
    else:
        rows[queue.tail].next = r
    queue.tail = r


cdef inline void link_head(RequestRow[::1] rows, Queue *queue, int64_t r) noexcept nogil:
    rows[r].prev = -1
    rows[r].next = queue.head
    if queue.head < 0:
        queue.tail = r
    else:
        rows[queue.head].prev = r
    queue.head = r


cdef inline void unlink(RequestRow[::1] rows, Queue *queue, int64_t r) noexcept nogil:
    if rows[r].prev < 0:
        queue.head = rows[r].next
    else:
        rows[rows[r].prev].next = rows[r].next
    if rows[r].next < 0:
        queue.tail = rows[r].prev
    else:
        rows[rows[r].next].prev = rows[r].prev
