"""Long streams: when the whole state of a channel repeats, whole periods are added instead of run.

Design: a state is written down relative to the tick, to the next request and to its row, and is compared word by word
with those written down at earlier looks (a hash finds the candidates). Equal states have equal futures,
because nothing but the row distinguishes two such places (the caller makes sure that rows are whole address bits of
their own) and because ticks that have passed no longer matter: they are written down as 0. Lower bounds of wake-ups are
left out: they decide no tick.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcmp

from hwsim._core.dram_rows cimport CLASSES, TIMEOUT_ROWS
from hwsim._core.dram_state cimport FAR_TICK, Bank, Counts, Entry, Ports, State
from hwsim._core.dram_timing cimport later

cdef extern from *:
    """
    #define SHUT ((int64_t)1 << 40)
    """
    int64_t SHUT            # row of a closed bank, end of a list: no row, no request

cdef enum:
    LOOKS = 2048            # most states that are kept
    BUCKETS = 4096          # by hash
    LOOK_WORDS = 1024       # of room for each of them, on average

cdef struct Kept:           # a state written down
    uint64_t hash
    int64_t at, n_words     # its place in `words`
    int64_t seq, now, issued
    int32_t next            # another one of the same bucket, -1 none
    Counts counts

cdef struct Skip:
    int64_t period          # bytes of a row of all banks; 0: never skip
    int64_t state_words     # most words of a state
    int64_t room, used      # words
    int64_t n_kept
    int64_t looked          # request at the last look
    int64_t skipped         # requests added, not run
    int32_t* heads          # [BUCKETS]
    Kept* kept              # [LOOKS]
    int64_t* words          # [room]


cdef inline int64_t ahead(int64_t tick, int64_t now) noexcept nogil:
    """Ticks to come, 0 when passed."""
    return later(tick - now, 0)


cdef inline uint64_t hash_of(const int64_t* word, int64_t n) noexcept nogil:
    """Finds candidates; whether they are the same their words say."""
    cdef uint64_t hash = 0
    cdef int64_t i
    for i in range(n):
        hash = (hash ^ <uint64_t>word[i]) * <uint64_t>0x9E3779B97F4A7C15
        hash ^= hash >> 29
    return hash


cdef inline int64_t write_bank(State* s, int b, int64_t seq, int64_t row, int64_t* word) noexcept nogil:
    cdef Bank* bank = &s.banks[b]
    cdef int64_t n = 3
    cdef int kind
    cdef int32_t e
    word[0] = bank.row - row if bank.row >= 0 else SHUT
    word[1] = bank.active
    word[2] = s.active_seq[b] - seq if bank.active >= 0 else 0
    if bank.row >= 0:
        word[n] = bank.used - s.now if s.set.policy == TIMEOUT_ROWS else 0
        n += 1
    for kind in range(2):
        e = bank.head[kind]
        while e >= 0:
            word[n], word[n + 1], word[n + 2] = s.entries[e].seq - seq, s.entries[e].row - row, s.entries[e].column
            n += 3
            e = s.entries[e].next
        word[n] = SHUT
        n += 1
    return n


cdef inline int64_t write_rest(State* s, Ports* io, int64_t seq, int64_t* word) noexcept nogil:
    """All of the state but banks and ready ticks."""
    cdef int64_t n = 8, earliest = io.start + (seq - io.first) * io.interval
    cdef int i, k, u, width
    word[0], word[1], word[2] = s.writing, s.stuck, ahead(s.accepted, s.now - 1)
    word[3], word[4] = s.next_refresh - s.now if s.next_refresh < FAR_TICK else 0, s.n_due
    word[5] = earliest - s.now if io.interval else ahead(earliest, s.now)
    word[6] = ahead(s.pair_tick, s.now)
    word[7] = (<int64_t>s.pair_command << 32) + s.pair_bank if word[6] else 0
    for i in range(s.n_due):
        word[n + i] = s.due[i]
    n += s.n_due
    for u in range(s.n_units):
        word[n + u] = s.units[u].turn
    n += s.n_units
    for i in range(s.n_windows):
        width = s.windows[i].width
        for u in range(s.n_units):
            for k in range(width):
                word[n + k] = ahead(s.rings[i][u][(s.ring_at[i][u] + k) % width] + s.windows[i].ticks, s.now)
            n += width
    return n


cdef inline int64_t write_down(State* s, Ports* io, int64_t seq, int64_t row, int64_t* word) noexcept nogil:
    """The state before request `seq` is accepted, relative to it; number of words."""
    cdef int64_t n = write_rest(s, io, seq, word)
    cdef int c, node, b
    for c in range(CLASSES):
        for node in range(s.n_nodes):
            word[n + node] = ahead(s.ready[c][node], s.now)
        n += s.n_nodes
    for b in range(s.n_units * s.n_unit_banks):
        n += write_bank(s, b, seq, row, &word[n])
    return n


cdef inline void move(int64_t* tick, int64_t by) noexcept nogil:
    if tick[0] < FAR_TICK:
        tick[0] += by


cdef inline void move_banks(State* s, int64_t ticks, int64_t requests, int64_t rows) noexcept nogil:
    cdef int b, kind
    cdef int32_t e
    cdef Bank* bank
    for b in range(s.n_units * s.n_unit_banks):
        bank = &s.banks[b]
        if bank.row >= 0:
            bank.row += <int32_t>rows
        bank.used += ticks
        bank.asked += ticks
        bank.refreshed += ticks
        bank.arrive += ticks
        s.active_seq[b] += requests
        for kind in range(2):
            s.hit_seq[kind][b] += requests
            s.row_seq[kind][b] += requests
            e = bank.head[kind]
            while e >= 0:
                s.entries[e].seq += requests
                s.entries[e].arrive += ticks
                s.entries[e].row += <int32_t>rows
                e = s.entries[e].next


cdef inline void move_all(State* s, Ports* io, int64_t ticks, int64_t requests, int64_t rows) noexcept nogil:
    """The same state, later: ticks, requests and rows further on."""
    cdef int c, node, i, u, k
    s.now += ticks
    s.accepted += ticks
    s.pair_tick += ticks
    io.last += ticks
    move(&s.wake_row, ticks)
    move(&s.wake_col, ticks)
    move(&s.next_refresh, ticks)
    move(&s.unstuck, ticks)
    for c in range(CLASSES):
        for node in range(s.n_nodes):
            s.ready[c][node] += ticks
    for i in range(s.n_windows):
        for u in range(s.n_units):
            for k in range(s.windows[i].width):
                s.rings[i][u][k] += ticks
    move_banks(s, ticks, requests, rows)


cdef inline void add_counts(Counts* counts, Counts* before, int64_t times) noexcept nogil:
    """What happened since `before`, so many times more."""
    cdef int i
    for i in range(9):
        counts.commands[i] += times * (counts.commands[i] - before.commands[i])
    counts.merged += times * (counts.merged - before.merged)
    counts.forwarded += times * (counts.forwarded - before.forwarded)
    counts.hits += times * (counts.hits - before.hits)
    counts.open_ticks += times * (counts.open_ticks - before.open_ticks)


cdef inline void forget(Skip* skip) noexcept nogil:
    cdef int i
    skip.used = skip.n_kept = 0
    for i in range(BUCKETS):
        skip.heads[i] = -1


cdef inline Kept* same_state(Skip* skip, const int64_t* word, int64_t n, uint64_t hash) noexcept nogil:
    """The look that found these very words, or NULL."""
    cdef int32_t i = skip.heads[hash % BUCKETS]
    cdef Kept* kept
    while i >= 0:
        kept = &skip.kept[i]
        if kept.hash == hash and kept.n_words == n and memcmp(&skip.words[kept.at], word, n * sizeof(int64_t)) == 0:
            return kept
        i = kept.next
    return NULL


cdef inline void keep(State* s, Skip* skip, int64_t seq, int64_t n, uint64_t hash) noexcept nogil:
    """Keep the state that was just written behind the others."""
    cdef Kept* kept = &skip.kept[skip.n_kept]
    kept.hash, kept.at, kept.n_words, kept.next = hash, skip.used, n, skip.heads[hash % BUCKETS]
    kept.seq, kept.now, kept.issued, kept.counts = seq, s.now, s.issued, s.counts
    skip.heads[hash % BUCKETS] = <int32_t>skip.n_kept
    skip.n_kept += 1
    skip.used += n


cdef inline int64_t try_skip(State* s, Ports* io, Skip* skip, int64_t seq) noexcept nogil:
    """Add as many whole periods as the stream has left if the state repeats; the next request to accept."""
    cdef int64_t address = io.base + (seq - io.first) * io.stride, n, times, requests
    cdef uint64_t hash
    cdef int64_t* word
    cdef Kept* kept
    if skip.n_kept == LOOKS or skip.used + skip.state_words > skip.room:
        forget(skip)
    word = &skip.words[skip.used]
    word[0] = address % skip.period
    n = write_down(s, io, seq, address // skip.period, &word[1]) + 1
    hash = hash_of(word, n)
    kept = same_state(skip, word, n, hash)
    skip.looked = seq
    if kept == NULL:
        keep(s, skip, seq, n, hash)
        return seq
    requests = seq - kept.seq
    times = (io.end - seq) // requests
    add_counts(&s.counts, &kept.counts, times)
    s.issued += times * (s.issued - kept.issued)
    move_all(s, io, times * (s.now - kept.now), times * requests, times * requests * io.stride // skip.period)
    skip.skipped += times * requests
    skip.looked = io.end        # less than a period is left
    return seq + times * requests
