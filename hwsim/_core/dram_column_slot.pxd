"""What issues in the column slot; and how a slot finds its oldest ready candidate.

Design: a bank has at most one candidate for each slot and buffer, so a slot looks at banks, by masks. The loop over them
has no branch that depends on which is ready or older.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from hwsim._core.dram_queue cimport bit_of, close_row, take_active, take_hit
from hwsim._core.dram_rows cimport ALL_BANK, CLOSED_ROWS, CommandRow, RD, RDA, TIMEOUT_ROWS, WR
from hwsim._core.dram_state cimport FAR_TICK, READS, WRITES, Bank, Ports, State, Unit, lowest_bit
from hwsim._core.dram_timing cimport forbid, later, sooner, unit_ready

cdef struct Pick:               # best candidate of a slot so far
    int64_t seq                 # FAR_TICK: none is ready
    int64_t wake                # earliest tick another becomes ready
    int32_t bank, waiting


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
    if io.address == NULL:
        io.last = later(io.last, depart)
    elif seq >= io.first:
        io.depart[seq - io.first] = depart
        io.delayed[seq - io.first] = delayed
    else:
        io.late_seq[io.n_late], io.late_depart[io.n_late], io.late_delayed[io.n_late] = seq, depart, delayed
        io.n_late += 1


cdef inline void issue_column(State* s, Ports* io, int b, int kind, bint active) noexcept nogil:
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


cdef inline bint column_slot(State* s, Ports* io) noexcept nogil:
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
