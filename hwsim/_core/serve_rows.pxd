# Rows of the serving core: flat, packed, linked by index (-1 = none). Times are picoseconds.
from libc.stdint cimport int32_t, int64_t

cdef enum State:
    TO_COME      # not arrived
    INBOX        # arrived, the engine has not drained it yet
    WAITING      # in the waiting queue (new or preempted)
    PREFILL      # running, prompt (or what must be computed again) incomplete
    STARTING     # running, its first token is on the way: it joins a lane when that is out (even micro-batches)
    DECODING     # running, one token a step
    DRAINING     # running, its last token is scheduled but not out
    FINISHED
    REFUSED      # needs more blocks than there are

cdef packed struct RequestRow:
    int64_t arrival_ps
    int64_t queued_ps
    int64_t admitted_ps
    int64_t first_token_ps
    int64_t finish_ps
    int64_t prompt          # tokens
    int64_t output          # tokens
    int64_t cached          # prompt tokens found in the cache at the first admission
    int64_t preemptions
    int64_t replica
    int64_t state           # State
    int64_t computed        # tokens whose keys and values are scheduled; of a DECODING one at `enter` only
    int64_t sampled         # output tokens scheduled; of a DECODING one at `enter` only
    int64_t key             # DECODING: context - epoch, constant while it decodes
    int64_t due             # DECODING: epoch in which its last token is scheduled
    int64_t stamp           # DECODING: its entry in the heap of contexts
    int64_t lane            # decodes that share its batches, -1 = none yet
    int64_t known_ps        # when the token that a chunk gave it is out; thrown out: when it may be computed again
    int64_t prev, next              # inbox, waiting or running queue
    int64_t due_prev, due_next      # calendar of finishing epochs
    int64_t grow_prev, grow_next    # decodes that need a block in the same epoch (block cache only)
    int64_t batch_next              # requests whose last token, or with STARTING the first, is in the same batch

cdef packed struct Queue:   # of requests, linked by prev and next
    int64_t head
    int64_t tail

cdef packed struct ReplicaRow:
    int64_t next_ps         # time and kind of its next event
    int64_t next_kind
    int64_t in_flight       # batches
    int64_t oldest          # which of them ends first
    Queue inbox             # arrived, not drained by the engine
    Queue waiting
    Queue running
    int64_t n_waiting       # inbox included
    int64_t n_running
    int64_t prefilling      # first running request with prompt left: all behind it have prompt left too
    int64_t preempted       # since its last step
    int64_t chunks          # whether its last step had some; -1 before the first

cdef packed struct StepRow:     # serve_types.STEP_DTYPE
    int64_t replica, lane, scheduled_ps, start_ps, end_ps, busy_ps, attention_ps, wait_ps
    int64_t tokens, padded, n_decode, n_last, n_prefill, n_sched
    int64_t sum_context, sum_tiles, longest
    int64_t preempted, kv_used_blocks, waiting, running
    int64_t cell, decode_cell

cdef packed struct ChunkRow:    # serve_types.CHUNK_DTYPE
    int64_t step, request, chunk, cached
