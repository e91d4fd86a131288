"""The scheduler of the serving core: which requests get how many tokens in a replica's next batch.

Design: the running queue is always [decodes ..., prompts still incomplete ...], for a prompt is only begun when all
before it are complete. So pass 1 is one constant-cost advance of all decodes (decodes.pyx) and a loop over the few
incomplete prompts. The budget never binds for decodes: each of them got a token in the step before, so they are no more
than its budget. Preempting the last running request until the decodes' new blocks fit gives the same victims and the
same order of the free list as serving the decodes one by one: the free list is empty when the first of them fails, and
a freed block goes to its end. Requests begin to decode in running order, so those that finish in one step are listed
in running order without sorting. Loops over decodes are left where requests finish and where blocks are kept one by
one (a sixteenth of the decodes a step).

Where batches pass several stages, a request in flight is not scheduled again before its token is out. Its decodes then
form lanes, as many as batches may be in flight: those that decode in one batch stay together in the next ones, and a
batch takes a lane that is not in flight. At most one such lane has decodes, because a lane that came back goes with the
next batch. One lane, always free, is the case of one stage.

Even micro-batches: a request whose first token is out joins the lane with the fewest decodes, of these the one that is
back first. Of the lanes that are not in flight the one that came back first goes next; a batch of chunks alone takes no
lane, or the decodes of one would wait until it is out.

All methods are noexcept by proof: queues link rows of this run, chunks and finishing requests are at most
max_num_seqs a step, and blocks are taken after asking for them.
"""

import numpy as np

from libc.stdint cimport int64_t
from hwsim._core.decodes cimport Decodes
from hwsim._core.kvcache cimport KVCache
from hwsim._core.queues cimport link_head, link_tail, unlink
from hwsim._core.serve_rows cimport (
    DECODING, DRAINING, PREFILL, REFUSED, STARTING, TO_COME, WAITING, ChunkRow, ReplicaRow, RequestRow,
)

from hwsim._core import serve_types as types

cdef enum Reserve:
    CHUNK, PROMPT, PROMPT_AND_OUTPUT

cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF

cdef RequestRow _request
cdef ReplicaRow _replica
REQUEST_ROW_DTYPE = np.asarray(<RequestRow[:1]> &_request).dtype
REPLICA_ROW_DTYPE = np.asarray(<ReplicaRow[:1]> &_replica).dtype


cdef class Scheduler:
    """Queues and blocks of all replicas; ServeRun adds time."""

    def __init__(self, requests, rules):
        self.rules = rules
        self.budget, self.max_seqs, self.block_tokens = rules.token_budget, rules.max_num_seqs, rules.block_tokens
        self.mixed, self.static = rules.scheduler == "mixed", rules.scheduler == "static"
        self.reserve = types.RESERVES.index(rules.reserve)
        self.lanes, self.even = rules.lanes, rules.even
        self.lane_busy = np.zeros(rules.replicas * rules.lanes, np.int64)
        self.lane_end_ps = np.zeros(rules.replicas * rules.lanes, np.int64)
        self._make_rows(requests)
        self.kv = KVCache(requests, rules, self.request)
        self.decodes = Decodes(rules, self.request, max(requests.output_tokens, default=1))
        self.chunk = np.zeros(self.max_seqs, types.CHUNK_DTYPE)
        self.turning = np.zeros(self.max_seqs, np.int64)

    def _make_rows(self, requests):
        rows = np.zeros(len(requests), REQUEST_ROW_DTYPE)
        for name in ("queued_ps", "admitted_ps", "first_token_ps", "finish_ps", "replica", "stamp", "lane", "prev",
                     "next"):
            rows[name] = -1
        rows["arrival_ps"] = requests.arrival_ps
        rows["prompt"], rows["output"] = requests.prompt_tokens, requests.output_tokens
        rows["state"] = np.where(self.rules.refused(requests), <int> REFUSED, <int> TO_COME)
        self.table = self.request = rows
        replicas = np.zeros(self.rules.replicas, REPLICA_ROW_DTYPE)
        for name in ("inbox", "waiting", "running"):
            replicas[name]["head"] = replicas[name]["tail"] = -1
        replicas["prefilling"] = replicas["chunks"] = -1
        replicas["next_ps"] = NEVER
        self.replica = replicas

    cdef int64_t choose(self, int64_t p) noexcept nogil:
        """Choose the next batch of a replica into `step`, `chunk` and `turning`; returns its tokens, 0 for none."""
        cdef ReplicaRow *rep = &self.replica[p]
        cdef int64_t left
        self.step.n_decode = self.step.n_last = self.step.n_prefill = self.step.sum_context = self.step.sum_tiles = 0
        self.step.longest = self.step.tokens = self.n_turning = self.thrown_out = 0
        self.lane = self.next_lane(p) if self.even else self.free_lane(p)
        if self.mixed:
            self.step_decodes(p)
        left = self.step_prompts(p, self.budget - self.step.tokens)
        if not self.thrown_out:
            self.admit(p, left)
        if not self.mixed and not self.step.tokens:
            self.step_decodes(p)
        rep.preempted += self.thrown_out
        if self.step.tokens:
            if self.even and not self.step.n_decode:
                self.lane = -1
            self.step.replica = p
            self.step.lane = self.lane - p * self.lanes if self.lane >= 0 else -1
            self.step.n_sched = self.step.n_decode + self.step.n_prefill
            self.step.preempted = rep.preempted
            self.step.kv_used_blocks = self.kv.usable - self.kv.free[p]
            self.step.waiting = rep.n_waiting
            self.step.running = rep.n_running
            rep.preempted = 0
        return self.step.tokens

    cdef int64_t free_lane(self, int64_t p) noexcept nogil:
        """Lane of a replica's next batch: of those not in flight the one with decodes, else the first."""
        cdef int64_t lane, first = -1
        if self.lanes == 1:
            return p
        for lane in range(p * self.lanes, (p + 1) * self.lanes):
            if self.lane_busy[lane]:
                continue
            if self.decodes.count[lane]:
                return lane
            if first < 0:
                first = lane
        return first

    cdef int64_t next_lane(self, int64_t p) noexcept nogil:
        """Of a replica's lanes with decodes and not in flight the one that came back first; -1 without one."""
        cdef int64_t lane, best = -1
        for lane in range(p * self.lanes, (p + 1) * self.lanes):
            if self.decodes.count[lane] and not self.lane_busy[lane]:
                if best < 0 or self.lane_end_ps[lane] < self.lane_end_ps[best]:
                    best = lane
        return best

    cdef void join(self, int64_t p, int64_t r) noexcept nogil:
        """A request whose first token is out decodes in the lane with the fewest, of these the one back first."""
        cdef int64_t lane, best = p * self.lanes
        for lane in range(p * self.lanes + 1, (p + 1) * self.lanes):
            if self.decodes.count[lane] < self.decodes.count[best] or (
                    self.decodes.count[lane] == self.decodes.count[best]
                    and self.lane_end_ps[lane] < self.lane_end_ps[best]):
                best = lane
        self.request[r].lane = best
        self.decodes.enter(best, r)

    cdef void step_decodes(self, int64_t p) noexcept nogil:
        """One token for every decode of the lane; the last running requests are thrown out until their blocks fit."""
        if self.lane < 0:
            return
        while self.decodes.growth(self.lane) > self.kv.free[p]:
            self.preempt_last(p)
        if not self.decodes.count[self.lane]:
            return
        self.take_decode_blocks(p)
        self.decodes.advance(self.lane)
        self.step.n_decode = self.decodes.count[self.lane]
        self.step.sum_context = self.decodes.sum_context(self.lane)
        self.sum_squares = self.decodes.sum_squares(self.lane)
        self.step.sum_tiles = self.decodes.tiles[self.lane]
        self.step.longest = self.decodes.longest(self.lane)
        self.step.tokens += self.step.n_decode
        self.end_decodes(p)

    cdef void take_decode_blocks(self, int64_t p) noexcept nogil:
        """A block for each decode whose next token is the first of one."""
        cdef int64_t r, held
        if not self.kv.caching:
            self.kv.take(p, -1, 0, self.decodes.growth(self.lane))
            return
        r = self.decodes.first_growing(self.lane)
        while r >= 0:
            self.loops += 1
            held = (self.request[r].key + self.decodes.epoch[self.lane]) // self.block_tokens
            self.kv.take(p, r, held, held + 1)
            r = self.request[r].grow_next

    cdef void end_decodes(self, int64_t p) noexcept nogil:
        """Requests whose last token is in this step stop decoding; they keep slot and blocks until it is out."""
        cdef int64_t r = self.decodes.first_due(self.lane)
        while r >= 0:
            self.loops += 1
            self.decodes.leave(self.lane, r)
            self.request[r].state = DRAINING
            self.turning[self.n_turning] = r
            self.n_turning += 1
            self.step.n_last += 1
            r = self.decodes.first_due(self.lane)

    cdef void preempt_last(self, int64_t p) noexcept nogil:
        """Throw the last running request out: its blocks are free, it waits in front and is computed again."""
        cdef ReplicaRow *rep = &self.replica[p]
        cdef int64_t r = rep.running.tail
        cdef RequestRow *row = &self.request[r]
        if row.state == DECODING:
            self.decodes.leave(row.lane, r)
        if row.state != PREFILL and row.lane >= 0:
            row.known_ps = max(row.known_ps, self.lane_end_ps[row.lane])
        row.lane = -1
        if rep.prefilling == r:
            rep.prefilling = -1
        unlink(self.request, &rep.running, r)
        rep.n_running -= 1
        self.kv.release(p, r, row.computed, True)
        row.computed = 0
        row.state = WAITING
        row.preemptions += 1
        link_head(self.request, &rep.waiting, r)
        rep.n_waiting += 1
        self.thrown_out += 1
        self.preemptions += 1

    cdef int64_t step_prompts(self, int64_t p, int64_t left) noexcept nogil:
        """Running requests with prompt left get the rest of it or of the budget; what is left of the budget."""
        cdef ReplicaRow *rep = &self.replica[p]
        cdef int64_t r = rep.prefilling, chunk, held, needed, before
        while r >= 0 and left > 0:
            before = self.request[r].computed
            chunk = min(self.request[r].prompt + self.request[r].sampled - before, left)
            held, needed = self.kv.held(r, before), self.kv.held(r, before + chunk)
            while needed - held > self.kv.free[p]:
                if rep.running.tail == r:
                    self.preempt_last(p)
                    return left
                self.preempt_last(p)
            self.kv.take(p, r, held, needed)
            self.add_chunk(p, r, chunk)
            left -= chunk
            r = rep.prefilling
        return left

    cdef void admit(self, int64_t p, int64_t left) noexcept nogil:
        """Waiting requests, first come first served, while budget, slots and blocks last."""
        cdef ReplicaRow *rep = &self.replica[p]
        cdef int64_t r, total, hits, from_free, chunk, blocks
        cdef RequestRow *row
        if self.static and rep.n_running:
            return
        # A static batch is formed at once; its later prompts get their tokens in later steps.
        while rep.waiting.head >= 0 and rep.n_running < self.max_seqs and (left > 0 or self.static):
            r = rep.waiting.head
            row = &self.request[r]
            if self.lanes > 1 and row.known_ps > self.now_ps:
                return
            total = row.prompt + row.sampled
            hits = self.kv.lookup(p, r, total, &from_free)
            chunk = min(total - hits * self.block_tokens, left)
            blocks = self.kv.held(r, total if self.reserve != CHUNK else hits * self.block_tokens + chunk)
            if blocks - hits + from_free > self.kv.free[p]:
                return
            self.enter_running(p, r, hits)
            self.kv.touch(p, r, hits)
            self.kv.take(p, r, hits, self.kv.held(r, row.computed + chunk))
            if chunk:
                self.add_chunk(p, r, chunk)
            left -= chunk

    cdef void enter_running(self, int64_t p, int64_t r, int64_t hits) noexcept nogil:
        """The first waiting request gets a slot behind all others."""
        cdef ReplicaRow *rep = &self.replica[p]
        cdef RequestRow *row = &self.request[r]
        unlink(self.request, &rep.waiting, r)
        link_tail(self.request, &rep.running, r)
        rep.n_waiting -= 1
        rep.n_running += 1
        row.state = PREFILL
        row.computed = hits * self.block_tokens
        if row.admitted_ps < 0:
            row.admitted_ps = self.now_ps
            row.cached = row.computed
        if rep.prefilling < 0:
            rep.prefilling = r

    cdef void add_chunk(self, int64_t p, int64_t r, int64_t chunk) noexcept nogil:
        """A chunk joins the batch; with its end the first token is sampled and the request decodes."""
        cdef RequestRow *row = &self.request[r]
        cdef ChunkRow *out = &self.chunk[self.step.n_prefill]
        out.request = r
        out.chunk = chunk
        out.cached = row.computed
        self.step.n_prefill += 1
        self.step.tokens += chunk
        row.computed += chunk
        self.kv.publish(p, r, out.cached, row.computed)
        if row.computed < row.prompt + row.sampled:
            return
        self.replica[p].prefilling = row.next
        row.sampled += 1
        if row.sampled < row.output and not self.even:
            row.lane = self.lane
            self.decodes.enter(self.lane, r)
            return
        row.state = STARTING if row.sampled < row.output else DRAINING
        self.turning[self.n_turning] = r
        self.n_turning += 1
