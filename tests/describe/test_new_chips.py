"""The guide to a new chip, followed literally: its files load, its commands print what it says, every operator runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from console import commands, run_console

from hwsim.describe import load
from hwsim.describe.classes import CLASSES
from hwsim.operators.machine import Machine
from hwsim.operators.operator import KINDS
from hwsim.operators.simulate import MAPPERS, simulate

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "describe-a-chip.md").read_text()
FOUND = re.findall(r"(?ms)^```yaml\n(# (my-\w+\.yaml)\n.*?)^```\n\n```console\n(.*?)^```", GUIDE)
CHIPS = {name: text for text, name, _ in FOUND}
CONSOLES = {name: console for _, name, console in FOUND}
MOST_LINES = 40
TOLERANCE = 0.05  # of figures on the page: a model that changes them more is worth a new page
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")

DIMS = {
    "gemm": {"m": 16, "n": 1024, "k": 1024},
    "attention_prefill": {"batch": 2, "q_len": 128, "kv_len": 256},
    "attention_decode": {"batch": 4, "kv_len": 1000},
    "attention_mixed": {"prefill_chunk": 128, "kv_prefill": 256, "n_decode": 4, "kv_decode": 1000},
    "norm": {"rows": 16, "cols": 4096, "residual": 1},
    "activation": {"rows": 16, "cols": 4096, "gated": 1},
    "sample": {"rows": 4, "cols": 128256},
    "send": {"bytes": 1 << 20},
    "moe": {"tokens": 16, "hidden": 4096, "intermediate": 1024, "experts": 8, "top_k": 2},
}
HEADS = {"heads": 32, "kv_heads": 8, "head_dim": 128}
OTHERS = {"rows": 16, "cols": 4096, "devices": 4, "bytes": 1 << 20}


def dims(kind: str) -> dict[str, int]:
    """A small case of any operator."""
    names = {dim.name for dim in KINDS[kind].dims}
    return DIMS.get(kind) or {name: value for name, value in OTHERS.items() if name in names}


def test_the_guide_has_a_short_chip_of_every_class_that_extends_no_other() -> None:
    assert [load_class(text) for text in CHIPS.values()] == ["gpu", "systolic", "manycore", "wafer", "pipeline"]
    assert sorted(CLASSES) == sorted(load_class(text) for text in CHIPS.values())
    assert all(len(text.splitlines()) <= MOST_LINES and "extends" not in text for text in CHIPS.values())


def load_class(text: str) -> str:
    found = re.search(r"(?m)^class: (\w+)$", text)
    assert found
    return found[1]


@pytest.mark.parametrize("name", CHIPS)
def test_the_commands_of_the_guide_print_what_it_says(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(CHIPS[name])
    ran = 0
    for command, shown in commands(CONSOLES[name]):
        told = run_console(command)
        assert [NUMBER.sub("#", line) for line in told] == [NUMBER.sub("#", line) for line in shown], command
        numbers = [[float(n.replace(",", "")) for n in NUMBER.findall("\n".join(part))] for part in (told, shown)]
        assert numbers[0] == pytest.approx(numbers[1], rel=TOLERANCE), command
        ran += 1
    assert ran == 9


@pytest.mark.parametrize("name", CHIPS)
def test_every_operator_runs_on_a_chip_of_the_guide(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(CHIPS[name])
    machine = Machine.of(load(tmp_path / name))
    for kind in (kind for class_, kind in MAPPERS if class_ == machine.class_):
        asked = dims(kind) | (HEADS if kind.startswith("attention") else {})
        result = simulate(machine, kind, asked, machine.wide)
        assert result.error == [None], (kind, result.error)
        assert 0 < result.time_ps[0] < 10**10 and result.energy_pj[0] >= 0, kind
        assert result.bound[0].sum() == result.time_ps[0], kind


def test_what_no_file_says_is_printed_as_a_default(tmp_path: Path) -> None:
    from hwsim.describe.provenance import entries

    (tmp_path / "my-gpu.yaml").write_text(CHIPS["my-gpu.yaml"])
    told = {entry.path: entry for entry in entries(load(tmp_path / "my-gpu.yaml"))}
    streams = told["generation.tensor.streams"]
    assert (streams.value, streams.status) == ("1", "default")
    assert "operands reach" in streams.source
    assert told["generation.tensor.alone"].status == "assumed"
