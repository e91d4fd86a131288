"""Where `hwsim validate` looks for measured tables."""

from pathlib import Path

import pytest

from hwsim.cli.validate import measured_folder
from hwsim.errors import InputError


def test_measured_tables_lie_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HWSIM_SHARED", str(tmp_path))
    assert measured_folder() == tmp_path / "measured"


def test_without_a_folder_the_cure_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HWSIM_SHARED", raising=False)
    with pytest.raises(InputError, match=r"--measured: got no folder.*HWSIM_SHARED"):
        measured_folder()
