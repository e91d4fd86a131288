"""Serving points of real servers: rows that are compared, what is kept apart, limits of the errors."""

import numpy as np
import pytest

from hwsim.analyse.point import Case, Point
from hwsim.errors import InputError
from hwsim.validate import points

HEAD = (
    "backend,backend_version,model_path,system,precision,mode,isl,osl,batch_size,tp_size,pp_size,"
    "silicon_ttft_ms,silicon_tpot_ms"
)


def folder(tmp_path, *rows):
    (tmp_path / points.FILE).write_text("\n".join([HEAD, *rows, ""]), encoding="utf-8")
    return tmp_path


def test_rows_of_described_servers_chips_and_dense_models_are_taken(tmp_path):
    kept = list(
        points.read(
            folder(
                tmp_path,
                "vllm,0.12.0,Qwen/Qwen3-32B,h100_sxm,,agg,1024,128,8,2,1,150,20",
                "vllm,,meta-llama/Llama-3.1-70B,b200_sxm,fp4,agg,1024,1024,8,4,1,150,20",
                "trtllm,1.0.0rc3,Qwen/Qwen3-32B,h100_sxm,fp8,agg,1024,8192,8,1,1,150,20",
                "sglang,0.5.9,Qwen/Qwen3-32B,h100_sxm,,agg,1024,128,8,2,1,150,20",
                "vllm,0.12.0,deepseek-ai/DeepSeek-R1,h100_sxm,,agg,1024,128,8,2,1,150,20",
                "vllm,0.12.0,Qwen/Qwen3-32B,gb300,,agg,1024,128,8,2,1,150,20",
                "vllm,0.12.0,Qwen/Qwen3-32B,h100_sxm,,disagg,1024,128,8,2,1,150,20",
            )
        )
    )
    assert [row.group for row in kept] == [
        "vllm-0.12 qwen3-32b bf16 h100-sxm",
        "vllm-0.19 llama-3.1-70b nvfp4 b200-sxm",
        "trtllm-1.3 qwen3-32b fp8 h100-sxm, osl > 1024",
    ]
    assert [row.case.system for row in kept] == ["h100-sxm-x2", "b200-sxm-x4", "h100-sxm"]
    assert [row.case.kv_dtype for row in kept] == ["", "", "fp8"]
    assert {row.case.token_budget for row in kept} == {1024}


def made(ttft, tpot, overload="no", users=8):
    case = Case("h100-sxm", "llama-3.1-8b", users, 64, 8)
    point = Point(ttft, tpot, tpot, 1.0, 1000 / tpot, 1.0, 1.0, 1.0, None, None, overload, "hbm", {}, {}, "unit")
    return points.Answer(points.Row(case, "group", 100.0, 10.0), point)


def test_times_to_first_token_are_scored_only_where_nothing_waits():
    found = [made(110, 11), made(500, 12, "yes: 9 users, 8 slots"), made(90, 9, "borderline: 5 of 5 KV tokens")]
    found += [made(300, 10, users=100), points.Answer(found[0].row, None, "too large")]
    assert [answer.state for answer in found] == ["scored", "yes", "borderline", "front end", "refused"]
    line = points.table(found).splitlines()[1]
    assert "10.0 / 10 (+)" in line and "1 yes, 1 borderline, 1 front end, 1 refused" in line
    assert line.split()[1] == "5"


def test_a_folder_without_the_table_is_named(tmp_path):
    with pytest.raises(InputError, match="serving_points"):
        list(points.read(tmp_path))


@pytest.mark.fuzz
def test_errors_of_a_server_whose_profile_was_fitted_are_small(shared, fuzz_share):
    """vLLM 0.12 with Qwen3-32B on H100: TPOT 5 % (90th percentile 20 %), TTFT 15 % (60 %)."""
    rows = [row for row in points.read(shared / "measured") if row.group == "vllm-0.12 qwen3-32b bf16 h100-sxm"]
    found = points.answers([row for row in rows if row.case.isl <= 1024][:: 1 if fuzz_share == 1 else 4])
    tpot = np.abs([answer.error("tpot_ms") for answer in found])
    ttft = np.abs([answer.error("ttft_ms") for answer in found if answer.state == "scored"])
    assert np.median(tpot) < 0.05 and np.median(ttft) < 0.15
    if fuzz_share == 1:
        assert np.percentile(tpot, 90) < 0.2 and np.percentile(ttft, 90) < 0.6
