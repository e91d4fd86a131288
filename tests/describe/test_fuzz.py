"""Damaged files: whatever stands in them, the answer is a description or named faults."""

import random
from pathlib import Path

import pytest

from hwsim.describe import library
from hwsim.describe.loader import build
from hwsim.describe.resolve import from_file
from hwsim.errors import InputError

FILES = sorted(library.root().glob("*/*.yaml"))
PIECES = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    "- ",
    "\n",
    "  ",
    "\t",
    "'",
    '"',
    "#",
    "&a ",
    "*a",
    "!!int ",
    "|",
    ">",
    "%",
    "null",
]
PIECES += [
    "-1",
    "0",
    "1e99",
    ".nan",
    "~",
    "true",
    "GB",
    "source: x",
    "extends: h100-sxm",
    "value",
    "\x00",
    "é",
    "? ",
    "<<: ",
]


def damaged(text: str, draw: random.Random) -> str:
    """The text with one to three cuts, insertions or swaps of lines."""
    for _ in range(draw.randint(1, 3)):
        at, to = sorted((draw.randrange(len(text) + 1), draw.randrange(len(text) + 1)))
        kind = draw.randrange(3)
        if kind == 0:
            text = text[:at] + draw.choice(PIECES) + text[at:]
        elif kind == 1:
            text = text[:at] + text[min(to, at + draw.randint(1, 40)) :]
        else:
            lines = text.split("\n")
            one, two = draw.randrange(len(lines)), draw.randrange(len(lines))
            lines[one], lines[two] = lines[two], lines[one]
            text = "\n".join(lines)
    return text


@pytest.mark.fuzz
def test_a_damaged_file_is_a_description_or_an_input_error(tmp_path: Path, fuzz_share: float):
    draw = random.Random(7)
    for case in range(int(2000 * fuzz_share)):
        origin = draw.choice(FILES)
        kind = library.kind_of_file(origin)
        assert kind
        file = tmp_path / f"{case}.yaml"
        file.write_text(damaged(origin.read_text(), draw))
        try:
            build(kind, from_file(file, kind))
        except InputError as error:
            assert error.faults and "Fraction(" not in str(error)
