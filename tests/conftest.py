"""Fixtures of all tests."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of measured data, golden outputs and real traces, beside the project; skipped without it."""
    folder = Path(os.environ.get("HWSIM_SHARED", ROOT.parent / "shared"))
    if not (folder / "DATA.md").is_file():
        pytest.skip(f"no measured data at {folder}")
    return folder


@pytest.fixture(scope="session")
def fuzz_share() -> float:
    """Share of the random cases to run: a seeded tenth, or all of them under `make fuzz` (HWSIM_FUZZ=1)."""
    return float(os.environ.get("HWSIM_FUZZ", "0.1"))
