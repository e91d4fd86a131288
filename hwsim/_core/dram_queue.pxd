"""Waiting requests: one list a bank and buffer, oldest first, and the masks that say which banks are worth a look."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from hwsim._core.dram_state cimport READS, WRITES, Bank, Entry, Ports, State, Unit


cdef inline uint64_t decoded(Ports* io, uint64_t address) noexcept nogil:
    """Where an address lies: column in bits 0-15, flat bank in bits 16-31, row in bits 32-63."""
    cdef uint64_t at = 0
    cdef int i
    for i in range(8):
        at ^= io.decode[i * 256 + (address & 255)]
        address >>= 8
        if address == 0:
            break
    return at


cdef inline uint64_t bit_of(State* s, int bank) noexcept nogil:
    return <uint64_t>1 << (bank & (s.n_unit_banks - 1))


cdef inline uint64_t with_bit(uint64_t mask, uint64_t bit, bint on) noexcept nogil:
    return (mask & ~bit) | (bit if on else 0)


cdef inline void put_in_order(State* s, Unit* unit, int kind, int b) noexcept nogil:
    """Add a bank to those with a hit, behind the older ones."""
    cdef uint8_t* order = &unit.order[kind][0]
    cdef int first = b & ~(s.n_unit_banks - 1), i = unit.n_hits[kind]
    cdef int64_t seq = s.hit_seq[kind][b]
    while i > 0 and s.hit_seq[kind][first + order[i - 1]] > seq:
        order[i] = order[i - 1]
        i -= 1
    order[i] = b - first
    unit.n_hits[kind] += 1


cdef inline int place_of(State* s, Unit* unit, int kind, int b) noexcept nogil:
    cdef int local = b & (s.n_unit_banks - 1), i = 0
    while unit.order[kind][i] != local:
        i += 1
    return i


cdef inline void take_out(State* s, Unit* unit, int kind, int b) noexcept nogil:
    """The bank has no hit any more."""
    cdef int i
    unit.n_hits[kind] -= 1
    for i in range(place_of(s, unit, kind, b), unit.n_hits[kind]):
        unit.order[kind][i] = unit.order[kind][i + 1]


cdef inline void move_back(State* s, Unit* unit, int kind, int b) noexcept nogil:
    """The bank's oldest hit was served, its next one is younger."""
    cdef uint8_t* order = &unit.order[kind][0]
    cdef int first = b & ~(s.n_unit_banks - 1), i = place_of(s, unit, kind, b) + 1
    while i < unit.n_hits[kind] and s.hit_seq[kind][first + order[i]] < s.hit_seq[kind][b]:
        order[i - 1] = order[i]
        i += 1
    order[i - 1] = b - first


cdef inline void note_hit(State* s, Unit* unit, int kind, int b, uint64_t bit, int32_t hit) noexcept nogil:
    """Keep the banks with hits, and their order, when a bank's oldest hit is another (-1 none)."""
    cdef bint had = unit.hits[kind] & bit != 0
    if hit < 0:
        if had:
            unit.hits[kind] &= ~bit
            take_out(s, unit, kind, b)
    elif not had:
        unit.hits[kind] |= bit
        s.hit_seq[kind][b] = s.entries[hit].seq
        put_in_order(s, unit, kind, b)
    elif s.hit_seq[kind][b] != s.entries[hit].seq:
        s.hit_seq[kind][b] = s.entries[hit].seq
        move_back(s, unit, kind, b)


cdef inline void mark(State* s, int b, int kind) noexcept nogil:
    """Set the masks of a bank and buffer from its lists."""
    cdef Bank* bank = &s.banks[b]
    cdef Unit* unit = &s.units[b >> s.unit_shift]
    cdef uint64_t bit = bit_of(s, b)
    cdef int32_t hit = bank.hit[kind], miss = bank.miss[kind]
    cdef bint kept
    if bank.row < 0:
        unit.opens[kind] = with_bit(unit.opens[kind], bit, bank.head[kind] >= 0)
        unit.closes[kind] &= ~bit
        note_hit(s, unit, kind, b, bit, -1)
        if bank.head[kind] >= 0:
            s.row_seq[kind][b] = s.entries[bank.head[kind]].seq
        return
    note_hit(s, unit, kind, b, bit, hit)
    if miss >= 0:
        s.row_seq[kind][b] = s.entries[miss].seq
    kept = bank.active >= 0 or (s.set.protect and hit >= 0 and miss >= 0 and s.hit_seq[kind][b] < s.row_seq[kind][b])
    unit.opens[kind] &= ~bit
    unit.closes[kind] = with_bit(unit.closes[kind], bit, miss >= 0 and not kept)


cdef inline void sort_out(State* s, int b, int kind) noexcept nogil:
    """Find the oldest hit and miss of a bank whose row changed."""
    cdef Bank* bank = &s.banks[b]
    cdef int32_t e = bank.head[kind]
    bank.hit[kind] = bank.miss[kind] = -1
    while e >= 0 and bank.row >= 0 and (bank.hit[kind] < 0 or bank.miss[kind] < 0):
        if s.entries[e].row == bank.row:
            if bank.hit[kind] < 0:
                bank.hit[kind] = e
        elif bank.miss[kind] < 0:
            bank.miss[kind] = e
        e = s.entries[e].next
    mark(s, b, kind)


cdef inline void enqueue(State* s, int kind, int b, int32_t row, int32_t column, int64_t seq, int64_t now) noexcept nogil:
    cdef int32_t e = s.free_entry
    cdef Entry* entry = &s.entries[e]
    cdef Bank* bank = &s.banks[b]
    s.free_entry = entry.next
    entry.seq, entry.arrive, entry.row, entry.column, entry.next, entry.bank = seq, now, row, column, -1, b
    if bank.head[kind] < 0:
        bank.head[kind] = e
    else:
        s.entries[bank.tail[kind]].next = e
    bank.tail[kind] = e
    s.length[kind] += 1
    if bank.row >= 0:
        if row == bank.row:
            if bank.hit[kind] < 0:
                bank.hit[kind] = e
        elif bank.miss[kind] < 0:
            bank.miss[kind] = e
    mark(s, b, kind)


cdef inline void unlink(State* s, int kind, int b, int32_t e) noexcept nogil:
    """Take a request out of its buffer; hit and miss are the caller's to mend."""
    cdef Bank* bank = &s.banks[b]
    cdef int32_t before = -1, at = bank.head[kind]
    while at != e:
        before, at = at, s.entries[at].next
    at = s.entries[e].next
    if before < 0:
        bank.head[kind] = at
    else:
        s.entries[before].next = at
    if bank.tail[kind] == e:
        bank.tail[kind] = before
    s.entries[e].next = s.free_entry
    s.free_entry = e
    s.length[kind] -= 1
    if s.stuck == kind:
        s.stuck, s.unstuck = -1, s.now


cdef inline void take_hit(State* s, int kind, int b) noexcept nogil:
    """Take the oldest hit out and find the next one."""
    cdef Bank* bank = &s.banks[b]
    cdef int32_t e = bank.hit[kind], at = s.entries[e].next
    while at >= 0 and s.entries[at].row != bank.row:
        at = s.entries[at].next
    unlink(s, kind, b, e)
    bank.hit[kind] = at
    mark(s, b, kind)


cdef inline void open_row(State* s, int kind, int b) noexcept nogil:
    """Open the row that the oldest request of a closed bank wants; the request becomes the active one."""
    cdef Bank* bank = &s.banks[b]
    cdef Unit* unit = &s.units[b >> s.unit_shift]
    cdef uint64_t bit = bit_of(s, b)
    cdef int32_t e = bank.head[kind]
    s.active_seq[b], bank.arrive, bank.row = s.entries[e].seq, s.entries[e].arrive, s.entries[e].row
    bank.active = kind
    bank.used = s.now
    s.counts.open_ticks -= s.now
    unit.open |= bit
    unit.active[kind] |= bit
    unlink(s, kind, b, e)
    sort_out(s, b, kind)
    if bank.head[1 - kind] >= 0:
        sort_out(s, b, 1 - kind)


cdef inline void close_row(State* s, int b) noexcept nogil:
    cdef Bank* bank = &s.banks[b]
    cdef int kind
    s.units[b >> s.unit_shift].open &= ~bit_of(s, b)
    s.counts.open_ticks += s.now
    bank.row = -1
    for kind in range(2):
        if bank.head[kind] >= 0:
            bank.hit[kind] = bank.miss[kind] = -1
            mark(s, b, kind)


cdef inline bint waits_to_write(State* s, int b, int32_t row, int32_t column) noexcept nogil:
    """Whether a write to this very address waits."""
    cdef int32_t e = s.banks[b].head[WRITES]
    while e >= 0:
        if s.entries[e].row == row and s.entries[e].column == column:
            return True
        e = s.entries[e].next
    return False


cdef inline void take_active(State* s, int b) noexcept nogil:
    """The active request is served: its row may be closed for others."""
    cdef Bank* bank = &s.banks[b]
    cdef int kind
    s.units[b >> s.unit_shift].active[bank.active] &= ~bit_of(s, b)
    bank.active = -1
    for kind in range(2):
        if bank.miss[kind] >= 0:
            mark(s, b, kind)
