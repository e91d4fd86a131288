"""Tables of a program, as the engine reads them. tables.py holds the same rows as numpy dtypes.

A program is eight arrays. Static, one set per template: RESOURCES, QUEUES, ROWS, VARY. Per program of a batch:
WORK int64[P, slots] (1/16 cycle per pass of a RUN row; trips of a LOOP row), LATENCY int64[P, laws] (cycles),
CHUNK int64[P, resources] (1/16 cycle, 0 = whole requests), CELLS int64[P, cells].
Law i < number of resources is resource i's own; further laws are other traffic on a resource.
An OPERAND is an int32: below CELL it is the value itself, from CELL on it is CELLS[operand - CELL].
"""

from libc.stdint cimport int32_t, int64_t

cdef enum:
    SUB = 16            # work units in a cycle
    CELL = 1 << 30      # first operand that names a cell
    N_BOUND = 16        # bound classes
    MAX_PACE = 4        # PACE loops of a template

cdef enum Bound:        # index into BOUND_CLASSES (bounds.py)
    TENSOR, VECTOR, SRAM, L2, HBM, DRAM, CXL, FLASH, LINK, HOST, SYNCHRONISE, LATENCY, ISSUE, LAUNCH, QUEUED, IDLE

cdef enum ResourceKind:
    FIFO                # requests served in the order they arrive
    ROTATE              # queues take turns of one chunk, lower prio first

cdef enum RowKind:
    RUN                 # a command on a resource, or a zero row that only waits and signals
    LOOP                # back-edge at the end of a body

cdef enum VaryKind:     # f(it) of a vary term
    FIRST               # it == 0
    LAST                # it == trips - 1
    ITER                # it

cdef enum RowFlag:
    WAIT_DONE = 1       # SYNC: the queue is blocked until the chain is done
    MORE = 2            # the next row is the next hop of the same command
    CUT = 4             # the next hop starts with this one's first data (virtual cut-through)
    HOP = 8             # not the first row of its chain
    ITERATED = 16       # LOOP row that an ITER term names: no skip across it

cdef enum Status:
    OK, BUDGET, DEADLOCK, REFUSED, POOL, RECORDS, STOPPED

cdef packed struct ResourceRow:
    int32_t kind        # ResourceKind
    int32_t bound       # Bound charged for its occupancy
    int32_t per_core    # 1: one of each core of a group, accounting multiplies by the queue's mult

cdef packed struct QueueRow:
    int32_t first       # first row
    int32_t end         # one past the last row
    int32_t prio        # 0..3, read by ROTATE only, 0 served first
    int32_t issue       # operand, cycles >= 1: least time between two issues
    int32_t mult        # operand, equal cores this queue stands for (accounting only)

cdef packed struct Row:
    int32_t op          # RowKind
    int32_t resource    # RUN: index, -1 none
    int32_t law         # RUN: index of its latency, -1 none
    int32_t slot        # first of its columns in WORK, -1 none; the column used is slot + sum of vary terms
    int32_t slots       # number of its columns
    int32_t vary        # first row in VARY
    int32_t terms       # number of rows in VARY, 0..3
    int32_t delay       # operand, cycles after the latency
    int32_t wait0       # counter, -1 none
    int32_t base0       # operand: first threshold
    int32_t step0       # operand: growth of the threshold each time the row is passed
    int32_t wait1       # a second wait
    int32_t base1       # operand
    int32_t step1       # operand
    int32_t done        # counter signalled when the data have arrived, -1 none
    int32_t done_by     # operand >= 1
    int32_t freed       # counter signalled when the resource lets go, -1 none
    int32_t freed_by    # operand >= 1
    int32_t flags       # RowFlag
    int32_t chain       # rows of the chain that starts here
    int32_t target      # LOOP: first row of the body
    int32_t pace        # LOOP: index of its steady-state check, -1 none

cdef packed struct VaryRow:
    int32_t loop        # LOOP row that encloses the user
    int32_t kind        # VaryKind
    int32_t stride      # columns

cdef packed struct CommandRow:
    int32_t queue       # who issued it
    int32_t row         # row, one record a hop
    int64_t seq         # issue number in its queue, from 1
    int64_t start       # cycle of the first work
    int64_t finish      # cycle: last hop when its data have arrived, other hops when the resource lets go
