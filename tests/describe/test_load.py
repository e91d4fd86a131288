"""Loading descriptions: names, derived systems, overrides, digests."""

import json

import pytest

import hwsim
from hwsim import describe
from hwsim.describe import library
from hwsim.describe.provenance import counts, entries
from hwsim.errors import InputError


def test_a_system_of_any_count_is_derived_from_its_accelerator():
    system = hwsim.load("h100-sxm-x8")
    assert (system.kind, system.count, system.accelerator.id) == ("system", 8, "h100-sxm")
    assert system.accelerator.tiers.hbm.rate == 3350 * 10**9


def test_an_override_changes_one_value_and_the_digest():
    plain, slow = hwsim.load("h100-sxm-x4"), hwsim.load("h100-sxm-x4", sets=["accelerator.clocks.core=1.5 GHz"])
    assert slow.accelerator.clocks.core == 1500 * 10**6
    assert slow.digest != plain.digest
    assert slow.accelerator.tiers == plain.accelerator.tiers


NAMED = [(kind, name) for kind in library.FOLDERS for name in library.names(kind)] + [("system", "b200-sxm-x4")]


@pytest.mark.parametrize(("kind", "name"), NAMED, ids=[f"{kind}-{name}" for kind, name in NAMED])
def test_resolved_values_read_back_equal_with_their_sources(kind, name):
    found = hwsim.load(name, kind)
    back = describe.restore(kind, json.loads(json.dumps(found.resolved())))
    assert back == found
    told = [(entry.path, entry.value, entry.status, entry.source) for entry in entries(found)]
    assert [(entry.path, entry.value, entry.status, entry.source) for entry in entries(back)] == told


def test_every_number_of_the_library_has_source_and_status():
    for kind, name in NAMED:
        found = hwsim.load(name, kind)
        assert not found.needs_source or "unstated" not in counts(found)


def test_an_override_may_start_with_the_kind():
    system = hwsim.load("h100-sxm-x4", sets=["system.accelerator.clocks.core=1.5 GHz"])
    assert system.accelerator.clocks.core == 1500 * 10**6


def test_files_of_every_kind_are_named_without_their_suffix_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-gen.yaml").write_text("extends: hopper\nname: mine\n")
    (tmp_path / "my-chip.yaml").write_text("kind: accelerator\nextends: h100-sxm\ngeneration: my-gen\n")
    (tmp_path / "my-ram.yaml").write_text("kind: device\nextends: cxl2-x8-expander\n")
    assert hwsim.load("my-chip-x8").accelerator.generation.name == "mine"
    assert hwsim.load("my-ram").kind == "device"


def test_a_file_without_a_kind_hears_which_kind_has_its_keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-ram.yaml").write_text("tier: cxl\ncontroller: {}\nmedia: {}\n")
    with pytest.raises(InputError, match=r"my-ram.yaml:1:1: got a file without a kind, expected `kind: device`"):
        hwsim.load("my-ram")
