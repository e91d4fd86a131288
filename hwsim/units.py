"""Quantities with units, exactly: "3.35 TB/s" is a Fraction of bytes per second and nothing is a bare number.

A dimension is named by its base unit: "B", "s", "Hz", "W", "J", "FLOP", "cycle", "T" (a transfer), "token", "1" (a
ratio), or two of them with a slash ("B/s", "B/cycle", "J/B", ...). Decimal and binary prefixes, bytes and bits are kept
apart: KB = 1000 B, KiB = 1024 B, b = bit = B / 8.

Each conversion that rounds is one function here, and all of them round up.
"""

from __future__ import annotations

import difflib
import re
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from hwsim.errors import InputError, bad

if TYPE_CHECKING:
    from numpy import int64
    from numpy.typing import NDArray


class Dimension(NamedTuple):
    """What a dimension is called in a message, and how a value of it is written."""

    words: str
    example: str


DIMENSIONS: dict[str, Dimension] = {
    "B": Dimension("a size", "80 GB"),
    "s": Dimension("a time", "450 ns"),
    "Hz": Dimension("a frequency", "1.98 GHz"),
    "W": Dimension("a power", "700 W"),
    "J": Dimension("an energy", "20 pJ"),
    "FLOP": Dimension("a number of operations", "4096 FLOP"),
    "cycle": Dimension("a number of cycles", "30 cycles"),
    "token": Dimension("a number of tokens", "16 token"),
    "T": Dimension("a number of transfers", "8 T"),
    "B/s": Dimension("a byte rate", "3.35 TB/s"),
    "B/cycle": Dimension("a byte rate per cycle", "64 B/cycle"),
    "FLOP/s": Dimension("a rate of operations", "989 TFLOP/s"),
    "FLOP/cycle": Dimension("a rate of operations per cycle", "4096 FLOP/cycle"),
    "T/s": Dimension("a transfer rate", "6.4 GT/s"),
    "token/s": Dimension("a token rate", "9200 token/s"),
    "J/B": Dimension("an energy per byte", "4 pJ/bit"),
    "J/FLOP": Dimension("an energy per operation", "0.6 pJ/FLOP"),
    "1": Dimension("a ratio between 0 and 1", "0.93"),
}

_SMALL = {"m": -3, "u": -6, "µ": -6, "n": -9, "p": -12, "f": -15}
_LARGE = {"k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50}

# symbol -> (base unit, factor, decimal prefixes it takes, takes binary prefixes)
_SYMBOLS: dict[str, tuple[str, Fraction, dict[str, int], bool]] = {
    "B": ("B", Fraction(1), _LARGE | {"K": 3}, True),
    "b": ("B", Fraction(1, 8), _LARGE | {"K": 3}, True),
    "bit": ("B", Fraction(1, 8), _LARGE | {"K": 3}, True),
    "s": ("s", Fraction(1), _SMALL, False),
    "min": ("s", Fraction(60), {}, False),
    "h": ("s", Fraction(3600), {}, False),
    "Hz": ("Hz", Fraction(1), {key: _LARGE[key] for key in "kMGT"}, False),
    "W": ("W", Fraction(1), {"u": -6, "m": -3, "k": 3, "M": 6}, False),
    "J": ("J", Fraction(1), _SMALL | {"k": 3, "M": 6}, False),
    "FLOP": ("FLOP", Fraction(1), _LARGE | {"K": 3}, False),
    "OP": ("FLOP", Fraction(1), _LARGE | {"K": 3}, False),
    "cycle": ("cycle", Fraction(1), {}, False),
    "cycles": ("cycle", Fraction(1), {}, False),
    "T": ("T", Fraction(1), {key: _LARGE[key] for key in "kMG"}, False),
    "token": ("token", Fraction(1), {}, False),
    "tokens": ("token", Fraction(1), {}, False),
}


def _unit_table() -> dict[str, tuple[str, Fraction]]:
    table: dict[str, tuple[str, Fraction]] = {}
    for symbol, (base, factor, prefixes, binary) in _SYMBOLS.items():
        table[symbol] = (base, factor)
        for prefix, power in prefixes.items():
            table[prefix + symbol] = (base, factor * Fraction(10) ** power)
        for prefix, power in _BINARY.items() if binary else ():
            table[prefix + symbol] = (base, factor * 2**power)
    return table


_UNITS = _unit_table()
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_NOT_FINITE = re.compile(r"[+-]?\.?(?:nan|inf|infinity)\b", re.IGNORECASE)
# Numbers beyond these have no meaning here, and "1e999999999" must not hang in exact arithmetic.
_MOST_DIGITS, _LARGEST_POWER = 40, 40


@cache
def unit(text: str) -> tuple[str, Fraction] | None:
    """Dimension and factor of a unit ("GB/s" -> ("B/s", 10**9)), or None if there is no such unit."""
    if text == "%":
        return "1", Fraction(1, 100)
    above, slash, below = text.partition("/")
    top = _UNITS.get(above)
    if top is None or not slash:
        return top
    bottom = _UNITS.get(below)
    if bottom is None or f"{top[0]}/{bottom[0]}" not in DIMENSIONS:
        return None
    return f"{top[0]}/{bottom[0]}", top[1] / bottom[1]


def parse(text: object, dimension: str, where: str = "quantity") -> Fraction:
    """Value of a quantity in base units, exactly.

    Parameters
    ----------
    text : str
        A number and a unit: "80 GB", "3.35 TB/s", "4 pJ/bit". A ratio ("1") may be bare, or a percentage.
    dimension : str
        One of `DIMENSIONS`.
    where : str
        What a message names as the place of the fault.

    Raises
    ------
    InputError
        Bare, negative or not finite number, unknown unit, unit of another dimension, or no number at all.
    """
    words, example = DIMENSIONS[dimension]
    expected = f"{words} such as '{example}'"
    shown = text if isinstance(text, int | float | Fraction) and not isinstance(text, bool) else repr(text)
    written = str(text).strip()
    if isinstance(text, bool) or not isinstance(text, str | int | float | Fraction):
        raise bad(where, shown, expected)
    if _NOT_FINITE.match(written):
        raise bad(where, shown, expected, "write a finite number")
    value, symbol = _split(text, where, expected)
    if value < 0:
        raise bad(where, shown, expected, "write a number that is not negative")
    if not symbol:
        if dimension != "1":
            raise bad(where, shown, expected, "add the unit: a bare number says nothing")
        return _ratio(value, where, shown, expected)
    found = unit(symbol)
    if found is None:
        raise bad(where, shown, expected, _similar_unit(symbol, dimension))
    if found[0] != dimension:
        raise bad(where, shown, expected, f"'{symbol}' is the unit of {DIMENSIONS[found[0]].words}")
    value *= found[1]
    return _ratio(value, where, shown, expected) if dimension == "1" else value


def _split(text: str | int | float | Fraction, where: str, expected: str) -> tuple[Fraction, str]:
    """Number and unit of a text; a number that is no text has no unit."""
    if not isinstance(text, str):
        return Fraction(text), ""
    written = text.strip()
    match = _NUMBER.match(written)
    if match is None:
        raise bad(where, repr(text), expected)
    number = match.group()
    _, _, power = number.lower().partition("e")
    if len(number) > _MOST_DIGITS or abs(int(power or 0)) > _LARGEST_POWER:
        raise bad(where, repr(text), expected, f"at most {_MOST_DIGITS} digits and a power up to {_LARGEST_POWER}")
    return Fraction(number), written[match.end() :].strip()


def _ratio(value: Fraction, where: str, shown: object, expected: str) -> Fraction:
    if value > 1:
        raise bad(where, shown, expected, "a share cannot be more than 1 (100 %)")
    return value


def _similar_unit(symbol: str, dimension: str) -> str:
    """The cure for an unknown unit: the same letters in another case, or the nearest of the dimension."""
    names = [name for name in _all_units() if unit(name) and unit(name)[0] == dimension]  # type: ignore[index]
    same = [name for name in names if name.lower() == symbol.lower()]
    near = same or difflib.get_close_matches(symbol, names, n=1, cutoff=0.5)
    return f"there is no unit '{symbol}'" + (f": did you mean '{near[0]}'?" if near else "")


@cache
def _all_units() -> tuple[str, ...]:
    bottoms = sorted({pair.split("/")[1] for pair in DIMENSIONS if "/" in pair} | {"bit"})
    return (*_UNITS, *(f"{top}/{bottom}" for top in _UNITS for bottom in bottoms), "%")


def is_quantity(text: str) -> bool:
    """Whether a text reads as a number with a known unit (of any dimension)."""
    match = _NUMBER.match(text)
    return bool(match) and unit(text[match.end() :].strip()) is not None  # type: ignore[union-attr]


def value_of(text: str) -> tuple[Fraction, str] | None:
    """Value in base units and dimension of a text that reads as a quantity (a bare number is a ratio), or None."""
    try:
        number, symbol = _split(text, "", "")
    except InputError:
        return None
    found = ("1", Fraction(1)) if not symbol else unit(symbol)
    return None if found is None else (number * found[1], found[0])


# What `format` may write, per base unit, smallest first.
_WRITTEN: dict[str, tuple[str, ...]] = {
    "B": ("B", "KB", "MB", "GB", "TB", "PB", "KiB", "MiB", "GiB", "TiB"),
    "s": ("ps", "ns", "us", "ms", "s"),
    "Hz": ("Hz", "kHz", "MHz", "GHz"),
    "W": ("mW", "W", "kW", "MW"),
    "J": ("fJ", "pJ", "nJ", "uJ", "mJ", "J", "kJ"),
    "FLOP": ("FLOP", "GFLOP", "TFLOP", "PFLOP"),
    "T": ("T", "MT", "GT"),
}


def format(value: Fraction | int, dimension: str) -> str:
    """Shortest exact text of a value; a value without a finite decimal is given to six digits.

    Examples
    --------
    >>> format(Fraction(3_350_000_000_000), "B/s")
    '3.35 TB/s'
    >>> format(40 * 2**20, "B")
    '40 MiB'
    """
    value = Fraction(value)
    above, slash, below = dimension.partition("/")
    if dimension == "1":
        return _decimal(value) or f"{float(value):.6g}"
    tops = _WRITTEN.get(above, (above,)) if value else (above,)
    candidates = [(top, value / _UNITS[top][1]) for top in tops]
    exact = [(text, top) for top, number in candidates if number >= 1 or value == 0 if (text := _decimal(number))]
    if exact:
        text, top = min(exact, key=lambda pair: (len(pair[0].replace(".", "")), -_UNITS[pair[1]][1]))
    else:
        large = [(top, number) for top, number in candidates if number >= 1]
        top, number = max(large, key=lambda pair: _UNITS[pair[0]][1], default=candidates[0])
        text = _decimal(number) or f"{float(number):.6g}"
    return f"{text} {top}{slash}{below}"


def _decimal(value: Fraction) -> str | None:
    """Exact decimal of a fraction, or None when it has no finite one."""
    twos, fives, rest = 0, 0, value.denominator
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return None
    places = max(twos, fives)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)


@overload
def ceil_div(above: int, below: int | Fraction) -> int: ...
@overload
def ceil_div(above: NDArray[int64], below: NDArray[int64] | int) -> NDArray[int64]: ...
@overload
def ceil_div(above: int, below: NDArray[int64]) -> NDArray[int64]: ...
def ceil_div(above: Any, below: Any) -> Any:
    """above / below, rounded up; integers or int64 arrays of them, below > 0, a fraction too where both are scalars."""
    return -(-above // below)


def ceil_fraction(value: Fraction | int) -> int:
    """The smallest integer not below value."""
    return -(-value.numerator // value.denominator)


def ps_ceil(seconds: Fraction) -> int:
    """Seconds to picoseconds, rounded up."""
    return ceil_fraction(seconds * 10**12)


def cycles_ceil(seconds: Fraction, hertz: Fraction) -> int:
    """Seconds to cycles of a clock, rounded up."""
    return ceil_fraction(seconds * hertz)


def pj_ceil(joules: Fraction) -> int:
    """Joules to picojoules, rounded up."""
    return ceil_fraction(joules * 10**12)
