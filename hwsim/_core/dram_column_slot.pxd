"""What issues in the column slot; and how a slot finds its oldest ready candidate.

Design: a bank has at most one candidate for each slot and buffer, so a slot looks at banks, by masks. The loop over them
has no branch that depends on which is ready or older.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from hwsim._core.dram_queue cimport bit_of, close_row, take_active, take_hit
from hwsim._core.dram_rows cimport ALL_BANK, CLOSED_ROWS, CommandRow, RD, RDA, TIMEOUT_ROWS, WR
from hwsim._core.dram_state cimport FAR_TICK, READS, WRITES, Bank, Ports, State, Unit, lowest_bit
from hwsim._core.dram_timing cimport all_ready, bank_ready, forbid, later, sooner, unit_ready

cdef struct Pick:               # best candidate of a slot so far
    int64_t seq                 # FAR_TICK: none is ready
    int64_t wake                # earliest tick one that is not ready becomes it
    int32_t bank, waiting
    int32_t ready               # how many may be


cdef inline void look(State* s, Pick* pick, uint64_t mask, int u, int waiting, const int64_t* seq) noexcept nogil:
    """The oldest ready candidate of some banks of a unit; `seq` holds their numbers."""
    if mask == 0:
        return
    if unit_ready(s, u, waiting) > s.now:
        pick.wake = sooner(pick.wake, unit_ready(s, u, waiting))
        return
    look_at_banks(s, pick, mask, u << s.unit_shift, waiting, seq)


cdef inline void look_at_banks(State* s, Pick* pick, uint64_t mask, int first, int waiting,
                               const int64_t* seq) noexcept nogil:
    """The same where the unit allows it."""
    cdef const int64_t* group_at = &s.ready[waiting][s.groups]
    cdef const int64_t* bank_at = &s.ready[waiting][s.leaves]
    cdef int64_t now = s.now, ready, wake = pick.wake, oldest = pick.seq
    cdef int b, shift = s.group_shift, found = -1, n_ready = 0
    while mask:
        b = first + lowest_bit(mask)
        mask &= mask - 1
        ready = later(group_at[b >> shift], bank_at[b])
        if ready > now:
            wake = sooner(wake, ready)
            continue
        n_ready += 1
        found = b if seq[b] < oldest else found
        oldest = sooner(oldest, seq[b])
    pick.wake = wake
    pick.ready += n_ready
    if found >= 0:
        pick.seq, pick.bank, pick.waiting = oldest, found, waiting


cdef inline void look_at_hits(State* s, Pick* pick, int u, int kind) noexcept nogil:
    """The oldest ready hit of a unit, from the oldest on: the first that is ready ends the search."""
    cdef Unit* unit = &s.units[u]
    cdef int waiting = RD + kind, i, b
    cdef int64_t ready
    if unit.n_hits[kind] and unit_ready(s, u, waiting) > s.now:
        pick.wake = sooner(pick.wake, unit_ready(s, u, waiting))
        return
    for i in range(unit.n_hits[kind]):
        b = (u << s.unit_shift) + unit.order[kind][i]
        if unit.due and unit.due & bit_of(s, b):
            continue
        if s.hit_seq[kind][b] >= pick.seq:
            pick.ready += 1
            return
        ready = bank_ready(s, b, waiting)
        if ready <= s.now:
            pick.seq, pick.bank, pick.waiting = s.hit_seq[kind][b], b, waiting
            pick.ready += 1 if i + 1 == unit.n_hits[kind] else 2
            return
        pick.wake = sooner(pick.wake, ready)


cdef inline void clear(Pick* pick) noexcept nogil:
    pick.seq = pick.wake = FAR_TICK
    pick.ready = 0


cdef inline int64_t units_ready(State* s, int waiting, int other) noexcept nogil:
    """First tick that any unit allows one of two classes of commands."""
    cdef int64_t ready = FAR_TICK
    cdef int u
    for u in range(s.n_units):
        ready = sooner(ready, sooner(unit_ready(s, u, waiting), unit_ready(s, u, other)))
    return ready


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


cdef inline int64_t after_column(State* s, Pick* pick, bint active) noexcept nogil:
    """Lower bound of the next column command, just after one.

    Candidates that were ready wait for their unit only; hits are not looked at while an active request is served.
    """
    cdef Unit* unit = &s.units[pick.bank >> s.unit_shift]
    cdef int kind = pick.waiting - RD, u
    cdef bint more = pick.ready > 1
    cdef int64_t ready = pick.wake
    for u in range(s.n_units if active else 0):
        more |= s.units[u].hits[s.writing] != 0
    if unit.hits[kind] & bit_of(s, pick.bank):
        ready = sooner(ready, all_ready(s, pick.bank, pick.waiting))
    return later(s.now + 1, later(units_ready(s, RD, WR), 0 if more else ready))


cdef inline bint column_slot(State* s, Ports* io) noexcept nogil:
    """Issue the oldest ready column command; False if there is none."""
    cdef Pick pick
    cdef int u
    cdef bint active = True
    clear(&pick)
    for u in range(s.n_units):
        if s.units[u].active[READS] | s.units[u].active[WRITES]:
            look(s, &pick, s.units[u].active[READS], u, RD, s.active_seq)
            look(s, &pick, s.units[u].active[WRITES], u, WR, s.active_seq)
    if pick.seq == FAR_TICK and not refreshing(s):
        settle(s)
        active = False
        for u in range(s.n_units):
            look_at_hits(s, &pick, u, s.writing)
    if pick.seq == FAR_TICK:
        s.wake_col = pick.wake
        return False
    issue_column(s, io, pick.bank, pick.waiting - RD, active)
    s.wake_col = after_column(s, &pick, active)
    return True
