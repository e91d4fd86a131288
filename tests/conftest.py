"""Fixtures of all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor fill the user's cache of results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HWSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


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
