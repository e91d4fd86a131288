"""Bad studies are refused before anything runs, each fault with its place."""

import copy
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hwsim.errors import InputError
from hwsim.sweep.check import checked

YAML = """\
study: bad
base: {{system: h100-sxm-x8, operator: {{op: gemm, n: 1024, k: 1024}}}}
axes:
  operator.m: [1, 2]
  {axis}
{more}
"""


class Case(NamedTuple):
    """A study with something wrong, and what its message must hold."""

    name: str
    axis: str
    parts: tuple[str, ...]
    more: str = ""


CASES = [
    Case("unknown root", "sytem.count: [1, 2]", (":5:3: sytem.count: got 'sytem'", "did you mean 'system'?")),
    Case("a path that starts too far in", "accelerator.clocks.core: [1 GHz, 2 GHz]",
         ("did you mean 'system.accelerator.clocks.core'?",)),
    Case("unknown field", "system.accelerator.clock.core: [1 GHz, 2 GHz]",
         (":5:3:", "'clock'", "did you mean 'clocks'?")),
    Case("unknown tier", "system.accelerator.tiers.hbmm.rate: [1 TB/s, 2 TB/s]", (":5:3:", "'hbmm'", "'hbm'")),
    Case("wrong unit", "system.accelerator.clocks.core: [1 GHz, 2 GB]", (":5:43:", "'2 GB'", "a frequency")),
    Case("no unit", "system.accelerator.clocks.core: [1, 2]", (":5:36:", "got 1", "a frequency")),
    Case("empty list", "operator.n: []", (":5:3: axes.operator.n.values: got no values", "at least one value")),
    Case("one value", "operator.n: [64]", (":5:3: operator.n: got 64 alone", "set it in the base")),
    Case("a value twice", "operator.n: [64, 128, 64]", (":5:3: got 64 twice",)),
    Case("nothing changes", "workload.seed: [1, 2]",
         (":5:3: workload.seed: got an axis that changes nothing", "operator")),
    Case("10^12 points",
         "operator.n: {from: 1, to: 1000000, count: 1000000}\n  operator.k: {from: 1, to: 1000000, step: 2}",
         ("2 x 1000000 x 500000 = 1,000,000,000,000 points", "at most 100,000,000", ":3:1:")),
    Case("long axis", "operator.n: {from: 1, to: 9000000, step: 1}", ("9000000 values", "at most 1000000")),
    Case("two axes on one path", "both: {zip: {operator.m: [1, 2], operator.n: [3, 4]}}",
         (":5:16: got 'operator.m' twice", "bad.yaml:4:3")),
    Case("a dimension of another kind", "operator.heads: [1, 2]", (":5:3:", "'heads'", "a dimension of gemm: m, n, k")),
    Case("a dimension out of range", "operator.n: [0, 2]", (":5:16: operator.n: got 0", "1 to")),
    Case("a zip of unequal length", "z: {zip: {operator.n: [1, 2], operator.k: [1, 2, 3]}}", ("axes of 2, 3 values",)),
    Case("half a range", "operator.n: {from: 1}", ("half a range", "from and to")),
    Case("a range without count", "operator.n: {from: 1, to: 9}", ("a range without count", "count: NUMBER")),
    Case("a falling range", "operator.n: {from: 9, to: 1, count: 3}", ("from 9 to 1", "a range that rises")),
    Case("log from zero", "operator.n: {from: 0, to: 9, count: 3, scale: log}", ("from 0 on a log scale",)),
    Case("ends of two units", "system.accelerator.clocks.core: {from: 1 GHz, to: 2 GB, count: 3}", ("1 GHz to 2 GB",)),
    Case("no such file", "system: {files: '*.nope'}", ("files '*.nope'", "a pattern that fits at least one file")),
    Case("unknown name", "system: [h100-sxm, h100-smx]",
         (":5:22: system: got no such description with system = h100-smx",)),
    Case("unknown output", "operator.n: [1, 2]", (":6:11: outputs: got 'time'", "mean 'time_ns'"), "outputs: [time]"),
    Case("an output by another name", "operator.n: [1, 2]", ("did you mean 'time_ns'",), "outputs: [latency]"),
    Case("unknown name in a column", "operator.n: [1, 2]", (":6:11: got 'foo' in 'foo / 2'",), "derived: {x: foo / 2}"),
    Case("unknown objective", "operator.n: [1, 2]", ("'enrgy_j'", "'energy_j'"), "objectives: {enrgy_j: min}"),
    Case("a bad expression", "operator.n: [1, 2]", (":6:", "'a[0]'"), "constraints: ['a[0]']"),
    Case("an unknown name in a rule", "operator.n: [1, 2]", ("'operator.o'",), "constraints: [operator.o > 1]"),
    Case("a sampler's count", "operator.n: [1, 2]", ("2000000 points",), "sampler: {method: random, points: 2000000}"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_study_is_refused(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text(YAML.format(axis=case.axis, more=case.more))
    with pytest.raises(InputError) as caught:
        checked("bad.yaml")
    for part in case.parts:
        assert part in str(caught.value)
    for fault in caught.value.faults:
        if fault.where.startswith("bad.yaml:"):
            line, column = map(int, fault.where.split(":")[1:])
            shown, caret = fault.excerpt.splitlines()
            assert shown.strip() == Path("bad.yaml").read_text().splitlines()[line - 1].strip()
            assert caret.index("^") == 4 + column - 1


def test_a_system_of_a_misspelt_chip_is_offered_the_right_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text(
        YAML.format(axis="operator.n: [1, 2]", more="").replace("h100-sxm-x8", "h100-x8")
    )
    with pytest.raises(InputError, match=r"bad.yaml:2:16: base.system: got 'h100-x8'.*did you mean 'h100-sxm-x8'\?"):
        checked("bad.yaml")


BASE: dict[str, Any] = {"system": "h100-sxm", "model": "llama-3.1-8b", "trace": "azure-conversation"}


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"operator": {"op": "gemm"}}, "operator beside traffic"),
        ({"trace": ""}, "no kind of points"),
        ({"model": None}, "requests without a model"),
        ({"trace": "", "concurrency": 4}, "a closed loop without lengths"),
        ({"recipe": "azure-code"}, "trace and recipe"),
    ],
)
def test_a_base_is_one_kind_of_point(change, part):
    base = copy.deepcopy(BASE) | change
    with pytest.raises(InputError, match=part):
        checked({"study": "x", "base": base, "axes": {"workload.seed": [1, 2]}})


def test_what_every_point_lacks_is_said_once_and_at_the_base():
    base = {"system": "h100-sxm", "operator": {"op": "gemm", "n": 64}}
    axes = {"operator.m": [1, 2], "system.accelerator.clocks.core": ["1 GHz", "2 GHz"]}
    with pytest.raises(InputError) as caught:
        checked({"study": "x", "base": base, "axes": axes})
    assert [(fault.path, fault.got) for fault in caught.value.faults] == [("base", "no k")]


def test_an_axis_that_no_point_takes_is_named_alone():
    base = {"system": "h100-sxm", "operator": {"op": "gemm", "m": 8, "n": 64, "k": 64}}
    axes = {"operator.mm": [1, 2], "system.accelerator.clocks.core": ["1 GHz", "2 GHz"]}
    with pytest.raises(InputError) as caught:
        checked({"study": "x", "base": base, "axes": axes})
    assert [fault.path for fault in caught.value.faults] == ["operator.mm"]


def test_a_system_that_cannot_be_is_refused_where_it_is_named(tmp_path):
    (tmp_path / "bad.yaml").write_text(
        "base: {system: h100-sxm-x88, operator: {op: gemm, m: 1, n: 1, k: 1}}\naxes:\n  operator.n: [1, 2]\n"
    )
    with pytest.raises(InputError, match=r"bad.yaml:1:16: base.system.count: got 88"):
        checked(tmp_path / "bad.yaml")


def test_all_faults_of_axes_come_at_once():
    axes = {"operator.m": [0, 1], "system.accelerator.clocks.core": ["1 GHz", "1 s"], "operator.n": [1, 1]}
    base = {"system": "h100-sxm", "operator": {"op": "gemm", "n": 64, "k": 64}}
    with pytest.raises(InputError) as caught:
        checked({"study": "x", "base": base, "axes": {name: axes[name] for name in list(axes)[:2]}})
    assert len(caught.value.faults) == 2
