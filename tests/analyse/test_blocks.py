"""Every chip and system of the library can be drawn; boxes say what the descriptions say and do not overlap."""

from itertools import combinations

import pytest
from click.testing import CliRunner

from hwsim.analyse.blocks import blocks, si
from hwsim.cli import cli
from hwsim.describe import load
from hwsim.describe.library import names
from hwsim.errors import InputError
from hwsim.operators.mapper.wiring import box

pytest.importorskip("matplotlib")
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hwsim.analyse import chip_plot

CHIPS = [
    *names("accelerator"),
    *names("system"),
    "h100-sxm-x8",
    "groq-lpu-x16",
    "tpu-v6e-x16",
    "ipu-gc200-x4",
    "wse-3-x4",
]


@pytest.mark.parametrize("name", CHIPS)
def test_every_chip_and_system_is_drawn_without_boxes_over_one_another(name: str) -> None:
    drawing = chip_plot.draw(blocks(load(name)))
    axes = drawing.axes[0]
    boxes = [patch.get_bbox() for patch in axes.patches][1:]  # the first is the device around the others
    assert len(boxes) >= 5
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    for each in boxes:
        assert left < each.x0 and each.x1 < right and low < each.y0 and each.y1 < high


@pytest.mark.parametrize("name", ["h100-sxm", "wse-3", "groq-576", "ipu-gc200", "mtia-v2", "tpu-v6e-x16"])
def test_texts_stay_in_their_boxes(name: str) -> None:
    drawing = chip_plot.draw(blocks(load(name)))
    axes, renderer = drawing.axes[0], FigureCanvasAgg(drawing).get_renderer()
    boxes = [patch.get_window_extent(renderer) for patch in axes.patches][1:]
    for text in axes.texts:
        extent = text.get_window_extent(renderer)
        if text.get_text() and text.get_va() == "top":  # of a box; others stand beside arrows
            assert any(box.x0 <= extent.x0 and extent.x1 <= box.x1 and box.y0 <= extent.y0 for box in boxes)


def test_the_blocks_of_a_gpu_are_what_its_description_says() -> None:
    picture = blocks(load("h100-sxm"))
    assert [tier.name for tier in picture.tiers] == ["SRAM of the units", "L2", "HBM3"]
    assert [tier.rate for tier in picture.tiers] == ["", "9.67 TB/s", "3.35 TB/s"]
    assert "80 GB" in picture.tiers[-1].lines
    assert "bf16 1.07 PFLOP/s" in picture.units[0].lines
    assert picture.ways[0].rate == "450 GB/s"


def test_a_chip_without_memory_shows_the_rate_of_its_sram() -> None:
    (sram,) = blocks(load("wse-3")).tiers
    assert sram.rate == "21.0 PB/s"
    assert sram.lines[-2:] == ("mesh: 4.40 GB/s a way", "a hop in 1 cycle")


def test_spare_devices_of_a_system_are_said() -> None:
    topology = blocks(load("groq-576")).topology
    assert topology is not None
    assert (topology.kind, topology.count, topology.spares, topology.node) == ("dragonfly", 576, 64, 8)


def test_numbers_have_three_digits() -> None:
    texts = ["0 B/s", "999 B/s", "1.00 kB/s", "9.99 kB/s", "10.0 kB/s", "100 kB/s", "1.00 MB/s"]
    assert [si(value, "B/s") for value in (0, 999, 999.9, 9.99e3, 9.999e3, 99.99e3, 999.9e3)] == texts


def test_show_draws_into_a_file_and_models_are_refused(tmp_path) -> None:
    run = CliRunner()
    done = run.invoke(cli, ["show", "h100-sxm-x8", "--draw", "-o", str(tmp_path / "h100.svg")])
    assert done.exit_code == 0, done.output
    assert "tensor units" in (tmp_path / "h100.svg").read_text()
    with pytest.raises(InputError, match="a model, expected an accelerator or a system"):
        blocks(load("llama-3.1-8b"))


@pytest.mark.parametrize(
    ("count", "dimensions", "sides"), [(64, 3, (4, 4, 4)), (128, 3, (8, 4, 4)), (12, 2, (4, 3)), (1, 2, (1, 1))]
)
def test_the_sides_of_a_torus_are_the_most_cubic(count: int, dimensions: int, sides: tuple[int, ...]) -> None:
    assert box(count, dimensions) == sides


@pytest.mark.parametrize("name", CHIPS)
def test_the_title_of_a_drawing_ends_inside_it(name: str) -> None:
    drawing = chip_plot.draw(blocks(load(name)))
    renderer = FigureCanvasAgg(drawing).get_renderer()
    right = drawing.bbox.x1
    assert all(text.get_window_extent(renderer).x1 <= right for text in drawing.axes[0].texts)
