"""The examples of the guide are true."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from hwsim.cli import cli
from hwsim.describe import load

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "describe-a-gpu.md"
TEXT = GUIDE.read_text()
BLOCKS = [
    re.sub(r"(?m)^  ", "", body) if indent else body
    for indent, body in re.findall(r"(?ms)^( *)```yaml\n(.*?)^ *```", TEXT)
]


@pytest.mark.parametrize("text", BLOCKS, ids=range(len(BLOCKS)))
def test_a_file_of_the_guide_loads(text, tmp_path):
    (tmp_path / "fast-memory.yaml").write_text(text)
    load(tmp_path / "fast-memory.yaml")


def test_the_messages_of_the_guide_are_the_real_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("fast-memory.yaml").write_text(BLOCKS[0])
    printed = CliRunner().invoke(cli, ["check", "fast-memory.yaml"]).output
    assert printed.split(", numbers")[0] in TEXT
    Path("fast-memory.yaml").write_text(BLOCKS[0].replace("1.6 GHz", "1.6"))
    result = CliRunner().invoke(cli, ["check", "fast-memory.yaml"])
    assert result.exit_code == 2
    assert result.stderr in TEXT, result.stderr
