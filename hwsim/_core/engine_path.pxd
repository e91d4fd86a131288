"""Critical paths: which classes the time of a queue, a resource or an event in flight is made of.

parts[class] sums to the holder's own time. A path is copied when one thing waits for another, never merged, so the
path held by the last DONE explains the end. tag[p] says which path of PACE loop p's snapshot this one descends from.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t

from hwsim._core.rows cimport MAX_PACE, N_BOUND

cdef struct Path:
    int64_t part[16]    # cycles by Bound (N_BOUND)
    int32_t tag[4]      # number of the ancestor in the snapshot of each PACE loop (MAX_PACE)

cdef struct Flow:       # what a period does to one path: it becomes path `source` plus `gain`
    uint64_t gain[16]   # unsigned: paths nobody will read may wrap
    int64_t source


cdef inline void compose(Flow* first, Flow* then, Flow* result, int n) noexcept nogil:
    """result = first, then `then`; result may be neither."""
    cdef int i, c
    cdef int64_t source
    for i in range(n):
        source = then[i].source
        result[i].source = first[source].source
        for c in range(N_BOUND):
            result[i].gain[c] = first[source].gain[c] + then[i].gain[c]


cdef inline Flow* power(Flow* period, Flow* result, Flow* spare, int n, int64_t k) noexcept nogil:
    """`period` k times, by repeated squaring. All three arrays are used up; the answer is one of them."""
    cdef int i, c
    cdef Flow* swap
    for i in range(n):
        result[i].source = i
        for c in range(N_BOUND):
            result[i].gain[c] = 0
    while k:
        if k & 1:
            compose(result, period, spare, n)
            swap = result; result = spare; spare = swap
        k >>= 1
        if k:
            compose(period, period, spare, n)
            swap = period; period = spare; spare = swap
    return result
