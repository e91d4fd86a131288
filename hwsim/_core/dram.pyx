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

from hwsim._core.dram_queue cimport (bit_of, close_row, enqueue, open_row, take_active, take_hit,
                                     waits_to_write)
from hwsim._core.dram_rows cimport (ACT, ALL_BANK, BANKS, CLOSED_ROWS, CommandRow, PER_BANK, PRE, PREA, QUEUE, RD,
                                    RDA, REF, REF_CLASS, REFPB, REFPB_CLASS, NOTES, TIMEOUT_ROWS,
                                    WINDOW, WINDOWS, WR, NoteRow, SettingsRow, WindowRow)
from hwsim._core.dram_state cimport (FAR_TICK, READS, WRITES, Bank, Counts, State, Unit, lowest_bit)
from hwsim._core.dram_timing cimport all_ready, forbid, later, sooner, unit_ready

cdef struct Pick:               # best candidate of a slot so far
    int64_t seq                 # FAR_TICK: none is ready
    int64_t wake                # earliest tick another becomes ready
    int32_t bank, waiting


# ---- candidates

cdef inline void look(State* s, Pick* pick, uint64_t mask, int u, int waiting, const int64_t* seq) noexcept nogil:
    """The oldest ready candidate of some banks of a unit; `seq` holds their numbers."""
    cdef const int64_t* group_at = &s.ready[waiting][s.groups]
    cdef const int64_t* bank_at = &s.ready[waiting][s.leaves]
    cdef int64_t ready, wake = pick.wake, oldest = pick.seq
    cdef int b, found = -1
    if mask == 0:
        return
    ready = unit_ready(s, u, waiting)
    if ready > s.now:
        pick.wake = sooner(wake, ready)
        return
    while mask:
        b = (u << s.unit_shift) + lowest_bit(mask)
        mask &= mask - 1
        ready = later(group_at[b >> s.group_shift], bank_at[b])
        wake = sooner(wake, ready if ready > s.now else FAR_TICK)
        found = b if (ready <= s.now) & (seq[b] < oldest) else found
        oldest = seq[b] if found == b else oldest
    pick.wake = wake
    if found >= 0:
        pick.seq, pick.bank, pick.waiting = oldest, found, waiting


cdef inline bint refreshing(State* s) noexcept nogil:
    """Whether an all-bank refresh waits: until it has issued nothing is picked from the buffers."""
    return s.n_due > 0 and s.set.refresh == ALL_BANK


cdef inline bint flips(State* s) noexcept nogil:
    """Whether the next pick from the buffers changes between reading and writing."""
    if refreshing(s):
        return False
    if s.writing:
        return s.length[WRITES] < s.set.low and s.length[READS] > 0
    return s.length[WRITES] > s.set.high or s.length[READS] == 0


cdef inline void wake_to_settle(State* s, int64_t soonest) noexcept nogil:
    """Look at both slots if the write mode changes there."""
    if flips(s):
        s.wake_row = sooner(s.wake_row, soonest)
        s.wake_col = sooner(s.wake_col, soonest)


cdef inline void settle(State* s) noexcept nogil:
    """Write mode of this pick; a change makes other candidates count."""
    if flips(s):
        s.writing ^= 1
        s.wake_row = sooner(s.wake_row, s.now)
        s.wake_col = sooner(s.wake_col, s.now + 1)


# ---- column slot

cdef inline void issue(State* s, Ports* io, int command, int b) noexcept nogil:
    """What all commands share."""
    forbid(s, command, b, s.now)
    s.counts.commands[command] += 1
    if io.n_log < io.log_room:
        io.log[io.n_log] = CommandRow(s.now, command, b)
        io.n_log += 1


cdef inline void answer(State* s, Ports* io, int64_t seq, int64_t arrive, int64_t depart, Bank* bank) noexcept nogil:
    """Note when a request is done, and whether a refresh stood in its way."""
    cdef uint8_t delayed = arrive < bank.refreshed and depart > bank.asked
    s.issued += 1
    if seq >= io.first:
        io.depart[seq - io.first] = depart
        io.delayed[seq - io.first] = delayed
    else:
        io.late_seq[io.n_late], io.late_depart[io.n_late], io.late_delayed[io.n_late] = seq, depart, delayed
        io.n_late += 1


cdef void issue_column(State* s, Ports* io, int b, int kind, bint active) noexcept nogil:
    cdef Bank* bank = &s.banks[b]
    cdef Unit* unit = &s.units[b >> s.unit_shift]
    cdef uint64_t bit = bit_of(s, b)
    cdef int command
    cdef int64_t seq = s.active_seq[b], arrive = bank.arrive
    if active:
        take_active(s, b)
    else:
        seq, arrive = s.entries[bank.hit[kind]].seq, s.entries[bank.hit[kind]].arrive
        s.counts.hits += 1
        take_hit(s, kind, b)
    command = RD + kind
    bank.used = s.now
    if s.set.policy == CLOSED_ROWS and bank.hit[READS] < 0 and bank.hit[WRITES] < 0 and bank.active < 0:
        command = RDA + kind
        close_row(s, b)
    issue(s, io, command, b)
    answer(s, io, seq, arrive, s.now + (s.set.latency if kind == READS else 0), bank)
    if s.n_due or s.set.policy == TIMEOUT_ROWS or \
            bit & (unit.closes[READS] | unit.closes[WRITES] | unit.opens[READS] | unit.opens[WRITES]):
        s.wake_row = sooner(s.wake_row, s.now)


cdef bint column_slot(State* s, Ports* io) noexcept nogil:
    """Issue the oldest ready column command; False if there is none."""
    cdef Pick pick
    cdef int u
    cdef bint active = True
    pick.seq = pick.wake = FAR_TICK
    for u in range(s.n_units):
        look(s, &pick, s.units[u].active[READS], u, RD, s.active_seq)
        look(s, &pick, s.units[u].active[WRITES], u, WR, s.active_seq)
    if pick.seq == FAR_TICK and not refreshing(s):
        settle(s)
        active = False
        for u in range(s.n_units):
            look(s, &pick, s.units[u].hits[s.writing] & ~s.units[u].due, u, RD + s.writing, s.hit_seq[s.writing])
    if pick.seq == FAR_TICK:
        s.wake_col = pick.wake
        return False
    s.wake_col = s.now + 1
    issue_column(s, io, pick.bank, pick.waiting - RD, active)
    return True


# ---- row slot

cdef inline void issue_row(State* s, Ports* io, int command, int b, bint rising) noexcept nogil:
    """Rules, counts and pairing that all row commands share."""
    cdef int64_t ready
    cdef int u
    issue(s, io, command, b)
    s.wake_row = s.now + 1
    if not s.n_due:
        ready = FAR_TICK
        for u in range(s.n_units):
            ready = sooner(ready, sooner(unit_ready(s, u, ACT), unit_ready(s, u, PRE)))
        s.wake_row = later(s.wake_row, ready)
    if rising:
        s.pair_tick = s.now + (s.set.act_length if command == ACT else 1)
        s.pair_command, s.pair_unit, s.pair_bank = command, b >> s.unit_shift, b


cdef inline bint paired(State* s, int u, bint rising) noexcept nogil:
    """Whether a precharge of a unit would pair with a row command of the rising edge."""
    return not rising and s.now == s.pair_tick and u == s.pair_unit


cdef void activate(State* s, Ports* io, int b, int kind, bint rising) noexcept nogil:
    """ACT for the oldest request of a closed bank; it becomes the bank's active one and leaves its buffer."""
    open_row(s, kind, b)
    issue_row(s, io, ACT, b, rising)
    s.wake_col = sooner(s.wake_col, later(s.now + 1, all_ready(s, b, RD + kind)))


cdef void refreshed(State* s, int first, int n_banks) noexcept nogil:
    """The refresh of some banks, at the head of the queue, has issued."""
    cdef int i
    for i in range(first, first + n_banks):
        s.banks[i].refreshed = s.now + s.set.recovery
    s.n_due -= 1
    for i in range(s.n_due):
        s.due[i] = s.due[i + 1]
    s.wake_col = sooner(s.wake_col, s.now + 1)


cdef void refresh_unit(State* s, Ports* io, bint rising) noexcept nogil:
    """PREA or REF of the unit whose turn it is; nothing else may use the row slot meanwhile."""
    cdef int u = s.due[0], b = u << s.unit_shift
    cdef int64_t ready
    cdef uint64_t mask = s.units[u].open
    if s.units[u].active[READS] | s.units[u].active[WRITES]:
        s.wake_row = FAR_TICK       # its column command lowers it again
        return
    ready = unit_ready(s, u, PREA if mask else REF_CLASS)
    if not mask:
        ready = later(ready, s.now) | s.set.half
    elif paired(s, u, rising):
        ready = later(ready, s.now + 1)
    if ready > s.now:
        s.wake_row = ready
        return
    issue_row(s, io, PREA if mask else REF, b, rising)
    if not mask:
        refreshed(s, b, s.n_unit_banks)
    while mask:
        close_row(s, b + lowest_bit(mask))
        mask &= mask - 1


cdef bint refresh_bank(State* s, Ports* io, Pick* pick, bint rising) noexcept nogil:
    """PRE or REFPB of the bank whose turn it is; False leaves the slot to the buffers."""
    cdef int b = s.due[0], u = b >> s.unit_shift
    cdef bint is_open = s.banks[b].row >= 0
    cdef int64_t ready = all_ready(s, b, PRE if is_open else REFPB_CLASS)
    if s.banks[b].active >= 0:
        return False
    if not is_open:
        ready = later(ready, s.now) | s.set.half
    elif paired(s, u, rising) and (s.pair_command in (PREA, REF) or b == s.pair_bank):
        ready = later(ready, s.now + 1)
    if ready > s.now:
        pick.wake = sooner(pick.wake, ready)
        return False
    issue_row(s, io, PRE if is_open else REFPB, b, rising)
    if is_open:
        close_row(s, b)
    else:
        s.units[u].due &= ~bit_of(s, b)
        refreshed(s, b, 1)
    return True


cdef inline uint64_t closable(State* s, Pick* pick, int u, uint64_t mask, bint rising) noexcept nogil:
    """Banks of a mask whose PRE the pairing rule allows now."""
    cdef uint64_t barred = 0
    if mask and paired(s, u, rising):
        barred = mask if s.pair_command in (PREA, REF) else mask & bit_of(s, s.pair_bank)
        if barred:
            pick.wake = sooner(pick.wake, s.now + 1)
    return mask & ~barred


cdef void look_idle(State* s, Pick* pick, int u, bint rising) noexcept nogil:
    """Banks that nobody waits for and whose time is over; the one unused longest counts as oldest."""
    cdef Unit* unit = &s.units[u]
    cdef uint64_t mask = unit.open & ~(unit.hits[READS] | unit.hits[WRITES] | unit.active[READS] | unit.active[WRITES] |
                                        unit.due)
    cdef int64_t ready
    cdef int b
    mask = closable(s, pick, u, mask, rising)
    while mask:
        b = (u << s.unit_shift) + lowest_bit(mask)
        mask &= mask - 1
        ready = later(all_ready(s, b, PRE), s.banks[b].used + s.set.timeout)
        if ready > s.now:
            pick.wake = sooner(pick.wake, ready)
        elif s.banks[b].used < pick.seq:
            pick.seq, pick.bank, pick.waiting = s.banks[b].used, b, PRE


cdef void row_slot(State* s, Ports* io, bint rising) noexcept nogil:
    """Refresh first, then the oldest ready ACT or PRE of the buffer in use, then rows unused for too long."""
    cdef Pick pick
    cdef Unit* unit
    cdef int u
    pick.seq = pick.wake = FAR_TICK
    if s.n_due:
        if s.set.refresh == ALL_BANK:
            refresh_unit(s, io, rising)
            return
        if refresh_bank(s, io, &pick, rising):
            return
    for u in range(s.n_units):
        unit = &s.units[u]
        look(s, &pick, closable(s, &pick, u, unit.closes[s.writing] & ~unit.due, rising), u, PRE,
             s.row_seq[s.writing])
        if rising:
            look(s, &pick, unit.opens[s.writing] & ~unit.due, u, ACT, s.row_seq[s.writing])
        elif unit.opens[s.writing] & ~unit.due:
            pick.wake = sooner(pick.wake, later(s.now + 1, unit_ready(s, u, ACT)) | s.set.half)
    if pick.seq == FAR_TICK and s.set.policy == TIMEOUT_ROWS:
        for u in range(s.n_units):
            look_idle(s, &pick, u, rising)
    if pick.seq == FAR_TICK:
        s.wake_row = pick.wake
    elif pick.waiting == ACT:
        activate(s, io, pick.bank, s.writing, rising)
    else:
        close_row(s, pick.bank)
        issue_row(s, io, PRE, pick.bank, rising)


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
    cdef uint64_t address = io.address[seq - io.first], at = 0
    cdef int kind = io.is_write[seq - io.first], b, i
    cdef int32_t row, column
    for i in range(8):
        at ^= io.decode[i * 256 + (address & 255)]
        address >>= 8
        if address == 0:
            break
    column, b, row = at & 0xFFFF, (at >> 16) & 0xFFFF, at >> 32
    if s.banks[b].head[WRITES] >= 0 and waits_to_write(s, b, row, column):
        s.counts.merged += kind
        s.counts.forwarded += 1 - kind
        io.arrive[seq - io.first] = now
        answer(s, io, seq, now, now + 1, &s.banks[b])
        return True
    if s.length[kind] == (s.set.writes if kind else s.set.reads):
        s.stuck, s.unstuck = kind, FAR_TICK
        return False
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


cdef int64_t run(State* s, Ports* io, int64_t seq, bint more) noexcept nogil:
    """Accept requests from `seq` on until all of the ports are in, or until all are answered if no more will come.

    Returns the next request to accept, or -1 if nothing can ever happen again.
    """
    cdef int64_t now, at
    while True:
        now = later(s.now + 1, sooner(sooner(s.wake_row, s.wake_col | s.set.half), s.next_refresh))
        if seq < io.end:
            at = later(io.earliest[seq - io.first], s.accepted + 1)
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
        if n:
            io.address, io.is_write, io.earliest = &address[0], &is_write[0], &earliest[0]
            io.arrive, io.depart, io.delayed = &arrive[0], &depart[0], &delayed[0]
        io.n_log = io.log_room = 0
        if log is not None and log.shape[0]:
            io.log, io.log_room = &log[0], log.shape[0]
        with nogil:
            reached = run(self.s, &io, self.n_accepted, more)
        if reached < 0:
            raise RuntimeError(f"DRAM channel: nothing can issue after tick {self.s.now}")
        self.n_accepted = io.end
        return tuple(array[: io.n_late].copy() for array in self.late)

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
                open_ticks += self.s.now - self.s.banks[b].opened
        found = {name: counts.commands[i] for i, name in enumerate(dram_tables.COMMAND_NAMES)}
        return found | {"merged": counts.merged, "forwarded": counts.forwarded, "hits": counts.hits,
                        "open_ticks": open_ticks}
