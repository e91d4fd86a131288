"""Decoding requests of the serving core.

Design: all decodes of a lane gain one token in the same step, so a step only moves the lane's epoch. What a
step needs follows from numbers that stay constant while a request decodes: key = context - epoch (its residues say
when a block or a tile is full; the largest key is the longest context) and due (the epoch of its last token, a
calendar ring). A sorted structure of contexts was rejected: only the maximum is asked, and a heap with void entries
gives it.

Everything is noexcept by proof: rings are longer than the longest output, the heap is compacted before it is full.
"""

import numpy as np

from libc.stdint cimport int64_t
from hwsim._core.serve_rows cimport DECODING, RequestRow

cdef HeapRow _heap
HEAP_DTYPE = np.asarray(<HeapRow[:1]> &_heap).dtype


cdef inline int64_t residue(int64_t value, int64_t modulus) noexcept nogil:
    """value mod modulus, never negative (C's % keeps the sign)."""
    cdef int64_t rest = value % modulus
    return rest + modulus if rest < 0 else rest


cdef class Decodes:
    """Sets of decoding requests, one a lane; `lists` where blocks are kept one by one."""

    def __init__(self, rules, RequestRow[::1] rows, int64_t longest_output):
        lanes = rules.replicas * rules.lanes
        self.request = rows
        self.lists = rules.prefix_caching
        self.grows = rules.reserve != "output"
        self.block_tokens = rules.block_tokens
        self.tile_tokens = rules.tile_tokens
        self.ring = longest_output + 1
        self.room = 2 * rules.max_num_seqs + 2
        self.count = np.zeros(lanes, np.int64)
        self.epoch = np.zeros(lanes, np.int64)
        self.sum_key = np.zeros(lanes, np.int64)
        self.square_key = np.zeros(lanes, np.int64)
        self.tiles = np.zeros(lanes, np.int64)
        self.growing = np.zeros((lanes, self.block_tokens), np.int64)
        self.tiling = np.zeros((lanes, self.tile_tokens), np.int64)
        self.grow_head = np.full((lanes, self.block_tokens), -1, np.int64)
        self.due_head = np.full((lanes, self.ring), -1, np.int64)
        self.due_tail = np.full((lanes, self.ring), -1, np.int64)
        self.heap = np.zeros((lanes, self.room), HEAP_DTYPE)
        self.heap_size = np.zeros(lanes, np.int64)

    cdef void enter(self, int64_t lane, int64_t r) noexcept nogil:
        """A request begins to decode: its row's computed and sampled are true now, the next step gives it a token."""
        cdef RequestRow *row = &self.request[r]
        cdef int64_t epoch = self.epoch[lane], slot, other
        row.key = row.computed - epoch
        row.due = epoch + row.output - row.sampled
        self.count[lane] += 1
        self.sum_key[lane] += row.key
        self.square_key[lane] += row.key * row.key
        self.tiles[lane] += (row.computed + self.tile_tokens - 1) // self.tile_tokens
        self.tiling[lane, residue(row.key, self.tile_tokens)] += 1
        slot = residue(row.key, self.block_tokens)
        self.growing[lane, slot] += 1
        if self.lists:
            other = self.grow_head[lane, slot]
            row.grow_prev = -1
            row.grow_next = other
            if other >= 0:
                self.request[other].grow_prev = r
            self.grow_head[lane, slot] = r
        slot = row.due % self.ring
        other = self.due_tail[lane, slot]
        row.due_prev = other
        row.due_next = -1
        if other >= 0:
            self.request[other].due_next = r
        else:
            self.due_head[lane, slot] = r
        self.due_tail[lane, slot] = r
        row.state = DECODING
        self.push(lane, r)

    cdef void leave(self, int64_t lane, int64_t r) noexcept nogil:
        """A request stops decoding; its row's computed and sampled become true again. The caller sets its state."""
        cdef RequestRow *row = &self.request[r]
        cdef int64_t slot
        row.computed = row.key + self.epoch[lane]
        row.sampled = row.output - (row.due - self.epoch[lane])
        row.stamp = -1
        self.count[lane] -= 1
        self.sum_key[lane] -= row.key
        self.square_key[lane] -= row.key * row.key
        self.tiles[lane] -= (row.computed + self.tile_tokens - 1) // self.tile_tokens
        self.tiling[lane, residue(row.key, self.tile_tokens)] -= 1
        slot = residue(row.key, self.block_tokens)
        self.growing[lane, slot] -= 1
        if self.lists:
            if row.grow_prev >= 0:
                self.request[row.grow_prev].grow_next = row.grow_next
            else:
                self.grow_head[lane, slot] = row.grow_next
            if row.grow_next >= 0:
                self.request[row.grow_next].grow_prev = row.grow_prev
        slot = row.due % self.ring
        if row.due_prev >= 0:
            self.request[row.due_prev].due_next = row.due_next
        else:
            self.due_head[lane, slot] = row.due_next
        if row.due_next >= 0:
            self.request[row.due_next].due_prev = row.due_prev
        else:
            self.due_tail[lane, slot] = row.due_prev

    cdef int64_t growth(self, int64_t lane) noexcept nogil:
        """Blocks the decodes need in the next step: those whose new token is the first of a block."""
        if not self.grows:
            return 0
        return self.growing[lane, residue(-self.epoch[lane], self.block_tokens)]

    cdef int64_t first_growing(self, int64_t lane) noexcept nogil:
        """Head of the list (grow_next) of those that need a block in the next step."""
        if not self.grows:
            return -1
        return self.grow_head[lane, residue(-self.epoch[lane], self.block_tokens)]

    cdef void advance(self, int64_t lane) noexcept nogil:
        """One token for all."""
        self.tiles[lane] += self.tiling[lane, residue(-self.epoch[lane], self.tile_tokens)]
        self.epoch[lane] += 1

    cdef int64_t sum_context(self, int64_t lane) noexcept nogil:
        """Tokens the decodes attended to in the last step."""
        return self.sum_key[lane] + self.count[lane] * self.epoch[lane]

    cdef int64_t sum_squares(self, int64_t lane) noexcept nogil:
        """Sum of the squares of what the decodes attended to in the last step."""
        cdef int64_t epoch = self.epoch[lane]
        return self.square_key[lane] + epoch * (2 * self.sum_key[lane] + self.count[lane] * epoch)

    cdef int64_t longest(self, int64_t lane) noexcept nogil:
        """Longest context in the last step; 0 without decodes."""
        while self.heap_size[lane] and not self.live(lane, 0):
            self.pop(lane)
        return self.heap[lane, 0].key + self.epoch[lane] if self.heap_size[lane] else 0

    cdef int64_t first_due(self, int64_t lane) noexcept nogil:
        """Head of the list (due_next) of those whose last token was in the last step."""
        return self.due_head[lane, self.epoch[lane] % self.ring]

    cdef bint live(self, int64_t lane, int64_t at) noexcept nogil:
        return self.request[self.heap[lane, at].request].stamp == self.heap[lane, at].stamp

    cdef void push(self, int64_t lane, int64_t r) noexcept nogil:
        cdef int64_t at, up
        if self.heap_size[lane] == self.room:
            self.compact(lane)
        self.stamps += 1
        self.request[r].stamp = self.stamps
        at = self.heap_size[lane]
        self.heap_size[lane] += 1
        while at:
            self.work += 1
            up = (at - 1) >> 1
            if self.heap[lane, up].key >= self.request[r].key:
                break
            self.heap[lane, at] = self.heap[lane, up]
            at = up
        self.heap[lane, at].key = self.request[r].key
        self.heap[lane, at].request = r
        self.heap[lane, at].stamp = self.stamps

    cdef void pop(self, int64_t lane) noexcept nogil:
        self.heap_size[lane] -= 1
        self.heap[lane, 0] = self.heap[lane, self.heap_size[lane]]
        self.sink(lane, 0)

    cdef void sink(self, int64_t lane, int64_t at) noexcept nogil:
        cdef int64_t child, size = self.heap_size[lane]
        cdef HeapRow row = self.heap[lane, at]
        while True:
            self.work += 1
            child = 2 * at + 1
            if child + 1 < size and self.heap[lane, child + 1].key > self.heap[lane, child].key:
                child += 1
            if child >= size or self.heap[lane, child].key <= row.key:
                break
            self.heap[lane, at] = self.heap[lane, child]
            at = child
        self.heap[lane, at] = row

    cdef void compact(self, int64_t lane) noexcept nogil:
        """Drop void entries; at most half of the room is left, so this is rare."""
        cdef int64_t at, kept = 0
        for at in range(self.heap_size[lane]):
            self.work += 1
            if self.live(lane, at):
                self.heap[lane, kept] = self.heap[lane, at]
                kept += 1
        self.heap_size[lane] = kept
        for at in range((kept >> 1) - 1, -1, -1):
            self.sink(lane, at)
