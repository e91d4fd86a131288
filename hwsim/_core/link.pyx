"""A network of links with hosts, switches and devices, event by event; reference/link.py says plainly what is right.

Design: at one tick things happen in the order of Phase, and within a phase by number (way, channel, request, host), so
an order of events is never a matter of luck. A flit is one event at its sender and one at its target; messages are rows
of a pool that hosts own (one for each outstanding request: it goes out as a request and comes back as its answer) and
sit in one list at a time. A message is looked at by its target when its last slot is there (store and forward: lines
are short). Rejected: an event a slot, byte counters instead of slots (packing decides what a CXL link carries).
"""

import numpy as np

from hwsim._core import link_tables
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from hwsim._core.dram cimport Channel as DramChannel, Ports, advance
from hwsim._core.dram_rows cimport BANKS, QUEUE
from hwsim._core.link_flit cimport send
from hwsim._core.link_queue cimport add, enqueue, later, let_go, pop, push, take, wake
from hwsim._core.link_rows cimport (COMPLETION, DATA, DEVICE, FIXED, KINDS, READ, SWITCH, WRITE, ChannelRow, DeviceRow,
                                    HostRow, NodeRow, RequestRow, WayRow)
from hwsim._core.link_state cimport (ANSWER, ARRIVAL, CREDITS, FAR_TICK, ISSUE, LEAVE, MEMORY, SEND, Beat, Channel, Commands,
                                     CountRow, Host, Line, Message, Net, Way)

cdef enum:
    LOOK_UP = 1 << 16       # events between two looks at signals
    MARGIN = 4096           # free places of the heap below which the loop stops for more


# ---- hosts

cdef void issue(Net* net, int h) noexcept nogil:
    """ISSUE: a host sends its next requests, in order, as far as its limits allow."""
    cdef const HostRow* row = &net.host_rows[h]
    cdef Host* host = &net.hosts[h]
    cdef RequestRow* request
    cdef int32_t message
    while host.next < row.end:
        request = &net.requests[host.next]
        if request.earliest > net.t:
            wake(net, &host.due, request.earliest, ISSUE, h)
            return
        if host.outstanding[request.write] >= row.limit[request.write]:
            return
        host.outstanding[request.write] += 1
        message = net.spare
        net.spare = net.messages[message].next
        net.messages[message] = Message(host.next, 0, 0, -1, WRITE if request.write else READ, 0, 0, h, -1)
        request.issued = net.t
        host.next += 1
        enqueue(net, row.way, 0, message)


cdef inline void finish(Net* net, int32_t message) noexcept nogil:
    """The answer is back at its host."""
    cdef Message* m = &net.messages[message]
    cdef RequestRow* request = &net.requests[m.request]
    let_go(net, message)
    request.done = net.t
    net.hosts[m.host].outstanding[request.write] -= 1
    wake(net, &net.hosts[m.host].due, net.t, ISSUE, m.host)
    m.next = net.spare
    net.spare = message


# ---- devices

cdef inline int32_t choose(Net* net, int c, bint reads, bint writes) noexcept nogil:
    """Kind of the oldest message a channel may take now, -1 if there is none; a busy write path holds writes back."""
    cdef Channel* channel = &net.channels[c]
    cdef int64_t* paths = &net.path_free[2 * net.channel_rows[c].device]
    cdef int32_t read = channel.line[READ].first, write = channel.line[WRITE].first
    if not reads:
        read = -1
    if not writes:
        write = -1
    if write >= 0 and paths[WRITE] > net.t:
        wake(net, &channel.due, paths[WRITE], MEMORY, c)
        write = -1
    if read < 0 or write < 0:
        return READ if read >= 0 else WRITE if write >= 0 else -1
    return READ if net.messages[read].stamp < net.messages[write].stamp else WRITE


cdef inline int32_t admit(Net* net, int c, int kind) noexcept nogil:
    """Take the oldest message of a kind into the memory; a posted write is done with that."""
    cdef int32_t message = take(net, &net.channels[c].line[kind]), device = net.channel_rows[c].device
    let_go(net, message)
    if kind == WRITE:
        net.path_free[2 * device + WRITE] = net.t + net.devices[device].gap[WRITE]
        if net.devices[device].posted:
            push(net, net.t, ANSWER, net.messages[message].request, message)
    return message


cdef void serve_fixed(Net* net, int c) noexcept nogil:
    """MEMORY: a memory of a rate and a latency takes the next line when it is free."""
    cdef const ChannelRow* row = &net.channel_rows[c]
    cdef Channel* channel = &net.channels[c]
    cdef int32_t message, kind
    while True:
        if channel.free > net.t:
            if channel.line[READ].first >= 0 or channel.line[WRITE].first >= 0:
                wake(net, &channel.due, channel.free, MEMORY, c)
            return
        kind = choose(net, c, True, True)
        if kind < 0:
            return
        message = admit(net, c, kind)
        channel.free = net.t + row.gap[kind]
        if kind == READ or not net.devices[row.device].posted:
            push(net, net.t + row.latency[kind], ANSWER, net.messages[message].request, message)


cdef inline void note(Net* net, int c, int32_t message, int64_t tick) noexcept nogil:
    """One access is answered; with its last the message is."""
    cdef const ChannelRow* row = &net.channel_rows[c]
    cdef Message* m
    net.commands[c].answered += 1
    if message < 0:
        return
    m = &net.messages[message]
    m.at = later(m.at, (tick * row.tick + row.per - 1) // row.per)
    m.parts -= 1
    if m.parts == 0:
        push(net, m.at, ANSWER, m.request, message)


cdef void catch_up(Net* net, int c, int64_t until, int64_t* next_tick) noexcept nogil:
    """Run a channel's commands to a tick and note what they answered."""
    cdef Commands* d = &net.commands[c]
    cdef Ports* io = &d.io
    cdef int64_t first = d.accepted, i
    io.first, io.end, io.n_late = first, d.offered, 0
    io.address, io.is_write, io.earliest = &d.address[first], &d.is_write[first], &d.earliest[first]
    io.arrive, io.depart, io.delayed = &d.arrive[first], &d.depart[first], &d.delayed[first]
    d.accepted = advance(d.s, io, first, until, next_tick)
    for i in range(first, d.accepted):
        d.ahead[d.is_write[i]] -= 1
        if d.depart[i] >= 0:
            note(net, c, d.message[i], d.depart[i])
    for i in range(io.n_late):
        d.depart[io.late_seq[i]] = io.late_depart[i]
        note(net, c, d.message[io.late_seq[i]], io.late_depart[i])


cdef inline bint has_room(Net* net, int c, int kind) noexcept nogil:
    """Whether the buffer of a channel holds another line's accesses, those offered before it counted."""
    cdef Commands* d = &net.commands[c]
    cdef int64_t most = d.s.set.reads if kind == READ else d.s.set.writes
    return d.s.length[kind] + d.ahead[kind] + net.channel_rows[c].parts <= most


cdef void offer(Net* net, int c, int32_t message, int64_t earliest) noexcept nogil:
    """Put the accesses of a line into a channel's line."""
    cdef Commands* d = &net.commands[c]
    cdef Message* m = &net.messages[message]
    cdef RequestRow* request = &net.requests[m.request]
    cdef int i
    cdef bint is_write = m.kind == WRITE
    m.parts, m.at = net.channel_rows[c].parts, 0
    for i in range(m.parts):
        d.address[d.offered], d.is_write[d.offered] = request.address + i * d.access, is_write
        d.earliest[d.offered], d.arrive[d.offered], d.depart[d.offered] = earliest, -1, -1
        d.message[d.offered] = -1 if is_write and net.devices[request.device].posted else message
        d.offered += 1
    d.ahead[is_write] += m.parts


cdef void serve_dram(Net* net, int c) noexcept nogil:
    """MEMORY: a channel's commands run to now; lines that its buffers have room for go in, the rest waits."""
    cdef const ChannelRow* row = &net.channel_rows[c]
    cdef Channel* channel = &net.channels[c]
    cdef int64_t until = net.t * row.per // row.tick, next_tick, next_time
    cdef int64_t earliest = (net.t * row.per + row.tick - 1) // row.tick
    cdef int32_t kind
    catch_up(net, c, until, &next_tick)
    while True:
        kind = choose(net, c, has_room(net, c, READ), has_room(net, c, WRITE))
        if kind < 0:
            break
        offer(net, c, admit(net, c, kind), earliest)
    catch_up(net, c, until, &next_tick)
    if net.commands[c].answered < net.commands[c].offered:
        wake(net, &channel.due, (next_tick * row.tick + row.per - 1) // row.per, MEMORY, c)


cdef inline void answer(Net* net, int32_t message) noexcept nogil:
    """ANSWER: the memory is done with a line; reads go one by one through the controller's read path."""
    cdef Message* m = &net.messages[message]
    cdef int32_t device = net.requests[m.request].device
    cdef const DeviceRow* row = &net.devices[device]
    cdef int64_t ready = net.t
    if m.kind == READ:
        ready = later(ready, net.path_free[2 * device]) + row.gap[READ]
        net.path_free[2 * device] = ready
    push(net, ready + row.latency, LEAVE, m.request, message)


cdef inline void leave(Net* net, int32_t message) noexcept nogil:
    """LEAVE: an answer waits for the link."""
    cdef Message* m = &net.messages[message]
    m.kind = DATA if m.kind == READ else COMPLETION
    enqueue(net, net.devices[net.requests[m.request].device].way, 0, message)


# ---- ways

cdef void arrive(Net* net, int w) noexcept nogil:
    """ARRIVAL: messages whose last slot is there."""
    cdef Way* way = &net.ways[w]
    cdef const NodeRow* node = &net.nodes[net.way_rows[w].target]
    cdef Message* m
    cdef RequestRow* request
    cdef int32_t message, place
    while way.flight.first >= 0 and net.messages[way.flight.first].at <= net.t:
        message = take(net, &way.flight)
        m = &net.messages[message]
        request = &net.requests[m.request]
        net.counts[w].received[m.kind] += 1
        if node.kind == SWITCH:
            place = net.devices[request.device].place if m.kind <= WRITE else net.host_rows[m.host].place
            enqueue(net, net.route[net.way_rows[w].target * net.n_places + place], way.port, message)
        elif node.kind == DEVICE:
            m.stamp = net.stamp
            net.stamp += 1
            add(net, &net.channels[request.channel].line[m.kind], message)
            wake(net, &net.channels[request.channel].due, net.t, MEMORY, request.channel)
        else:
            finish(net, message)


cdef inline void take_credits(Net* net, int w, int64_t load) noexcept nogil:
    """CREDITS: buffers at the target are free again."""
    cdef int kind
    for kind in range(KINDS):
        net.ways[w].credits[kind] += (load >> (16 * kind)) & 0xFFFF
    wake(net, &net.ways[w].due, later(net.t, net.ways[w].free), SEND, w)


# ---- time

cdef inline bint is_due(Net* net, int64_t* due) noexcept nogil:
    """Whether a beat is the one that was wished for last; if so the wish is met."""
    if due[0] != net.t:
        return False
    due[0] = FAR_TICK
    return True


cdef inline void happen(Net* net, Beat beat) noexcept nogil:
    cdef int phase = <int>(beat.key >> 48)
    cdef int i = <int32_t>beat.key
    if phase == SEND:
        if is_due(net, &net.ways[i].due):
            send(net, i)
    elif phase == ARRIVAL:
        arrive(net, i)
    elif phase == CREDITS:
        take_credits(net, i, beat.load)
    elif phase == MEMORY:
        if is_due(net, &net.channels[i].due):
            if net.channel_rows[i].backend == FIXED:
                serve_fixed(net, i)
            else:
                serve_dram(net, i)
    elif phase == ANSWER:
        answer(net, <int32_t>beat.load)
    elif phase == LEAVE:
        leave(net, <int32_t>beat.load)
    elif is_due(net, &net.hosts[i].due):
        issue(net, i)


cdef bint run(Net* net) except -1 nogil:
    """Until nothing is left to happen (True), or the heap needs room (False). Raises what a signal handler raises."""
    while net.n_heap > 0:
        if net.n_heap + MARGIN > net.heap_room:
            return False
        net.t = net.heap[0].t
        happen(net, pop(net))
        net.events += 1
        if net.events % LOOK_UP == 0:
            with gil:
                PyErr_CheckSignals()
    return True


# ---- from Python

cdef class Network:
    """A network and its state at tick 0.

    Parameters
    ----------
    tables : object with the arrays `ways`, `nodes`, `hosts`, `devices`, `channels` (dtypes of link_tables), `route`
        int32[nodes, places] and `requests`, whose columns `issued` and `done` are written.
    memories : list of dram.Channel or None
        One for each row of `channels`, at tick 0; None where it is FIXED.
    """

    cdef Net net
    cdef object tables
    cdef object memories
    cdef object asked, asked_write
    cdef object keep
    cdef readonly object counts

    def __init__(self, tables, memories=None):
        cdef Net* net = &self.net
        cdef const WayRow[::1] ways = tables.ways
        cdef const NodeRow[::1] nodes = tables.nodes
        cdef const HostRow[::1] hosts = tables.hosts
        cdef const DeviceRow[::1] devices = tables.devices
        cdef const ChannelRow[::1] channels = tables.channels
        cdef const int32_t[:, ::1] route = tables.route
        cdef RequestRow[::1] requests = tables.requests
        cdef CountRow[::1] counts
        for name in ("way", "node", "host", "device", "channel", "request"):
            rows = getattr(tables, name + "s").dtype
            assert rows == getattr(link_tables, name.upper() + "_ROW"), (name, rows)
        self.tables = tables
        self.counts = np.zeros(len(tables.ways), link_tables.COUNT_ROW)
        counts = self.counts
        net.way_rows, net.nodes, net.host_rows = &ways[0], &nodes[0], &hosts[0]
        net.devices, net.channel_rows, net.route = &devices[0], &channels[0], &route[0, 0]
        net.requests = &requests[0] if requests.shape[0] else NULL
        net.counts = &counts[0]
        net.n_ways, net.n_nodes, net.n_hosts, net.n_devices = len(ways), len(nodes), len(hosts), len(devices)
        net.n_channels, net.n_places = len(channels), route.shape[1]
        self.memories = memories or [None] * len(channels)
        self.lay_out()
        self.lay_out_memories()
        self.reset()

    cdef char* buffer(self, int64_t size):
        cdef char[::1] memory = np.zeros(size + 64, np.int8)
        self.keep.append(memory)
        return <char*>((<size_t>&memory[0] + 63) & ~<size_t>63)

    cdef void lay_out(self):
        cdef Net* net = &self.net
        cdef int64_t n_lines = 0, n_messages = 0
        cdef int w, h
        self.keep, self.asked, self.asked_write = [], {}, {}
        net.ways = <Way*>self.buffer(net.n_ways * sizeof(Way))
        for w in range(net.n_ways):
            net.ways[w].ports = later(1, net.nodes[net.way_rows[w].source].ports)
            net.ways[w].lines = n_lines
            n_lines += 4 * net.ways[w].ports
            net.ways[w].port = sum(1 for other in range(w)
                                   if net.way_rows[other].target == net.way_rows[w].target)
        for h in range(net.n_hosts):
            n_messages += net.host_rows[h].limit[0] + net.host_rows[h].limit[1]
        net.lines = <Line*>self.buffer(n_lines * sizeof(Line))
        net.hosts = <Host*>self.buffer(net.n_hosts * sizeof(Host))
        net.channels = <Channel*>self.buffer(net.n_channels * sizeof(Channel))
        net.path_free = <int64_t*>self.buffer(2 * net.n_devices * sizeof(int64_t))
        net.messages = <Message*>self.buffer(n_messages * sizeof(Message))
        net.heap_room = 4 * MARGIN
        net.heap = <Beat*>self.buffer(net.heap_room * sizeof(Beat))
        for w in range(n_lines):
            net.lines[w].first = -1
        for w in range(n_messages):
            net.messages[w].next = w + 1

    cdef void lay_out_memories(self):
        """Room for all that will be offered to each channel, and for what a call answers late."""
        cdef Net* net = &self.net
        cdef Commands* d
        cdef DramChannel memory
        cdef const uint64_t[:, ::1] decode
        cdef int64_t[:, ::1] numbers
        cdef uint8_t[:, ::1] flags
        cdef int64_t most = 2 * QUEUE + BANKS
        cdef int64_t* late = <int64_t*>self.buffer(2 * most * sizeof(int64_t))
        cdef uint8_t* late_delayed = <uint8_t*>self.buffer(most)
        cdef int c
        lines = np.bincount(self.tables.requests["channel"], minlength=net.n_channels)
        net.commands = <Commands*>self.buffer(net.n_channels * sizeof(Commands))
        for c in range(net.n_channels):
            if self.memories[c] is None:
                assert net.channel_rows[c].backend == FIXED, c
                continue
            d, memory = &net.commands[c], self.memories[c]
            decode = memory.decode
            self.asked[c] = rows = np.zeros((4, lines[c] * net.channel_rows[c].parts + 1), np.int64)
            self.asked_write[c] = writes = np.zeros((2, rows.shape[1]), np.uint8)
            numbers, flags = rows, writes
            d.s, d.access, d.io.decode = memory.s, net.channel_rows[c].access, &decode[0, 0]
            d.io.late_seq, d.io.late_depart, d.io.late_delayed = late, late + most, late_delayed
            d.address, d.earliest = &numbers[0, 0], &numbers[1, 0]
            d.arrive, d.depart = &numbers[2, 0], &numbers[3, 0]
            d.is_write, d.delayed = &flags[0, 0], &flags[1, 0]
            d.message = <int32_t*>self.buffer(4 * rows.shape[1])

    cdef void reset(self):
        cdef Net* net = &self.net
        cdef int w, h, kind
        for w in range(net.n_ways):
            net.ways[w].due = FAR_TICK
            net.ways[w].data.first = net.ways[w].flight.first = -1
            for kind in range(KINDS):
                net.ways[w].credits[kind] = net.way_rows[w].credits[kind]
        for w in range(net.n_channels):
            net.channels[w].due = FAR_TICK
            net.channels[w].line[READ].first = net.channels[w].line[WRITE].first = -1
        for h in range(net.n_hosts):
            net.hosts[h].next, net.hosts[h].due = net.host_rows[h].first, FAR_TICK
            wake(net, &net.hosts[h].due, 0, ISSUE, h)

    cdef void grow(self):
        cdef Net* net = &self.net
        cdef Beat* heap = <Beat*>self.buffer(2 * net.heap_room * sizeof(Beat))
        cdef int64_t i
        for i in range(net.n_heap):
            heap[i] = net.heap[i]
        net.heap, net.heap_room = heap, 2 * net.heap_room

    def run(self):
        """Answer all requests, without the GIL.

        Returns
        -------
        int
            Tick of the last thing that happened.
        """
        cdef bint done
        while True:
            with nogil:
                done = run(&self.net)
            if done:
                return self.net.t
            self.grow()

    @property
    def events(self):
        """Events that happened."""
        return self.net.events

    def offered(self, int c):
        """What a DRAM channel was asked, in order: address, is_write, earliest, arrive and depart ticks, as arrays."""
        cdef int64_t n = self.net.commands[c].offered
        address, earliest, arrive, depart = self.asked[c][:, :n]
        return address, self.asked_write[c][0, :n], earliest, arrive, depart

    def credits(self):
        """Credits each way has now, int32[ways, 4]."""
        return np.array([[self.net.ways[w].credits[k] for k in range(KINDS)] for w in range(self.net.n_ways)], np.int32)
