"""What is installed: every package of the tree, and descriptions with it."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_every_package_of_the_tree_is_installed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "hwsim").rglob("__init__.py")}
    assert found | {"hwsim.descriptions", "hwsim.traces"} == set(settings["packages"])


@pytest.mark.parametrize("kind", sorted(path.name for path in (ROOT / "descriptions").iterdir() if path.is_dir()))
def test_description_folders_hold_yaml_files_only(kind: str) -> None:
    """Package data is chosen by suffix: another one would be missing from an installed hwsim."""
    files = (path for path in (ROOT / "descriptions" / kind).rglob("*") if path.is_file())
    assert not [path.name for path in files if path.suffix != ".yaml"]
