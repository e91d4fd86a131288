# The decoding requests of all lanes, those of one stepped together at a cost that does not depend on their number.
from libc.stdint cimport int64_t
from hwsim._core.serve_rows cimport RequestRow

cdef packed struct HeapRow:
    int64_t key         # context - epoch
    int64_t request
    int64_t stamp       # entry is void unless it is the request's latest

cdef class Decodes:
    cdef RequestRow[::1] request
    cdef bint lists                     # keep who grows, not only how many
    cdef bint grows                     # decodes take blocks as they go
    cdef int64_t block_tokens, tile_tokens, ring, room
    cdef int64_t stamps
    cdef readonly int64_t work          # list and heap entries visited
    cdef readonly int64_t[::1] count    # [lanes] decoding now
    cdef readonly int64_t[::1] epoch    # [lanes] steps in which they all advanced
    cdef int64_t[::1] sum_key           # [lanes] sum of context = sum_key + count * epoch
    cdef int64_t[::1] square_key        # [lanes] sum of the squares of the keys
    cdef int64_t[::1] tiles             # [lanes] sum of KV tiles
    cdef int64_t[:, ::1] growing        # [lanes, block_tokens] by key mod block_tokens
    cdef int64_t[:, ::1] tiling         # [lanes, tile_tokens] by key mod tile_tokens
    cdef int64_t[:, ::1] grow_head      # [lanes, block_tokens]
    cdef int64_t[:, ::1] due_head, due_tail     # [lanes, ring] by due mod ring
    cdef HeapRow[:, ::1] heap           # [lanes, room] largest key first
    cdef int64_t[::1] heap_size

    cdef void enter(self, int64_t lane, int64_t r) noexcept nogil
    cdef void leave(self, int64_t lane, int64_t r) noexcept nogil
    cdef int64_t growth(self, int64_t lane) noexcept nogil
    cdef int64_t first_growing(self, int64_t lane) noexcept nogil
    cdef void advance(self, int64_t lane) noexcept nogil
    cdef int64_t sum_context(self, int64_t lane) noexcept nogil
    cdef int64_t sum_squares(self, int64_t lane) noexcept nogil
    cdef int64_t longest(self, int64_t lane) noexcept nogil
    cdef int64_t first_due(self, int64_t lane) noexcept nogil
    cdef void push(self, int64_t lane, int64_t r) noexcept nogil
    cdef void pop(self, int64_t lane) noexcept nogil
    cdef void sink(self, int64_t lane, int64_t at) noexcept nogil
    cdef void compact(self, int64_t lane) noexcept nogil
    cdef bint live(self, int64_t lane, int64_t at) noexcept nogil
