"""The serving core: requests through schedulers, KV blocks and batches in flight, event by event.

Use (the tables are documented in serve_types)::

    run = ServeRun(requests, rules, costs)
    while (status := run.run(steps, chunks)) != DONE:
        if status == MISSING:        # rows (table, ix, iy) of run.missing(): fill those samples in the cost tables
            ...
        elif status == BUFFER_FULL:  # steps[:run.n_steps], chunks[:run.n_chunks] are ready: take them
            ...
    table = run.requests()           # serve_types.REQUEST_DTYPE, one row a request

Design: events are ordered by (time, kind, replica or request): outputs of batches, then arrivals, then schedulers; a
replacement in a closed loop is therefore seen by a scheduler of the same picosecond. A step is chosen (scheduler.pyx),
then priced, then recorded; `phase` remembers how far it came, so a call can return in between (MISSING, BUFFER_FULL)
and go on without deciding anything again.

All nogil methods are noexcept by proof or return a status.
"""

import numpy as np

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t
from hwsim._core.steps cimport Steps, StepSums
from hwsim._core.queues cimport link_tail, unlink
from hwsim._core.scheduler cimport Scheduler
from hwsim._core.serve_rows cimport (
    DRAINING, FINISHED, INBOX, PREFILL, REFUSED, STARTING, WAITING, ChunkRow, ReplicaRow, StepRow,
)
from hwsim._core.surface cimport OUTSIDE, MissingList, Surface, ask, miss

from hwsim._core import serve_types as types

cdef enum Status:       # serve_types
    GO = -1
    DONE, MISSING, BUFFER_FULL, PAUSED, STUCK, OUT_OF_TABLE

cdef enum Kind:         # of events, in their order
    OUTPUT, ARRIVAL, SCHEDULE

cdef enum Phase:        # of the step being made
    NONE, PRICE, RECORD

cdef enum Table:        # of missing samples (serve_types)
    TOKEN_TIME, SEQ_TIME, STEP = 4

cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF
cdef int64_t SLICE = 1 << 16    # events between two looks at signals


cdef class ServeRun(Scheduler):
    """One serving run, which can be continued until it is done.

    Parameters
    ----------
    requests : serve_types.Requests
    rules : serve_types.Rules
    costs : serve_types.Costs
        Kept by reference: fill missing samples in place.

    Attributes
    ----------
    n_steps, n_chunks : int
        Rows the last `run` wrote.
    total_steps, total_chunks, preemptions, finished : int
        Since the beginning.
    now_ps : int
        Time of the last event.
    guess : bool
        Price attention whose cell has no sample by the closed form instead of returning MISSING: a run that only
        looks ahead for the cells that a true run will need.
    """

    cdef readonly object costs
    cdef public bint guess
    cdef readonly int64_t n_steps, n_chunks, total_steps, total_chunks, finished
    cdef int64_t[:, ::1] batch_end      # [replicas, depth] end of each batch in flight
    cdef int64_t[:, ::1] batch_head     # [replicas, depth] its requests that finish or start to decode, in running order
    cdef int64_t[:, ::1] batch_lane     # [replicas, depth] its lane
    cdef int64_t[:, ::1] stage_free     # [replicas, stages] end of the last batch on a stage
    cdef int64_t n, n_refused
    cdef int64_t arriving               # request that arrives next
    cdef int64_t released               # requests whose arrival is known
    cdef int64_t routed                 # requests that came through the router
    cdef int64_t depth, frontend, tile_tokens
    cdef bint least_loaded
    # costs
    cdef const int64_t[:, ::1] token_time, seq_time     # [kinds of stages, count + 1]
    cdef const int64_t[::1] layers, step_gap, seq_gap, mixed_gap, fetch    # [kinds]
    cdef const int64_t[::1] decode_order, prefill_order             # [stages] their kinds, -1 = passed at once
    cdef const int64_t[::1] pad
    cdef int64_t change_ps
    cdef Surface prefill, decode
    cdef Steps steps                    # of steps the surfaces do not know, or None
    cdef int64_t[:, ::1] missing_rows
    cdef MissingList lacking
    # the step being made
    cdef int64_t phase, recorded
    cdef int64_t[::1] stage_end         # [stages] when each stage is free of it
    cdef StepRow[::1] step_out
    cdef ChunkRow[::1] chunk_out
    cdef bint recording

    def __init__(self, requests, rules, costs):
        costs.check(rules)
        Scheduler.__init__(self, requests, rules)
        self.n = self.released = len(requests)
        self.n_refused = rules.refused(requests).sum()
        self.depth, self.frontend = rules.async_depth, rules.frontend_ps
        self.tile_tokens = rules.tile_tokens
        self.least_loaded = rules.router == "least-loaded"
        if rules.concurrency:
            self.released = min(rules.concurrency, self.n)
            self.table["arrival_ps"] = -1
            self.table["arrival_ps"][:self.released] = 0
        self.batch_end = np.zeros((rules.replicas, self.depth), np.int64)
        self.batch_head = np.full((rules.replicas, self.depth), -1, np.int64)
        self.batch_lane = np.zeros((rules.replicas, self.depth), np.int64)
        self.stage_free = np.zeros((rules.replicas, rules.stages), np.int64)
        self.stage_end = np.zeros(rules.stages, np.int64)
        self._take_costs(costs)

    def _take_costs(self, costs):
        self.costs = costs
        self.token_time, self.seq_time = costs.token_time, costs.seq_time
        self.pad, self.layers, self.step_gap = costs.pad, costs.layers, costs.step_gap_ps
        self.change_ps = costs.change_ps
        self.seq_gap, self.mixed_gap, self.fetch = costs.seq_gap_ps, costs.mixed_gap_ps, costs.fetch_ps
        if costs.step is not None:
            self.steps = costs.step.table
        if costs.prefill is not None:
            point_at(&self.prefill, costs.prefill, types.PREFILL)
            point_at(&self.decode, costs.decode, types.DECODE)
        self.decode_order, self.prefill_order = costs.decode_order, costs.prefill_order
        self.missing_rows = np.zeros((4 * self.max_seqs + 8 + 2 * len(costs.decode_order), 3), np.int64)
        self.lacking.row = &self.missing_rows[0, 0]
        self.lacking.room = self.missing_rows.shape[0]

    def run(self, steps=None, chunks=None, int64_t max_steps=NEVER):
        """Go on until done, or until something is needed.

        Parameters
        ----------
        steps : STEP_DTYPE[], optional
            Written from its beginning; `n_steps` rows are valid on return. Without it nothing is recorded.
        chunks : CHUNK_DTYPE[], optional
            The prefill chunks of those steps; needed with `steps`.
        max_steps : int
            Steps after which to return PAUSED.

        Returns
        -------
        int
            serve_types.DONE, MISSING, BUFFER_FULL, PAUSED, STUCK (an error of the core) or OUT_OF_TABLE (a question
            beyond a surface's grid: `step_in_hand` names it).
        """
        cdef int64_t status = GO, last = self.total_steps + min(max_steps, NEVER - self.total_steps)
        self.recording = steps is not None
        if self.recording:
            self.step_out, self.chunk_out = steps, chunks
        self.n_steps = self.n_chunks = 0
        while status == GO:
            with nogil:
                status = self.events(last)
            PyErr_CheckSignals()
        return status

    def missing(self):
        """Samples the last `run` lacked, each once: int64[m, 3] of (table, ix, iy)."""
        return np.unique(np.asarray(self.missing_rows)[:self.lacking.count], axis=0)

    def step_in_hand(self):
        """The step being priced and its chunks, as (dict, CHUNK_DTYPE[])."""
        return self.step, np.asarray(self.chunk)[:self.step.n_prefill].copy()

    def requests(self):
        """What became of the requests: REQUEST_DTYPE[n]; -1 = not (yet), refused requests stay so for ever."""
        out = np.empty(self.n, types.REQUEST_DTYPE)
        for name in types.REQUEST_COLUMNS:
            out[name] = self.table[name]
        return out

    @property
    def refused(self):
        """Requests that need more KV blocks than a replica has; they never arrive."""
        return self.n_refused

    # ------------------------------------------------------------------ events

    cdef int64_t events(self, int64_t last_step) noexcept nogil:
        """Up to SLICE events; GO or the reason to stop."""
        cdef int64_t i, status, p, best, best_ps, best_kind, arrival_ps
        for i in range(SLICE):
            if self.phase != NONE:
                status = self.finish_step()
                if status != GO:
                    return status
            if self.total_steps >= last_step:
                return PAUSED
            arrival_ps = self.next_arrival()
            best, best_ps, best_kind = -1, arrival_ps, ARRIVAL
            for p in range(self.replica.shape[0]):
                if self.replica[p].next_ps < best_ps or (
                        self.replica[p].next_ps == best_ps and self.replica[p].next_kind < best_kind):
                    best, best_ps, best_kind = p, self.replica[p].next_ps, self.replica[p].next_kind
            if best_ps == NEVER:
                return DONE if self.finished + self.n_refused == self.n else STUCK
            self.now_ps = best_ps
            if best_kind == ARRIVAL:
                self.arrive(self.arriving)
            elif best_kind == OUTPUT:
                self.output(best)
            else:
                self.schedule(best)
        return GO

    cdef int64_t next_arrival(self) noexcept nogil:
        while self.arriving < self.released and self.request[self.arriving].state == REFUSED:
            self.arriving += 1
        return self.request[self.arriving].arrival_ps if self.arriving < self.released else NEVER

    cdef void arrive(self, int64_t r) noexcept nogil:
        """Route a request into a replica's inbox; an idle replica will wake when it can see it."""
        cdef int64_t p = self.routed % self.replica.shape[0], other
        cdef ReplicaRow *rep
        self.arriving += 1
        self.routed += 1
        if self.least_loaded:
            p = 0
            for other in range(1, self.replica.shape[0]):
                if self.load(other) < self.load(p):
                    p = other
        rep = &self.replica[p]
        self.request[r].replica = p
        self.request[r].state = INBOX
        link_tail(self.request, &rep.inbox, r)
        rep.n_waiting += 1
        if rep.next_ps == NEVER or self.enters_before_output(rep, self.now_ps + self.frontend):
            rep.next_ps = self.now_ps + self.frontend
            rep.next_kind = SCHEDULE

    cdef bint enters_before_output(self, ReplicaRow *rep, int64_t seen_ps) noexcept nogil:
        """Whether a replica that waits for a batch has room for another before that is out (even micro-batches)."""
        return self.even and rep.next_kind == OUTPUT and rep.in_flight < self.depth and seen_ps < rep.next_ps

    cdef int64_t load(self, int64_t p) noexcept nogil:
        return 4 * self.replica[p].n_waiting + self.replica[p].n_running

    cdef void output(self, int64_t p) noexcept nogil:
        """Process the oldest batch's output: requests leave with their slots and blocks, or join a lane."""
        cdef ReplicaRow *rep = &self.replica[p]
        cdef int64_t r = self.batch_head[p, rep.oldest], behind
        while r >= 0:
            behind = self.request[r].batch_next
            if self.request[r].state == STARTING:
                self.join(p, r)
            elif self.request[r].sampled == self.request[r].output:
                self.end(p, r)
            r = behind      # else preempted while its first token was on the way: it waits
        if self.batch_lane[p, rep.oldest] >= 0:
            self.lane_busy[self.batch_lane[p, rep.oldest]] = 0
        rep.oldest = (rep.oldest + 1) % self.depth
        rep.in_flight -= 1
        rep.next_kind = SCHEDULE

    cdef void end(self, int64_t p, int64_t r) noexcept nogil:
        """A request's last token is out; in a closed loop the next one arrives."""
        cdef ReplicaRow *rep = &self.replica[p]
        if self.request[r].state == WAITING:    # preempted while its last token was on the way
            unlink(self.request, &rep.waiting, r)
            rep.n_waiting -= 1
        else:
            unlink(self.request, &rep.running, r)
            rep.n_running -= 1
            self.kv.release(p, r, self.request[r].computed, False)
        self.request[r].state = FINISHED
        self.finished += 1
        if self.released < self.n:
            self.request[self.released].arrival_ps = self.now_ps
            self.released += 1

    cdef void drain(self, ReplicaRow *rep) noexcept nogil:
        """Requests the engine can see go from its inbox to the end of the waiting queue."""
        cdef int64_t r = rep.inbox.head
        while r >= 0 and self.inbox_ps(rep) <= self.now_ps:
            unlink(self.request, &rep.inbox, r)
            link_tail(self.request, &rep.waiting, r)
            self.request[r].state = WAITING
            self.request[r].queued_ps = self.now_ps
            r = rep.inbox.head

    cdef void wait(self, int64_t p) noexcept nogil:
        """Nothing more to schedule now: wait for the oldest batch, else for the inbox."""
        cdef ReplicaRow *rep = &self.replica[p]
        if rep.in_flight:
            rep.next_ps = self.batch_end[p, rep.oldest]
            rep.next_kind = OUTPUT
            if rep.inbox.head >= 0 and self.enters_before_output(rep, self.inbox_ps(rep)):
                rep.next_ps = self.inbox_ps(rep)
                rep.next_kind = SCHEDULE
        elif self.thrown_out:       # the blocks of those just preempted are free now
            rep.next_kind = SCHEDULE
        elif rep.inbox.head >= 0:
            rep.next_ps = self.inbox_ps(rep)
        else:
            rep.next_ps = NEVER

    cdef int64_t inbox_ps(self, ReplicaRow *rep) noexcept nogil:
        """When the engine can see the first request of its inbox."""
        return self.request[rep.inbox.head].arrival_ps + self.frontend

    cdef void schedule(self, int64_t p) noexcept nogil:
        """A replica's scheduler gets its turn; without a batch to run it waits."""
        cdef ReplicaRow *rep = &self.replica[p]
        cdef int64_t at
        self.drain(rep)
        if not self.choose(p):
            self.wait(p)
            return
        self.step.scheduled_ps = self.now_ps
        self.step.start_ps = max(self.now_ps, self.stage_free[p, 0])
        if self.change_ps and rep.chunks >= 0 and rep.chunks != (self.step.n_prefill > 0):
            for at in range(self.stage_free.shape[1]):
                self.step.start_ps = max(self.step.start_ps, self.stage_free[p, at])
            self.step.start_ps += self.change_ps
        self.phase = PRICE
        self.recorded = 0

    # ------------------------------------------------------------------ the chosen step

    cdef int64_t finish_step(self) noexcept nogil:
        """Price, record and commit the chosen step."""
        cdef int64_t status
        if self.phase == PRICE:
            status = self.price()
            if status != GO:
                return status
            self.phase = RECORD
        if self.recording:
            while self.recorded < self.step.n_prefill:
                if self.n_chunks == self.chunk_out.shape[0]:
                    return BUFFER_FULL
                self.chunk[self.recorded].step = self.total_steps
                self.chunk_out[self.n_chunks] = self.chunk[self.recorded]
                self.n_chunks += 1
                self.recorded += 1
            if self.n_steps == self.step_out.shape[0]:
                return BUFFER_FULL
            self.step_out[self.n_steps] = self.step
            self.n_steps += 1
        self.commit()
        self.phase = NONE
        return GO

    cdef int64_t price(self) noexcept nogil:
        """Time of the step, or MISSING with all the samples it lacks."""
        cdef int64_t padded, attention
        self.lacking.count = 0
        padded = self.pad[self.step.tokens]
        self.step.cell = self.step.decode_cell = -1
        attention = self.price_parts() if self.by_surface() else self.price_step()
        self.pass_stages(padded, attention)
        if self.lacking.count:      # before OUTSIDE: missing samples are negative too, and so is their sum
            return MISSING
        if attention == OUTSIDE:
            return OUT_OF_TABLE
        self.step.padded = padded
        return GO

    cdef void pass_stages(self, int64_t padded, int64_t attention) noexcept nogil:
        """When the step is through each stage; `attention` of one layer."""
        cdef const int64_t[::1] order = self.prefill_order if self.step.n_prefill else self.decode_order
        cdef int64_t at, kind, dense, head, time, end = self.step.start_ps
        self.step.busy_ps = self.step.attention_ps = self.step.wait_ps = 0
        for at in range(order.shape[0]):
            kind, end = order[at], max(end, self.stage_free[self.step.replica, at])
            if kind >= 0:
                dense, head = self.token_time[kind, padded], self.seq_time[kind, self.step.n_sched]
                if dense < 0:
                    miss(&self.lacking, TOKEN_TIME, padded, kind)
                if head < 0:
                    miss(&self.lacking, SEQ_TIME, self.step.n_sched, kind)
                time = attention * self.layers[kind]
                self.step.attention_ps += time
                time += dense + head + self.step_gap[kind] + self.seq_gap[kind] * self.step.n_sched
                if self.step.n_prefill:
                    time += self.mixed_gap[kind]
                self.step.wait_ps += max(0, self.fetch[kind] - max(1, time))
                time = max(1, max(time, self.fetch[kind]))
                end += time
                self.step.busy_ps += time
            self.stage_end[at] = end
        self.step.end_ps = end

    cdef bint by_surface(self) noexcept nogil:
        """Whether the surfaces price the step's attention: always without a table of steps, else a uniform one."""
        cdef int64_t longest = (self.step.longest + self.tile_tokens - 1) // self.tile_tokens
        if self.steps is None or self.prefill.nx == 0:
            return self.steps is None
        if self.step.n_decode == 0:
            return self.step.n_prefill == 1
        return self.step.n_prefill == 0 and self.step.n_decode * longest == self.step.sum_tiles

    cdef int64_t price_step(self) noexcept nogil:
        """Attention of the step as a whole, one layer."""
        cdef StepSums sums
        cdef int64_t cells[2]
        cdef int64_t i, chunk, cached, time
        sums.tokens = sums.squares = sums.behind = sums.reach = sums.widest = 0
        for i in range(self.step.n_prefill):
            chunk, cached = self.chunk[i].chunk, self.chunk[i].cached
            sums.tokens += chunk
            sums.squares += chunk * chunk
            sums.behind += chunk * cached
            sums.reach = max(sums.reach, chunk + cached)
            sums.widest = max(sums.widest, chunk)
        sums.decodes = self.step.n_decode
        sums.tiles = self.step.sum_tiles
        sums.longest = (self.step.longest + self.tile_tokens - 1) // self.tile_tokens
        sums.keys = self.step.sum_context
        sums.moment = self.sum_squares if self.step.n_decode else 0
        time = self.steps.price(&sums, cells, self.guess)
        self.step.cell, self.step.decode_cell = cells[0], cells[1]
        if time < 0:
            for i in range(2):
                if cells[i] >= 0:
                    miss(&self.lacking, STEP, cells[i], 0)
        return time

    cdef int64_t price_parts(self) noexcept nogil:
        """Attention of the step's parts one after the other, one layer; OUTSIDE beyond a grid."""
        cdef int64_t i, part, total = 0
        for i in range(self.step.n_prefill):
            part = ask(&self.prefill, self.chunk[i].chunk, self.chunk[i].cached, 1, &self.lacking)
            if part == OUTSIDE:
                return OUTSIDE
            total += part
        if self.step.n_decode:
            part = ask(&self.decode, self.step.n_decode, self.step.sum_tiles, self.step.n_decode, &self.lacking)
            if part == OUTSIDE:
                return OUTSIDE
            total += part
        return total

    cdef void commit(self) noexcept nogil:
        """The batch is in flight: its end is known, its outputs come then."""
        cdef int64_t p = self.step.replica, i, r
        cdef ReplicaRow *rep = &self.replica[p]
        cdef int64_t slot = (rep.oldest + rep.in_flight) % self.depth, end = self.step.end_ps
        for i in range(self.step.n_prefill):
            r = self.chunk[i].request
            if self.request[r].state == PREFILL:
                continue
            self.request[r].known_ps = end
            if self.request[r].first_token_ps < 0:
                self.request[r].first_token_ps = end
        self.batch_head[p, slot] = -1
        for i in range(self.n_turning - 1, -1, -1):
            r = self.turning[i]
            if self.request[r].state == DRAINING:
                self.request[r].finish_ps = end
            self.request[r].batch_next = self.batch_head[p, slot]
            self.batch_head[p, slot] = r
        for i in range(self.stage_end.shape[0]):
            self.stage_free[p, i] = self.stage_end[i]
        self.batch_end[p, slot], self.batch_lane[p, slot] = end, self.lane
        if self.lane >= 0:
            self.lane_end_ps[self.lane] = end
            self.lane_busy[self.lane] = 1
        rep.in_flight += 1
        rep.chunks = self.step.n_prefill > 0
        self.total_steps += 1
        self.total_chunks += self.step.n_prefill
        if rep.in_flight == self.depth:
            rep.next_ps = self.batch_end[p, rep.oldest]
            rep.next_kind = OUTPUT
        else:
            rep.next_kind = SCHEDULE


cdef void point_at(Surface *surface, table, int64_t number):
    """Let a surface of the core read a serve_types.Surface, which the run keeps alive."""
    cdef const int64_t[::1] x = table.grid_x, y = table.grid_y
    cdef const int64_t[:, ::1] value = table.value
    surface.x, surface.y, surface.value = &x[0], &y[0], &value[0, 0]
    surface.nx, surface.ny, surface.skew = x.shape[0], y.shape[0], table.skew
    surface.table = number
