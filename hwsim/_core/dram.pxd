"""What other cores need of a DRAM channel: they drive it from event to event between events of their own."""

from libc.stdint cimport int64_t

from hwsim._core.dram_rows cimport NoteRow, WindowRow
from hwsim._core.dram_state cimport Ports, State

cdef int64_t advance(State* s, Ports* io, int64_t seq, int64_t until, int64_t* next_tick) noexcept nogil

cdef class Channel:
    cdef State* s
    cdef object memory
    cdef object decode
    cdef int64_t n_accepted
    cdef object late
    cdef void shape(self, shift)
    cdef void load(self, const NoteRow[::1] notes, const WindowRow[::1] windows)
    cdef void reset(self) noexcept
    cdef void finish(self, int64_t reached, int64_t end) except *
