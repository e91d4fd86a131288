"""Rows of measured power are read as they are meant; energy counts answer them within the errors that are published."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwsim.errors import InputError
from hwsim.validate import power

HEAD = (
    "system,n_devices,model,precision,parallelism,scenario,batch_or_concurrency,input_len,output_len,"
    "metric,value,notes\n"
)
ROWS = [
    "H100-SXM,4,Llama-3.1-70B-Instruct,bfloat16,TP4EP1DP1,steady,8,dataset,350,median_itl_ms,17.0,"
    "avg running batch 7.9; mean power 1765 W (all GPUs); 3.7 J/token; 470 output tok/s; mean output len 350",
    "H100-SXM,4,Llama-3.1-70B-Instruct,bfloat16,TP4EP1DP1,steady,8,dataset,350,avg_power_W,1765,sum over GPUs",
    "H100-SXM,1,gpt-oss-20b,mxfp4,TP1,steady,8,dataset,350,avg_power_W,400,a model of experts",
    "A100,1,Llama-2-7b-hf,fp16,TP1,static batch (TensorRT-LLM),16,1024,512,avg_power_W,291,e2e latency 16.0s; unit mW",
    "B200-SXM,1,Qwen3-8B,bfloat16,TP1EP1DP1,steady,8,dataset,350,avg_power_W,500,no rate beside it",
]


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    (tmp_path / "llm_points.csv").write_text(HEAD + "\n".join(ROWS) + "\n")
    return tmp_path


def test_rows_of_dense_models_with_a_rate_become_cases(folder: Path) -> None:
    steady, static = power.cases(folder)
    assert (steady.chip, steady.model, steady.devices, steady.users) == ("h100-sxm", "llama-3.1-70b", 4, 8)
    assert (steady.rate, steady.watts, steady.prompt, steady.output) == (470, 1765, power.PROMPT, 350)
    assert (static.source, static.software, static.prompt) == ("static batch", "trtllm", 1024)
    assert static.rate == 16 * 512 / 16.0


def test_outputs_of_a_steady_load_have_its_mean_and_a_static_batch_one_length(folder: Path) -> None:
    steady, static = power.cases(folder)
    lengths = power.requests(replace(steady, users=100)).output_tokens
    assert len(lengths) == 100 * power.ROUNDS
    assert lengths.mean() == pytest.approx(350, rel=0.01)
    assert lengths.min() >= 175 and lengths.max() <= 525
    assert set(power.requests(static).output_tokens.tolist()) == {512}


def test_power_is_static_at_no_load_and_never_more_than_the_limit(folder: Path) -> None:
    case = power.cases(folder)[0]
    answer = power.Answer(case, limit=2800, static=760, busiest=700, active=1.2, flops=0.5, bytes=0.8, rate=400)
    assert answer.watts(0) == 760
    assert answer.watts(100) == 760 + 250
    assert answer.watts(1000) == 760 + 700 + 1300
    assert answer.watts(10_000) == 2800
    assert answer.errors[2] == pytest.approx(0.7 * 2800 / 1765 - 1)
    assert not answer.full and replace(answer, case=replace(case, watts=2600)).full


def test_a_folder_without_the_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file, expected a folder with the measured tables"):
        power.cases(tmp_path)


@pytest.mark.shared
def test_power_of_a_measured_server(shared: Path) -> None:
    """Qwen3-32B on one H100 with eight users: one row of the suite, all of it is in docs/power.md."""
    rows = [case for case in power.cases(shared / "measured") if case.model == "qwen3-32b" and case.devices == 1]
    (found,) = power.answers(rows[:1])
    assert abs(found.errors[0]) < 0.15 and abs(found.errors[1]) < 0.15


@pytest.mark.fuzz
@pytest.mark.shared
def test_power_of_all_measured_servers(shared: Path, fuzz_share: float) -> None:
    if fuzz_share < 1:
        pytest.skip("minutes: under make fuzz")
    found = list(power.answers(power.cases(shared / "measured")))
    groups = power.groups(found)
    low = np.abs([answer.errors for answer in groups["below 0.9 of the limit"]])
    assert np.median(low[:, 0]) < 0.12 and np.quantile(low[:, 0], 0.9) < 0.25
    assert np.median(low[:, 1]) < 0.15
    everywhere = np.abs([answer.errors for answer in groups["all"]])
    assert np.mean(everywhere[:, 1] < power.CLOSE) >= 0.85
    assert np.median(low[:, 0]) < np.median(low[:, 2])
