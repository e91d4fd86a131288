"""Every bad input is named by place, value, expectation and cure; none crashes; the command line answers 2."""

from __future__ import annotations

import sys
from typing import NamedTuple

import pytest

from hwsim.cli import main
from hwsim.describe import load
from hwsim.errors import InputError


class Case(NamedTuple):
    """A file, its kind, and parts of the message it must give, in any order."""

    name: str
    kind: str
    text: str
    parts: tuple[str, ...]


H100 = "extends: h100-sxm\n"
LINK = "name: a\nrate: 25 GB/s\nefficiency: 90 %\nlatency: 1 us\nenergy: 5 pJ/bit\n"
SOURCE = "source: a page\nstatus: published\n"
HBM = H100 + "tiers:\n  hbm: {source: a, status: published, %s}\n"
MODEL = "extends: llama-3.1-8b\nsource: a\nstatus: assumed\n"
VLLM = "extends: vllm\nsource: a\nstatus: assumed\n"


def hbm(fields: str) -> str:
    """An H100 with other fields of its memory tier."""
    return HBM % fields


CASES = [
    # units
    Case(
        "a bare number",
        "accelerator",
        hbm("rate: 3350"),
        (":3:45:", "tiers.hbm.rate: got 3350", "a byte rate such as '3.35 TB/s'", "add the unit"),
    ),
    Case(
        "a rate of no machine",
        "accelerator",
        hbm("rate: 1e30 TB/s"),
        (":3:45:", "tiers.hbm.rate: got '1e30 TB/s'", "a byte rate from 1 KB/s to 1000 PB/s", "check the unit"),
    ),
    Case("a latency of no machine", "accelerator", hbm("latency: 1e30 s"), ("a time from 0 s to 1 s",)),
    Case("a rate that is nearly none", "accelerator", hbm("rate: 1e-30 GB/s"), ("from 1 KB/s to 1000 PB/s",)),
    Case("too many stacks", "accelerator", hbm("stacks: 1000000"), ("got 1000000", "from 1 to 65536")),
    Case("an exponent that explodes", "accelerator", H100 + "power: {exponent: 1000000}\n", ("at most 8",)),
    Case("layers without end", "model", MODEL + "layers: 100000000\n", ("layers: got 100000000", "from 1 to 65536")),
    Case("a rate of zero", "accelerator", hbm("rate: 0 GB/s"), ("got '0 GB/s'", "a byte rate above zero")),
    Case("a bare decimal", "accelerator", hbm("rate: 3.35"), ("got 3.35,", "add the unit")),
    Case(
        "a unit of another dimension",
        "accelerator",
        hbm("rate: 3350 GB"),
        ("got '3350 GB'", "'GB' is the unit of a size"),
    ),
    Case("a unit in the wrong case", "accelerator", hbm("rate: 3350 gb/s"), ("no unit 'gb/s'", "did you mean 'GB/s'?")),
    Case(
        "a unit that does not exist",
        "accelerator",
        hbm("latency: 600 nsec"),
        ("there is no unit 'nsec'", "a time such as"),
    ),
    Case("a prefix that the unit does not take", "accelerator", hbm("latency: 1 Kis"), ("there is no unit 'Kis'",)),
    Case("no number before the unit", "accelerator", hbm("capacity: GB"), ("got 'GB'", "a size such as '80 GB'")),
    Case("a negative quantity", "accelerator", hbm("capacity: -80 GB"), ("got '-80 GB'", "not negative")),
    Case("not a number", "accelerator", hbm("capacity: nan GB"), ("got 'nan GB'", "write a finite number")),
    Case("not a number, YAML's way", "accelerator", hbm("capacity: .nan"), ("got '.nan'", "write a finite number")),
    Case("infinity", "accelerator", hbm("capacity: inf GB"), ("got 'inf GB'", "write a finite number")),
    Case("infinity, YAML's way", "accelerator", hbm("capacity: -.inf"), ("got '-.inf'", "write a finite number")),
    Case(
        "an exponent without end",
        "accelerator",
        hbm("capacity: 1e999999999 B"),
        ("got '1e999999999 B'", "a power up to"),
    ),
    Case("a thousands separator", "accelerator", hbm("capacity: '80,000 GB'"), ("got '80,000 GB'", "there is no unit")),
    Case("a share above 1", "accelerator", hbm("efficiency: 1.1"), ("got 1.1,", "cannot be more than 1")),
    Case("a share above 100 %", "accelerator", hbm("efficiency: 110 %"), ("got '110 %'", "cannot be more than 1")),
    Case("a negative share", "accelerator", hbm("efficiency: -0.5"), ("got -0.5,", "not negative")),
    Case("a size that is a list", "accelerator", hbm("capacity: [80 GB]"), ("got a list", "a size such as '80 GB'")),
    Case("a size that is a block", "accelerator", hbm("capacity: {gb: 80}"), ("got a block", "a size such as '80 GB'")),
    Case("a size that is true", "accelerator", hbm("capacity: true"), ("got true", "a size such as '80 GB'")),
    # whole numbers
    Case("a count with a unit", "accelerator", hbm("stacks: 5 GB"), ("got '5 GB'", "a whole number")),
    Case("a count in quotes", "accelerator", hbm("stacks: '5'"), ("got '5'", "write it without a unit")),
    Case("half a stack", "accelerator", hbm("stacks: 5.5"), ("got 5.5", "a whole number")),
    Case("a count of zero", "accelerator", hbm("stacks: 0"), ("got 0,", "a whole number from 1 to")),
    Case("a negative count", "accelerator", hbm("stacks: -5"), ("got -5,", "a whole number from 1 to")),
    Case(
        "a count beyond 64 bits",
        "accelerator",
        hbm("stacks: 99999999999999999999"),
        ("got 99999999999999999999", "from 1 to 65536"),
    ),
    Case("a count that is true", "accelerator", hbm("stacks: true"), ("got true", "a whole number")),
    # fields
    Case(
        "an unknown field",
        "accelerator",
        hbm("rat: 3 TB/s"),
        (":3:39:", "tiers.hbm.rat: got unknown field 'rat'", "expected one of", "did you mean 'rate'?"),
    ),
    Case(
        "an unknown field with nothing like it",
        "accelerator",
        hbm("colour: green"),
        ("unknown field 'colour'", "one of"),
    ),
    Case(
        "an unknown field at the top",
        "accelerator",
        H100 + "clock: {core: 1 GHz}\n",
        ("did you mean 'clocks'?", ":2:1:"),
    ),
    Case(
        "a missing field",
        "link",
        "name: a\nrate: 25 GB/s\n" + SOURCE,
        ("efficiency: got nothing, expected the field 'efficiency' (share of the rate",),
    ),
    Case(
        "a missing block", "accelerator", "name: a\nclass: gpu\n", ("clocks: got nothing, expected the field 'clocks'",)
    ),
    Case(
        "a text where a block belongs",
        "accelerator",
        H100 + "power: 700 W\n",
        ("power: got '700 W'", "a block of fields"),
    ),
    Case(
        "a block where a list belongs",
        "software",
        VLLM + "scheduler: {capture_sizes: {a: 1}}\n",
        ("got a block", "a list"),
    ),
    Case(
        "a field without a value",
        "accelerator",
        "name: a\nclass: gpu\npower:\n",
        ("power: got nothing", "a block of fields"),
    ),
    Case("an unknown class", "accelerator", H100 + "class: gpus\n", ("class: got 'gpus'", "did you mean 'gpu'?")),
    Case(
        "an unknown dtype",
        "accelerator",
        H100 + "power: {source: a, status: assumed, per_flop: {bf17: 1 pJ/FLOP}}\n",
        ("power.per_flop.bf17: got 'bf17'", "'bf16'", "did you mean 'bf16'?"),
    ),
    Case(
        "a number for a name",
        "link",
        "name: 25\nrate: 25 GB/s\n" + SOURCE,
        ("name: got 25, expected a text", "put it in quotes"),
    ),
    Case("yes for true", "model", MODEL + "tied: yes\n", ("tied: got 'yes', expected true or false",)),
    Case(
        "a tile that is no tile",
        "software",
        VLLM + "kernels: {hopper: {gemm: {tiles: [128x, 64x64]}}}\n",
        ("kernels.hopper.gemm.tiles[0]: got '128x', expected a tile such as 128x256",),
    ),
    Case(
        "heads that do not divide",
        "model",
        MODEL + "kv_heads: 7\n",
        ("kv_heads: got 7, expected a divisor of heads = 32",),
    ),
    Case(
        "more devices than the fabric joins",
        "system",
        "accelerator: h100-sxm\ncount: 9\n" + SOURCE,
        (":2:8: count: got 9, expected at most 8 accelerators", "NVLink 4 of h100-sxm joins no more"),
    ),
    # sources
    Case(
        "a number without a source",
        "link",
        LINK,
        (":2:7: rate: got '25 GB/s' without source and status", "say where the number comes from"),
    ),
    Case("a number without a status", "link", LINK + "source: a page\n", ("got '25 GB/s' without status",)),
    Case(
        "an unknown status",
        "link",
        LINK + "source: a\nstatus: guessed\n",
        ("status: got 'guessed'", "'published'", "'assumed'"),
    ),
    Case("a status with a typo", "link", LINK + "source: a\nstatus: publishd\n", ("did you mean 'published'?",)),
    Case(
        "a changed number under the base's source",
        "accelerator",
        H100 + "clocks: {core: 1 GHz}\n",
        (":2:16: clocks.core: got '1 GHz' without source and status",),
    ),
    # references and extends
    Case(
        "an unknown base",
        "accelerator",
        "extends: h100-smx\n",
        (":1:10: extends: got 'h100-smx'", "did you mean 'h100-sxm'?"),
    ),
    Case("a base of another kind", "link", "extends: h100-sxm\n", ("extends: got 'h100-sxm'", "the name of a link")),
    Case(
        "a base that is no name",
        "accelerator",
        "extends: [a, b]\n",
        ("extends: got ['a', 'b']", "the name of an accelerator"),
    ),
    Case(
        "an unknown memory",
        "accelerator",
        hbm("memory: hbm3-520"),
        ("tiers.hbm.memory: got 'hbm3-520'", "did you mean 'hbm3-5200'?"),
    ),
    Case(
        "an unknown memory to extend", "accelerator", hbm("memory: {extends: hbm9}"), ("tiers.hbm.memory: got 'hbm9'",)
    ),
    Case(
        "a fault inside an extended reference",
        "accelerator",
        hbm("memory: {extends: hbm3-5200, energy: 4 pJ}"),
        ("tiers.hbm.memory.energy: got '4 pJ'", "'pJ' is the unit of an energy"),
    ),
    Case(
        "a memory that is a number",
        "accelerator",
        hbm("memory: 5"),
        ("tiers.hbm.memory: got 5", "the name of a memory"),
    ),
    # YAML
    Case(
        "a duplicate key",
        "link",
        LINK + "rate: 50 GB/s\n" + SOURCE,
        (":6:1: rate: got 'rate' twice", "it stands in line 2 already"),
    ),
    Case(
        "a duplicate key inside",
        "accelerator",
        hbm("rate: 1 TB/s, rate: 2 TB/s"),
        ("tiers.hbm.rate: got 'rate' twice",),
    ),
    Case("a tab", "link", "name: a\n\trate: 25 GB/s\n", (":2:1:", "expected YAML", "indent with spaces")),
    Case("an unclosed bracket", "link", "name: [a\nrate: 25 GB/s\n", ("expected YAML",)),
    Case("an unclosed quote", "link", 'name: "a\nrate: 25 GB/s\n', ("expected YAML",)),
    Case("a colon in a text", "link", "name: a: b\n", (":1:8:", "put a text that contains ': ' in quotes")),
    Case("bad indentation", "link", "name: a\n  rate: 25 GB/s\n", ("expected YAML",)),
    Case("two documents", "link", "name: a\n---\nname: b\n", ("one description per file",)),
    Case("an empty file", "link", "", ("got an empty file, expected a mapping",)),
    Case("only a comment", "link", "# nothing\n", ("got an empty file, expected a mapping",)),
    Case("a list at the top", "link", "- a\n- b\n", ("got a list, expected a mapping",)),
    Case("a text at the top", "link", "hello\n", ("got a str, expected a mapping",)),
    Case(
        "a key that is a list", "link", LINK + SOURCE + "? [a, b]\n: 1\n", ("a key that is a list or mapping", "a name")
    ),
    Case("an alias to itself", "link", "name: &a {b: *a}\n", ("an alias",)),
    Case("an unknown alias", "link", "name: *b\n", ("undefined alias",)),
    Case(
        "aliases that multiply",
        "link",
        "a: &a [1,1,1,1,1,1,1,1,1]\n"
        + "".join(
            f"{below}: &{below} [{','.join(['*' + above] * 9)}]\n" for above, below in zip("abcdefgh", "bcdefghi")
        ),
        ("aliases that unfold without end",),
    ),
    Case("nesting without end", "link", "name: " + "[" * 400 + "]" * 400 + "\n", ("levels",)),
    Case("a control character", "link", "name: a\x07\n", ("expected YAML",)),
    Case("another kind than asked for", "link", "kind: memory\n" + LINK + SOURCE, ("got 'memory', expected a link",)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_file_is_named(case, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(case.text)
    with pytest.raises(InputError) as caught:
        load(file, case.kind)
    message = str(caught.value)
    for part in case.parts:
        assert part in message
    assert str(file) in message
    assert "Fraction(" not in message


def run(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command line."""
    monkeypatch.setattr(sys, "argv", ["hwsim", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


@pytest.mark.parametrize("case", CASES[::6], ids=lambda case: case.name)
def test_check_answers_2_and_prints_nothing_but_faults(case, tmp_path, monkeypatch, capsys):
    file = tmp_path / "bad.yaml"
    file.write_text(case.text)
    code, out, err = run(monkeypatch, capsys, "check", "--kind", case.kind, str(file))
    assert (code, out) == (2, "")
    assert all(part in err for part in case.parts)
