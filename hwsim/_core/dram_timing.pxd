"""When a command may issue, and what its issue forbids."""

from libc.stdint cimport int32_t, int64_t

from hwsim._core.dram_state cimport Rule, State


cdef inline int64_t later(int64_t a, int64_t b) noexcept nogil:
    return a if a > b else b


cdef inline int64_t sooner(int64_t a, int64_t b) noexcept nogil:
    return a if a < b else b


cdef inline int64_t unit_ready(State* s, int unit, int waiting) noexcept nogil:
    """First tick that the channel and a unit allow a class of commands."""
    return later(s.ready[0].at[waiting], s.ready[1 + unit].at[waiting])


cdef inline int64_t bank_ready(State* s, int bank, int waiting) noexcept nogil:
    """First tick that stack, group and bank allow it."""
    cdef int64_t stack = s.ready[s.base[2] + (bank >> s.set.shift[2])].at[waiting]
    cdef int64_t group = s.ready[s.base[3] + (bank >> s.set.shift[3])].at[waiting]
    return later(later(stack, group), s.ready[s.base[4] + bank].at[waiting])


cdef inline int64_t all_ready(State* s, int bank, int waiting) noexcept nogil:
    return later(unit_ready(s, bank >> s.unit_shift, waiting), bank_ready(s, bank, waiting))


cdef inline void raise_to(int64_t* at, int64_t tick) noexcept nogil:
    if tick > at[0]:
        at[0] = tick


cdef inline int64_t windowed(State* s, Rule* rule, int at, int64_t now) noexcept nogil:
    """Note an issue; tick of the window-th last one, this one counted."""
    cdef int32_t* head = &s.ring_at[rule.ring][at]
    s.rings[rule.ring][at][head[0]] = now
    head[0] = head[0] + 1 if head[0] + 1 < rule.window else 0
    return s.rings[rule.ring][at][head[0]]


cdef inline void forbid(State* s, int command, int bank, int64_t now) noexcept nogil:
    """Apply the rules after a command on the path to a bank (any bank of the unit for an all-bank command)."""
    cdef int i, node, at, first
    cdef Rule* rule
    for i in range(s.first[command], s.first[command + 1]):
        rule = &s.rules[i]
        at = bank >> s.set.shift[rule.level]
        node = s.base[rule.level] + at
        if rule.siblings:
            first = node - at % s.fan[rule.level]
            for at in range(first, first + s.fan[rule.level]):
                if at != node:
                    raise_to(&s.ready[at].at[rule.before], now + rule.ticks)
        elif rule.ring < 0:
            raise_to(&s.ready[node].at[rule.before], now + rule.ticks)
        else:
            raise_to(&s.ready[node].at[rule.before], windowed(s, rule, at, now) + rule.ticks)
