"""When a command may issue, and what its issue forbids."""

from libc.stdint cimport int32_t, int64_t

from hwsim._core.dram_state cimport Rule, State


cdef inline int64_t later(int64_t a, int64_t b) noexcept nogil:
    return a if a > b else b


cdef inline int64_t sooner(int64_t a, int64_t b) noexcept nogil:
    return a if a < b else b


cdef inline int64_t unit_ready(State* s, int unit, int waiting) noexcept nogil:
    """First tick that the channel and a unit allow a class of commands."""
    return s.ready[unit].at[waiting]


cdef inline int64_t bank_ready(State* s, int bank, int waiting) noexcept nogil:
    """First tick that stack, group and bank allow it."""
    return later(s.ready[s.groups + (bank >> s.group_shift)].at[waiting], s.ready[s.leaves + bank].at[waiting])


cdef inline int64_t all_ready(State* s, int bank, int waiting) noexcept nogil:
    return later(unit_ready(s, bank >> s.unit_shift, waiting), bank_ready(s, bank, waiting))


cdef inline int64_t windowed(State* s, Rule* rule, int at, int64_t now) noexcept nogil:
    """Note an issue; tick of the window-th last one, this one counted."""
    cdef int32_t* head = &s.ring_at[rule.ring][at]
    s.rings[rule.ring][at][head[0]] = now
    head[0] = head[0] + 1 if head[0] + 1 < rule.window else 0
    return s.rings[rule.ring][at][head[0]]


cdef inline void raise_to(State* s, int first, int end, int waiting, int64_t tick) noexcept nogil:
    cdef int node
    for node in range(first, end):
        if tick > s.ready[node].at[waiting]:
            s.ready[node].at[waiting] = tick


cdef inline void forbid(State* s, int command, int bank, int64_t now) noexcept nogil:
    """Apply the rules after a command on the path to a bank (any bank of the unit for an all-bank command)."""
    cdef int i, node, first
    cdef Rule* rule
    for i in range(s.first[command], s.first[command + 1]):
        rule = &s.rules[i]
        node = rule.first + ((bank >> rule.shift) << rule.fan)
        if rule.ring >= 0:
            raise_to(s, node, node + (1 << rule.fan), rule.before,
                     windowed(s, rule, bank >> rule.shift, now) + rule.ticks)
        elif rule.parent < 0:
            raise_to(s, node, node + (1 << rule.fan), rule.before, now + rule.ticks)
        else:
            first = rule.first + (((bank >> rule.parent) << (rule.parent - rule.shift)) << rule.fan)
            raise_to(s, first, node, rule.before, now + rule.ticks)
            raise_to(s, node + (1 << rule.fan), first + (1 << (rule.fan + rule.parent - rule.shift)), rule.before,
                     now + rule.ticks)
