"""What other cores need of a DRAM channel: they drive it from event to event between events of their own."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from hwsim._core.dram_rows cimport CommandRow, RuleRow
from hwsim._core.dram_state cimport State

cdef struct Ports:              # what a call reads and writes; the state itself has no pointers
    const int64_t* address
    const uint8_t* is_write
    const int64_t* earliest
    int64_t* arrive
    int64_t* depart
    uint8_t* delayed            # 1: a refresh of its unit was due or under way between arrive and depart
    int64_t first, end          # requests in these arrays
    int64_t* late_seq           # requests of earlier calls that are answered in this one
    int64_t* late_depart
    uint8_t* late_delayed
    int64_t n_late
    const uint64_t* decode      # [8][256]
    CommandRow* log             # every command, as far as there is room
    int64_t n_log, log_room

cdef int64_t advance(State* s, Ports* io, int64_t seq, int64_t until, int64_t* next_tick) noexcept nogil

cdef class Channel:
    cdef State* s
    cdef object memory
    cdef object decode
    cdef int64_t n_accepted
    cdef object late
    cdef void shape(self, shift)
    cdef void load_rules(self, const RuleRow[::1] rows)
    cdef void reset(self) noexcept
