# The scheduler of all replicas: queues, slots, budgets and blocks; it chooses batches and knows no costs.
from libc.stdint cimport int64_t
from hwsim._core.decodes cimport Decodes
from hwsim._core.kvcache cimport KVCache
from hwsim._core.serve_rows cimport ChunkRow, ReplicaRow, RequestRow, StepRow

cdef class Scheduler:
    cdef readonly object rules
    cdef readonly object table              # the request rows as a numpy array
    cdef readonly KVCache kv
    cdef readonly Decodes decodes
    cdef readonly int64_t now_ps            # time of the event in hand
    cdef readonly int64_t preemptions
    cdef readonly int64_t loops             # requests visited one by one, for benchmarks
    cdef RequestRow[::1] request
    cdef ReplicaRow[::1] replica
    # rules
    cdef int64_t budget, max_seqs, block_tokens, reserve, lanes
    cdef bint mixed, static, even
    # lanes: what Decodes calls a replica
    cdef int64_t[::1] lane_busy             # [replicas * lanes] a batch of it is in flight
    cdef int64_t[::1] lane_end_ps           # [replicas * lanes] when its last batch is out
    # the batch being chosen
    cdef int64_t lane                       # -1 = it has chunks alone and even micro-batches
    cdef StepRow step
    cdef ChunkRow[::1] chunk                # step.n_prefill rows
    cdef int64_t[::1] turning               # requests that finish or start to decode with it, in running order
    cdef int64_t n_turning
    cdef int64_t sum_squares                # of the contexts it decodes
    cdef int64_t thrown_out                 # requests preempted for it

    cdef int64_t choose(self, int64_t p) noexcept nogil
    cdef int64_t free_lane(self, int64_t p) noexcept nogil
    cdef int64_t next_lane(self, int64_t p) noexcept nogil
    cdef void join(self, int64_t p, int64_t r) noexcept nogil
    cdef void step_decodes(self, int64_t p) noexcept nogil
    cdef void take_decode_blocks(self, int64_t p) noexcept nogil
    cdef void end_decodes(self, int64_t p) noexcept nogil
    cdef void preempt_last(self, int64_t p) noexcept nogil
    cdef int64_t step_prompts(self, int64_t p, int64_t left) noexcept nogil
    cdef void admit(self, int64_t p, int64_t left) noexcept nogil
    cdef void enter_running(self, int64_t p, int64_t r, int64_t hits) noexcept nogil
    cdef void add_chunk(self, int64_t p, int64_t r, int64_t chunk) noexcept nogil
