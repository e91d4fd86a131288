"""List scheduling of unequal work items over equal slots, in integers.

Design: the items of a case are dispatched in their order, each to the slot that is free first (of equal ones the
lowest index), as a grid of thread blocks or an atomic tile counter does. A binary heap of (load, slot) per case; a
case with more items than slots costs about 50 ns an item. Rejected: recognising repeated heads (the serving batches
have a few hundred items, the largest measured tables 1e5) and continuous loads (no float decides an order).
"""

import numpy as np
from libc.stdint cimport int32_t, int64_t


cdef inline void sift(int64_t* load, int32_t* heap, Py_ssize_t size) noexcept nogil:
    """Move the root down to its place; heap[i] names a slot, keys are (load[slot], slot)."""
    cdef Py_ssize_t i = 0, child
    cdef int32_t slot = heap[0], below
    cdef int64_t key = load[slot]
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size:
            below = heap[child + 1]
            if load[below] < load[heap[child]] or (load[below] == load[heap[child]] and below < heap[child]):
                child += 1
        below = heap[child]
        if load[below] > key or (load[below] == key and below > slot):
            break
        heap[i] = below
        i = child
    heap[i] = slot


def assign(const int64_t[::1] first, const int64_t[::1] cost, const int64_t[:, ::1] weight, const int64_t[::1] slots):
    """Dispatch the items of every case in order, each to the slot that is free first.

    Parameters
    ----------
    first : int64[P + 1]
        Items of case p are first[p] <= i < first[p + 1].
    cost : int64[N]
        Time of an item, any integer unit, >= 0.
    weight : int64[N, W]
        What an item adds to its slot's sums (tiles, bytes, ...).
    slots : int64[P]
        Slots of a case, >= 1.

    Returns
    -------
    load : int64[P, S]
        Time of each slot, S = max(slots); slots a case lacks hold -1.
    total : int64[P, S, W]
        Sums of the weights of a slot's items.
    """
    cdef Py_ssize_t cases = slots.shape[0], width = weight.shape[1], p, i, s, w
    cdef Py_ssize_t most = max(slots) if cases else 1
    cdef int64_t[:, ::1] load = np.full((cases, most), -1, np.int64)
    cdef int64_t[:, :, ::1] total = np.zeros((cases, most, width), np.int64)
    cdef int32_t[::1] heap = np.empty(most, np.int32)
    cdef int32_t slot
    with nogil:
        for p in range(cases):
            for s in range(slots[p]):
                load[p, s] = 0
                heap[s] = <int32_t> s
            for i in range(first[p], first[p + 1]):
                slot = heap[0]
                load[p, slot] += cost[i]
                for w in range(width):
                    total[p, slot, w] += weight[i, w]
                sift(&load[p, 0], &heap[0], slots[p])
    return np.asarray(load), np.asarray(total)
