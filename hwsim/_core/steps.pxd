# A table of standard steps as nogil code asks it; the code is in steps.pyx, the numbers are those of step_tables.py.
from libc.stdint cimport int64_t

cdef enum:
    AXES = 7            # chunks, tokens, cached, decodes, mean, spread, moment
    QUARTERS = 4        # new tokens over the widest chunk, in 1/4
    MEAN = 4            # a mean context is counted in 1/4 tiles
    SPREAD = 16         # longest / mean in 1/16
    TILE = 128          # keys
    FINE = 10           # work is counted in 1/1024 ps
    MOST_WAVES = 4
    MOST_PARTS = 128

cdef packed struct StepSums:    # step_tables.StepSums, where the fields are explained
    int64_t tokens
    int64_t squares
    int64_t behind
    int64_t reach
    int64_t widest
    int64_t decodes
    int64_t tiles
    int64_t longest
    int64_t keys
    int64_t moment

cdef packed struct StepForm:    # step_tables.FORM_ROW; work in 1/1024 ps of the whole device
    int64_t one_kernel          # chunks and decodes in one kernel
    int64_t heads_first         # all sequences of a head first
    int64_t start_prefill       # of a call with chunks
    int64_t start_decode        # of a call with decodes alone
    int64_t token               # of a new token
    int64_t chunk_token         # work of a new token
    int64_t chunk_pair          # work of a new token x key, both counted twice
    int64_t chunk_once          # longest item of a chunk: itself,
    int64_t chunk_step          # and a tile of its keys
    int64_t mixed_item          # beside chunks: work of a decode,
    int64_t mixed_tile          # of a tile of it,
    int64_t mixed_once          # its longest item,
    int64_t mixed_step          # and a tile of that
    int64_t decode_item         # the same in the decode kernel
    int64_t decode_tile
    int64_t decode_once
    int64_t decode_step
    int64_t tile_bytes          # time of a tile's bytes
    int64_t group               # query heads of a KV head
    int64_t kv_heads
    int64_t cores
    int64_t rows                # of a query tile: rows,
    int64_t keys                # keys,
    int64_t items               # items

cdef struct StepTable:
    const int64_t *axis[7]      # rising grids
    int64_t size[7]
    int64_t *keys               # [1 << bits] cell + 1, 0 = empty
    int64_t *offsets            # [1 << bits] ps beyond the closed form
    int64_t bits
    StepForm form
    const int64_t *parts        # [most_rounds + 1, MOST_PARTS + 1]
    int64_t most_rounds         # of query tiles

cdef class Steps:
    cdef StepTable table
    cdef int64_t count                                  # samples
    cdef readonly object axes, form, parts              # what it was made of
    cdef object held                                    # arrays the table points into
    cdef int64_t price(self, const StepSums *s, int64_t *cells, bint guess) noexcept nogil
