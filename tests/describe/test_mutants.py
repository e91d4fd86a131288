"""Every line of a description made wrong: one fault that names the file, the line, what was got and what to do.

Files are the chips of the guide and one shipped example of other kinds. A mutant that still is a description must be
one that may be: a line that nobody has to write, or a zero that a thing can have.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from mutants import Mutant, mutants
from test_new_chips import CHIPS

from hwsim.describe import library, load
from hwsim.describe.block import Description
from hwsim.describe.kinds import block_at
from hwsim.errors import Fault, InputError
from hwsim.operators.machine import Machine
from hwsim.operators.simulate import simulate

SHIPPED = {
    "system": "groq-72",
    "memory": "hbm3-6400",
    "link": "nvlink-4",
    "model": "llama-3.1-8b",
    "software": "groq-2024",
    "generation": "ipu-mk2",
    "protocol": "graph-replay",
    "collectives": "rccl-2024",
    "device": "cxl-pool",
    "host": "server-8",
}
# Slips that may leave a description: a zero that the thing can have, a fraction where any number is one.
MAY_BE = ("zero", "half")
# Lines before its own and after its last where a slip may be told; a missing line is told at its block, too.
BESIDE = {"to the right": (0, 1), "to the left": (0, 1), "missing line": (1, 1), "duplicated line": (-1, 1)}
ANYWHERE = ("source", "status", "kind", "class")  # what is missing is missed by all lines
SOME = 20  # mutants of a shipped file, unless all are asked for


def check(mutant: Mutant, file: Path, original: Description) -> Description | None:
    """Demand of one mutant what this file promises; the description that it still is."""
    file.write_text(mutant.text)
    try:
        found = load(file)
    except InputError as error:
        _told_well(mutant, file, error.faults, original)
        return None
    assert found.digest == original.digest or _may_be(mutant, original), f"{mutant}: taken"
    return found


def _may_be(mutant: Mutant, original: Description) -> bool:
    """Whether the mutant still says something that can be meant."""
    block = block_at(type(original), mutant.path[:-1], original.tree)
    if mutant.slip == "unknown key":
        return block is None  # a name that a mapping gives
    if mutant.slip in ("missing line", "duplicated line") and any(isinstance(step, int) for step in mutant.path):
        return True  # a row of a list less, or once more
    if mutant.slip == "missing line":
        fields = {field.alias or name: field for name, field in block.model_fields.items()} if block else {}
        field = fields.get(str(mutant.path[-1]))
        return "extends:" in mutant.text or field is None or not field.is_required()
    return mutant.slip in MAY_BE or mutant.is_prose


def _told_well(mutant: Mutant, file: Path, faults: tuple[Fault, ...], original: Description) -> None:
    """One fault, at the right line, with what was got and what was expected.

    Where names head the blocks (collectives, kernels), a heading that is gone makes names of fields: several faults.
    """
    headed = mutant.slip in BESIDE and not file.name.startswith("wrong-my-")
    assert len(faults) == 1 or headed, f"{mutant}: {len(faults)} faults\n" + "\n".join(map(str, faults))
    fault = faults[0]
    place = re.fullmatch(rf"{re.escape(str(file))}:(\d+):\d+", fault.where)
    assert place, f"{mutant}: {fault}"
    told, (before, after) = int(place[1]), BESIDE.get(mutant.slip, (0, 0))
    right = mutant.line - before <= told <= mutant.last + after or (mutant.slip in BESIDE and told == mutant.above)
    is_name = block_at(type(original), mutant.path[:-1], original.tree) is None  # told where it is used
    assert right or is_name or mutant.path[-1] in ANYWHERE, f"{mutant}: {fault}"
    assert fault.got and fault.expected, str(fault)
    assert "Fraction(" not in str(fault)


def _runs(mutant: Mutant, chip: Description) -> None:
    """What still is a chip has times of this world."""
    machine = Machine.of(chip)
    for kind, dims in (("gemm", {"m": 16, "n": 1024, "k": 1024}), ("norm", {"rows": 16, "cols": 4096})):
        result = simulate(machine, kind, dims, machine.wide)
        assert result.error == [None] and 0 < result.time_ps[0] < 10**10, f"{mutant}: {result.error}, {result.time_ps}"


@pytest.mark.parametrize("name", CHIPS)
def test_each_wrong_line_of_a_chip_gets_one_good_error(name: str, tmp_path: Path, fuzz_share: float) -> None:
    _all(name, tmp_path, CHIPS[name], fuzz_share, fewest=80)


@pytest.mark.parametrize("name", SHIPPED)
def test_each_wrong_line_of_a_shipped_file_gets_one_good_error(name: str, tmp_path: Path, fuzz_share: float) -> None:
    text = (library.root() / library.FOLDERS[name] / f"{SHIPPED[name]}.yaml").read_text()
    _all(f"{name}.yaml", tmp_path, f"kind: {name}\n{text}", fuzz_share, fewest=SOME)


def _all(name: str, folder: Path, text: str, share: float, fewest: int) -> None:
    """Check the mutants of a file, or a seeded sample of them."""
    (folder / name).write_text(text)
    original, every = load(folder / name), list(mutants(text))
    count = max(int(len(every) * share), min(fewest, len(every)))
    kept = [
        check(mutant, folder / f"wrong-{name}", original) and mutant for mutant in random.Random(7).sample(every, count)
    ]
    assert sum(each is None for each in kept) > count / 2
    for mutant in filter(None, kept):
        if original.kind == "accelerator":
            (folder / f"wrong-{name}").write_text(mutant.text)
            _runs(mutant, load(folder / f"wrong-{name}"))
