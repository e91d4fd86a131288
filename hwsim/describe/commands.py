"""The commands of one memory channel: organisation, timings, constraints, controller, address mappings.

A standard is data: timings in nanoseconds or clocks, constraints as rows that name them.
`hwsim.memory.channel_tables` resolves both into ticks; nothing here computes a time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import Field, model_validator

from hwsim import units
from hwsim.describe.block import Block
from hwsim.describe.misplaced import similar
from hwsim.describe.quantity import Bytes, Count, Hertz, Number, Ratio, Whole, Width, in_range, refuse
from hwsim.errors import InputError

Level = Literal["channel", "pseudo_channel", "stack", "bank_group", "bank"]
Command = Literal["ACT", "PRE", "PREA", "RD", "WR", "RDA", "WRA", "REF", "REFPB"]
AddressField = Literal["column", "pseudo_channel", "stack", "bank_group", "bank", "row"]
LEVELS: tuple[Level, ...] = get_args(Level)
COMMANDS: tuple[Command, ...] = get_args(Command)
FIELDS: tuple[AddressField, ...] = get_args(AddressField)
BUILT_IN = ("mop4clxor", "robaracoch")  # mappings that any organisation has

_MAXIMUM = re.compile(r"max\((.+),(.+)\)")
_LONGEST, _LONGEST_CLOCKS = "1 ms", "1000000 cycles"  # a refresh interval is microseconds
_SPAN = "a time or clocks: '16.25 ns', '4 cycles' or 'max(4 cycles, 5 ns)'"


class Span(NamedTuple):
    """A time as standards state it: the longer of a number of clocks and a number of seconds."""

    clocks: Fraction
    seconds: Fraction


@dataclass(frozen=True)
class Timing(Number):
    """Clocks, a time, or the longer of both."""

    def validate(self, value: object) -> Any:
        """A Span of a text."""
        if isinstance(value, str):
            match = _MAXIMUM.fullmatch(value.strip())
            found = [_span(part) for part in (match.groups() if match else (value,))]
            if all(found):
                clocks = in_range(max(span.clocks for span in found if span), "cycle", value, high=_LONGEST_CLOCKS)
                return Span(clocks, in_range(max(span.seconds for span in found if span), "s", value, high=_LONGEST))
        raise refuse(repr(value), _SPAN)

    def text(self, value: Any) -> str:
        """The span as a file would write it."""
        clocks, time = units.format(value.clocks, "cycle"), units.format(value.seconds, "s")
        if value.clocks and value.seconds:
            return f"max({clocks}, {time})"
        return time if value.seconds else clocks

    def written(self) -> dict[str, Any]:
        """A text."""
        return {"type": "string", "examples": ["16.25 ns", "4 cycles", "max(4 cycles, 5 ns)"]}


def _span(text: str) -> Span | None:
    for dimension in ("cycle", "s"):
        try:
            value = units.parse(text.strip(), dimension)
        except InputError:
            continue
        return Span(value, Fraction(0)) if dimension == "cycle" else Span(Fraction(0), value)
    return None


Duration = Annotated[Span, Timing()]
Rows = Annotated[int, Whole(1, 2**24)]
Ticks = Annotated[int, Whole(1, 2)]
Length = Annotated[int, Whole(0, 64)]


class Organisation(Block):
    """How a channel divides; each level holds so many of the next."""

    pseudo_channels: Width = Field(description="parts with a data bus of their own; ranks where the standard has ranks")
    stacks: Width = Field(description="stack ids of a pseudo-channel")
    bank_groups: Width = Field(description="bank groups of a stack id")
    banks: Width = Field(description="banks of a bank group")
    rows: Rows = Field(description="rows of a bank")
    columns: Width = Field(description="accesses a row holds")
    access: Bytes = Field(description="bytes one column command moves")


class Rule(Block):
    """One timing constraint: `before` may not issue until `wait` after the last `after` on the same `level`.

    Timings run from the last edge of a command to the last of the next: the longer `after` is than `before`
    (`lengths`), the longer the wait between their issues.
    """

    level: Level = Field(description="where both commands must meet: the same channel, ..., the same bank")
    after: list[Command] = Field(description="commands that start the wait")
    before: list[Command] = Field(description="commands that wait")
    wait: str = Field(description="sum of named timings, e.g. 'WL + BL + WR'")
    window: Count = Field(1, description="counted from the so-many-th last `after` (four activates: 4)")
    siblings: bool = Field(False, description="holds for the other instances below the same parent instead")


class Refresh(Block):
    """When rows are refreshed."""

    mode: Literal["none", "all-bank", "per-bank"] = Field(description="what a refresh closes, unless the user chooses")
    interval: str = Field(description="timing between two refreshes of a pseudo-channel")
    duration: str = Field(description="timing an all-bank refresh takes")
    alignment: Literal["aligned", "staggered"] = Field(description="whether the channels of a stack refresh at once")


class Queues(Block):
    """Buffers of the controller."""

    reads: Count = Field(description="reads that wait for their command")
    writes: Count = Field(description="writes that wait for their command")
    low: Ratio = Field(description="share of the write buffer below which reads are served again")
    high: Ratio = Field(description="share of the write buffer above which writes are served")


class Controller(Block):
    """What the controller of one channel does."""

    scheduler: Literal["frfcfs", "frfcfs-rowhit"] = Field(description="first ready first served; with hits kept open")
    mapping: str = Field(description="mop4clxor, robaracoch or one of `mappings`")
    row_policy: Literal["open", "closed", "timeout"] = Field(description="when a row is closed that nobody waits for")
    timeout: Duration = Field(description="how long an unused row stays open under the policy `timeout`")
    queues: Queues


_NAMES = re.compile(r"[A-Za-z]\w*")  # of timings in a sum
_REFRESH = ("refresh.interval", "refresh.duration")


class Commands(Block):
    """One channel, command by command; a stack or chip has `channels` of them."""

    channels: Count = Field(description="channels of the stack, chip or module")
    clock: Hertz = Field(description="command clock")
    ticks: Ticks = Field(description="ticks of a clock: 2 where a precharge may use the falling edge")
    bus: Literal["split", "shared"] = Field(description="row and column commands on wires of their own, or shared")
    organisation: Organisation
    lengths: dict[Command, Length] = Field(description="ticks a command occupies its bus, where more than one")
    timings: dict[str, Duration] = Field(description="named timings; RL, WL and BL are always among them")
    rules: list[Rule] = Field(description="all constraints but the occupation of the command buses")
    refresh: Refresh
    controller: Controller
    mappings: dict[str, dict[AddressField, list[str]]] = Field(
        default_factory=dict, description="address bits of each field from its lowest bit, '7 ^ 13' is an XOR"
    )

    @model_validator(mode="after")
    def _names_what_is_there(self) -> Commands:
        waits = {f"rules.{number}.wait": rule.wait for number, rule in enumerate(self.rules)}
        used = {"refresh.interval": self.refresh.interval, "refresh.duration": self.refresh.duration, **waits}
        for at, text in used.items():
            unknown = [name for name in _NAMES.findall(text) if name not in self.timings]
            if unknown and not (at in _REFRESH and self.refresh.mode == "none"):
                near = similar(unknown[0], self.timings)
                cure = f"did you mean '{near}'?" if near else "name it under `timings`"
                raise refuse(repr(unknown[0]), "one of timings: " + ", ".join(self.timings), cure, at=at)
        burst = self.timings.get("BL")
        if burst is not None and not burst.clocks and not burst.seconds:
            raise refuse("no time", "a burst above zero, such as '2 cycles'", at="timings.BL")
        known = (*BUILT_IN, *self.mappings)
        if self.controller.mapping not in known:
            near = similar(self.controller.mapping, known)
            cure = f"did you mean '{near}'?" if near else ""
            raise refuse(repr(self.controller.mapping), " or ".join(known), cure, at="controller.mapping")
        return self

    @property
    def wires(self) -> Fraction:
        """Bytes per second of all data buses together: an access a burst; 0 where no burst length is named."""
        burst = self.timings.get("BL")
        if burst is None:
            return Fraction(0)
        buses = self.channels * self.organisation.pseudo_channels
        return buses * self.organisation.access / max(burst.clocks / self.clock, burst.seconds)
