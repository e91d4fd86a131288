"""Long streams: what a channel did once from a state it need not do again.

Design: a look at the state after every segment (a fixed number of requests) makes a graph: a node is a state without the
time to its next refresh (dram_words.pxd), an edge what a segment did from there: its ticks, its commands, the node it
ended in. An edge in which no refresh came holds whenever the next refresh comes later than its end; one in which a
refresh came holds for that very distance. Equal states have equal futures, because nothing but the row distinguishes two
places of a stream (the caller makes sure that rows are whole address bits of their own) and states are compared word by
word (a hash finds the candidates). While edges are known the stream walks along them; where none is, the state is read
back from its words and run. When a walk returns to a node at the same distance to the next refresh, whole rounds are
added at once.
Where buffers are deep, what waits in them differs after every refresh and few states repeat: then segments become whole
rows, and a stream goes on only when the whole state repeats with its refresh.
Rejected: looks for a repeated state with its refresh only (with all banks refreshed at once a state first repeats after
0.4 to 5 M requests, while between two refreshes it settles into the same few within a row).
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcmp

from hwsim._core.dram_state cimport FAR_TICK, Counts, Ports, State
from hwsim._core.dram_words cimport most_words, read_back, write_down

cdef extern from *:
    """
    #define count_bits(word) __builtin_popcountll(word)
    """
    int count_bits(uint64_t word) noexcept nogil

cdef enum:
    STATES = 8192           # most nodes
    EDGES = 2 * STATES
    BUCKETS = 16384         # by hash
    NODE_WORDS = 512        # of room for each node, on average
    LEAST = 64              # requests of a segment
    PARTS = 16              # segments of a row of all banks
    TRIAL = 1024            # nodes after which it shows whether short segments repeat
    WORTH = 16              # they do if at least this part of the requests was added

cdef struct Node:           # a state written down
    uint64_t hash
    int64_t at, n_words     # its place in `words`
    int32_t next            # another one of the same bucket, -1 none
    int32_t free            # edge without a refresh, -1 not known

cdef struct Edge:           # what a segment did
    int64_t due             # ticks to the refresh that came in it, 0 none
    int64_t ticks
    int64_t last            # last departure, from its end on; FAR_TICK: no departure
    Counts counts           # open_ticks: those of rows still open included
    int32_t node, to
    int32_t next            # another one of the same bucket, -1 none

cdef struct Where:          # a place of the stream
    int32_t node            # -1: not looked at
    int64_t seq             # next request
    int64_t now
    int64_t refresh         # tick of the next one
    int64_t last            # last departure so far
    Counts counts           # open_ticks: those of rows still open included

cdef struct Skip:
    int64_t period          # bytes of a row of all banks
    int64_t segment         # requests
    int64_t state_words     # most words of a state
    int64_t room, used      # words
    int32_t n_nodes, n_edges
    int64_t look            # request before which to look
    int64_t skipped         # requests added, not run
    Where start             # of the segment that is being run
    int32_t* node_heads     # [BUCKETS]
    int32_t* edge_heads     # [BUCKETS]
    Node* nodes             # [STATES]
    Edge* edges             # [EDGES]
    int64_t* words          # [room]


cdef inline void forget(Skip* skip) noexcept nogil:
    cdef int i
    skip.used = skip.n_nodes = skip.n_edges = 0
    skip.start.node = -1
    for i in range(BUCKETS):
        skip.node_heads[i] = skip.edge_heads[i] = -1


cdef inline void lengthen(Skip* skip, int64_t size_bytes, int64_t stride) noexcept nogil:
    """Segments of at least so many bytes of addresses."""
    while skip.segment * stride < size_bytes:
        skip.segment *= 2


cdef inline void prepare(State* s, Skip* skip, int64_t period, int64_t stride, int64_t first) noexcept nogil:
    skip.period, skip.skipped, skip.segment = period, 0, LEAST
    lengthen(skip, period // PARTS, stride)
    skip.look = first + skip.segment
    skip.state_words = most_words(s)
    skip.room = STATES * NODE_WORDS + skip.state_words


cdef inline uint64_t hash_of(const int64_t* word, int64_t n) noexcept nogil:
    """Finds candidates; whether they are the same their words say."""
    cdef uint64_t hash = 0
    cdef int64_t i
    for i in range(n):
        hash = (hash ^ <uint64_t>word[i]) * <uint64_t>0x9E3779B97F4A7C15
        hash ^= hash >> 29
    return hash


cdef inline int32_t node_of(State* s, Ports* io, Skip* skip, int64_t seq) noexcept nogil:
    """The node of the present state, a new one if it is the first time."""
    cdef int64_t* word = &skip.words[skip.used]
    cdef int64_t n = write_down(s, io, seq, skip.period, word)
    cdef uint64_t hash = hash_of(word, n)
    cdef int32_t* head = &skip.node_heads[hash % BUCKETS]
    cdef int32_t i = head[0]
    cdef Node* node
    while i >= 0:
        node = &skip.nodes[i]
        if node.hash == hash and node.n_words == n and memcmp(&skip.words[node.at], word, n * sizeof(int64_t)) == 0:
            return i
        i = node.next
    node = &skip.nodes[skip.n_nodes]
    node.hash, node.at, node.n_words, node.next, node.free = hash, skip.used, n, head[0], -1
    head[0] = skip.n_nodes
    skip.used += n
    skip.n_nodes += 1
    return head[0]


# ---- counts

cdef inline int64_t open_rows(State* s) noexcept nogil:
    cdef int u, n = 0
    for u in range(s.n_units):
        n += count_bits(s.units[u].open)
    return n


cdef inline void add_counts(Counts* to, const Counts* counts, int64_t times) noexcept nogil:
    cdef int i
    for i in range(9):
        to.commands[i] += times * counts.commands[i]
    to.merged += times * counts.merged
    to.forwarded += times * counts.forwarded
    to.hits += times * counts.hits
    to.open_ticks += times * counts.open_ticks


cdef inline Where here(State* s, Ports* io, int32_t node, int64_t seq) noexcept nogil:
    cdef Where place
    place.node, place.seq, place.now, place.refresh, place.last = node, seq, s.now, s.next_refresh, io.last
    place.counts = s.counts
    place.counts.open_ticks += s.now * open_rows(s)
    return place


# ---- edges

cdef inline int32_t* edge_head(Skip* skip, int32_t node, int64_t due) noexcept nogil:
    return &skip.edge_heads[(<uint64_t>node * <uint64_t>0x9E3779B1 + <uint64_t>due * <uint64_t>0x85EBCA77) % BUCKETS]


cdef inline void add_edge(Skip* skip, Where* end) noexcept nogil:
    """What the segment did that ended just now."""
    cdef Where* start = &skip.start
    cdef Edge* edge = &skip.edges[skip.n_edges]
    cdef int32_t* head
    edge.node, edge.to, edge.ticks, edge.next = start.node, end.node, end.now - start.now, -1
    edge.last = end.last - end.now if end.last != start.last else FAR_TICK
    edge.counts = end.counts
    add_counts(&edge.counts, &start.counts, -1)
    if start.refresh > end.now:
        edge.due = 0
        skip.nodes[start.node].free = skip.n_edges
    else:
        edge.due = start.refresh - start.now
        head = edge_head(skip, edge.node, edge.due)
        edge.next = head[0]
        head[0] = skip.n_edges
    skip.n_edges += 1


cdef inline Edge* edge_from(Skip* skip, Where* at) noexcept nogil:
    """What is known of the next segment, or NULL."""
    cdef int64_t due = at.refresh - at.now
    cdef int32_t i = skip.nodes[at.node].free
    if i >= 0 and due > skip.edges[i].ticks:
        return &skip.edges[i]
    i = edge_head(skip, at.node, due)[0]
    while i >= 0:
        if skip.edges[i].node == at.node and skip.edges[i].due == due:
            return &skip.edges[i]
        i = skip.edges[i].next
    return NULL


# ---- walking

cdef inline void follow(State* s, Skip* skip, const Edge* edge, Where* at) noexcept nogil:
    """Do what a segment did before."""
    at.node = edge.to
    at.seq += skip.segment
    at.now += edge.ticks
    if edge.last != FAR_TICK:
        at.last = at.now + edge.last
    while at.refresh <= at.now:
        at.refresh += s.set.interval
    add_counts(&at.counts, &edge.counts, 1)


cdef inline void add_rounds(Where* at, const Where* before, int64_t end) noexcept nogil:
    """The walk came back to where it was: go round as often as the stream allows."""
    cdef int64_t requests = at.seq - before.seq, ticks = at.now - before.now, times = (end - at.seq) // requests
    cdef Counts once = at.counts
    add_counts(&once, &before.counts, -1)
    add_counts(&at.counts, &once, times)
    at.seq += times * requests
    at.now += times * ticks
    at.last += times * ticks
    if at.refresh < FAR_TICK:
        at.refresh += times * ticks


cdef inline void walk(State* s, Ports* io, Skip* skip, Where* at) noexcept nogil:
    """Go on as far as what comes is known; rounds are found as Brent does (BIT 20, 1980)."""
    cdef Where before = at[0]
    cdef int64_t steps = 0, again = 1
    cdef Edge* edge
    while at.seq + skip.segment <= io.end:
        edge = edge_from(skip, at)
        if edge == NULL:
            return
        follow(s, skip, edge, at)
        steps += 1
        if at.node == before.node and (at.refresh == FAR_TICK or at.refresh - at.now == before.refresh - before.now):
            add_rounds(at, &before, io.end)
        elif steps == again:
            before = at[0]
            again *= 2


cdef inline int64_t look(State* s, Ports* io, Skip* skip, int64_t seq) noexcept nogil:
    """Note what the segment did that ended with the acceptance of `seq` - 1, and walk on; the next request to accept."""
    cdef Where at
    if skip.n_nodes == TRIAL and skip.segment * io.stride < skip.period and skip.skipped * WORTH < seq - io.first:
        lengthen(skip, skip.period, io.stride)      # only the whole state will repeat, with its refresh
        forget(skip)
    if skip.n_nodes == STATES or skip.n_edges == EDGES or skip.used + skip.state_words > skip.room:
        forget(skip)
    s.now = s.accepted      # all before it is done, what comes next comes later
    at = here(s, io, node_of(s, io, skip, seq), seq)
    if skip.start.node >= 0:
        add_edge(skip, &at)
    walk(s, io, skip, &at)
    if at.seq != seq:
        s.now = s.accepted = at.now
        s.next_refresh, io.last, s.counts = at.refresh, at.last, at.counts
        read_back(s, io, at.seq, skip.period, &skip.words[skip.nodes[at.node].at])
        s.counts.open_ticks -= s.now * open_rows(s)
        skip.skipped += at.seq - seq
    skip.start, skip.look = at, at.seq + skip.segment
    return at.seq
