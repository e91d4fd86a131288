"""One DRAM channel, tick by tick in plain Python. It decides what is right; _core/dram.pyx must agree.

In tick t the oldest request that has not been accepted is offered (arrive = t); then the controller works at t + 1. It
may issue one column command and one row command (one command of either kind where they share a bus). Where a clock has
two ticks, odd ones are rising edges; a falling edge takes only a PRE, in the row slot.

Column slot: requests whose ACT has issued, else the read or the write buffer. Row slot: all-bank refresh; else a due
bank refresh; else the read or the write buffer; else a row unused for too long. Each takes the oldest request whose
next command fits the slot and may issue now. While an all-bank refresh is due, nothing is taken from the buffers; while
a bank's refresh is due, nothing of that bank is.

Nothing is computed ahead: a command is legal when every rule is met by the issues noted so far.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hwsim._core import dram_tables as rows
from hwsim._core.dram_tables import ACT, COMMAND_NAMES, PRE, PREA, RD, RDA, REF, REFPB

_BANK_FIELDS = ("pseudo_channel", "stack", "bank_group", "bank")


@dataclass(eq=False)
class Request:
    """A request, and where its address lies."""

    number: int
    is_write: bool
    address: int
    bank: int
    row: int
    arrive: int = -1
    depart: int = -1
    delayed: bool = False
    asks: int = 0


@dataclass
class BankState:
    """What the controller knows of a bank."""

    row: int | None = None
    used: int = 0
    asked: int = 0
    refreshed: int = -1


@dataclass
class Result:
    """What a channel did.

    Attributes
    ----------
    arrive, depart : list of int
        Ticks, by request.
    delayed : list of bool
        Whether a refresh of its bank was due or under way between them.
    counts : Counter
        Commands by name, and merged, forwarded, hits.
    log : list of tuple
        (tick, command, flat bank) of every command.
    """

    arrive: list[int]
    depart: list[int]
    delayed: list[bool]
    counts: Counter[str]
    log: list[tuple[int, str, int]]


@dataclass
class _Channel:
    settings: Any
    rules: list[tuple[int, ...]]
    now: int = 0
    reads: list[Request] = field(default_factory=list)
    writes: list[Request] = field(default_factory=list)
    active: list[Request] = field(default_factory=list)
    due: list[int] = field(default_factory=list)
    writing: bool = False
    banks: list[BankState] = field(default_factory=list)
    issues: dict[tuple[int, int, int], deque[int]] = field(default_factory=dict)
    rising_row: tuple[int, int, int] = (-1, -1, -1)  # tick of the falling edge it pairs with, command, bank
    turn: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    log: list[tuple[int, str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shift = [int(shift) for shift in self.settings["shift"]]
        self.banks = [BankState() for _ in range(1 << self.shift[0])]
        self.waits = {waiting: [rule for rule in self.rules if rule[2] == waiting] for waiting in range(8)}

    # ---- rules

    def unit(self, bank: int) -> int:
        """Pseudo-channel or rank of a bank."""
        return bank >> self.shift[1]

    def last_issue(self, level: int, instance: int, after: int, window: int) -> int | None:
        """Tick of the window-th last issue of a command in an instance of a level."""
        noted = self.issues.get((level, instance, after), ())
        return noted[-window] if len(noted) >= window else None

    def legal(self, command: int, bank: int) -> bool:
        """Whether every rule that a command to a bank waits for is met."""
        for level, after, _, ticks, window, siblings in self.waits[rows.WAITING[command]]:
            own = bank >> self.shift[level]
            instances = [own]
            if siblings:
                fan = 1 << (self.shift[level - 1] - self.shift[level])
                instances = [i for i in range(own - own % fan, own - own % fan + fan) if i != own]
            for instance in instances:
                last = self.last_issue(level, instance, after, window)
                if last is not None and self.now < last + ticks:
                    return False
        return True

    def issue(self, command: int, bank: int) -> None:
        """Note a command and what it does to the rows."""
        levels = (0, 1) if command in (PREA, REF) else range(5)
        for level in levels:
            key = (level, bank >> self.shift[level], command)
            self.issues.setdefault(key, deque(maxlen=rows.WINDOW)).append(self.now)
        self.counts[COMMAND_NAMES[command]] += 1
        self.log.append((self.now, COMMAND_NAMES[command], bank))
        if command == PREA:
            for other, state in enumerate(self.banks):
                if self.unit(other) == self.unit(bank):
                    state.row = None
        elif command == PRE:
            self.banks[bank].row = None

    def issue_row(self, command: int, bank: int, rising: bool) -> None:
        """A row command; one on a rising edge is remembered for the falling edge that pairs with it."""
        self.issue(command, bank)
        if rising:
            later = int(self.settings["act_length"]) if command == ACT else 1
            self.rising_row = (self.now + later, command, bank)

    def may_close(self, command: int, bank: int, rising: bool) -> bool:
        """Whether a precharge may use this edge: a falling one must not pair with a rising row command's bank."""
        edge, before, other = self.rising_row
        if rising or self.now != edge or self.unit(bank) != self.unit(other):
            return True
        return command == PRE and before not in (PREA, REF) and bank != other

    # ---- requests

    def in_use(self, bank: int) -> bool:
        """Whether a request whose ACT opened the bank's row still waits for its column command."""
        return any(request.bank == bank for request in self.active)

    def ask(self, request: Request) -> None:
        """The command a request needs next."""
        row = self.banks[request.bank].row
        column = RD + request.is_write
        request.asks = ACT if row is None else column if row == request.row else PRE

    def oldest_ready(self, buffer: list[Request], fits: Callable[[Request], bool]) -> Request | None:
        """First come among the requests whose command fits a slot and may issue."""
        for request in buffer:
            self.ask(request)
        for request in sorted(buffer, key=lambda r: r.arrive):
            if fits(request) and self.legal(request.asks, request.bank):
                return request
        return None

    def protected(self, request: Request, buffer: list[Request]) -> bool:
        """Whether an older hit keeps the row open that a request wants closed."""
        hits = (r.arrive for r in buffer if r.bank == request.bank and r.row == self.banks[r.bank].row)
        return bool(self.settings["protect"]) and any(arrive <= request.arrive for arrive in hits)

    def buffer(self) -> list[Request]:
        """The buffer that is served now: writes from above the high watermark until below the low one."""
        if self.writing:
            self.writing = not (len(self.writes) < self.settings["low"] and self.reads)
        else:
            self.writing = len(self.writes) > self.settings["high"] or not self.reads
        return self.writes if self.writing else self.reads

    def all_bank_due(self) -> bool:
        """Whether nothing may be taken from the buffers."""
        return bool(self.due) and self.settings["refresh"] == rows.ALL_BANK

    def bank_due(self, bank: int) -> bool:
        """Whether nothing of a bank may be taken from the buffers."""
        return self.settings["refresh"] == rows.PER_BANK and bank in self.due

    def accept(self, request: Request) -> bool:
        """Offer a request in tick `now`; False while its buffer is full."""
        queue, entries = (self.writes, "writes") if request.is_write else (self.reads, "reads")
        if any(write.address == request.address for write in self.writes):
            self.counts["merged" if request.is_write else "forwarded"] += 1
            request.arrive = self.now
            self.answer(request, self.now + 1)
            return True
        if len(queue) == self.settings[entries]:
            return False
        request.arrive = self.now
        queue.append(request)
        return True

    def answer(self, request: Request, depart: int) -> None:
        """A request is done at a tick that is known now."""
        bank = self.banks[request.bank]
        request.depart = depart
        request.delayed = request.arrive < bank.refreshed and depart > bank.asked

    # ---- slots

    def column_slot(self) -> bool:
        """RD or WR of the oldest ready request; its row was opened for it, or it is a hit."""
        request = self.oldest_ready(self.active, lambda r: True)
        if request is None and not self.all_bank_due():
            buffer = self.buffer()
            request = self.oldest_ready(buffer, lambda r: r.asks >= RD and not self.bank_due(r.bank))
            if request is not None:
                buffer.remove(request)
                self.counts["hits"] += 1
        elif request is not None:
            self.active.remove(request)
        if request is None:
            return False
        self.issue_column(request)
        return True

    def issue_column(self, request: Request) -> None:
        """With auto-precharge under the policy `closed` when no other request waits for the row."""
        bank = self.banks[request.bank]
        others = (r for r in (*self.reads, *self.writes, *self.active) if r.bank == request.bank)
        closes = self.settings["policy"] == rows.CLOSED_ROWS and not any(r.row == request.row for r in others)
        self.issue((RDA if closes else RD) + request.is_write, request.bank)
        bank.used = self.now
        if closes:
            bank.row = None
        self.answer(request, self.now if request.is_write else self.now + int(self.settings["latency"]))

    def row_slot(self, rising: bool) -> None:
        """One of refresh, ACT or PRE for a request, PRE of an unused row."""
        if self.all_bank_due():
            self.refresh_unit(rising)
        elif not (self.due and self.refresh_bank(rising)) and not self.serve_row(rising):
            self.close_unused(rising)

    def refresh_unit(self, rising: bool) -> None:
        """PREA, then REF, of the pseudo-channel whose refresh has been due longest."""
        bank = self.due[0] << self.shift[1]
        members = [b for b in range(len(self.banks)) if self.unit(b) == self.due[0]]
        if any(self.banks[b].row is not None for b in members):
            barred = any(map(self.in_use, members)) or not self.may_close(PREA, bank, rising)
            if not barred and self.legal(PREA, bank):
                self.issue_row(PREA, bank, rising)
        elif rising and self.legal(REF, bank):
            self.issue_row(REF, bank, rising)
            self.note_refresh(members)

    def refresh_bank(self, rising: bool) -> bool:
        """PRE, then REFPB, of the bank whose refresh has been due longest."""
        bank = self.due[0]
        is_open = self.banks[bank].row is not None
        command = PRE if is_open else REFPB
        fits = self.may_close(PRE, bank, rising) and not self.in_use(bank) if is_open else rising
        if not fits or not self.legal(command, bank):
            return False
        self.issue_row(command, bank, rising)
        if not is_open:
            self.note_refresh([bank])
        return True

    def note_refresh(self, banks: list[int]) -> None:
        """The refresh that was due longest has issued."""
        self.due.pop(0)
        for bank in banks:
            self.banks[bank].refreshed = self.now + int(self.settings["recovery"])

    def serve_row(self, rising: bool) -> bool:
        """ACT or PRE for the oldest ready request of the buffer in use; an ACT makes it active."""
        buffer = self.buffer()

        def fits(request: Request) -> bool:
            if request.asks >= RD or self.bank_due(request.bank):
                return False
            if request.asks == ACT:
                return rising
            barred = self.in_use(request.bank) or self.protected(request, buffer)
            return not barred and self.may_close(PRE, request.bank, rising)

        request = self.oldest_ready(buffer, fits)
        if request is None:
            return False
        self.issue_row(request.asks, request.bank, rising)
        if request.asks == ACT:
            self.banks[request.bank].row, self.banks[request.bank].used = request.row, self.now
            buffer.remove(request)
            self.active.append(request)
        return True

    def close_unused(self, rising: bool) -> None:
        """Under the policy `timeout`: PRE of the row unused longest, if that is too long and nobody waits for it."""
        if self.settings["policy"] != rows.TIMEOUT_ROWS:
            return
        wanted = {(r.bank, r.row) for r in (*self.reads, *self.writes, *self.active)}
        idle = [
            (state.used, bank)
            for bank, state in enumerate(self.banks)
            if state.row is not None and (bank, state.row) not in wanted and not self.bank_due(bank)
        ]
        for used, bank in sorted(idle):
            over = self.now >= used + self.settings["timeout"]
            if over and self.may_close(PRE, bank, rising) and self.legal(PRE, bank):
                self.issue_row(PRE, bank, rising)
                return

    # ---- time

    def refreshes_due(self) -> None:
        """At its tick, a refresh becomes due in every pseudo-channel: of all its banks, or of the next one."""
        mode, phase = self.settings["refresh"], self.settings["phase"]
        if mode == rows.NO_REFRESH or self.now < phase or (self.now - phase) % self.settings["interval"]:
            return
        unit_banks = 1 << self.shift[1]
        for unit in range(len(self.banks) // unit_banks):
            first = unit * unit_banks
            members = range(first, first + unit_banks)
            if mode == rows.PER_BANK:
                members = range(first + self.turn, first + self.turn + 1)
            self.due.append(unit if mode == rows.ALL_BANK else members[0])
            for bank in members:
                self.banks[bank].asked = self.now
        self.turn = (self.turn + 1) % unit_banks

    def tick(self) -> None:
        """The controller's work at `now`."""
        self.refreshes_due()
        rising = not self.settings["half"] or self.now % 2 == 1
        issued = rising and self.column_slot()
        if not (issued and self.settings["shared"]):
            self.row_slot(rising)


def run(
    settings: Any,
    rules: Any,
    bits: Mapping[str, Sequence[int]],
    addresses: Sequence[int],
    is_write: Sequence[bool],
    earliest: Sequence[int],
) -> Result:
    """Run a channel until all requests are answered.

    Parameters
    ----------
    settings : SETTINGS_ROW[1]
    rules : RULE_ROW[n]
    bits : mapping of str to sequence of int
        For each field of an address the masks of its bits, lowest first (`AddressMap.bits`).
    addresses, is_write, earliest : sequences of equal length
    """
    channel = _Channel(settings[0], [tuple(map(int, rule)) for rule in rules.tolist()])
    requests = [
        Request(number, bool(write), int(address), _bank(bits, int(address)), _number(bits["row"], int(address)))
        for number, (address, write) in enumerate(zip(addresses, is_write))
    ]
    waiting = deque(requests)
    while waiting or channel.reads or channel.writes or channel.active:
        if waiting and earliest[waiting[0].number] <= channel.now and channel.accept(waiting[0]):
            waiting.popleft()
        channel.now += 1
        channel.tick()
    return Result(
        [r.arrive for r in requests],
        [r.depart for r in requests],
        [r.delayed for r in requests],
        channel.counts,
        channel.log,
    )


def _bank(bits: Mapping[str, Sequence[int]], address: int) -> int:
    """Flat number of the bank an address lies in."""
    flat = 0
    for part in _BANK_FIELDS:
        flat = (flat << len(bits[part])) | _number(bits[part], address)
    return flat


def _number(masks: Sequence[int], address: int) -> int:
    """Number whose bits are the parities of an address under masks."""
    return sum(((mask & address).bit_count() & 1) << bit for bit, mask in enumerate(masks))
