"""What is installed: every package of the tree, and descriptions with it."""

import runpy
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


def test_cores_older_than_their_sources_are_refused(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text((ROOT / "hwsim/_core/__init__.py").read_text())
    (tmp_path / "dram.pyx").write_text("# newer")
    (tmp_path / "built.sha256").write_text("of older sources")
    with pytest.raises(ImportError, match="older than their sources: build again: make dev"):
        runpy.run_path(str(tmp_path / "__init__.py"))
