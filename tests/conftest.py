"""Fixtures of all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor fill the user's cache of results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HWSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of measured data, golden outputs and real traces that HWSIM_SHARED names; skipped without it."""
    named = os.environ.get("HWSIM_SHARED")
    if not named or not (Path(named) / "DATA.md").is_file():
        pytest.skip(f"no measured data: HWSIM_SHARED names {named or 'no folder'}")
    return Path(named)


@pytest.fixture(scope="session")
def fuzz_share() -> float:
    """Share of the random cases to run: a seeded tenth, or all of them under `make fuzz` (HWSIM_FUZZ=1)."""
    return float(os.environ.get("HWSIM_FUZZ", "0.1"))
