"""Parsed files kept on disk."""

import pytest

from hwsim.describe import kept_trees, library
from hwsim.describe.tree import read


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path))


@pytest.mark.parametrize("file", sorted(library.root().glob("*/*.yaml")), ids=lambda file: file.stem)
def test_a_kept_tree_equals_the_parsed_one(file):
    text = file.read_text()
    parsed, first, second = read(text, "x"), kept_trees.read_kept(text, "x"), kept_trees.read_kept(text, "x")
    assert (first.value, first.marks) == (second.value, second.marks) == (parsed.value, parsed.marks)


def test_a_damaged_kept_tree_is_parsed_again():
    text = "name: a\nrate: 3 GB/s\n"
    fresh = kept_trees.read_kept(text, "x")
    (file,) = kept_trees.folder().iterdir()
    for damage in (b"", b"[[", b"[]x", b'[[["name"], "q"]]', b'{"a": 1}'):
        file.write_bytes(damage)
        assert kept_trees.read_kept(text, "x").value == fresh.value


def test_a_folder_that_cannot_be_written_is_no_fault(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path / "file"))
    assert kept_trees.read_kept("name: a\n", "x").value == {"name": "a"}
