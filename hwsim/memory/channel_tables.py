"""From the description of a memory's commands to the tables that core and reference run: everything becomes ticks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim._core import dram_tables as rows
from hwsim.describe.commands import COMMANDS, LEVELS, AddressField, Commands, Rule, Span
from hwsim.describe.memory import Memory
from hwsim.errors import bad, check_type
from hwsim.memory.mapping import AddressMap, address_map, field_widths
from hwsim.units import ceil_fraction

_TERM = re.compile(r"[A-Za-z]\w*")
_ROW_COMMANDS = (rows.ACT, rows.PRE, rows.PREA, rows.REF, rows.REFPB)
_COLUMN_COMMANDS = (rows.RD, rows.WR, rows.RDA, rows.WRA)
_REFRESH = {"none": rows.NO_REFRESH, "all-bank": rows.ALL_BANK, "per-bank": rows.PER_BANK}
_POLICY = {"open": rows.OPEN_ROWS, "closed": rows.CLOSED_ROWS, "timeout": rows.TIMEOUT_ROWS}
_REFPB = rows.WAITING[rows.REFPB]
_SCHEDULERS = ("frfcfs", "frfcfs-rowhit")


@dataclass(frozen=True)
class Options:
    """What a user may choose about a controller; None keeps the description's choice.

    Attributes
    ----------
    scheduler : str
        frfcfs, or frfcfs-rowhit (a waiting hit keeps its row open against younger requests).
    mapping : str
        mop4clxor, robaracoch or a mapping of the description.
    queues : int
        Entries of the read and of the write buffer.
    refresh : str
        none, all-bank or per-bank.
    row_policy : str
        open, closed (auto-precharge when nobody waits for the row) or timeout.
    phase : int
        Ticks by which this channel's refreshes come later.
    """

    scheduler: str | None = None
    mapping: str | None = None
    queues: int | None = None
    refresh: str | None = None
    row_policy: str | None = None
    phase: int = 0


AS_DESCRIBED = Options()


@dataclass(frozen=True)
class ChannelTables:
    """One channel, ready to run.

    Attributes
    ----------
    settings : SETTINGS_ROW[1]
    rules : RULE_ROW[n]
        Sorted by `after`: every constraint of the description and the occupation of the command buses.
    decode : uint64[8, 256]
    address_map : AddressMap
    lengths, timings : dict
        Ticks of commands and of named timings.
    access, capacity : int
        Bytes of a request and of the channel.
    tick_ps : Fraction
        Picoseconds of a tick.
    """

    settings: NDArray[np.void]
    rules: NDArray[np.void]
    decode: NDArray[np.uint64]
    address_map: AddressMap
    lengths: dict[int, int]
    timings: dict[str, int]
    access: int
    capacity: int
    tick_ps: Any

    def core_rules(self) -> NDArray[np.void]:
        """Rules without those that can never decide: unused commands, and what a stricter rule covers."""
        used = [rule for rule in self.rules.tolist() if self._used(rule) and not self._implied(rule)]
        kept = [rule for i, rule in enumerate(used) if not any(_covers(o, rule, j < i) for j, o in enumerate(used))]
        return np.array(kept, rows.RULE_ROW)

    def _implied(self, rule: tuple[int, ...]) -> bool:
        """Whether the slots keep two commands as far apart anyway: one of a kind a slot, columns on rising edges."""
        _, after, before, ticks = rule[:4]
        columns = (after in _COLUMN_COMMANDS) + (before in (rows.RD, rows.WR))
        if columns == 1 and not self.settings["shared"][0]:
            return False
        return ticks <= (2 if columns == 2 and self.settings["half"][0] else 1)

    def _used(self, rule: tuple[int, ...]) -> bool:
        _, after, before = rule[:3]
        refresh = int(self.settings["refresh"][0])
        never = set()
        if refresh != rows.ALL_BANK:
            never |= {rows.PREA, rows.REF}
        if refresh != rows.PER_BANK:
            never.add(rows.REFPB)
        never_wait = {rows.WAITING[command] for command in never}
        if self.settings["policy"][0] != rows.CLOSED_ROWS:
            never |= {rows.RDA, rows.WRA}
        return after not in never and before not in never_wait


def _covers(stronger: tuple[int, ...], rule: tuple[int, ...], first: bool) -> bool:
    """Whether one rule makes another idle: same commands, the same or a wider level, at least the ticks."""
    level, after, before, ticks, window, siblings = stronger
    if stronger == rule:
        return first
    plain = window == 1 and not siblings
    return plain and (after, before) == rule[1:3] and level <= rule[0] and ticks >= rule[3]


def channel_tables(memory: Memory, options: Options = AS_DESCRIBED) -> ChannelTables:
    """Tables of one channel of a memory.

    Raises
    ------
    InputError
        The memory states no commands, a timing that no rule names, an option it does not know.
    """
    for name, value in (("queues", options.queues), ("phase", options.phase)):
        check_type(name, value, (int, NoneType), "a whole number")
    if memory.commands is None:
        raise bad(memory.id, "a memory without `commands`", "one whose commands are described")
    return _Builder(memory.id, memory.commands, options).build()


class _Builder:
    """Resolves one description; `at` names it in messages."""

    def __init__(self, at: str, commands: Commands, options: Options) -> None:
        self.at, self.commands, self.options = at, commands, options
        self.timings = {name: self.ticks(span) for name, span in commands.timings.items()}
        self.lengths = {i: commands.lengths.get(name, 1) for i, name in enumerate(COMMANDS)}
        for name in ("RL", "WL", "BL"):
            self.timing(name, "timings")

    def ticks(self, span: Span) -> int:
        """Whole clocks of a span, in ticks."""
        clocks = max(ceil_fraction(span.clocks), ceil_fraction(span.seconds * self.commands.clock))
        return clocks * self.commands.ticks

    def timing(self, name: str, where: str) -> int:
        """Ticks of a named timing."""
        if name not in self.timings:
            raise bad(f"{self.at}: {where}", repr(name), "a timing: " + ", ".join(self.timings))
        return self.timings[name]

    def chosen(self, option: str, described: str, known: tuple[str, ...]) -> str:
        """The user's choice or the description's."""
        value = getattr(self.options, option) or described
        if value not in known:
            raise bad(option, repr(value), " or ".join(known))
        return str(value)

    def build(self) -> ChannelTables:
        commands = self.commands
        found = address_map(commands, self.options.mapping or commands.controller.mapping, "mapping")
        organisation = commands.organisation
        banks = organisation.pseudo_channels * organisation.stacks * organisation.bank_groups * organisation.banks
        access = int(organisation.access)
        return ChannelTables(
            settings=self.settings(),
            rules=self.rules(),
            decode=found.decode_table(),
            address_map=found,
            lengths=self.lengths,
            timings=self.timings,
            access=access,
            capacity=banks * organisation.rows * organisation.columns * access,
            tick_ps=10**12 / (commands.clock * commands.ticks),
        )

    def settings(self) -> NDArray[np.void]:
        """The one SETTINGS row."""
        commands, controller = self.commands, self.commands.controller
        widths = field_widths(commands.organisation)
        levels: tuple[AddressField, ...] = ("bank", "bank_group", "stack", "pseudo_channel")
        shift = [sum(widths[level] for level in levels[:n]) for n in range(4, -1, -1)]
        self.check_shape(shift)
        row = np.zeros(1, rows.SETTINGS_ROW)
        row["shift"] = shift
        row["half"], row["shared"] = commands.ticks == 2, commands.bus == "shared"
        row["protect"] = self.chosen("scheduler", controller.scheduler, _SCHEDULERS) == "frfcfs-rowhit"
        row["policy"] = _POLICY[self.chosen("row_policy", controller.row_policy, tuple(_POLICY))]
        row["timeout"] = self.ticks(controller.timeout)
        row["latency"], row["act_length"] = self.timings["RL"] + self.timings["BL"], self.lengths[rows.ACT]
        self.set_refresh(row, 1 << shift[1])
        self.set_queues(row)
        return row

    def check_shape(self, shift: list[int]) -> None:
        units, banks = 1 << (shift[0] - shift[1]), 1 << shift[1]
        if units > rows.UNITS or banks > rows.UNIT_BANKS:
            got = f"{units} pseudo-channels of {banks} banks"
            raise bad(f"{self.at}: organisation", got, f"at most {rows.UNITS} of {rows.UNIT_BANKS}")

    def set_refresh(self, row: NDArray[np.void], unit_banks: int) -> None:
        """Refresh mode; per bank, each bank keeps the interval that all-bank refresh gives it."""
        refresh = self.commands.refresh
        mode = self.chosen("refresh", refresh.mode, tuple(_REFRESH))
        if mode == "per-bank" and not any("REFPB" in rule.after for rule in self.commands.rules):
            raise bad("refresh", "per-bank", f"none or all-bank: {self.at} has no command for a bank's refresh")
        interval, recovery = self.timing(refresh.interval, "refresh"), self.timing(refresh.duration, "refresh")
        row["refresh"], row["recovery"] = _REFRESH[mode], recovery
        if mode == "per-bank":
            recovery = max(rule[3] for rule in self.rules().tolist() if rule[1] == rows.REFPB)
            row["recovery"] = recovery
        if mode != "none" and interval < 2 * recovery:
            raise bad(f"{self.at}: refresh", f"a refresh of {recovery} every {interval} ticks", "twice as many")
        if mode == "per-bank":
            interval = max(1, interval // unit_banks)
            self.check_banks_interval(interval)
        row["interval"], row["phase"] = interval, interval + self.options.phase

    def check_banks_interval(self, interval: int) -> None:
        """Refreshes of single banks go one after the other over all pseudo-channels: they must not fall behind."""
        found = self.rules().tolist()
        apart, close = (
            max((ticks for _, before, waiting, ticks, *_ in found if (before, waiting) == (after, _REFPB)), default=0)
            for after in (rows.REFPB, rows.PRE)
        )
        least = self.commands.organisation.pseudo_channels * (apart + close)
        if interval < least:
            got = f"a bank's refresh every {interval} ticks"
            raise bad(f"{self.at}: refresh", got, f"at least {least}: a row is closed and a bank refreshed in each")

    def set_queues(self, row: NDArray[np.void]) -> None:
        queues = self.commands.controller.queues
        reads, writes = (self.options.queues,) * 2 if self.options.queues is not None else (queues.reads, queues.writes)
        for entries in (reads, writes):
            if not 1 <= entries <= rows.QUEUE:
                raise bad("queues", entries, f"1 to {rows.QUEUE} entries")
        row["reads"], row["writes"] = reads, writes
        # Fewer than a share: than the next whole number; more than a share: than the last one.
        row["low"], row["high"] = ceil_fraction(queues.low * writes), int(queues.high * writes)

    def rules(self) -> NDArray[np.void]:
        """All constraints as rows, sorted by `after`."""
        found = self.bus_rules()
        for index, rule in enumerate(self.commands.rules):
            found += self.rule_rows(rule, f"rules.{index}")
        self.check_rules(found)
        return np.array(sorted(found, key=lambda row: (row[1], row)), rows.RULE_ROW)

    def bus_rules(self) -> list[tuple[int, ...]]:
        """What a command longer than a tick keeps off its bus."""
        buses: tuple[tuple[int, ...], ...] = (_ROW_COMMANDS, _COLUMN_COMMANDS)
        if self.commands.bus == "shared":
            buses = (_ROW_COMMANDS + _COLUMN_COMMANDS,) * 2
        waiting = [sorted({rows.WAITING[command] for command in bus}) for bus in buses]
        return [
            (0, after, before, self.lengths[after], 1, 0)
            for commands, classes in zip((_ROW_COMMANDS, _COLUMN_COMMANDS), waiting)
            for after in commands
            for before in classes
            if self.lengths[after] > 1
        ]

    def rule_rows(self, rule: Rule, where: str) -> list[tuple[int, ...]]:
        """One row for each pair of commands."""
        wait = self.wait(rule.wait, where)
        found: dict[tuple[int, int, int], int] = {}
        for after in map(COMMANDS.index, rule.after):
            for before in map(COMMANDS.index, rule.before):
                ticks = max(0, wait + self.lengths[after] - self.lengths[before])
                row = (LEVELS.index(rule.level), after, rows.WAITING[before])
                if found.setdefault(row, ticks) != ticks:
                    raise bad(f"{self.at}: {where}.before", rule.before, "RDA as long as RD, WRA as WR")
        return [(*row, ticks, rule.window, int(rule.siblings)) for row, ticks in found.items()]

    def wait(self, text: str, where: str) -> int:
        """Ticks of a sum of timings."""
        parts = text.split("+")
        for part in parts:
            if not _TERM.fullmatch(part.strip()):
                raise bad(f"{self.at}: {where}.wait", repr(text), "a sum of timings such as 'WL + BL + WR'")
        return sum(self.timing(part.strip(), f"{where}.wait") for part in parts)

    def check_rules(self, found: list[tuple[int, ...]]) -> None:
        """What the core relies on."""
        all_bank = (rows.PREA, rows.REF)
        for level, after, before, _, window, siblings in found:
            if level > 1 and (after in all_bank or before in (rows.WAITING[rows.PREA], rows.WAITING[rows.REF])):
                raise bad(f"{self.at}: rules", f"{COMMANDS[after]} at {LEVELS[level]}", "such rules per pseudo-channel")
            if window > 1 and (level > 1 or siblings or window > rows.WINDOW):
                raise bad(f"{self.at}: rules", f"a window of {window}", f"at most {rows.WINDOW}, per pseudo-channel")
        if len(found) > rows.RULES:
            raise bad(f"{self.at}: rules", f"{len(found)} pairs of commands", f"at most {rows.RULES}")
