"""The state of a channel within a stream as words, and back: relative to its tick, to the next request and to its row.

Design: a word holds nothing that can no longer decide anything, so that many states are the same: ticks that have passed
are left out, and so are lower bounds of wake-ups (they decide no tick) and places of waiting requests (in a stream the
number of a request is its place). It is taken just after a request was accepted, in the tick of that acceptance: nothing
is left to do there, and the next thing happens a tick later at the earliest. The time to the next refresh is not in it.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t

from hwsim._core.dram_queue cimport bit_of, decoded, enqueue
from hwsim._core.dram_rows cimport CLASSES, NODES, PER_BANK, QUEUE, TIMEOUT_ROWS
from hwsim._core.dram_state cimport READS, Bank, Ports, State, Unit
from hwsim._core.dram_timing cimport later

cdef extern from *:
    """
    #define SHUT ((int64_t)1 << 40)
    #define PLACE ((int64_t)1 << 40)
    #define LONG_AGO (-((int64_t)1 << 40))
    """
    int64_t SHUT            # row of a closed bank
    int64_t PLACE           # a ready tick is written as its place times this, and the ticks to come
    int64_t LONG_AGO

cdef enum:
    END = 0                 # of a list; requests are numbered below 0, ticks to come above it


cdef inline int64_t most_words(State* s) noexcept nogil:
    """Most words of a state."""
    cdef int64_t banks = s.n_units * s.n_unit_banks
    cdef int64_t rings = s.n_windows * s.n_units * 16
    return 16 + CLASSES * s.n_nodes + rings + 2 * s.n_units + 5 * banks + s.set.reads + s.set.writes


cdef inline int64_t address_of(Ports* io, int64_t seq) noexcept nogil:
    """Address of a request of a stream."""
    return io.base + (seq - io.first) * io.stride


cdef inline int64_t ahead(int64_t tick, int64_t now) noexcept nogil:
    """Ticks to come, 0 when passed."""
    return later(tick - now, 0)


# ---- state to words

cdef inline int64_t write_rest(State* s, Ports* io, int64_t seq, int64_t* word) noexcept nogil:
    """All of the state but ready ticks, banks and requests."""
    cdef int64_t n = 5, earliest = io.start + (seq - io.first) * io.interval
    cdef int i, k, u, width
    word[0] = 2 * (s.now & s.set.half) + s.writing
    word[1] = earliest - s.now if io.interval else ahead(earliest, s.now + 1)
    word[2] = ahead(s.pair_tick, s.now)
    word[3] = s.pair_command * PLACE + s.pair_bank if word[2] else 0
    word[4] = s.n_due
    for i in range(s.n_due):
        word[n + i] = s.due[i]
    n += s.n_due
    for u in range(s.n_units):
        word[n + u] = s.units[u].turn
    n += s.n_units
    for i in range(s.n_windows):
        width = s.windows[i].width
        for u in range(s.n_units):
            for k in range(1, width):       # the oldest one is overwritten before it counts
                word[n + k - 1] = ahead(s.rings[i][u][(s.ring_at[i][u] + k) % width] + s.windows[i].ticks, s.now + 1)
            n += width - 1
    return n


cdef inline int64_t write_ready(State* s, int64_t* word) noexcept nogil:
    """Ready ticks that are still to come."""
    cdef int64_t n = 0, left, soonest = s.now + 1
    cdef int c, node
    for c in range(CLASSES):
        for node in range(s.n_nodes):
            left = s.ready[c][node] - soonest
            word[n] = (c * NODES + node) * PLACE + left
            n += left > 0
    word[n] = END
    return n + 1


cdef inline int64_t write_banks(State* s, int64_t seq, int64_t row, int64_t* word) noexcept nogil:
    """Open rows, with the requests they were opened for."""
    cdef int64_t n = 0
    cdef Bank* bank
    cdef int b
    for b in range(s.n_units * s.n_unit_banks):
        bank = &s.banks[b]
        if bank.row < 0:
            word[n] = SHUT
            n += 1
            continue
        word[n] = bank.row - row
        word[n + 1] = s.active_seq[b] - seq if bank.active >= 0 else END
        word[n + 2] = bank.used - s.now
        n += 3 if s.set.policy == TIMEOUT_ROWS else 2
    return n


cdef inline int64_t write_requests(State* s, int64_t seq, int kind, int64_t* word) noexcept nogil:
    """Numbers of the waiting ones, bank by bank, oldest first."""
    cdef int64_t n = 0
    cdef int32_t e
    cdef int b
    for b in range(s.n_units * s.n_unit_banks):
        e = s.banks[b].head[kind]
        while e >= 0:
            word[n] = s.entries[e].seq - seq
            n += 1
            e = s.entries[e].next
    word[n] = END
    return n + 1


cdef inline int64_t write_down(State* s, Ports* io, int64_t seq, int64_t period, int64_t* word) noexcept nogil:
    """The state just before request `seq` is offered; number of words. All waiting requests are of this stream."""
    cdef int64_t address = address_of(io, seq), n = 1
    word[0] = address % period
    n += write_rest(s, io, seq, &word[n])
    n += write_ready(s, &word[n])
    n += write_banks(s, seq, address // period, &word[n])
    return n + write_requests(s, seq, <int>io.kind, &word[n])


# ---- words to state

cdef inline void clear_requests(State* s) noexcept nogil:
    """Nobody waits, no row is open, nothing is due."""
    cdef int i, k, u, b
    cdef Unit* unit
    for u in range(s.n_units):
        unit = &s.units[u]
        unit.open = unit.due = 0
        for k in range(2):
            unit.hits[k] = unit.opens[k] = unit.closes[k] = unit.active[k] = 0
            unit.n_hits[k] = 0
    for b in range(s.n_units * s.n_unit_banks):
        for k in range(2):
            s.banks[b].head[k] = s.banks[b].tail[k] = s.banks[b].hit[k] = s.banks[b].miss[k] = -1
    for i in range(2 * QUEUE):
        s.entries[i].next = i + 1
    s.free_entry = s.length[0] = s.length[1] = 0
    s.stuck, s.unstuck = -1, s.now


cdef inline int64_t read_rest(State* s, const int64_t* word) noexcept nogil:
    cdef int64_t n = 5
    cdef int i, k, u, width
    s.writing = word[0] & 1
    s.pair_tick = s.now + word[2] if word[2] else -1
    s.pair_command, s.pair_bank = <int32_t>(word[3] // PLACE), <int32_t>(word[3] % PLACE)
    s.pair_unit = s.pair_bank >> s.unit_shift
    s.n_due = <int32_t>word[4]
    for i in range(s.n_due):
        s.due[i] = <int32_t>word[n + i]
        if s.set.refresh == PER_BANK:
            s.units[s.due[i] >> s.unit_shift].due |= bit_of(s, s.due[i])
    n += s.n_due
    for u in range(s.n_units):
        s.units[u].turn = word[n + u]
    n += s.n_units
    for i in range(s.n_windows):
        width = s.windows[i].width
        for u in range(s.n_units):
            s.ring_at[i][u] = 0
            s.rings[i][u][0] = LONG_AGO
            for k in range(1, width):
                s.rings[i][u][k] = s.now + 1 + word[n + k - 1] - s.windows[i].ticks
            n += width - 1
    return n


cdef inline int64_t read_ready(State* s, const int64_t* word) noexcept nogil:
    cdef int64_t n = 0
    cdef int c, node
    for c in range(CLASSES):
        for node in range(s.n_nodes):
            s.ready[c][node] = s.now
    while word[n] != END:
        (&s.ready[0][0] + word[n] // PLACE)[0] = s.now + 1 + word[n] % PLACE
        n += 1
    return n + 1


cdef inline int64_t read_banks(State* s, int64_t seq, int64_t row, int kind, const int64_t* word) noexcept nogil:
    cdef int64_t n = 0
    cdef Bank* bank
    cdef Unit* unit
    cdef int b
    for b in range(s.n_units * s.n_unit_banks):
        bank = &s.banks[b]
        bank.row = bank.active = -1
        if word[n] == SHUT:
            n += 1
            continue
        unit = &s.units[b >> s.unit_shift]
        unit.open |= bit_of(s, b)
        bank.row = <int32_t>(word[n] + row)
        if word[n + 1] != END:
            bank.active = kind
            unit.active[kind] |= bit_of(s, b)
            s.active_seq[b] = seq + word[n + 1]
        if s.set.policy == TIMEOUT_ROWS:
            bank.used = s.now + word[n + 2]
        n += 3 if s.set.policy == TIMEOUT_ROWS else 2
    return n


cdef inline void read_back(State* s, Ports* io, int64_t seq, int64_t period, const int64_t* word) noexcept nogil:
    """The state before request `seq` is offered, at s.now; counts and the next refresh are the caller's."""
    cdef int64_t n = 1
    cdef uint64_t at
    cdef int kind = <int>io.kind
    clear_requests(s)
    n += read_rest(s, &word[n])
    n += read_ready(s, &word[n])
    n += read_banks(s, seq, address_of(io, seq) // period, kind, &word[n])
    while word[n] != END:
        at = decoded(io, address_of(io, seq + word[n]))
        enqueue(s, kind, (at >> 16) & 0xFFFF, <int32_t>(at >> 32), at & 0xFFFF, seq + word[n], s.now)
        n += 1
    s.issued = seq - s.length[kind]
    for n in range(s.n_units * s.n_unit_banks):
        s.issued -= s.banks[n].active >= 0
    s.wake_row = s.wake_col = s.now + 1
