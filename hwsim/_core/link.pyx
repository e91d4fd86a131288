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
from libc.stdint cimport int32_t, int64_t

from hwsim._core.link_flit cimport send
from hwsim._core.link_queue cimport add, enqueue, later, let_go, pop, push, take, wake
from hwsim._core.link_rows cimport (COMPLETION, DATA, DEVICE, FIXED, KINDS, READ, SWITCH, WRITE, ChannelRow, DeviceRow,
                                    HostRow, NodeRow, RequestRow, WayRow)
from hwsim._core.link_state cimport (ANSWER, ARRIVAL, CREDITS, FAR_TICK, ISSUE, LEAVE, MEMORY, SEND, Beat, Channel, CountRow,
                                     Host, Line, Message, Net, Way)

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

cdef inline int32_t choose(Net* net, int c) noexcept nogil:
    """Kind of the oldest message a channel may take now, -1 if there is none; a busy write path holds writes back."""
    cdef Channel* channel = &net.channels[c]
    cdef int64_t* paths = &net.path_free[2 * net.channel_rows[c].device]
    cdef int32_t read = channel.line[READ].first, write = channel.line[WRITE].first
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
        kind = choose(net, c)
        if kind < 0:
            return
        message = admit(net, c, kind)
        channel.free = net.t + row.gap[kind]
        if kind == READ or not net.devices[row.device].posted:
            push(net, net.t + row.latency[kind], ANSWER, net.messages[message].request, message)


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
            serve_fixed(net, i)
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
    """

    cdef Net net
    cdef object tables
    cdef object keep
    cdef readonly object counts

    def __init__(self, tables):
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
        self.lay_out()
        self.reset()

    cdef char* buffer(self, int64_t size):
        cdef char[::1] memory = np.zeros(size + 64, np.int8)
        self.keep.append(memory)
        return <char*>((<size_t>&memory[0] + 63) & ~<size_t>63)

    cdef void lay_out(self):
        cdef Net* net = &self.net
        cdef int64_t n_lines = 0, n_messages = 0
        cdef int w, h
        self.keep = []
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

    def credits(self):
        """Credits each way has now, int32[ways, 4]."""
        return np.array([[self.net.ways[w].credits[k] for k in range(KINDS)] for w in range(self.net.n_ways)], np.int32)
