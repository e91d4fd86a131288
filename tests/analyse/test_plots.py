"""Pictures show the numbers they are made of."""

from pathlib import Path

import numpy as np
import pytest

from hwsim.analyse.slo import Slo
from hwsim.errors import InputError

pytest.importorskip("matplotlib")
from hwsim.analyse import plots

MS, S = 10**9, 10**12


def columns(**values: list[int]) -> dict[str, np.ndarray]:
    return {name: np.array(column, np.int64) for name, column in values.items()}


# Two replicas; the first runs 4 requests in the first half of 12 s and 2 in the second, the other 1 all the time.
STEPS = columns(
    replica=[0, 1, 0],
    start_ps=[0, 0, 6 * S],
    end_ps=[5 * S, 12 * S, 12 * S],
    running=[4, 1, 2],
    waiting=[0, 0, 0],
    kv_used_blocks=[30, 0, 10],
)
REQUESTS = columns(
    arrival_ps=[0, 0, 0, 0],
    first_token_ps=[10 * MS, 20 * MS, 40 * MS, -1],
    finish_ps=[110 * MS, 20 * MS, 540 * MS, -1],
    output_tokens=[11, 1, 51, 5],
)


def line(axes: object, label: str) -> tuple[np.ndarray, np.ndarray]:
    found = next(line for line in axes.lines if line.get_label() == label)  # type: ignore[attr-defined]
    return found.get_xdata(), found.get_ydata()


def test_the_timeline_sums_replicas_and_holds_a_value_until_the_next_step() -> None:
    counts, kv, _ = plots.overview(REQUESTS, STEPS, 40).axes
    time, running = line(counts, "running")
    assert running == pytest.approx(np.where(time < 6, 5, 3))
    assert kv.get_ylabel() == "KV in use, %"


def test_latencies_end_at_all_requests_and_leave_out_what_never_finished() -> None:
    axes = plots.overview(REQUESTS, STEPS, slo=Slo.parse("ttft=30ms")).axes[2]
    time, share = line(axes, "ttft")
    assert time.tolist() == [10, 20, 40]
    assert share == pytest.approx([100 / 3, 200 / 3, 100])
    assert line(axes, "tpot")[0].tolist() == [10]
    assert line(axes, "ttft limit")[0] == [30, 30]


def test_figures_are_saved_by_suffix(tmp_path: Path) -> None:
    figure = plots.overview(REQUESTS, STEPS)
    plots.save(figure, tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"got the suffix '.xyz', expected one of .*png"):
        plots.save(figure, tmp_path / "run.xyz")
    with pytest.raises(InputError, match="expected a place that can be written"):
        plots.save(figure, tmp_path / "no" / "run.png")


def test_a_run_without_requests_still_has_a_picture(tmp_path: Path) -> None:
    nothing = {name: values[:0] for name, values in REQUESTS.items()}
    plots.save(plots.overview(nothing, {name: values[:0] for name, values in STEPS.items()}), tmp_path / "run.svg")
