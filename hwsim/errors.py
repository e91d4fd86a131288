"""Errors of hwsim: every message says where, what was got, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from os import PathLike


@dataclass(frozen=True)
class Fault:
    """One thing wrong with an input.

    Parameters
    ----------
    where : str
        `file:line:column`, a command-line option or a dotted path: the place to look at.
    got, expected : str
        What stands there and what may stand there.
    cure : str, optional
        What to do about it, as a whole clause ("write '80 GB'", "did you mean 'nvlink'?").
    path : str, optional
        Dotted path inside the file.
    excerpt : str, optional
        The source line with a caret below it.
    """

    where: str
    got: str
    expected: str
    cure: str = ""
    path: str = ""
    excerpt: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: {self.path}" if self.path else self.where
        text = f"{place}: got {self.got}, expected {self.expected}"
        if self.cure:
            text += f"; {self.cure}"
        if self.excerpt:
            text += "\n" + self.excerpt
        return text


class HwsimError(Exception):
    """Base of all errors of hwsim; `exit_code` is what the command line returns."""

    exit_code = 1


class InputError(HwsimError):
    """The input is wrong. All faults found in it are in `faults`; nothing was written."""

    exit_code = 2

    def __init__(self, faults: Fault | Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


def bad(where: str, got: object, expected: str, cure: str = "", **more: str) -> InputError:
    """An InputError with one fault: `raise bad("--plan", repr(text), "NAME=COUNT, e.g. tp=8")`."""
    return InputError(Fault(where, str(got), expected, cure, **more))


def check_path(where: str, value: object) -> None:
    """Refuse what cannot name a file."""
    check_type(where, value, (str, PathLike), "the path of a file")


def check_type(where: str, value: object, types: type | tuple[type, ...], expected: str, cure: str = "") -> None:
    """Refuse a value of another type; numpy's whole numbers are `int`, a truth value is no number."""
    among = tuple(Integral if kind is int else kind for kind in (types if isinstance(types, tuple) else (types,)))
    if not isinstance(value, among) or (isinstance(value, bool) and bool not in among):
        raise bad(where, f"{value!r:.60} of type {type(value).__name__}", expected, cure)
