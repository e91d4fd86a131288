"""What issues in the row slot: refresh, then ACT and PRE for the buffer in use, then rows unused for too long."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from hwsim._core.dram_column_slot cimport Pick, clear, issue, look, units_ready
from hwsim._core.dram_queue cimport bit_of, close_row, open_row
from hwsim._core.dram_rows cimport ACT, ALL_BANK, PRE, PREA, RD, REF, REF_CLASS, REFPB, REFPB_CLASS, TIMEOUT_ROWS
from hwsim._core.dram_state cimport FAR_TICK, READS, WRITES, Ports, State, Unit, lowest_bit
from hwsim._core.dram_timing cimport all_ready, later, sooner, unit_ready


cdef inline void issue_row(State* s, Ports* io, int command, int b, bint rising) noexcept nogil:
    """Rules, counts and pairing that all row commands share."""
    issue(s, io, command, b)
    s.wake_row = s.now + 1
    if rising:
        s.pair_tick = s.now + (s.set.act_length if command == ACT else 1)
        s.pair_command, s.pair_unit, s.pair_bank = command, b >> s.unit_shift, b


cdef inline bint paired(State* s, int u, bint rising) noexcept nogil:
    """Whether a precharge of a unit would pair with a row command of the rising edge."""
    return not rising and s.now == s.pair_tick and u == s.pair_unit


cdef inline void activate(State* s, Ports* io, int b, int kind, bint rising) noexcept nogil:
    """ACT for the oldest request of a closed bank; it becomes the bank's active one and leaves its buffer."""
    open_row(s, kind, b)
    issue_row(s, io, ACT, b, rising)
    s.wake_col = sooner(s.wake_col, later(s.now + 1, all_ready(s, b, RD + kind)))


cdef inline void refreshed(State* s, int first, int n_banks) noexcept nogil:
    """The refresh of some banks, at the head of the queue, has issued."""
    cdef int i
    for i in range(first, first + n_banks):
        s.banks[i].refreshed = s.now + s.set.recovery
    s.n_due -= 1
    for i in range(s.n_due):
        s.due[i] = s.due[i + 1]
    s.wake_col = sooner(s.wake_col, s.now + 1)


cdef inline void refresh_unit(State* s, Ports* io, bint rising) noexcept nogil:
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


cdef inline bint refresh_bank(State* s, Ports* io, Pick* pick, bint rising) noexcept nogil:
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


cdef inline void look_idle(State* s, Pick* pick, int u, bint rising) noexcept nogil:
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


cdef inline int64_t after_row(State* s, Pick* pick) noexcept nogil:
    """Lower bound of the next ACT or PRE, just after one: candidates that were ready wait for their unit only."""
    cdef int64_t ready = pick.wake
    if s.units[pick.bank >> s.unit_shift].opens[s.writing] & bit_of(s, pick.bank):
        ready = sooner(ready, all_ready(s, pick.bank, ACT))
    return later(s.now + 1, later(units_ready(s, ACT, PRE), 0 if pick.ready > 1 else ready))


cdef inline void row_slot(State* s, Ports* io, bint rising) noexcept nogil:
    """Refresh first, then the oldest ready ACT or PRE of the buffer in use, then rows unused for too long."""
    cdef Pick pick
    cdef Unit* unit
    cdef int u
    clear(&pick)
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
        return
    if pick.waiting == ACT:
        activate(s, io, pick.bank, s.writing, rising)
    else:
        close_row(s, pick.bank)
        issue_row(s, io, PRE, pick.bank, rising)
    if not s.n_due and s.set.policy != TIMEOUT_ROWS:
        s.wake_row = after_row(s, &pick)
