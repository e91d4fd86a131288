"""list, show, check and schema on the command line."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from hwsim.cli import cli, main
from hwsim.describe import library
from hwsim.describe.schema import json_schema


def output(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def refused(monkeypatch, capsys, *arguments: str) -> str:
    """Message of a command line that must end with exit code 2 and print nothing else."""
    monkeypatch.setattr(sys, "argv", ["hwsim", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    return err


def test_list_prints_every_name_and_its_short_form():
    printed = output("list")
    assert all(name in printed for kind in library.FOLDERS for name in library.names(kind))
    assert "vllm-0.19  (also vllm)" in printed


def test_list_of_a_kind_prints_names_alone():
    assert output("list", "link").split() == library.names("link")


def test_show_prints_values_as_written_and_resolves_an_alias():
    assert "software vllm-0.19 ('vllm' today)" in output("show", "vllm")
    assert "      rate: 3350 GB/s" in output("show", "h100-sxm-x8")


def test_show_applies_overrides():
    assert "core: 1.5 GHz" in output("show", "h100-sxm", "--set", "clocks.core=1.5 GHz")


def test_show_provenance_names_status_and_source_of_every_number():
    printed = output("show", "h200-sxm", "--provenance", "--set", "clocks.core=1.5 GHz")
    assert "unstated" not in printed
    assert any(
        "tiers.hbm.rate" in line and "4800 GB/s" in line and "published" in line for line in printed.splitlines()
    )
    assert "--set clocks.core=1.5 GHz" in printed
    assert "(descriptions/accelerators/h100-sxm.yaml)" in printed


def test_check_accepts_every_file_of_the_library():
    files = [str(file) for file in sorted(library.root().glob("*/*.yaml"))]
    assert len(output("check", *files).splitlines()) == len(files)


def test_check_goes_on_after_a_bad_file(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.yaml").write_text("name: 1\n")
    (tmp_path / "b.yaml").write_text("name: 2\n")
    message = refused(
        monkeypatch, capsys, "check", "--kind", "plan", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")
    )
    assert "a.yaml:1:7: name: got 1" in message and "b.yaml:1:7: name: got 2" in message and "2 faults" in message


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["show", "h100"], "did you mean 'h100-sxm'?"),
        (["show", "zzz"], "`hwsim list` prints the names"),
        (["show", "h100-sxm", "--kind", "model"], "expected the name of a model"),
        (["show", "h100-sxm", "--kind", "modle"], "did you mean 'model'?"),
        (["show", "h100-sxm-x0"], "count: got 0"),
        (["show", "h100-sxm-x16"], "expected at most 8 accelerators"),
        (["show", "h100-sxm-x99999999999999999999"], "no such description"),
        (["show", "nope.yaml"], "got no such file"),
        (["show", "../models/llama-3.1-8b"], "no such description"),
        (["show", ""], "no such description"),
        (["list", "cars"], "expected one of accelerator"),
        (["schema", "modle"], "did you mean 'model'?"),
        (["check", "nope.yaml"], "got no such file"),
    ],
)
def test_a_wrong_name_is_answered_with_exit_code_2(arguments, part, monkeypatch, capsys):
    assert part in refused(monkeypatch, capsys, *arguments)


def test_a_file_must_say_its_kind_outside_the_library(tmp_path, monkeypatch, capsys):
    (tmp_path / "x.yaml").write_text("name: a\n")
    assert "a file without a kind" in refused(monkeypatch, capsys, "check", str(tmp_path / "x.yaml"))
    (tmp_path / "x.yaml").write_text("kind: plan\nname: a\ntp: 2\n")
    assert "plan x" in output("check", str(tmp_path / "x.yaml"))
    (tmp_path / "x.yaml").write_text("kind: plann\nname: a\n")
    assert "x.yaml:1:7: got 'plann'" in refused(monkeypatch, capsys, "check", str(tmp_path / "x.yaml"))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x00" * 100, "name: \u0000".encode(), b"name: \x80"])
def test_bytes_that_are_no_text_are_refused(content, tmp_path, monkeypatch, capsys):
    (tmp_path / "x.yaml").write_bytes(content)
    assert "x.yaml" in refused(monkeypatch, capsys, "check", "--kind", "plan", str(tmp_path / "x.yaml"))


def test_a_folder_is_no_description(tmp_path, monkeypatch, capsys):
    (tmp_path / "x.yaml").mkdir()
    assert "no such file" in refused(monkeypatch, capsys, "check", "--kind", "plan", str(tmp_path / "x.yaml"))


@pytest.mark.parametrize("kind", sorted(library.FOLDERS))
def test_every_kind_has_a_json_schema(kind):
    schema = json_schema(kind)
    assert json.loads(json.dumps(schema)) == schema
    assert schema["additionalProperties"] is False
    assert "extends" in schema["properties"]


def test_help_brings_neither_pydantic_nor_yaml_with_it():
    code = "import sys, hwsim.cli; print(sorted({'pydantic', 'ruamel', 'numpy', 'h5py'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
