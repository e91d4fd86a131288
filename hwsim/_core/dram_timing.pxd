"""When a command may issue, and what its issue forbids."""

from libc.stdint cimport int32_t, int64_t

from hwsim._core.dram_rows cimport NoteRow, WindowRow
from hwsim._core.dram_state cimport State


cdef inline int64_t later(int64_t a, int64_t b) noexcept nogil:
    return a if a > b else b


cdef inline int64_t sooner(int64_t a, int64_t b) noexcept nogil:
    return a if a < b else b


cdef inline int64_t unit_ready(State* s, int unit, int waiting) noexcept nogil:
    """First tick that the channel and a unit allow a class of commands."""
    return s.ready[waiting][unit]


cdef inline int64_t bank_ready(State* s, int bank, int waiting) noexcept nogil:
    """First tick that stack, group and bank allow it."""
    return later(s.ready[waiting][s.groups + (bank >> s.group_shift)], s.ready[waiting][s.leaves + bank])


cdef inline int64_t all_ready(State* s, int bank, int waiting) noexcept nogil:
    return later(unit_ready(s, bank >> s.unit_shift, waiting), bank_ready(s, bank, waiting))


cdef inline void note(State* s, int64_t place, int64_t tick) noexcept nogil:
    cdef int64_t* at = &s.ready[0][0] + place
    if tick > at[0]:
        at[0] = tick


cdef inline int64_t windowed(State* s, int i, int instance, int64_t now) noexcept nogil:
    """Note an issue; tick of the window-th last one, this one counted."""
    cdef int32_t* head = &s.ring_at[i][instance]
    s.rings[i][instance][head[0]] = now
    head[0] = head[0] + 1 if head[0] + 1 < s.windows[i].width else 0
    return s.rings[i][instance][head[0]]


cdef inline void forbid(State* s, int command, int bank, int64_t now) noexcept nogil:
    """Apply the rules after a command on the path to a bank (any bank of the unit for an all-bank command)."""
    cdef int i
    cdef NoteRow* row = &s.notes[s.first[command]]
    cdef NoteRow* end = &s.notes[s.first[command + 1]]
    cdef WindowRow* window
    cdef int32_t own[3]
    own[0], own[1], own[2] = bank >> s.unit_shift, bank >> s.group_shift, bank
    while row != end:
        note(s, row.place + (own[row.level] ^ row.flip), now + row.ticks)
        row += 1
    for i in range(s.n_windows):
        window = &s.windows[i]
        if window.after == command:
            note(s, window.place + (own[window.level] ^ window.flip),
                 windowed(s, i, bank >> window.shift, now) + window.ticks)
