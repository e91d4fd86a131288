"""`extends`, references and overrides: what is laid over what, and how a wrong one is named."""

import pytest

from hwsim.describe import load
from hwsim.describe.resolve import merge
from hwsim.describe.tree import read, read_set
from hwsim.errors import InputError

LINK = "name: a\nrate: 25 GB/s\nefficiency: 90 %\nlatency: 1 us\nenergy: 5 pJ/bit\nsource: a page\nstatus: published\n"


@pytest.fixture
def write(tmp_path):
    def write(name: str, text: str):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def merged(base: str, over: str):
    below = read(base, "below")
    merge(below, read(over, "above"))
    return below


def test_mappings_merge_by_key_and_the_rest_is_replaced():
    tree = merged("a: {b: 1, c: [1, 2]}\nd: x", "a: {c: [3], e: 4}")
    assert tree.value == {"a": {"b": 1, "c": [3], "e": 4}, "d": "x"}


def test_lists_of_named_mappings_merge_by_name():
    tree = merged("l: [{name: x, v: 1}, {name: y, v: 2}]", "l: [{name: y, v: 3}, {name: z, v: 4}]")
    assert tree.value["l"] == [{"name": "x", "v": 1}, {"name": "y", "v": 3}, {"name": "z", "v": 4}]


def test_null_removes_what_the_base_says():
    assert merged("a: {b: 1, c: 2}", "a: {b: null}").value == {"a": {"c": 2}}


def test_marks_follow_the_values_they_came_with():
    tree = merged("a: {b: 1}\nc: {d: {e: 2}}", "\n\na: {b: 5}\nc: 7")
    assert (tree.mark(("a", "b")).where, tree.mark(("a", "b")).line) == ("above", 3)
    assert tree.mark(("c",)).where == "above"
    assert ("c", "d", "e") not in tree.marks


def test_a_file_beside_another_can_be_its_base(write):
    write("base.yaml", LINK)
    file = write("mine.yaml", "extends: base.yaml\nname: b\nrate: {value: 50 GB/s, source: me, status: assumed}\n")
    link = load(file, "link")
    assert (link.id, link.name, link.rate) == ("mine", "b", 50 * 10**9)
    assert link.latency == load(file.with_name("base.yaml"), "link").latency


def test_an_alias_can_be_a_base(write):
    assert load(write("s.yaml", "extends: vllm\nname: mine\n"), "software").scheduler.async_depth == 2


CHIP = "kind: accelerator\nextends: h100-sxm\nclocks: {core: 1 GHz, source: me, status: assumed}\n"


def test_a_system_is_derived_from_a_chip_in_a_file(write, monkeypatch):
    monkeypatch.chdir(write("chip.yaml", CHIP).parent)
    for name, count in [("chip-x4", 4), ("./chip-x4", 4), ("chip.yaml", 1), ("chip.yaml-x2", 2)]:
        system = load(name, "system")
        assert (system.count, system.accelerator.id, system.accelerator.clocks.core) == (count, "chip", 10**9)
    with pytest.raises(InputError, match="at most 8 accelerators"):
        load("chip-x9")


def test_a_changed_file_is_read_again(write, monkeypatch):
    monkeypatch.chdir(write("chip.yaml", CHIP).parent)
    assert load("chip-x2").accelerator.clocks.core == 10**9
    write("chip.yaml", CHIP.replace("1 GHz", "1.25 GHz"))
    assert load("chip-x2").accelerator.clocks.core == 1250 * 10**6


@pytest.mark.parametrize("name", ["box-x4", "box-x4.yaml"])
def test_a_changed_file_with_the_name_of_a_derived_system_is_read_again(write, monkeypatch, name):
    monkeypatch.chdir(write("box-x4.yaml", CHIP).parent)
    assert load(name).clocks.core == 10**9
    write("box-x4.yaml", CHIP.replace("1 GHz", "1.25 GHz"))
    assert load(name).clocks.core == 1250 * 10**6


def test_a_reference_can_name_a_file_beside_this_one(write):
    write("chip.yaml", CHIP)
    system = load(write("s.yaml", "accelerator: chip.yaml\ncount: 2\nsource: me\nstatus: assumed\n"), "system")
    assert system.accelerator.id == "chip"


@pytest.mark.parametrize("key, kind", [("generation", "a generation"), ("extends", "an accelerator")])
@pytest.mark.parametrize("name", ["other", "other.yaml"])
def test_a_name_of_a_file_of_another_kind_is_told_the_kind(write, key, kind, name):
    write("other.yaml", "kind: model\nextends: llama-3.1-8b\n")
    text = CHIP.replace("h100-sxm", name) if key == "extends" else f"{CHIP}{key}: {name}\n"
    with pytest.raises(InputError) as caught:
        load(write("mine.yaml", text))
    (fault,) = caught.value.faults
    assert fault.where.endswith("other.yaml:1:7")
    assert (fault.got, fault.expected) == ("'model'", kind)


@pytest.mark.parametrize("text, field", [("clocks: {core: null}", "clocks.core"), ("clocks: null", "clocks")])
def test_a_needed_value_that_a_file_removes_is_missed_at_its_line(write, text, field):
    with pytest.raises(InputError) as caught:
        load(write("chip.yaml", f"kind: accelerator\nextends: l40s\nname: mine\n{text}\n"))
    (fault,) = caught.value.faults
    assert fault.where.endswith(f"chip.yaml:4:{text.index('null') + 1}")
    assert str(fault).splitlines()[0].endswith("; leave the line out to keep what the base says")
    assert (fault.got, fault.path) == ("null", field)
    assert fault.excerpt.splitlines()[0].strip() == text


@pytest.mark.parametrize(
    "name, text, right",
    [
        ("h100-sxm", "system.accelerator.clocks.core=1 GHz", "clocks.core"),
        ("h100-sxm-x8", "system.clocks.core=1 GHz", "clocks.core"),
        ("h100-sxm-x8", "clocks.core=1 GHz", "accelerator.clocks.core"),
    ],
)
def test_an_override_that_starts_elsewhere_is_told_where_paths_start(name, text, right):
    with pytest.raises(InputError, match=rf"did you mean '[a-z.]*{right}'"):
        load(name, sets=[text])


def test_a_circle_of_bases_is_named_with_its_chain(write):
    write("a.yaml", "extends: b.yaml\n")
    write("b.yaml", "extends: c.yaml\n")
    file = write("c.yaml", "extends: a.yaml\n")
    with pytest.raises(InputError, match=r"got a circle c -> a -> b -> c, expected a chain of `extends` that ends"):
        load(file, "link")


def test_a_description_that_extends_itself_is_named(write):
    with pytest.raises(InputError, match="circle a -> a"):
        load(write("a.yaml", "extends: a.yaml\n"), "link")


def test_a_reference_can_extend_a_description_in_place(write):
    text = """extends: h100-sxm
tiers:
  hbm:
    memory: {extends: hbm3e-6400, capacity: {value: 36 GB, source: me, status: assumed}}
    source: me
    status: assumed
"""
    hbm = load(write("x.yaml", text), "accelerator").tiers.hbm
    assert (hbm.memory.standard, hbm.memory.capacity, hbm.stacks) == ("HBM3e", 36 * 10**9, 5)


def test_a_reference_can_change_a_part_of_the_bases_description(write):
    text = "extends: h100-sxm\ntiers: {hbm: {memory: {law: {latency: {value: 90 ns, source: me, status: assumed}}}}}\n"
    assert load(write("x.yaml", text), "accelerator").tiers.hbm.memory.standard == "HBM3"


def test_all_faults_of_a_file_come_at_once_in_its_order(write):
    text = "name: a\nrate: 25\nrate: 25\nefficiency: 2\nlatency: 1\ncolour: red\nenergy: 5 pJ/bit\n"
    with pytest.raises(InputError) as caught:
        load(write("l.yaml", text), "link")
    places = [fault.where.rsplit(":", 2)[1:] for fault in caught.value.faults]
    assert places == [["2", "7"], ["3", "1"], ["4", "13"], ["5", "10"], ["6", "1"], ["7", "9"]]


def test_the_caret_stands_below_the_value(write):
    with pytest.raises(InputError) as caught:
        load(write("l.yaml", LINK.replace("25 GB/s", "25")), "link")
    line, caret = caught.value.faults[0].excerpt.splitlines()
    assert line[caret.index("^") :] == "25"


def test_overrides_apply_in_order():
    sets = ["accelerator.clocks.core=1 GHz", "accelerator.clocks.core=2 GHz"]
    assert load("h100-sxm-x2", sets=sets).accelerator.clocks.core == 2 * 10**9


def test_an_override_can_put_another_description_in_place():
    system = load("h100-sxm-x2", sets=["accelerator=b200-sxm", "accelerator.tiers.hbm.memory=hbm3e-6400"])
    assert (system.accelerator.id, system.accelerator.tiers.hbm.memory.id) == ("b200-sxm", "hbm3e-6400")


def test_an_override_can_set_a_field_that_the_file_leaves_out():
    assert load("llama-3.1-8b", sets=["sliding_window=4096"]).sliding_window == 4096


def test_an_override_can_set_a_value_of_a_list():
    assert load("vllm", sets=["kernels.hopper.gemm.splits=[1, 2]"]).kernels["hopper"].gemm.splits == [1, 2]


def test_an_override_is_its_own_source():
    mark = load("h100-sxm", sets=["clocks.core=1 GHz"]).tree.mark(("clocks", "core"))
    assert (mark.source, mark.status) == ("--set clocks.core=1 GHz", "assumed")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("clocks.core", ("PATH=VALUE",)),
        ("=3", ("PATH=VALUE",)),
        ("clocks..core=1 GHz", ("PATH=VALUE",)),
        ("clock.core=1 GHz", ("clock: got 'clock'", "did you mean 'clocks'?")),
        ("clocks.cor=1 GHz", ("clocks.cor: got unknown field 'cor'", "did you mean 'core'?")),
        ("clocks.core.mhz=1", ("got 'mhz'", "clocks.core is no block")),
        ("clocks.core=1", ("clocks.core: got 1", "add the unit")),
        ("clocks.core=", ("clocks.core: got nothing",)),
        ("clocks.core={", ("expected a value (YAML)",)),
        ("clocks.core=-1 GHz", ("got '-1 GHz'", "not negative")),
        ("tiers.hbm.memory=hbm9", ("tiers.hbm.memory: got 'hbm9'", "the name of a memory")),
        ("tiers.hbm.stacks=5 GB", ("tiers.hbm.stacks: got '5 GB'", "a whole number")),
        ("power.per_flop.bf17=1 pJ/FLOP", ("got 'bf17'", "did you mean 'bf16'?")),
    ],
)
def test_a_wrong_override_is_named(text, parts):
    with pytest.raises(InputError) as caught:
        load("h100-sxm", sets=[text])
    message = str(caught.value)
    assert message.startswith(f"--set {text}")
    assert all(part in message for part in parts), message


def test_an_override_is_read_as_yaml():
    assert read_set("a.b=[1, 0.5, x]")[1].value[0] == 1
