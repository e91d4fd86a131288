"""The examples of the guide are true."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from hwsim.cli import cli
from hwsim.describe import load
from hwsim.errors import InputError
from hwsim.operators.machine import Machine
from hwsim.operators.simulate import simulate

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "describe-a-chip.md"
TEXT = GUIDE.read_text()
CLASSES = (GUIDE.parent / "classes.md").read_text()
REFUSED = re.findall(r"(?m)^    \$ hwsim (replay .*)\n    hwsim: ((?:.+\n)+)", CLASSES)
BLOCKS = [
    re.sub(r"(?m)^  ", "", body) if indent else body
    for indent, body in re.findall(r"(?ms)^( *)```yaml\n(.*?)^ *```", TEXT)
]
FAST_MEMORY = next(text for text in BLOCKS if text.startswith("# fast-memory.yaml"))


@pytest.mark.parametrize("text", BLOCKS, ids=range(len(BLOCKS)))
def test_a_file_of_the_guide_loads(text, tmp_path):
    (tmp_path / "fast-memory.yaml").write_text(text)
    load(tmp_path / "fast-memory.yaml")


@pytest.mark.parametrize("command, message", REFUSED, ids=[command for command, _ in REFUSED])
def test_what_the_page_of_classes_says_does_not_fit_is_refused_so(command, message):
    with pytest.raises(InputError) as caught:
        CliRunner().invoke(cli, command.split(), catch_exceptions=False, standalone_mode=False)
    assert str(caught.value) == " ".join(message.split())


def test_the_pages_say_which_command_is_refused():
    assert len(REFUSED) == 4


def test_the_messages_of_the_guide_are_the_real_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("fast-memory.yaml").write_text(FAST_MEMORY)
    printed = CliRunner().invoke(cli, ["check", "fast-memory.yaml"]).output
    assert printed in TEXT, printed
    Path("fast-memory.yaml").write_text(FAST_MEMORY.replace("1.6 GHz", "1.6"))
    result = CliRunner().invoke(cli, ["check", "fast-memory.yaml"])
    assert result.exit_code == 2
    assert result.stderr in TEXT, result.stderr


@pytest.mark.parametrize(
    "text", [text for text in BLOCKS if "kind: accelerator" in text], ids=lambda text: text.split()[1]
)
def test_a_chip_of_the_guide_runs_a_product(text, tmp_path):
    (tmp_path / "chip.yaml").write_text(text)
    chip = load(tmp_path / "chip.yaml")
    result = simulate(
        Machine.of(chip), "gemm", {"m": 16, "n": 1024, "k": 1024}, next(iter(chip.units.tensor.per_cycle))
    )
    assert result.error == [None] and result.time_ps[0] > 0
