"""Rooflines say what descriptions say, and no simulated operator is above its roof."""

from itertools import combinations

import pytest
from click.testing import CliRunner

from hwsim.analyse.roofline import Roof, draw, placed, points, table, useful_flops
from hwsim.cli import cli
from hwsim.describe import load
from hwsim.describe.library import names
from hwsim.serving.deployment import compile

pytest.importorskip("matplotlib")
from matplotlib.backends.backend_agg import FigureCanvasAgg

# A system of every class with a model that it holds.
PLACED = [
    ("h100-sxm", "llama-3.1-8b", "bf16"),
    ("tpu-v6e", "llama-3.1-8b", "bf16"),
    ("wse-3", "llama-3.1-8b", "fp16"),
    ("groq-72", "llama-2-7b", "int8"),
    ("ipu-gc200-x64", "llama-2-7b", "fp16"),
    ("mtia-v2", "llama-2-7b", "fp16"),
]


def roof(system: str) -> Roof:
    return Roof.of(system, load(system, "system").accelerator)


@pytest.mark.parametrize(("system", "model", "precision"), PLACED)
def test_no_simulated_operator_is_above_the_roof(system: str, model: str, precision: str) -> None:
    software = "groq-2024" if system.startswith("groq") else "ideal"
    top, found = roof(system), list(points(compile(system, model, "", software, precision=precision)))
    assert len(found) >= 20
    for point in found:
        assert 0 < point.rate <= top.at(point.intensity, point.dtype) * (1 + 1e-9), point


def test_the_roof_of_a_gpu_is_its_peaks_and_its_memory() -> None:
    found = roof("h100-sxm-x8")
    assert float(found.peaks["bf16"]) == pytest.approx(132 * 4096 * 1.98e9)
    assert float(found.rate) == 3350e9
    assert found.at(1, "bf16") == 3350e9
    assert found.at(found.ridge("bf16") * 2, "bf16") == pytest.approx(float(found.peaks["bf16"]))


def test_a_chip_without_memory_has_the_roof_of_its_sram() -> None:
    found = roof("wse-3-x4")
    assert found.memory == "sram"
    assert float(found.rate) == pytest.approx(21.2 * 900_000 * 1.1e9)


@pytest.mark.parametrize("name", names("accelerator"))
def test_every_chip_has_a_roof(name: str) -> None:
    found = roof(name)
    assert found.rate > 0 and all(found.ridge(dtype) > 0 for dtype in found.peaks)


def test_flops_of_a_result_are_counted_without_padding() -> None:
    assert useful_flops("gemm", {"m": 2, "n": 3, "k": 5}) == 60
    heads = {"batch": 1, "heads": 2, "head_dim": 8}
    assert useful_flops("attention_prefill", heads | {"q_len": 3, "kv_len": 3}) == 4 * 2 * 8 * (1 + 2 + 3)
    assert useful_flops("attention_decode", heads | {"q_len": 1, "kv_len": 7}) == 4 * 2 * 8 * 7


def test_the_table_and_the_picture_show_every_point(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    found = [placed(roof("h100-sxm"), "llama-3.1-8b", "", "ideal", ""), (roof("tpu-v6e"), [])]
    points = found[0][1]
    text = table(found)
    assert sum(line.startswith("h100-sxm ") for line in text.splitlines()) == 4 + len(points)
    drawn = [line for line in draw(found).axes[0].lines if line.get_marker() != "None" and len(line.get_xdata())]
    assert len(drawn) == len(points)


def test_the_command_prints_and_draws(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    done = CliRunner().invoke(cli, ["roofline", "h100-sxm", "groq-lpu", "-o", str(tmp_path / "roofs.svg")])
    assert done.exit_code == 0, done.output
    assert "319.6" in done.output and (tmp_path / "roofs.svg").stat().st_size > 10_000


def test_names_of_levels_cover_one_another_nowhere() -> None:
    drawing = draw([(roof(name), []) for name in ("b200-sxm", "mi300x", "tpu-v7", "ipu-bow", "mtia-v2", "groq-lpu")])
    renderer = FigureCanvasAgg(drawing).get_renderer()
    names = [text.get_window_extent(renderer) for text in drawing.axes[0].texts]
    assert len(names) == 12
    assert not any(one.overlaps(other) for one, other in combinations(names, 2))


def test_a_wafer_at_work_is_all_of_its_regions() -> None:
    found = list(points(compile("wse-3", "llama-3.1-8b", "", "ideal", precision="fp16")))
    assert all(0 < point.share < 0.05 for point in found)
    assert max(point.rate / roof("wse-3").at(point.intensity, point.dtype) for point in found) > 0.1
