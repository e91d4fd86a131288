"""One DRAM channel under commands, event by event; reference/dram.py says tick by tick what is right.

Design: the controller is looked at only in ticks in which something may issue, be accepted or become due. `wake_row`
and `wake_col` are lower bounds of the next issue: every change that could bring one earlier lowers them, a slot that
finds nothing sets them to the earliest tick a candidate becomes ready. A bank has at most one candidate for each slot
and buffer (its oldest hit; its oldest miss or, closed, its oldest request), so a slot looks at banks, by masks, not at
requests. The write mode is settled in every tick in which its inputs may have changed; settling twice is the same as
once. Rejected: one ready time a request (each command touches all of them), a heap of wake-ups (two numbers do).
The rules are those of DRAM controllers in the field (first ready first come first served, Rixner et al., ISCA 2000)
with the exact order of docs/memory.md; per-bank refresh and the policies closed and timeout are hwsim's own.
"""

import numpy as np

from hwsim._core import dram_tables
from hwsim._core.dram_notes import notes_of
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from hwsim._core.dram_column_slot cimport answer, column_slot, settle, wake_to_settle
from hwsim._core.dram_queue cimport bit_of, decoded, enqueue, waits_to_write
from hwsim._core.dram_row_slot cimport row_slot
from hwsim._core.dram_rows cimport (ACT, ALL_BANK, BANKS, NOTES, PER_BANK, PRE, QUEUE, RD, WINDOW, WINDOWS, CommandRow,
                                    NoteRow, SettingsRow, WindowRow)
from hwsim._core.dram_skip cimport BUCKETS, EDGES, STATES, Edge, Node, Skip, forget, look, prepare
from hwsim._core.dram_state cimport FAR_TICK, WRITES, Counts, Ports, State, Unit
from hwsim._core.dram_timing cimport all_ready, later, sooner


# ---- time

cdef void ask_refresh(State* s) noexcept nogil:
    """A refresh becomes due in every unit."""
    cdef int u, b, end
    for u in range(s.n_units):
        b = u << s.unit_shift
        end = b + s.n_unit_banks
        if s.set.refresh == PER_BANK:
            b += <int>s.units[u].turn
            end = b + 1
            s.units[u].turn = (s.units[u].turn + 1) & (s.n_unit_banks - 1)
            s.units[u].due |= bit_of(s, b)
        s.due[s.n_due] = u if s.set.refresh == ALL_BANK else b
        s.n_due += 1
        for b in range(b, end):
            s.banks[b].asked = s.now
    s.next_refresh += s.set.interval
    s.wake_row = sooner(s.wake_row, s.now)


cdef inline void tick(State* s, Ports* io) noexcept nogil:
    """All that the controller does in tick s.now."""
    cdef bint rising = not s.set.half or s.now & 1, used = False
    if s.now == s.next_refresh:
        ask_refresh(s)
    if rising and s.now >= s.wake_col:
        used = column_slot(s, io)
    if s.set.shared and used:
        s.wake_row = later(s.wake_row, s.now + 1)
    else:
        settle(s)
        if s.now >= s.wake_row:
            row_slot(s, io, rising)
    wake_to_settle(s, s.now + 1)


cdef inline bint accept(State* s, Ports* io, int64_t seq, int64_t now) noexcept nogil:
    """Offer a request to its buffer; False if that is full."""
    cdef uint64_t address, at
    cdef int kind, b
    cdef int32_t row, column
    if io.address == NULL:
        address, kind = io.base + (seq - io.first) * io.stride, io.kind
    else:
        address, kind = io.address[seq - io.first], io.is_write[seq - io.first]
    at = decoded(io, address)
    column, b, row = at & 0xFFFF, (at >> 16) & 0xFFFF, at >> 32
    if s.banks[b].head[WRITES] >= 0 and waits_to_write(s, b, row, column):
        s.counts.merged += kind
        s.counts.forwarded += 1 - kind
        if io.address != NULL:
            io.arrive[seq - io.first] = now
        answer(s, io, seq, now, now + 1, &s.banks[b])
        return True
    if s.length[kind] == (s.set.writes if kind else s.set.reads):
        s.stuck, s.unstuck = kind, FAR_TICK
        return False
    if io.address != NULL:
        io.arrive[seq - io.first] = now
    enqueue(s, kind, b, row, column, seq, now)
    wake_to_settle(s, now + 1)
    if kind == s.writing:
        wake_for(s, b, kind, now + 1)
    return True


cdef inline void wake_for(State* s, int b, int kind, int64_t soonest) noexcept nogil:
    """A new request may be a candidate: look no later than when it can issue."""
    cdef Unit* unit = &s.units[b >> s.unit_shift]
    cdef uint64_t bit = bit_of(s, b)
    if soonest < s.wake_col and unit.hits[kind] & bit:
        s.wake_col = sooner(s.wake_col, later(soonest, all_ready(s, b, RD + kind)))
    if soonest < s.wake_row:
        if unit.opens[kind] & bit:
            s.wake_row = sooner(s.wake_row, later(soonest, all_ready(s, b, ACT)) | s.set.half)
        elif unit.closes[kind] & bit:
            s.wake_row = sooner(s.wake_row, later(soonest, all_ready(s, b, PRE)))


cdef int64_t run(State* s, Ports* io, int64_t seq, bint more, Skip* skip) noexcept nogil:
    """Accept requests from `seq` on until all of the ports are in, or until all are answered if no more will come.

    Returns the next request to accept, or -1 if nothing can ever happen again.
    """
    cdef int64_t now, at
    while True:
        if skip != NULL and seq == skip.look:
            seq = look(s, io, skip, seq)
        now = later(s.now + 1, sooner(sooner(s.wake_row, s.wake_col | s.set.half), s.next_refresh))
        if seq < io.end:
            at = io.start + (seq - io.first) * io.interval if io.address == NULL else io.earliest[seq - io.first]
            at = later(at, s.accepted + 1)
            if s.stuck >= 0:
                at = FAR_TICK
            elif s.unstuck > at:
                at = s.unstuck
            if at < now:
                if accept(s, io, seq, at):
                    s.accepted = at
                    seq += 1
                continue
        elif more or s.issued == io.end:
            return seq
        if now >= FAR_TICK:
            return -1
        s.now = now
        tick(s, io)


cdef int64_t advance(State* s, Ports* io, int64_t seq, int64_t until, int64_t* next_tick) noexcept nogil:
    """Accept requests from `seq` on and run to tick `until`, for a caller who finds out as he goes what comes later.

    Later requests may not be wanted earlier than `until`. Returns the next request to accept; `next_tick` is when
    something happens next (at the latest the next refresh).
    """
    cdef int64_t now, at
    while True:
        now = later(s.now + 1, sooner(sooner(s.wake_row, s.wake_col | s.set.half), s.next_refresh))
        at = FAR_TICK
        if seq < io.end and s.stuck < 0:
            at = later(later(io.earliest[seq - io.first], s.accepted + 1), s.unstuck)
        next_tick[0] = sooner(at, now)
        if next_tick[0] > until:
            return seq
        if at < now:
            if accept(s, io, seq, at):
                s.accepted = at
                seq += 1
        else:
            s.now = now
            tick(s, io)


# ---- from Python

cdef class Channel:
    """One channel and its state; fed with requests in order, as many calls as there are pieces.

    Parameters
    ----------
    settings : SETTINGS_ROW[1]
    rules : RULE_ROW[n]
    decode : uint64[8, 256]
    """

    def __init__(self, settings, rules, decode):
        cdef char[::1] memory
        cdef const SettingsRow[::1] row = settings
        assert settings.dtype == dram_tables.SETTINGS_ROW and rules.dtype == dram_tables.RULE_ROW
        assert max(settings["reads"][0], settings["writes"][0]) <= QUEUE
        self.decode = np.ascontiguousarray(decode, dtype=np.uint64)
        self.memory = memory = np.zeros(sizeof(State) + 64, np.int8)
        self.s = <State*>((<size_t>&memory[0] + 63) & ~<size_t>63)
        self.n_accepted = 0
        self.late = [np.empty(2 * QUEUE + BANKS, t) for t in (np.int64, np.int64, np.uint8)]
        self.s.set = row[0]
        self.shape(settings["shift"][0])
        notes, windows = notes_of(settings, rules)
        self.load(notes, windows)
        self.reset()

    cdef void shape(self, shift):
        cdef State* s = self.s
        assert shift[4] == 0 and shift[0] - shift[1] <= 3 and shift[1] <= 6, shift
        s.n_units, s.n_unit_banks = 1 << (shift[0] - shift[1]), 1 << shift[1]
        s.unit_shift, s.group_shift = shift[1], shift[3]
        s.groups = s.n_units
        s.leaves = s.groups + (1 << (shift[0] - shift[3]))
        s.n_nodes = s.leaves + (1 << shift[0])

    cdef void load(self, const NoteRow[::1] notes, const WindowRow[::1] windows):
        cdef State* s = self.s
        cdef Py_ssize_t i
        cdef int command
        assert notes.shape[0] <= NOTES and windows.shape[0] <= WINDOWS
        for i in range(notes.shape[0]):
            s.notes[i] = notes[i]
            for command in range(notes[i].after + 1, 10):
                s.first[command] += 1
        for i in range(windows.shape[0]):
            s.windows[i] = windows[i]
        s.n_windows = <int>windows.shape[0]

    cdef void reset(self) noexcept:
        cdef State* s = self.s
        cdef int i, k, u
        s.wake_col, s.wake_row = 1, 1
        s.accepted, s.stuck, s.pair_unit = -1, -1, -1
        s.next_refresh = s.set.phase if s.set.refresh else FAR_TICK
        for i in range(WINDOWS):
            for u in range(s.n_units):
                for k in range(WINDOW):
                    s.rings[i][u][k] = -(<int64_t>1 << 40)
        for i in range(s.n_units * s.n_unit_banks):
            s.banks[i].row = s.banks[i].active = s.banks[i].refreshed = -1
            for k in range(2):
                s.banks[i].head[k] = s.banks[i].tail[k] = s.banks[i].hit[k] = s.banks[i].miss[k] = -1
        for i in range(2 * QUEUE):
            s.entries[i].next = i + 1

    def feed(self, const int64_t[::1] address, const uint8_t[::1] is_write, const int64_t[::1] earliest,
             int64_t[::1] arrive, int64_t[::1] depart, uint8_t[::1] delayed, bint more=False,
             CommandRow[::1] log=None):
        """Run requests without the GIL; `more` says that others will follow in a later call.

        Without `more` all are answered when it returns. With it, requests still waiting have no entry in `depart` yet.

        Returns
        -------
        tuple of int64[n], int64[n], uint8[n]
            Number, departure and delay of requests of earlier calls that were answered in this one.
        """
        cdef Ports io
        cdef int64_t n = address.shape[0], reached
        cdef int64_t[::1] late_seq = self.late[0], late_depart = self.late[1]
        cdef uint8_t[::1] late_delayed = self.late[2]
        cdef const uint64_t[:, ::1] decode = self.decode
        for length in (is_write.shape[0], earliest.shape[0], arrive.shape[0], depart.shape[0], delayed.shape[0]):
            assert length == n, (length, n)
        io.first, io.end, io.n_late, io.decode = self.n_accepted, self.n_accepted + n, 0, &decode[0, 0]
        io.late_seq, io.late_depart, io.late_delayed = &late_seq[0], &late_depart[0], &late_delayed[0]
        io.address = io.late_seq    # of no request: only a stream has none
        if n:
            io.address, io.is_write, io.earliest = &address[0], &is_write[0], &earliest[0]
            io.arrive, io.depart, io.delayed = &arrive[0], &depart[0], &delayed[0]
        io.n_log = io.log_room = 0
        if log is not None and log.shape[0]:
            io.log, io.log_room = &log[0], log.shape[0]
        with nogil:
            reached = run(self.s, &io, self.n_accepted, more, NULL)
        self.finish(reached, io.end)
        return tuple(array[: io.n_late].copy() for array in self.late)

    cdef void finish(self, int64_t reached, int64_t end) except *:
        if reached < 0:
            raise RuntimeError(f"DRAM channel: nothing can issue after tick {self.s.now}")
        self.n_accepted = end

    def stream(self, int64_t base, int64_t stride, int64_t count, bint is_write, int64_t start, int64_t interval,
               int64_t period):
        """Run requests at equal distances, all answered when it returns, without the GIL.

        Parameters
        ----------
        base, stride : int
            Address of the first request and bytes from each to the next (at least 1).
        count : int
        start, interval : int
            Earliest tick of the first request and ticks from each to the next.
        period : int
            Bytes of a row of all banks, after which addresses differ in nothing but their row: what the channel did
            from a state that it was in before is added. 0 runs every request.

        Returns
        -------
        tuple of int, int
            Last departure, and how many of the requests were added instead of run.
        """
        cdef Ports io
        cdef Skip skip
        cdef int64_t reached
        cdef const uint64_t[:, ::1] decode = self.decode
        cdef int64_t[::1] words
        cdef char[::1] nodes, edges
        cdef int32_t[:, ::1] heads
        if period:
            assert self.s.issued == self.n_accepted, "requests before a stream are answered"
            prepare(self.s, &skip, period, stride, self.n_accepted)
            words, heads = np.empty(skip.room, np.int64), np.empty((2, BUCKETS), np.int32)
            nodes, edges = np.empty(STATES * sizeof(Node), np.int8), np.empty(EDGES * sizeof(Edge), np.int8)
            skip.words, skip.node_heads, skip.edge_heads = &words[0], &heads[0, 0], &heads[1, 0]
            skip.nodes, skip.edges = <Node*>&nodes[0], <Edge*>&edges[0]
            forget(&skip)
        io.address, io.decode, io.first, io.end = NULL, &decode[0, 0], self.n_accepted, self.n_accepted + count
        io.base, io.stride, io.start, io.interval = base, stride, start, interval
        io.kind, io.last, io.log_room, io.n_log = is_write, -1, 0, 0
        with nogil:
            reached = run(self.s, &io, self.n_accepted, False, &skip if period else NULL)
        self.finish(reached, io.end)
        return io.last, skip.skipped if period else 0

    @property
    def now(self):
        """Last tick the controller looked at."""
        return self.s.now

    @property
    def counts(self):
        """Commands by name, requests merged, forwarded and row hits, and ticks of open rows summed over banks."""
        cdef Counts* counts = &self.s.counts
        cdef int b
        cdef int64_t open_ticks = counts.open_ticks
        for b in range(self.s.n_units * self.s.n_unit_banks):
            if self.s.banks[b].row >= 0:
                open_ticks += self.s.now
        found = {name: counts.commands[i] for i, name in enumerate(dram_tables.COMMAND_NAMES)}
        return found | {"merged": counts.merged, "forwarded": counts.forwarded, "hits": counts.hits,
                        "open_ticks": open_ticks}
