"""How a way fills its next flit."""

from libc.stdint cimport int32_t, int64_t

from hwsim._core.link_queue cimport add, later, let_go, push, take, wake, wake_way
from hwsim._core.link_rows cimport KINDS, PACKETS, ROOM, SLOTS, WayRow
from hwsim._core.link_state cimport ARRIVAL, CREDITS, SEND, CountRow, Line, Message, Net, Way


cdef inline int32_t pick(Net* net, int w, int head, int32_t room) noexcept nogil:
    """Take the message to send next, or -1: ports in turn, of a port the oldest that has credit and whose header fits."""
    cdef const WayRow* row = &net.way_rows[w]
    cdef const int32_t* units = &row.units[4 * head]
    cdef Way* way = &net.ways[w]
    cdef Line* lines
    cdef int i, port, kind, best
    cdef int64_t stamp
    cdef int32_t message
    for i in range(way.ports):
        port = way.turn + i
        if port >= way.ports:
            port -= way.ports
        lines = &net.lines[way.lines + 4 * port]
        best, stamp = -1, 0
        for kind in range(KINDS):
            message = lines[kind].first
            if message < 0 or units[kind] > room or (way.credits[kind] == 0 and row.credits[kind] > 0):
                continue
            if best < 0 or net.messages[message].stamp < stamp:
                best, stamp = kind, net.messages[message].stamp
        if best >= 0:
            way.turn = port + 1 if port + 1 < way.ports else 0
            net.counts[w].sent[best] += 1
            message = take(net, &lines[best])
            let_go(net, message)
            if row.credits[best] > 0:
                way.credits[best] -= 1
                net.messages[message].way = w
            return message
    return -1


cdef inline void sent(Net* net, int w, int32_t message) noexcept nogil:
    """The whole message is in the flit that is being filled."""
    add(net, &net.ways[w].flight, message)


cdef inline void start(Net* net, int w, int32_t message) noexcept nogil:
    """A header is in the flit; its data are owed."""
    cdef Way* way = &net.ways[w]
    cdef Message* m = &net.messages[message]
    m.owed = net.way_rows[w].body[m.kind]
    way.owed += m.owed
    if m.owed:
        add(net, &way.data, message)
    else:
        sent(net, w, message)


cdef inline void pay(Net* net, int w, int64_t slots) noexcept nogil:
    """Fill slots with data that are owed, oldest first."""
    cdef Way* way = &net.ways[w]
    cdef Message* m
    way.owed -= slots
    net.counts[w].data += slots
    while slots > 0:
        m = &net.messages[way.data.first]
        if m.owed > slots:
            m.owed -= slots
            return
        slots -= m.owed
        sent(net, w, take(net, &way.data))


cdef inline bint pack(Net* net, int w, int head) noexcept nogil:
    """Fill one slot with headers; False if there is none."""
    cdef int32_t room = ROOM, message
    while True:
        message = pick(net, w, head, room)
        if message < 0:
            break
        room -= net.way_rows[w].units[4 * head + net.messages[message].kind]
        start(net, w, message)
    net.counts[w].headers += room < ROOM
    return room < ROOM


cdef inline int64_t fill_slots(Net* net, int w) noexcept nogil:
    """A flit of slots; returns the slots used."""
    cdef const WayRow* row = &net.way_rows[w]
    cdef Way* way = &net.ways[w]
    cdef int64_t used = 0
    cdef int slot
    if row.all_data and way.owed >= row.slots:
        pay(net, w, row.slots)
        return row.slots
    for slot in range(row.slots):
        if way.owed > 0 and (slot > 0 or not row.head):
            pay(net, w, 1)
            used += 1
        elif pack(net, w, slot == 0 and row.head):
            used += 1
        elif way.owed == 0:
            break
    return used


cdef inline int64_t fill_stream(Net* net, int w) noexcept nogil:
    """A flit through which messages run on; returns the slots used, at least 1 if any message is in it."""
    cdef const WayRow* row = &net.way_rows[w]
    cdef Way* way = &net.ways[w]
    cdef int64_t left = row.slots, n
    cdef bint any_ = False
    cdef int32_t message
    while left > 0:
        if way.owed == 0:
            message = pick(net, w, 0, ROOM)
            if message < 0:
                break
            any_ = True
            start(net, w, message)
        n = way.owed if way.owed < left else left
        if n > 0:
            pay(net, w, n)
            left -= n
    return later(row.slots - left, any_)


cdef inline int64_t fill_packet(Net* net, int w) noexcept nogil:
    """One whole message, alone; returns its slots."""
    cdef int32_t message = pick(net, w, 0, ROOM)
    if message < 0:
        return 0
    start(net, w, message)
    if net.ways[w].owed:
        pay(net, w, net.ways[w].owed)
    return later(1, net.way_rows[w].body[net.messages[message].kind])


cdef inline int64_t load_returns(Net* net, int w) noexcept nogil:
    """Take the credits that this direction carries: four counts of 16 bits, and none are left."""
    cdef Way* way = &net.ways[w]
    cdef int64_t load = 0
    cdef int kind
    for kind in range(KINDS):
        load |= <int64_t>way.returns[kind] << (16 * kind)
        way.returns[kind] = 0
    return load


cdef inline int returned(Way* way) noexcept nogil:
    return way.returns[0] + way.returns[1] + way.returns[2] + way.returns[3]


cdef inline void fly(Net* net, int w, int64_t lasts, bint credits, int32_t already) noexcept nogil:
    """A flit leaves: its messages and credits are on their way. `already`: last message in flight before it, -1 none."""
    cdef const WayRow* row = &net.way_rows[w]
    cdef Way* way = &net.ways[w]
    cdef int64_t end = net.t + lasts
    cdef int32_t message = way.flight.first if already < 0 else net.messages[already].next
    if message >= 0:
        push(net, end + row.latency + row.hop, ARRIVAL, w, 0)
    while message >= 0:
        net.messages[message].at = end + row.latency + row.hop
        message = net.messages[message].next
    if credits and returned(way):
        push(net, end + row.latency, CREDITS, row.reverse, load_returns(net, w))
    net.counts[w].flits += 1
    net.counts[w].busy += lasts
    way.free = end
    wake(net, &way.due, end, SEND, w)


cdef inline void send(Net* net, int w) noexcept nogil:
    """SEND: fill a flit if there is anything to send; else a bare one if there are credits to return."""
    cdef const WayRow* row = &net.way_rows[w]
    cdef Way* way = &net.ways[w]
    cdef int32_t already = way.flight.last if way.flight.first >= 0 else -1
    cdef int64_t used = 0
    if row.update == 0 or returned(way) < row.every:
        if row.format == SLOTS:
            used = fill_slots(net, w)
        elif row.format == PACKETS:
            used = fill_packet(net, w)
        else:
            used = fill_stream(net, w)
    if used:
        fly(net, w, row.time * (used if row.format == PACKETS else 1), row.update == 0, already)
    elif returned(way):
        net.counts[w].bare += 1
        fly(net, w, row.time * (row.update if row.format == PACKETS else 1), True, already)
