"""Types of the numbers in descriptions: each refuses a text without its unit and holds base units, exactly."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from hwsim import units
from hwsim.describe.tree import Status, scalar
from hwsim.errors import InputError

SOURCE_SCHEMA: dict[str, Any] = {
    "source": {"type": "string", "description": "where the number comes from"},
    "status": {"enum": list(get_args(Status))},
}


def refuse(got: object, expected: str, cure: str = "", at: str = "") -> PydanticCustomError:
    """The error `faults.py` turns into a Fault; the texts travel in its context, `at` names a field inside a block."""
    context = {"got": str(got), "expected": expected, "cure": cure} | ({"at": at} if at else {})
    return PydanticCustomError("hwsim", "{expected}", context)


class Number(ABC):
    """What pydantic asks of an annotation for a number in a description."""

    @abstractmethod
    def validate(self, value: object) -> Fraction | int:
        """The number in base units; a PydanticCustomError of `refuse` for anything else."""

    @abstractmethod
    def text(self, value: Fraction | int) -> str | int:
        """The number as a file would write it."""

    @abstractmethod
    def written(self) -> dict[str, Any]:
        """JSON schema of the number as files write it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        text = core_schema.plain_serializer_function_ser_schema(self.text)
        return core_schema.no_info_plain_validator_function(self.validate, serialization=text)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        own = {"type": "object", "required": ["value"], "properties": {"value": self.written(), **SOURCE_SCHEMA}}
        return {"anyOf": [self.written(), own]}


# Least and largest value of each dimension a description may state: far beyond any machine, so that what passes them is
# a slip of a unit or a prefix, and so that the integers of the cores hold whatever is within.
RANGES: dict[str, tuple[Fraction, Fraction]] = {
    dimension: (units.parse(low, dimension), units.parse(high, dimension))
    for dimension, low, high in (
        ("B", "0 B", "10 PB"),
        ("s", "0 s", "1 s"),
        ("Hz", "1 kHz", "1 THz"),
        ("W", "0 W", "1 MW"),
        ("J", "0 J", "1 MJ"),
        ("FLOP", "1 FLOP", "1 GFLOP"),
        ("cycle", "0 cycles", "100000000 cycles"),
        ("token", "0 tokens", "1000000000 tokens"),
        ("T", "1 T", "1 GT"),
        ("B/s", "1 kB/s", "1000 PB/s"),
        ("B/cycle", "0.01 B/cycle", "1 GB/cycle"),
        ("FLOP/s", "1 FLOP/s", "1000 EFLOP/s"),
        ("FLOP/cycle", "0.01 FLOP/cycle", "1 GFLOP/cycle"),
        ("T/s", "1 kT/s", "1000 GT/s"),
        ("token/s", "0 token/s", "1000000000 token/s"),
        ("J/B", "0 J/B", "1 uJ/B"),
        ("J/FLOP", "0 J/FLOP", "1 uJ/FLOP"),
        ("1", "0", "1"),
    )
}
SLIP = "check the unit and its prefix"


def in_range(value: Fraction, dimension: str, got: object, low: str = "", high: str = "") -> Fraction:
    """The value, if a description may state it; `low` and `high` stand in for the ends of the dimension."""
    ends_of = RANGES[dimension]
    least, most = (units.parse(text, dimension) if text else end for text, end in zip((low, high), ends_of))
    if least <= value <= most:
        return value
    words, example = units.DIMENSIONS[dimension]
    if not value:
        raise refuse(repr(got), f"{words} above zero, such as '{example}'")
    ends = f"{units.format(least, dimension)} to {units.format(most, dimension)}"
    raise refuse(repr(got), f"{words} from {ends}, such as '{example}'", SLIP)


@dataclass(frozen=True)
class Quantity(Number):
    """A number with a unit of one dimension of `hwsim.units`, in its range or between `low` and `high`."""

    dimension: str
    low: str = ""
    high: str = ""

    def validate(self, value: object) -> Fraction:
        """Value in base units from a text; a ratio may be bare (decimals of a file are Fractions)."""
        try:
            found = units.parse(value, self.dimension)
        except InputError as error:
            fault = error.faults[0]
            raise refuse(fault.got, fault.expected, fault.cure) from None
        return in_range(found, self.dimension, value, self.low, self.high)

    def text(self, value: Fraction | int) -> str:
        """Number and unit."""
        return units.format(value, self.dimension)

    def written(self) -> dict[str, Any]:
        """A text with a unit, or for a ratio a bare number or a percentage."""
        words, example = units.DIMENSIONS[self.dimension]
        if self.dimension == "1":
            share = {"type": "number", "minimum": 0, "maximum": 1}
            return {"anyOf": [share, {"type": "string", "pattern": "%$", "examples": ["93 %"]}]}
        return {
            "type": "string",
            "pattern": r"^\s*[0-9.]",
            "description": f"{words} with its unit",
            "examples": [example],
        }


@dataclass(frozen=True)
class Whole(Number):
    """A bare whole number in a range, both ends included."""

    least: int
    most: int = 2**31

    def validate(self, value: object) -> int:
        """The number itself; text, decimals and true/false are refused."""
        if isinstance(value, bool) or not isinstance(value, int | Fraction):
            raise refuse(repr(value), "a whole number", "write it without a unit" if isinstance(value, str) else "")
        if isinstance(value, Fraction) and value.denominator != 1:
            raise refuse(value, "a whole number")
        if not self.least <= value <= self.most:
            raise refuse(value, f"a whole number from {self.least} to {self.most}")
        return int(value)

    def text(self, value: Fraction | int) -> int:
        """The number itself."""
        return int(value)

    def written(self) -> dict[str, Any]:
        """An integer."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Bare(Number):
    """A bare number without a unit (an exponent, a factor)."""

    most: int = 10**6

    def validate(self, value: object) -> Fraction:
        """The number itself, exactly (a decimal may also come as text, from a result file)."""
        if isinstance(value, str):
            value = scalar(value)
        if isinstance(value, bool) or not isinstance(value, int | Fraction):
            raise refuse(repr(value), "a bare number such as 1.5")
        if value < 0:
            raise refuse(value, "a bare number that is not negative")
        if value > self.most:
            raise refuse(value, f"a bare number of at most {self.most}")
        return Fraction(value)

    def text(self, value: Fraction | int) -> str:
        """The number as a decimal."""
        return units.format(value, "1")

    def written(self) -> dict[str, Any]:
        """A number."""
        return {"type": "number", "minimum": 0, "maximum": self.most}


@dataclass(frozen=True)
class TileText:
    """A tile written "128x256": rows x columns of the output."""

    def validate(self, value: object) -> tuple[int, int]:
        """Rows and columns."""
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value) if isinstance(value, str) else None
        if match is None or "0" in match.groups():
            raise refuse(repr(value), "a tile such as 128x256")
        return int(match[1]), int(match[2])

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.validate,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda tile: f"{tile[0]}x{tile[1]}"),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "pattern": "^[0-9]+x[0-9]+$", "examples": ["128x256"]}


Bytes = Annotated[Fraction, Quantity("B")]
SomeBytes = Annotated[Fraction, Quantity("B", low="1 B")]
Seconds = Annotated[Fraction, Quantity("s")]
LongSeconds = Annotated[Fraction, Quantity("s", high="24 h")]
Hertz = Annotated[Fraction, Quantity("Hz")]
Watts = Annotated[Fraction, Quantity("W")]
Flop = Annotated[Fraction, Quantity("FLOP")]
Cycles = Annotated[Fraction, Quantity("cycle")]
Tokens = Annotated[Fraction, Quantity("token")]
BytesPerSecond = Annotated[Fraction, Quantity("B/s")]
BytesPerCycle = Annotated[Fraction, Quantity("B/cycle")]
FlopPerCycle = Annotated[Fraction, Quantity("FLOP/cycle")]
JoulesPerByte = Annotated[Fraction, Quantity("J/B")]
JoulesPerFlop = Annotated[Fraction, Quantity("J/FLOP")]
Ratio = Annotated[Fraction, Quantity("1")]
Share = Annotated[Fraction, Quantity("1", low="0.0001")]  # of a rate that work waits for: never none
Factor = Annotated[Fraction, Bare()]
Count = Annotated[int, Whole(1)]
Parts = Annotated[int, Whole(1, 2**20)]
Width = Annotated[int, Whole(1, 2**16)]
Natural = Annotated[int, Whole(0)]
Tile = Annotated[tuple[int, int], TileText()]

Dtype = Literal["fp32", "tf32", "bf16", "fp16", "fp8", "nvfp4", "int8", "int4"]
