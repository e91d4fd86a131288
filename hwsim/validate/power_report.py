"""What `hwsim validate power` says: a line a row, errors by group of rows, servers at the wall, and a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hwsim.validate.power import AGREES, CLOSE, STATIC, STEADY, Answer, Wall

COLUMNS = {"rate": "measured rate", "counted": "units as counted", "whole": "end to end", "naive": "0.7 of limit"}


def text(found: list[Answer], at_wall: list[Wall]) -> str:
    """A line a row, then the errors of groups of rows, then servers measured at the wall."""
    return "\n".join([*_rows(found), "", *summary(found), "", *_walls(at_wall)])


def _rows(found: list[Answer]) -> Iterator[str]:
    head = f"{'source':<12} {'system':<16} {'model':<14} {'dtype':<5} {'users':>5} {'rate t/s':>9} {'sim t/s':>9} "
    yield head + f"{'W':>7} {'of limit':>8} {'stretch':>7} {'at rate':>8} {'%':>6} {'e2e':>7} {'%':>6}  scenario"
    for answer in found:
        case, errors = answer.case, answer.errors
        watts = f"{answer.measured_rate:>8.0f} {100 * errors.rate:>+6.1f} {answer.watts(answer.rate):>7.0f}"
        yield (
            f"{case.source:<12} {f'{case.chip}-x{case.devices}':<16} {case.model:<14} {case.precision:<5} "
            f"{case.users:>5} {case.rate:>9.0f} {answer.rate:>9.0f} {case.watts:>7.0f} "
            f"{case.watts / answer.limit:>8.2f} {answer.stretch:>7.2f} {watts} {100 * errors.whole:>+6.1f}  "
            f"{case.scenario}"
        )


def summary(found: list[Answer]) -> Iterator[str]:
    """Median and 90th percentile of absolute errors and the median of signed ones, by group of rows."""
    head = f"{'median / p90 % (bias) [within 20 %]':<36} {'n':>4} "
    yield head + " ".join(f"{name:>27}" for name in COLUMNS.values())
    for name, rows in groups(found).items():
        if rows:
            errors = [answer.errors for answer in rows]
            columns = (np.array([getattr(error, column) for error in errors]) for column in COLUMNS)
            yield f"{name:<36} {len(rows):>4} " + " ".join(f"{_spread(column):>27}" for column in columns)


def groups(found: list[Answer]) -> dict[str, list[Answer]]:
    """Rows by what they can tell."""
    steady = [answer for answer in found if answer.case.source == STEADY and not answer.case.experts]
    experts = [answer for answer in found if answer.case.experts]
    few = [answer for answer in experts if not answer.full]
    low = [answer for answer in steady if not answer.full]
    static = [answer for answer in found if answer.case.source == STATIC]
    return {
        "below 0.9 of the limit": low,
        **_by_chip(low),
        f"  rate within {AGREES} times": [a for a in low if 1 / AGREES < a.rate / a.case.rate < AGREES],
        "above 0.9 of the limit": [answer for answer in steady if answer.full],
        "all": steady,
        "experts, below 0.9 of the limit": few,
        **{f"{name}, experts": rows for name, rows in _by_chip(few).items()},
        "experts, above 0.9 of the limit": [answer for answer in experts if answer.full],
        "static batches, another laboratory": static,
        **{f"{name}, static": rows for name, rows in _by_chip(static).items()},
    }


def _by_chip(rows: list[Answer]) -> dict[str, list[Answer]]:
    chips = dict.fromkeys(answer.case.chip for answer in rows)
    return {f"  {chip}": [answer for answer in rows if answer.case.chip == chip] for chip in chips}


def _spread(column: np.ndarray) -> str:
    size, within = np.abs(column), np.mean(np.abs(column) < CLOSE)
    median, most, bias = 100 * np.median(size), 100 * np.quantile(size, 0.9), 100 * np.median(column)
    return f"{median:.1f} / {most:.1f} ({bias:+.1f}) [{within:.0%}]"


def _walls(found: list[Wall]) -> Iterator[str]:
    yield "at the wall, chips at their limit and the host at work"
    for wall in found:
        yield f"  {wall.label:<60} {wall.watts:>7.0f} W, hwsim {wall.most:>7.0f} W ({wall.most / wall.watts - 1:+.1%})"


def plot(found: list[Answer], path: Path) -> None:
    """Simulated against measured power of a chip, at the measured rate and end to end (needs hwsim[analysis])."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 5), layout="constrained", sharex=True, sharey=True)
    chips = list(dict.fromkeys(answer.case.chip for answer in found))
    most = max(answer.limit / answer.case.devices for answer in found) * 1.05
    for axes, title in zip(panels, ("at the measured rate", "end to end")):
        axes.fill_between([0, most], [0, most * (1 - CLOSE)], [0, most * (1 + CLOSE)], color="0.9", label="within 20 %")
        axes.plot([0, most], [0, most], color="0.5", linewidth=1)
        for answer in found:
            said = answer.measured_rate if title.startswith("at") else answer.watts(answer.rate)
            steady, colour = answer.case.source == STEADY, f"C{chips.index(answer.case.chip)}"
            axes.plot(answer.case.watts / answer.case.devices, said / answer.case.devices, "o" if steady else "^",
                      color=colour, markersize=5, alpha=0.7, fillstyle="full" if steady else "none")  # fmt: skip
        axes.set(xlabel="measured, W a chip", title=title, xlim=(0, most), ylim=(0, most), aspect="equal")
    for number, chip in enumerate(chips):
        panels[0].plot([], [], "o", color=f"C{number}", label=chip)
    panels[0].plot([], [], "^", color="0.3", fillstyle="none", label="static batch")
    panels[0].legend(loc="upper left", frameon=False)
    panels[0].set_ylabel("simulated, W a chip")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
