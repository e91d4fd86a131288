"""Tables of a network of links, as the core reads them. link_tables.py holds the same rows as numpy dtypes.

A network is: WAYS (two a link, one each direction), NODES, HOSTS, DEVICES, CHANNELS, ROUTE int32[nodes, devices + hosts]
(way that leaves a node for a host or device). Traffic is REQUESTS: per host a range of rows, in order. All times are
ticks of one femtosecond.
"""

from libc.stdint cimport int32_t, int64_t

cdef enum:
    KINDS = 4           # classes of messages, each with credits of its own
    ROOM = 12           # units a slot has for headers: a header of which k fit takes 12 / k

cdef enum:              # Kind
    READ, WRITE, DATA, COMPLETION       # towards the device: request, write with data; towards the host: data, write done

cdef enum Format:
    SLOTS               # flits of slots; headers share a slot, data fill slots (CXL)
    STREAM              # flits through which headers and data run on (PCIe 6)
    PACKETS             # each message alone, as long as it is (PCIe 3 to 5, NVLink)

cdef enum NodeKind:
    HOST, SWITCH, DEVICE

cdef enum Backend:
    FIXED               # a rate and a latency
    DRAM                # commands

cdef packed struct WayRow:
    int32_t source      # node
    int32_t target      # node
    int32_t reverse     # way of the other direction
    int32_t format      # Format
    int32_t slots       # slots of a flit
    int32_t head        # 1: slot 0 takes headers only
    int32_t all_data    # 1: a flit may be data alone when so much is owed
    int32_t update      # slots a credit update takes when nothing carries it; 0: credits ride in any flit for nothing
    int32_t every       # buffers freed before an update is sent though messages wait (update > 0)
    int32_t units[8]    # SLOTS: header room by Kind, then the same in slot 0; 0 otherwise
    int32_t body[4]     # slots that follow the header (STREAM and PACKETS: the header's own slots too)
    int32_t credits[4]  # buffers at the target; 0: a message of this kind needs none
    int64_t time        # ticks of a flit; of ONE slot in PACKETS
    int64_t latency     # ticks from a flit's end to its arrival
    int64_t hop         # ticks more until the target has looked at its messages

cdef packed struct NodeRow:
    int32_t kind        # NodeKind
    int32_t index       # row in HOSTS or DEVICES
    int32_t ports       # ways that arrive

cdef packed struct HostRow:
    int32_t way         # way that leaves it
    int32_t place       # its column in ROUTE
    int32_t limit[2]    # most reads and writes outstanding
    int64_t first, end  # its requests

cdef packed struct DeviceRow:
    int32_t way         # way that leaves it
    int32_t place       # its column in ROUTE
    int32_t first       # first row in CHANNELS
    int32_t channels
    int32_t posted      # 1: a write is done when the controller has taken it
    int64_t gap[2]      # least ticks between two lines on the read and on the write path
    int64_t latency     # ticks from the memory's answer to the link

cdef packed struct ChannelRow:
    int32_t device
    int32_t backend     # Backend
    int32_t parts       # DRAM: accesses a line takes
    int32_t access      # DRAM: bytes of one
    int64_t gap[2]      # FIXED: ticks a read or a write keeps it
    int64_t latency[2]  # FIXED: ticks until the answer
    int64_t tick        # DRAM: a tick is tick / per femtoseconds
    int64_t per

cdef packed struct RequestRow:
    int32_t device      # row in DEVICES
    int32_t channel     # row in CHANNELS
    int32_t write       # 0 read, 1 write
    int64_t address     # bytes inside the channel
    int64_t earliest    # tick
    int64_t issued      # out: tick the host sent it
    int64_t done        # out: tick its data or completion arrived
