# Paged KV blocks of all replicas: counted, or kept one by one with prefix chains and an LRU free list.
from libc.stdint cimport int32_t, int64_t
from hwsim._core.serve_rows cimport RequestRow

cdef packed struct BlockRow:    # 32 bytes
    int64_t content     # < n_keys: (trace block, sub-block); above: a request's own block; -1: nothing known
    int32_t refs        # requests that hold it; 0 = in the free list
    int32_t prev, next  # LRU free list of its replica, head = next victim
    int32_t older, newer    # ring of blocks with the same content, the oldest is indexed
    int32_t spare

cdef class KVCache:
    cdef readonly bint caching
    cdef readonly int64_t usable        # blocks of a replica
    cdef readonly int64_t work          # blocks handled, for benchmarks
    cdef int64_t block_tokens
    cdef bint reserve_output            # prompt and output are taken at admission
    cdef int64_t n_keys
    cdef int64_t per_id                 # KV blocks of a trace block
    cdef RequestRow[::1] request
    cdef BlockRow[::1] block            # [replicas * usable]
    cdef readonly int64_t[::1] free     # [replicas] blocks in the free list
    cdef int32_t[::1] head, tail        # [replicas] of the free list
    cdef int32_t[::1] index             # [replicas * n_keys] oldest block of a content + 1, 0 = none
    cdef const int64_t[::1] table_at    # [n + 1] where a request's block table begins
    cdef int32_t[::1] table             # blocks it holds; after a preemption: held last
    cdef const int64_t[::1] id_at       # [n + 1] where its trace blocks begin
    cdef const int64_t[::1] ids         # renumbered from 0
    cdef const int64_t[::1] id_blocks   # [n] full KV blocks of its prompt that trace ids name

    cdef int64_t held(self, int64_t r, int64_t tokens) noexcept nogil
    cdef int64_t lookup(self, int64_t replica, int64_t r, int64_t tokens, int64_t *from_free) noexcept nogil
    cdef void touch(self, int64_t replica, int64_t r, int64_t hits) noexcept nogil
    cdef void take(self, int64_t replica, int64_t r, int64_t first, int64_t last) noexcept nogil
    cdef void publish(self, int64_t replica, int64_t r, int64_t before, int64_t after) noexcept nogil
    cdef void release(self, int64_t replica, int64_t r, int64_t tokens, bint own) noexcept nogil
    cdef int64_t key_of(self, int64_t r, int64_t j) noexcept nogil
    cdef void unlink_free(self, int64_t replica, int32_t b) noexcept nogil
    cdef void forget(self, int64_t replica, int32_t b) noexcept nogil
