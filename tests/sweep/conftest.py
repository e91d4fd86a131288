"""Where results of studies go."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # studies.py


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a study's result goes."""
    return tmp_path / "out.h5"
