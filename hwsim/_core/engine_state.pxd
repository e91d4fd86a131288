"""What one running program consists of. All of it lies in one arena (engine_arena.pxd); nothing is allocated while it runs."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from hwsim._core.engine_heap cimport Beat
from hwsim._core.engine_path cimport Flow, Path
from hwsim._core.rows cimport CommandRow, VaryRow

cdef enum QueueState:
    READY           # will be looked at in this tick
    PARKED          # on a counter
    WAKING          # has a WAKE beat
    BLOCKED         # SYNC: until its chain is done
    ENDED

cdef struct Step:           # a row with its operands resolved, and what changes while it runs
    int32_t op, resource, slot, flags, chain, target, pace, vary, terms
    int32_t wait0, wait1, done, freed
    int64_t threshold0, threshold1, step0, step1, done_by, freed_by
    int64_t transit         # latency + delay
    int64_t seen            # last tick in which its waits were looked at
    int64_t it, trips, exits  # LOOP: iteration, trips (-1 not known yet), how often it was left

cdef struct Queue:
    int64_t not_before      # tick
    int64_t seq             # issues so far
    int64_t issue           # least ticks between two
    int32_t first, pc, end, state, prio
    int32_t parked          # counter it is parked on
    int32_t link            # next queue parked there
    Path path               # sums to the tick it was last given

cdef struct Server:         # a resource
    int64_t free            # tick in which it is free again
    int64_t chunk           # ROTATE: work of a turn, 0 whole requests
    int32_t part            # units of that tick already used
    int32_t kind, bound
    int32_t rotor           # ROTATE: index of its rings, -1 otherwise
    int32_t current, busy, due  # ROTATE: queue of the turn or -1, a turn runs, a decision is due in this tick
    Path path               # sums to the tick in which it is free, rounded up

cdef struct Counter:
    int64_t value
    int32_t parked          # first queue parked here
    int32_t pad

cdef struct Node:           # a command in flight, or one of its events
    int64_t seq
    int64_t bound           # tick at which the previous hop of a cut-through chain has delivered all, else 0
    int64_t left            # ROTATE: work not yet served
    int64_t arrival         # ROTATE: tick
    int64_t record          # row of the commands
    int32_t queue, row, off, hop
    int32_t next            # free list; ROTATE: next request of the queue
    int32_t tail            # node whose path sums to `bound`, -1 none
    Path path

cdef struct Line:           # ROTATE: requests of one queue at one resource
    int32_t first, last     # nodes
    int32_t ring            # next queue of the ring
    int32_t pad

cdef struct Ring:           # ROTATE: queues of one prio in turn
    int32_t first, last

cdef struct Snapshot:       # of one PACE loop
    int64_t tries           # back-edges since the loop was entered
    int64_t t
    int64_t n_words         # 0: nothing saved
    int64_t* words          # state relative to t
    int64_t* it             # per row, with exits and two thresholds
    int64_t* exits
    int64_t* threshold
    int64_t* counter
    int64_t* passes
    int64_t* busy
    Path* path              # of everything alive, in the order of the words

cdef struct State:
    int n_rows, n_queues, n_servers, n_counters, n_slots, n_pace, n_rotors, pool
    int skip, n_heap, n_issued, n_due, status
    int free_node           # head of the list of nodes given back, -1 none
    int fresh_node          # first node never used
    int last_node           # holds the path of the last DONE
    uint32_t pace_due
    int64_t t, end, budget, steps
    int64_t effort          # events sorted by the skip
    int64_t skipped         # periods added by the skip
    const int64_t* work
    const VaryRow* vary
    int64_t* passes
    int64_t* busy
    CommandRow* records
    int64_t n_records, record_room
    Step* steps_of
    Queue* queues
    Server* servers
    Counter* counters
    Node* nodes
    Beat* heap
    Beat* sorted            # scratch of the skip: the heap in order
    Path** alive            # scratch of the skip
    Flow* flows             # scratch of the skip: three times the paths alive
    int32_t* issued         # nodes issued in this tick, by queue
    int32_t* due            # rotating resources that decide in this tick
    uint64_t* ready         # bit per queue
    Line* lines
    Ring* rings
    Snapshot* snapshots
