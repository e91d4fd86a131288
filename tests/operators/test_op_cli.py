"""hwsim op: columns pass through, errors of rows stay in their row, malformed files are refused whole."""

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

from hwsim.cli.op import command
from hwsim.errors import InputError

HEAD = "accelerator,software,op,dtype,protocol,m,n,k,note\n"


def run(tmp_path: Path, text: str, *options: str) -> list[dict[str, str]]:
    """Rows that `hwsim op` writes for a file; its InputError is raised."""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(command, [str(source), "-o", str(target), *options], standalone_mode=False)
    if result.exception is not None:
        assert not target.exists()
        raise result.exception
    with target.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_row_comes_back_with_its_time_bound_and_energy(tmp_path: Path) -> None:
    rows = run(
        tmp_path, HEAD + "h100-sxm,vllm,gemm,bf16,graph-replay,8192,8192,8192,big\nh100-sxm,,gemm,,,1,8192,8192,\n"
    )
    assert list(rows[0]) == [*HEAD.strip().split(","), "time_ns", "bound", "energy_j", "warning", "error"]
    assert [row["note"] for row in rows] == ["big", ""]
    assert [row["bound"] for row in rows] == ["tensor", "hbm"]
    assert 1.3e6 < float(rows[0]["time_ns"]) < 2.1e6
    assert 40e3 < float(rows[1]["time_ns"]) < 55e3
    assert 0.5 < float(rows[0]["energy_j"]) < 1.5


def test_an_empty_software_means_ideal_and_an_empty_protocol_in_model(tmp_path: Path) -> None:
    rows = run(tmp_path, HEAD + "h100-sxm,,gemm,,,64,4096,4096,\nh100-sxm,ideal,gemm,bf16,in-model,64,4096,4096,\n")
    assert rows[0]["time_ns"] == rows[1]["time_ns"]


def test_a_row_that_cannot_run_keeps_its_place_with_an_error(tmp_path: Path) -> None:
    rows = run(tmp_path, HEAD + "a100-sxm,,gemm,nvfp4,,64,64,64,a\na100-sxm,,gemm,bf16,,64,64,64,b\n")
    assert (rows[0]["time_ns"], rows[0]["error"]) == ("", "a100-sxm has no nvfp4; it has bf16, fp16, int8")
    assert float(rows[1]["time_ns"]) > 0
    assert rows[1]["error"] == ""


def test_rows_keep_their_order_across_batches(tmp_path: Path) -> None:
    chips = ["h100-sxm", "a100-sxm", "h100-sxm", "b200-sxm", "a100-sxm"]
    rows = run(tmp_path, HEAD + "".join(f"{chip},,gemm,,,{16 * i + 16},512,512,{i}\n" for i, chip in enumerate(chips)))
    assert [row["note"] for row in rows] == list("01234")
    assert [row["accelerator"] for row in rows] == chips


def test_an_override_changes_the_machine(tmp_path: Path) -> None:
    text = HEAD + "h100-sxm,,gemm,,,8192,8192,8192,\n"
    unlimited = ("--set", "system.accelerator.power.limit=2 kW")
    base = run(tmp_path, text, *unlimited)[0]
    slow = run(tmp_path, text, *unlimited, "--set", "system.accelerator.clocks.core=0.99 GHz")[0]
    assert 1.9 < float(slow["time_ns"]) / float(base["time_ns"]) < 2.05


def test_a_layer_of_experts_reads_its_distribution(tmp_path: Path) -> None:
    more = [f"h100-sxm,moe,64,2048,768,{rest}\n" for rest in ("128,8,balanced", "128,8,power_law_1.2", "6,8,")]
    rows = run(tmp_path, EXPERTS + ",\n" + "".join(more))
    times = [row["time_ns"] for row in rows]
    assert times[0] == times[1] != times[2]
    assert (times[3], rows[3]["error"]) == ("", "top_k 8 of 6 experts: a token chooses different ones")


SOFTWARE = "accelerator,sofware,op,m,n,k\nh100-sxm,vllm,gemm,64,64,64\n"
EXPERTS = "accelerator,op,tokens,hidden,intermediate,experts,top_k,distribution\nh100-sxm,moe,64,2048,768,128,8"
MALFORMED = {
    SOFTWARE: "in.csv:1: got the column 'sofware', expected columns of hwsim by their names, others by names unlike "
    "theirs; did you mean 'software'?",
    SOFTWARE.replace("sofware", "Protocol"): "got the column 'Protocol'",
    SOFTWARE.replace("sofware", "batchs"): "did you mean 'batch'?",
    HEAD + "h100-sxm,,gemm,,,64,64,x,\n": "in.csv:2: got k 'x', expected a whole number from 1 to 2147483648",
    HEAD + "h100-sxm,,gemm,,,64,64,0,\n": "in.csv:2: got k '0', expected a whole number from 1",
    HEAD + "h100-sxm,,gemm,,,64,64,,\n": "in.csv:2: got no k, expected gemm needs k (inner dimension)",
    HEAD + "h100-sxm,,gemm,,,64,64\n": "in.csv:2: got 7 cells, expected 9 as in the header",
    HEAD + "h100-sxm,,gem,,,64,64,64,\n": "in.csv:2: got op 'gem', expected one of gemm,",
    HEAD + "h100-sxn,,gemm,,,64,64,64,\n": "in.csv:2: got accelerator 'h100-sxn', expected the name of an accelerator",
    HEAD + ",,gemm,,,64,64,64,\n": "in.csv:2: got accelerator '', expected the name of an accelerator",
    HEAD + "h100-sxm,sglang,gemm,,,64,64,64,\n": "in.csv:2: got software 'sglang'",
    HEAD + "h100-sxm,,gemm,bf17,,64,64,64,\n": "in.csv:2: got dtype 'bf17', expected one of bf16",
    HEAD + "h100-sxm,,gemm,,cold,64,64,64,\n": "in.csv:2: got protocol 'cold'",
    "accelerator,m,n,k\nh100-sxm,1,1,1\n": "in.csv:1: got no column 'op'",
    "accelerator,op,m,m\nh100-sxm,gemm,1,1\n": "in.csv:1: got the column 'm' twice",
    "": "in.csv:1: got an empty file",
    " \n\n": "in.csv:1: got an empty file",
    EXPERTS + ",zipf\n": "in.csv:2: got distribution 'zipf', expected balanced, uniform or power_law_<a>",
    EXPERTS + ",power_law_1\n": "in.csv:2: got distribution 'power_law_1', expected balanced, uniform or power_law_<a>",
    HEAD: "in.csv:2: got no rows, expected a case a line below the header",
    HEAD + 'h100-sxm,,gemm,,,64,64,"64,\n': "expected a readable CSV file",
}


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_file_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as caught:
        run(tmp_path, text)
    assert MALFORMED[text] in str(caught.value)
    assert caught.value.exit_code == 2


def test_all_faults_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(tmp_path, HEAD + "h100-sxm,,gemm,,,a,64,64,\nh100-sxm,,gemm,,,64,64,64,\nh100-sxm,,gemm,,,64,b,64,\n")
    assert [fault.where.rsplit(":", 1)[1] for fault in caught.value.faults] == ["2", "4"]


def test_columns_unlike_those_of_the_files_operators_pass_through(tmp_path: Path) -> None:
    rows = run(tmp_path, "accelerator,op,m,n,k,device,heads,note\nh100-sxm,gemm,64,64,64,gpu 7,a,b\n")
    assert (rows[0]["device"], rows[0]["heads"], rows[0]["note"], rows[0]["error"]) == ("gpu 7", "a", "b", "")


def test_a_chip_that_does_not_load_is_a_fault_of_the_file_told_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bare.yaml").write_text("kind: accelerator\nextends: h100-sxm\nclocks: {core: 1 GHz}\n")
    with pytest.raises(InputError) as caught:
        run(tmp_path, HEAD + "bare.yaml,,gemm,,,64,64,64,\n" * 2 + "none.yaml,,gemm,,,64,64,64,\n")
    row = "got accelerator 'bare.yaml', which does not load, expected a description without faults"
    lines = [str(fault).splitlines()[0] for fault in caught.value.faults]
    assert [row in line for line in lines] == [True, False, True, False]
    assert lines[1].startswith("bare.yaml:3:16: clocks.core: got '1 GHz' without source and status")
    assert "in.csv:4: got accelerator 'none.yaml'" in lines[3]
    assert "no such file" in lines[3]


def test_a_chip_in_this_folder_goes_by_the_name_of_its_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("zeta.yaml").write_text("kind: accelerator\nextends: h100-sxm\nname: zeta\n")
    rows = run(tmp_path, HEAD + "".join(f"{name},,gemm,,,64,64,64,\n" for name in ("zeta", "zeta.yaml", "h100-sxm")))
    assert len({row["time_ns"] for row in rows}) == 1 and rows[0]["time_ns"]


def test_a_table_that_is_no_text_names_the_byte(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"PK\x03\x04\xd0\xff")
    result = CliRunner().invoke(command, [str(tmp_path / "in.csv"), "-o", str(tmp_path / "out.csv")])
    assert "in.csv: got byte 0xd0, which is no text, expected a readable CSV file in UTF-8" in str(result.exception)


def test_one_row_is_one_operator(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(HEAD + "h100-sxm,,gemm,,,64,64,64,\n")
    result = CliRunner().invoke(command, [str(tmp_path / "in.csv"), "-o", str(tmp_path / "out.csv")])
    assert result.output.startswith("1 operator,")


def test_an_override_outside_the_tree_is_refused(tmp_path: Path) -> None:
    for start in ("", "accelerator."):
        with pytest.raises(InputError, match=r"expected a path that starts with one of system\.acc.*did you mean") as e:
            run(tmp_path, HEAD + "h100-sxm,,gemm,,,64,64,64,\n", "--set", f"{start}clocks.core=1 GHz")
        assert "did you mean 'system.accelerator.clocks.core=1 GHz'?" in str(e.value)


def test_the_folder_of_the_output_must_exist(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(HEAD + "h100-sxm,,gemm,,,64,64,64,\n")
    result = CliRunner().invoke(command, [str(tmp_path / "in.csv"), "-o", str(tmp_path / "no" / "out.csv")])
    assert isinstance(result.exception, InputError)


def test_energy_stays_below_the_power_limit_and_above_static_power(tmp_path: Path) -> None:
    shapes = [(1, 128, 128), (128, 8192, 8192), (8192, 8192, 8192)]
    rows = run(tmp_path, HEAD + "".join(f"h100-sxm,vllm,gemm,,,{m},{n},{k},\n" for m, n, k in shapes))
    watts = [round(float(row["energy_j"]) / float(row["time_ns"]) * 1e9, 1) for row in rows]
    assert all(112 <= power <= 700 for power in watts)
    assert watts[0] == min(watts)


def test_a_lower_power_limit_takes_longer_and_less_energy(tmp_path: Path) -> None:
    text = HEAD + "h100-sxm,,gemm,,,8192,8192,8192,\n"
    full, less = (run(tmp_path, text, "--set", f"system.accelerator.power.limit={watts} W")[0] for watts in (700, 350))
    assert float(less["time_ns"]) > 1.2 * float(full["time_ns"])
    assert float(less["energy_j"]) < float(full["energy_j"])


def test_a_row_below_the_range_of_its_memorys_law_says_what_one_refresh_changes(tmp_path: Path) -> None:
    rows = run(tmp_path, HEAD + "h100-sxm,,gemm,,,1,2048,2048,\nh100-sxm,,gemm,,,1,8192,8192,\n")
    assert rows[0]["warning"].startswith("hbm: one refresh more or less is 7.")
    assert rows[1]["warning"] == ""


def test_commands_on_request_agree_with_a_law_in_its_range(tmp_path: Path) -> None:
    text = HEAD + "h100-sxm,,gemm,,,1,8192,8192,\nh100-sxm,,gemm,nvfp4,,1,64,64,\n"
    law, commands = run(tmp_path, text), run(tmp_path, text, "--memory", "commands")
    assert float(commands[0]["time_ns"]) == pytest.approx(float(law[0]["time_ns"]), rel=0.01)
    assert commands[0]["time_ns"] != law[0]["time_ns"]
    assert [row["warning"] for row in commands] == ["", ""]
    assert commands[1]["error"] == law[1]["error"] != ""


ATTENTION = "accelerator,software,op,batch,q_len,kv_len,heads,kv_heads,head_dim\n"


def test_a_row_too_large_for_anything_spoils_no_other(tmp_path: Path) -> None:
    fine = "h100-sxm,vllm,attention_prefill,4,1000,1000,8,1,128\n"
    large = [
        ("2,2147483648,2147483648,1,1,1", "FLOP, one operator may have"),
        ("1,20000000,20000000,8,1,1", "its time or energy is more than hwsim counts"),
        ("1000000,1,8192,8,8,128", "needs 3.356e+04 GB, h100-sxm has 80 GB: batch 2383 would fit"),
        ("2147483648,1,2147483648,65536,65536,128", "GB, h100-sxm has 80 GB"),
    ]
    rows = run(tmp_path, ATTENTION + fine + "".join(f"h100-sxm,vllm,attention_prefill,{d}\n" for d, _ in large) + fine)
    alone = run(tmp_path, ATTENTION + fine)
    assert rows[0]["time_ns"] == rows[-1]["time_ns"] == alone[0]["time_ns"]
    for row, (_, text) in zip(rows[1:-1], large, strict=True):
        assert row["time_ns"] == ""
        assert text in row["error"]


def test_a_buffer_larger_than_the_memory_is_an_error_of_its_row(tmp_path: Path) -> None:
    rows = run(
        tmp_path, "accelerator,op,devices,bytes\nh100-sxm,all_reduce,8,1000000000000\nh100-sxm,all_reduce,8,64\n"
    )
    assert "needs 1000 GB, h100-sxm has 80 GB: bytes 79999999919 would fit" in rows[0]["error"]
    assert rows[1]["error"] == ""


def test_answers_never_take_the_place_of_a_folder_or_of_the_cases(tmp_path: Path) -> None:
    (tmp_path / "out.csv").mkdir()
    source = tmp_path / "in.csv"
    source.write_text(HEAD + "h100-sxm,,gemm,,,64,64,64,\n")
    for target, text in ((tmp_path / "out.csv", "a folder"), (source, "another file than the cases")):
        result = CliRunner().invoke(command, [str(source), "-o", str(target)])
        assert isinstance(result.exception, InputError)
        assert text in str(result.exception)
