"""Commands of the guides, run in this process as a terminal would: hwsim, `cat > FILE <<END`, `cut`, `grep -E`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from click.testing import CliRunner

from hwsim.cli import cli


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Every command of a console block with the lines printed below it; lines of input begin with `> `."""
    for part in re.split(r"(?m)^\$ ", text)[1:]:
        lines = part.rstrip("\n").split("\n")
        end = 1 + sum(line.startswith("> ") for line in lines)
        yield "\n".join(lines[:end]), lines[end:]


def run_console(command: str) -> list[str]:
    """Lines that one command prints, what it says about its own CPU time left out."""
    first, *rest = (part.strip() for part in command.split(" | "))
    lines = _first(first)
    for pipe in rest:
        pattern = shlex.split(pipe)[-1]
        lines = [line for line in lines if re.search(pattern, line)]
    return lines


def _first(command: str) -> list[str]:
    head, *below = command.split("\n")
    words = shlex.split(head)
    if words[0] == "hwsim":
        done = CliRunner().invoke(cli, words[1:])
        shown = done.output if done.exit_code == 0 else done.stderr
        return [line.rstrip() for line in shown.splitlines()]
    if words[0] == "cat":
        Path(words[2]).write_text("\n".join(line.removeprefix("> ") for line in below[:-1]) + "\n")
        return []
    assert words[0] == "cut", command
    columns = [range(int(a) - 1, int(b or a)) for a, b in re.findall(r"(\d+)(?:-(\d+))?", words[2].removeprefix("-f"))]
    rows = (line.split(",") for line in Path(words[3]).read_text().splitlines())
    return [",".join(row[at] for part in columns for at in part if at < len(row)) for row in rows]
