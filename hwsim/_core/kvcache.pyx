"""Paged KV blocks of the serving core.

Design: without prefix caching a block has no identity, so a replica is one number, its free blocks. With it, a block
row lives in one LRU free list while nobody holds it (victims come from the head; a freed request's blocks go to the
tail, its last block first), and blocks of equal content form a ring whose oldest member is indexed. Contents of trace
blocks are numbered densely, so the index is an array and neighbouring blocks share a cache line; a hash table was
rejected as slower. Contents only one request can ask for again (its decode blocks, prompts without ids) need no index:
the request's block table says which block held them last, the block's `content` whether it still does.

All nogil methods are noexcept by proof: indices come from rows this module wrote; `take` is called with enough free
blocks (the scheduler asked before).
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t
from hwsim._core.serve_rows cimport RequestRow

cdef BlockRow _block
BLOCK_DTYPE = np.asarray(<BlockRow[:1]> &_block).dtype


cdef class KVCache:
    """Blocks of all replicas; `requests` and `rules` are those of serve_types, `rows` the core's request rows."""

    def __init__(self, requests, rules, RequestRow[::1] rows):
        cdef int64_t replicas = rules.replicas
        self.caching = rules.prefix_caching
        self.usable = rules.kv_blocks - 1
        self.block_tokens = rules.block_tokens
        self.reserve_output = rules.reserve == "output"
        self.request = rows
        self.free = np.full(replicas, self.usable, np.int64)
        if self.caching:
            self._make_blocks(requests, rules)

    def _make_blocks(self, requests, rules):
        blocks = rules.replicas * self.usable
        if blocks > 2**31 - 1:
            raise OverflowError("more than 2**31 KV blocks")
        row = np.zeros(blocks, BLOCK_DTYPE)
        number = np.arange(blocks)
        row["content"] = -1
        row["prev"] = np.where(number % self.usable == 0, -1, number - 1)
        row["next"] = np.where(number % self.usable == self.usable - 1, -1, number + 1)
        self.block = row
        first = np.arange(rules.replicas) * self.usable
        self.head = first.astype(np.int32)
        self.tail = (first + self.usable - 1).astype(np.int32)
        distinct, dense = np.unique(requests.prefix_ids, return_inverse=True)
        self.per_id = max(1, requests.prefix_block_tokens // self.block_tokens)
        self.n_keys = len(distinct) * self.per_id
        # Zeros, so that only pages of contents a replica has seen take memory.
        self.index = np.zeros(rules.replicas * self.n_keys, np.int32)
        self.ids = np.ascontiguousarray(dense, np.int64)
        self.id_at = requests.prefix_offset
        covered = np.diff(requests.prefix_offset) * requests.prefix_block_tokens
        self.id_blocks = np.minimum(requests.prompt_tokens, covered) // self.block_tokens
        most = rules.blocks_needed(requests.prompt_tokens, requests.output_tokens)
        most[rules.refused(requests)] = 0
        self.table_at = np.concatenate([[0], np.cumsum(most)])
        self.table = np.zeros(int(most.sum()) + 1, np.int32)

    cdef int64_t held(self, int64_t r, int64_t tokens) noexcept nogil:
        """Blocks a running request holds with `tokens` computed."""
        if self.reserve_output:
            tokens = self.request[r].prompt + self.request[r].output
        return (tokens + self.block_tokens - 1) // self.block_tokens

    cdef int64_t key_of(self, int64_t r, int64_t j) noexcept nogil:
        """Content of block j of a request once it is full."""
        if j < self.id_blocks[r]:
            return self.ids[self.id_at[r] + j // self.per_id] * self.per_id + j % self.per_id
        return self.n_keys + self.table_at[r] + j

    cdef int64_t lookup(self, int64_t replica, int64_t r, int64_t tokens, int64_t *from_free) noexcept nogil:
        """Leading blocks found for a request with `tokens` to compute, at least one of them left over.

        Puts the hits in the request's table and the number of them in the free list in `from_free`.
        """
        cdef int64_t j, key, most = (tokens - 1) // self.block_tokens, at
        cdef int32_t b
        from_free[0] = 0
        if not self.caching:
            return 0
        at = self.table_at[r]
        for j in range(most):
            key = self.key_of(r, j)
            b = self.index[replica * self.n_keys + key] - 1 if key < self.n_keys else self.table[at + j]
            self.work += 1
            if b < 0 or self.block[b].content != key:
                return j
            self.table[at + j] = b
            from_free[0] += self.block[b].refs == 0
        return most

    cdef void touch(self, int64_t replica, int64_t r, int64_t hits) noexcept nogil:
        """Hold the blocks `lookup` found."""
        cdef int64_t j
        cdef int32_t b
        for j in range(hits):
            b = self.table[self.table_at[r] + j]
            if self.block[b].refs == 0:
                self.unlink_free(replica, b)
            self.block[b].refs += 1

    cdef void take(self, int64_t replica, int64_t r, int64_t first, int64_t last) noexcept nogil:
        """Give a request its blocks first .. last - 1 from the head of the free list."""
        cdef int64_t j
        cdef int32_t b
        if not self.caching:
            self.free[replica] -= last - first
            return
        for j in range(first, last):
            b = self.head[replica]
            self.work += 1
            self.unlink_free(replica, b)
            self.forget(replica, b)
            self.block[b].refs = 1
            self.table[self.table_at[r] + j] = b

    cdef void publish(self, int64_t replica, int64_t r, int64_t before, int64_t after) noexcept nogil:
        """Blocks named by trace ids that fill up as the computed tokens go from `before` to `after` can be found."""
        cdef int64_t j, slot, full
        cdef int32_t b, oldest, newest
        if not self.caching:
            return
        full = min(after // self.block_tokens, self.id_blocks[r])
        for j in range(before // self.block_tokens, full):
            b = self.table[self.table_at[r] + j]
            self.block[b].content = self.key_of(r, j)
            slot = replica * self.n_keys + self.block[b].content
            oldest = self.index[slot] - 1
            if oldest < 0:
                self.index[slot] = b + 1
                self.block[b].older = self.block[b].newer = b
                continue
            newest = self.block[oldest].older
            self.block[b].older = newest
            self.block[b].newer = oldest
            self.block[newest].newer = self.block[oldest].older = b

    cdef void release(self, int64_t replica, int64_t r, int64_t tokens, bint own) noexcept nogil:
        """Give a request's blocks back, last one first; `own`: it will come back and ask for its own full blocks."""
        cdef int64_t j, blocks = self.held(r, tokens), at
        cdef int32_t b, last
        if not self.caching:
            self.free[replica] += blocks
            return
        at = self.table_at[r]
        for j in range(blocks - 1, -1, -1):
            b = self.table[at + j]
            self.work += 1
            if own and j >= self.id_blocks[r] and (j + 1) * self.block_tokens <= tokens:
                self.block[b].content = self.n_keys + at + j
            self.block[b].refs -= 1
            if self.block[b].refs:
                continue
            last = self.tail[replica]
            self.block[b].prev = last
            self.block[b].next = -1
            if last < 0:
                self.head[replica] = b
            else:
                self.block[last].next = b
            self.tail[replica] = b
            self.free[replica] += 1

    cdef void unlink_free(self, int64_t replica, int32_t b) noexcept nogil:
        """Take a block out of the free list."""
        cdef int32_t before = self.block[b].prev, behind = self.block[b].next
        if before < 0:
            self.head[replica] = behind
        else:
            self.block[before].next = behind
        if behind < 0:
            self.tail[replica] = before
        else:
            self.block[behind].prev = before
        self.free[replica] -= 1

    cdef void forget(self, int64_t replica, int32_t b) noexcept nogil:
        """The block's content is overwritten: the next oldest of equal content takes its place in the index."""
        cdef int64_t content = self.block[b].content, slot
        cdef int32_t older, newer
        self.block[b].content = -1
        if content < 0 or content >= self.n_keys:
            return
        slot = replica * self.n_keys + content
        older = self.block[b].older
        newer = self.block[b].newer
        if newer == b:
            self.index[slot] = 0
            return
        self.block[older].newer = newer
        self.block[newer].older = older
        if self.index[slot] == b + 1:
            self.index[slot] = newer + 1
