"""What one running network consists of."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from hwsim._core.dram cimport Ports
from hwsim._core.dram_state cimport State
from hwsim._core.link_rows cimport ChannelRow, DeviceRow, HostRow, NodeRow, RequestRow, WayRow

cdef enum Phase:            # order of what happens at one tick
    CREDITS, ARRIVAL, MEMORY, ANSWER, LEAVE, ISSUE, SEND

cdef extern from *:
    """
    #define FAR_TICK ((int64_t)1 << 62)
    """
    int64_t FAR_TICK

cdef struct Beat:
    int64_t t
    int64_t key             # Phase << 48 | way, channel, request or host
    int64_t load            # CREDITS: four counts of 16 bits; ANSWER, LEAVE: message

cdef packed struct CountRow:    # of one way
    int64_t flits           # all
    int64_t bare            # that carry credits alone
    int64_t headers         # slots with headers (PACKETS and STREAM count all slots as data)
    int64_t data            # slots with data
    int64_t sent[4]         # messages
    int64_t received[4]
    int64_t busy            # ticks

cdef struct Message:
    int64_t request
    int64_t stamp           # age in its queue
    int64_t at              # tick it arrives, while it is in flight
    int32_t next            # in its queue
    int32_t kind
    int32_t owed            # slots of data still to send
    int32_t parts           # accesses still to be answered
    int32_t host
    int32_t way             # way whose buffer it holds, -1 none

cdef struct Line:           # a first-in first-out list of messages
    int32_t first, last

cdef struct Way:
    int64_t free            # tick the wire is free
    int64_t due             # tick of its next SEND
    int32_t turn            # port that is served next
    int32_t ports           # ports of its source
    int32_t port            # its number among the ways that arrive at its target
    int32_t lines           # its first Line, [ports][4]
    int32_t credits[4]
    int32_t returns[4]      # credits it has to carry, for the other direction
    int64_t owed            # slots of data whose headers are gone
    Line data               # messages that owe them
    Line flight             # messages on the wire

cdef struct Host:
    int64_t next            # request
    int64_t due
    int32_t outstanding[2]

cdef struct Channel:
    Line line[2]            # reads and writes that wait
    int64_t free            # tick the memory takes the next (FIXED)
    int64_t due

cdef struct Commands:       # a DRAM channel and all that was ever offered to it
    State* s                # NULL: the channel is FIXED
    Ports io
    int64_t* address        # [capacity], by number
    int64_t* earliest
    int64_t* arrive
    int64_t* depart
    uint8_t* is_write
    uint8_t* delayed
    int32_t* message        # -1: a posted write
    int64_t offered, accepted, answered
    int64_t ahead[2]        # reads and writes offered that are not accepted yet
    int64_t access          # bytes

cdef struct Net:
    const WayRow* way_rows
    const NodeRow* nodes
    const HostRow* host_rows
    const DeviceRow* devices
    const ChannelRow* channel_rows
    const int32_t* route
    RequestRow* requests
    CountRow* counts
    Way* ways
    Line* lines
    Host* hosts
    Channel* channels
    Commands* commands
    int64_t* path_free      # [devices][2]: tick the read and the write path is free
    Message* messages
    Beat* heap
    int32_t n_ways, n_nodes, n_hosts, n_devices, n_channels, n_places
    int32_t spare           # first unused message
    int64_t n_heap, heap_room
    int64_t t, stamp, events
