"""What one running channel consists of: one struct without pointers, so a copy of it is a state and states compare."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from hwsim._core.dram_rows cimport (BANKS, CLASSES, CommandRow, NODES, NOTES, QUEUE, UNIT_BANKS, UNITS, WINDOW, WINDOWS, NoteRow, SettingsRow,
                                    WindowRow)

cdef extern from *:
    """
    static inline int lowest_bit(unsigned long long word) { return __builtin_ctzll(word); }
    #define FAR_TICK ((int64_t)1 << 62)
    """
    int lowest_bit(uint64_t word) noexcept nogil
    int64_t FAR_TICK

cdef enum:
    READS, WRITES               # buffers, and kinds of requests

cdef struct Entry:              # a waiting request
    int64_t seq                 # its number; also its age, since requests are accepted in order
    int64_t arrive
    int32_t row, column
    int32_t next                # younger request of the same bank and buffer, or free entry; -1 none
    int32_t bank

cdef struct Bank:
    int32_t row                 # open row, -1 closed
    int32_t active              # kind of the request whose ACT opened the row; -1 none
    int32_t head[2]             # requests of each buffer, oldest first
    int32_t tail[2]
    int32_t hit[2]              # oldest one of the open row
    int32_t miss[2]             # oldest one of another row (of a closed bank: the oldest)
    int64_t arrive              # of the active request
    int64_t used                # last ACT or column command
    int64_t asked               # tick at which its last refresh became due
    int64_t refreshed           # tick until which its last refresh keeps it

cdef struct Unit:
    uint64_t hits[2]            # banks with a hit, by buffer
    uint8_t order[2][UNIT_BANKS]    # the same banks, oldest hit first
    int32_t n_hits[2]
    uint64_t opens[2]           # closed banks with a request
    uint64_t closes[2]          # banks whose open row may be closed for a request
    uint64_t active[2]          # banks with an active request, by kind
    uint64_t open               # banks with an open row
    uint64_t due                # banks that await their refresh
    int64_t turn                # bank that is refreshed next

cdef struct Counts:
    int64_t commands[9]
    int64_t merged, forwarded   # writes merged, reads answered from the write buffer
    int64_t hits                # column commands that needed no ACT of their own
    int64_t open_ticks          # ticks of closing less those of opening, summed over banks

cdef struct State:
    SettingsRow set
    int32_t n_units, n_unit_banks, n_nodes, n_windows
    int32_t unit_shift, group_shift
    int32_t groups, leaves      # first node of the groups and of the banks
    NoteRow notes[NOTES]
    int32_t first[10]           # first note after each command
    WindowRow windows[WINDOWS]
    # what changes
    int64_t now                 # last tick the controller looked at
    int64_t wake_row, wake_col  # nothing can issue before
    int64_t next_refresh
    int64_t accepted            # tick of the last request accepted, -1 none
    int64_t issued              # requests answered
    int32_t writing             # write mode
    int32_t stuck               # buffer that is full before the oldest request, -1 none
    int64_t unstuck             # tick at which it may try again
    int64_t pair_tick           # falling edge that pairs with the last rising row command
    int32_t pair_command, pair_unit, pair_bank
    int32_t length[2]           # entries waiting in each buffer
    int32_t n_due               # all-bank: units, per-bank: banks that wait for their refresh, in order
    int32_t due[BANKS]
    int32_t free_entry
    Unit units[UNITS]
    int64_t ready[CLASSES][NODES]   # first tick at which a class of commands may issue: units, groups, banks
    int64_t rings[WINDOWS][UNITS][WINDOW]
    int32_t ring_at[WINDOWS][UNITS]
    int64_t hit_seq[2][BANKS]   # number of each bank's oldest hit, where its unit's mask says there is one
    int64_t row_seq[2][BANKS]   # the same of the request that wants its row closed or opened
    int64_t active_seq[BANKS]   # the same of its active request
    Bank banks[BANKS]
    Entry entries[2 * QUEUE]
    Counts counts

cdef struct Ports:              # what a call reads and writes; the state itself has no pointers
    const int64_t* address      # NULL: a stream instead of arrays
    const uint8_t* is_write
    const int64_t* earliest
    int64_t* arrive
    int64_t* depart
    uint8_t* delayed            # 1: a refresh of its unit was due or under way between arrive and depart
    int64_t first, end          # requests in these arrays or this stream
    int64_t base, stride        # stream: address of its first request, bytes between two
    int64_t start, interval     # stream: earliest tick of its first request, ticks between two
    int64_t kind                # stream: READS or WRITES
    int64_t last                # stream: last departure so far
    int64_t* late_seq           # requests of earlier calls that are answered in this one
    int64_t* late_depart
    uint8_t* late_delayed
    int64_t n_late
    const uint64_t* decode      # [8][256]
    CommandRow* log             # every command, as far as there is room
    int64_t n_log, log_room
