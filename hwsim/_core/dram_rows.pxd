"""Tables of one DRAM channel, as the core reads them. dram_tables.py holds the same rows as numpy dtypes.

A channel is: SETTINGS (one row), RULES (all constraints, sorted by command) and DECODE uint64[8, 256]. An address decodes
as the XOR over its bytes i of DECODE[i, byte]: column in bits 0-15, flat bank in bits 16-31, row in bits 32-63.
Times are ticks. Banks are numbered flat: ((unit * stacks + stack) * groups + group) * banks + bank; a UNIT is what has a
data bus and a refresh of its own, a pseudo-channel (HBM) or a rank (DDR). A bank's ancestor at a level is flat >> shift.
"""

from libc.stdint cimport int32_t, int64_t

cdef enum:
    LEVELS = 5          # channel, unit, stack, group, bank
    CLASSES = 8         # commands that wait; RDA waits as RD, WRA as WR
    UNITS = 8           # most units of a channel
    UNIT_BANKS = 64     # most banks of a unit: one bit each in a mask
    BANKS = UNITS * UNIT_BANKS
    NODES = UNITS + 2 * BANKS
    QUEUE = 1024        # most entries of the read or of the write buffer
    RULES = 320         # most constraints
    NOTES = 2048        # most places they are noted in
    WINDOWS = 8         # rules with a window
    WINDOW = 16         # widest window

cdef enum Command:      # as `after` of a rule; as `before` the first five, then the two classes
    ACT, PRE, PREA, RD, WR, RDA, WRA, REF, REFPB
    REF_CLASS = 5
    REFPB_CLASS = 6

cdef enum Refresh:
    NO_REFRESH, ALL_BANK, PER_BANK

cdef enum RowPolicy:
    OPEN_ROWS, CLOSED_ROWS, TIMEOUT_ROWS

cdef packed struct RuleRow:
    int32_t level       # 0 channel ... 4 bank: where both commands must meet
    int32_t after       # Command that starts the wait
    int32_t before      # class of the Command that waits
    int32_t ticks       # least time between their issues
    int32_t window      # counted from the so-many-th last `after`; above 1 only at levels 0 and 1
    int32_t siblings    # 1: holds for the other instances of the level below the same parent

cdef packed struct SettingsRow:
    int64_t shift[5]        # flat bank -> instance, by level
    int64_t half            # 1: rows and columns issue on odd ticks, a lone PRE also on even ones
    int64_t shared          # 1: row and column commands share a bus, at most one a tick
    int64_t protect         # 1: a waiting hit keeps its row open against younger requests
    int64_t policy          # RowPolicy
    int64_t timeout         # ticks an unused row stays open (TIMEOUT_ROWS)
    int64_t refresh         # Refresh
    int64_t interval        # ticks between two refreshes of a unit (of one of its banks: PER_BANK)
    int64_t phase           # tick of the first refresh
    int64_t recovery        # ticks from REF to the unit's next ACT (marks requests a refresh delayed)
    int64_t reads           # entries of the read buffer
    int64_t writes          # entries of the write buffer
    int64_t low             # writes are served until fewer than this many wait ...
    int64_t high            # ... and again when more than this many wait
    int64_t latency         # ticks from RD to the last data
    int64_t act_length      # ticks an ACT lasts (pairing with a PRE on the falling edge)

cdef packed struct NoteRow:         # one place where rules are noted: dram_notes.py makes them of RULES
    int32_t after       # Command
    int32_t place       # offset of the class and of the node's level in `ready`
    int32_t level       # 0 unit, 1 group, 2 bank
    int32_t flip        # XORed to the number of the command's own node of that level
    int32_t ticks

cdef packed struct WindowRow:       # the same of a rule with a window
    int32_t after
    int32_t place
    int32_t level
    int32_t flip
    int32_t ticks       # from the width-th last issue, this one counted
    int32_t width
    int32_t shift       # of the level whose issues it counts

cdef packed struct CommandRow:
    int64_t tick
    int32_t command     # Command
    int32_t bank        # flat; the first of its unit for PREA and REF
