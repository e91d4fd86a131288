"""Rows of measured power are read as they are meant; energy counts answer them within the errors that are published."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwsim.errors import InputError
from hwsim.validate import power, power_report

HEAD = (
    "system,n_devices,model,precision,parallelism,scenario,batch_or_concurrency,input_len,output_len,"
    "metric,value,notes\n"
)
ROWS = [
    "H100-SXM,4,Llama-3.1-70B-Instruct,bfloat16,TP4EP1DP1,steady,8,dataset,350,median_itl_ms,17.0,"
    "avg running batch 7.9; mean power 1765 W (all GPUs); 3.7 J/token; 470 output tok/s; mean output len 350",
    "H100-SXM,4,Llama-3.1-70B-Instruct,bfloat16,TP4EP1DP1,steady,8,dataset,350,avg_power_W,1765,sum over GPUs",
    "H100-SXM,1,gpt-oss-20b,mxfp4,TP1,steady,8,dataset,350,avg_power_W,400,a model of experts",
    "H100-SXM,8,Qwen3-235B-A22B-Instruct-2507,bfloat16,TP1EP8DP1,steady,8,dataset,864,median_itl_ms,20.2,"
    "avg running batch 8.0; mean power 2829 W (all GPUs); 7.3 J/token; 388 output tok/s; mean output len 864",
    "H100-SXM,8,Qwen3-235B-A22B-Instruct-2507,bfloat16,TP1EP8DP1,steady,8,dataset,864,avg_power_W,2829,sum over GPUs",
    "A100,1,Llama-2-7b-hf,fp16,TP1,static batch (TensorRT-LLM),16,1024,512,avg_power_W,291,e2e latency 16.0s; unit mW",
    "B200-SXM,1,Qwen3-8B,bfloat16,TP1EP1DP1,steady,8,dataset,350,avg_power_W,500,no rate beside it",
]


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    (tmp_path / "llm_points.csv").write_text(HEAD + "\n".join(ROWS) + "\n")
    return tmp_path


def test_rows_of_served_models_with_a_rate_become_cases(folder: Path) -> None:
    steady, experts, static = power.cases(folder)
    assert (experts.model, experts.devices, experts.ep, experts.experts) == ("qwen3-235b-a22b", 8, 8, True)
    assert (steady.ep, steady.experts, static.ep) == (1, False, 1)
    assert (steady.chip, steady.model, steady.devices, steady.users) == ("h100-sxm", "llama-3.1-70b", 4, 8)
    assert (steady.rate, steady.watts, steady.prompt, steady.output) == (470, 1765, power.PROMPT, 350)
    assert (static.source, static.software, static.prompt) == ("static batch", "trtllm-2024", 1024)
    assert static.chip == "a100-sxm-40gb"
    assert static.rate == 16 * 512 / 16.0


def test_outputs_of_a_steady_load_have_its_mean_and_a_static_batch_one_length(folder: Path) -> None:
    steady, _, static = power.cases(folder)
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
    assert answer.errors.naive == pytest.approx(0.7 * 2800 / 1765 - 1)
    assert not answer.full and replace(answer, case=replace(case, watts=2600)).full


def test_units_are_busy_for_as_much_longer_as_measured_steps_grow_but_not_while_the_host_works() -> None:
    simulated = [1.0, 2.0, 4.0, 7.0]
    slow = [(busy, 1.6 * busy) for busy in simulated]
    waiting = [(busy, 30 + busy) for busy in simulated]
    assert power.stretch(slow) == pytest.approx(1.6)
    assert power.stretch(waiting) == pytest.approx(1)
    assert power.stretch([(busy, 30 + 1.6 * busy) for busy in simulated]) == pytest.approx(1.6)
    assert power.stretch([*slow, (5.0, 100.0)]) == pytest.approx(1.6)  # a row that waited does not decide
    assert power.stretch([(busy, 0.5 * busy) for busy in simulated]) == 1
    assert power.stretch(slow[:1]) == 1


def test_a_stretch_makes_units_busy_for_longer_but_not_for_longer_than_there_is(folder: Path) -> None:
    case = power.cases(folder)[0]
    answer = power.Answer(case, limit=2800, static=760, busiest=700, active=1, flops=0, bytes=0, rate=400, stretch=1.4)
    assert answer.measured_rate == pytest.approx(760 + 1.4 * case.rate)
    assert answer.errors.counted == pytest.approx((760 + case.rate) / case.watts - 1)
    assert answer.errors.whole == pytest.approx((760 + 400) / case.watts - 1)
    assert replace(answer, stretch=2).measured_rate == 760 + 700


def test_a_server_at_the_wall_is_its_chips_its_host_and_the_losses_of_supplies(folder: Path) -> None:
    with (folder / "llm_points.csv").open("a") as file:
        file.write("NVIDIA B200-SXM-180GB,8,llama2-70b-99,fp4,see submission,Offline,,dataset,,system_power_W,10401,\n")
    (found,) = power.walls(folder)
    assert found.watts == 10401
    assert found.most == pytest.approx((8 * 1000 + 700 + 300) / 0.94)


def test_the_report_has_every_row_every_chip_and_a_picture(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    made = dict(limit=2800, static=760, busiest=700, active=1.0, flops=0.5, bytes=0.8, rate=400)
    found = [power.Answer(case, **made) for case in power.cases(folder)]
    text = power_report.text(found, [power.Wall("b200-sxm-x8", 10_000, 9_000)])
    assert text.count("llama-3.1-70b") == text.count("llama-2-7b") == text.count("qwen3-235b-a22b") == 1
    assert "experts, above 0.9 of the limit         1 " in text
    assert "  a100-sxm-40gb, static                 1 " in text
    assert "10000 W, hwsim    9000 W (-10.0%)" in text
    power_report.plot(found, folder / "power.png")
    assert (folder / "power.png").stat().st_size > 10_000


def test_a_folder_without_the_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file, expected a folder with the measured tables"):
        power.cases(tmp_path)


@pytest.mark.shared
def test_power_of_a_measured_server(shared: Path) -> None:
    """Qwen3-32B on one H100 with eight users: one row of the suite, all of it is in docs/power.md."""
    rows = [case for case in power.cases(shared / "measured") if case.model == "qwen3-32b" and case.devices == 1]
    (found,) = power.answers(rows[:1])
    assert abs(found.errors.rate) < 0.15 and abs(found.errors.whole) < 0.15


@pytest.mark.fuzz
@pytest.mark.shared
def test_power_of_all_measured_servers(shared: Path, fuzz_share: float) -> None:
    if fuzz_share < 1:
        pytest.skip("minutes: under make fuzz")
    found = list(power.answers(power.cases(shared / "measured")))
    groups = power_report.groups(found)
    errors = {name: np.abs([answer.errors for answer in rows]) for name, rows in groups.items()}
    low, everywhere = errors["below 0.9 of the limit"], errors["all"]
    rate, counted, whole = (power.Errors._fields.index(name) for name in ("rate", "counted", "whole"))
    assert np.median(low[:, rate]) < 0.12 and np.quantile(low[:, rate], 0.9) < 0.25
    assert np.median(low[:, counted]) < 0.12 and np.quantile(low[:, counted], 0.9) < 0.25
    assert np.median(low[:, whole]) < 0.15
    assert np.quantile(errors["  rate within 1.5 times"][:, whole], 0.9) < 0.30  # servers that waited are apart
    assert np.mean(everywhere[:, rate] < power.CLOSE) >= 0.85 and np.mean(everywhere[:, whole] < power.CLOSE) >= 0.85
    experts = errors["experts, below 0.9 of the limit"]
    assert np.median(experts[:, rate]) < 0.15 and np.median(experts[:, whole]) < 0.15
    a100 = errors["  a100-sxm-40gb, static"]
    assert np.median(a100[:, whole]) < 0.15 and np.quantile(a100[:, whole], 0.9) < 0.30
