"""Pictures of a study: Pareto front, heat map over two axes, sensitivity bars, progress of a search (matplotlib)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwsim.analyse.plots import figure, save
from hwsim.errors import InputError, bad
from hwsim.sweep.axes import Dimension, Numbers, shown
from hwsim.sweep.journal import DONE
from hwsim.sweep.merge import Table
from hwsim.sweep.outputs import Output
from hwsim.sweep.pareto import front
from hwsim.sweep.sensitivity import Sensitivity, sensitivity
from hwsim.sweep.space import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TICKS = 8
LABEL = 34  # characters of a path that fit beside an axis
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#b0b0b0"
LOG_FROM = 30  # times the least value, from which on colours are logarithmic


def plot(space: Space, table: Table, path: str | Path, growth: NDArray[np.float64] | None = None) -> list[str]:
    """Draw what a study has: its front if it has two objectives, its map, its sensitivities.

    Parameters
    ----------
    growth : float64[trials], optional
        Of a search: hypervolume by trial, drawn instead of the sensitivities.

    Returns
    -------
    list of str
        Why a panel is missing.

    Raises
    ------
    InputError
        No point has an answer, or matplotlib is not installed.
    """
    names = [name for name in (*space.study.objectives, *table.columns) if not table.columns[name].labels]
    if not (table.status == DONE).any() or not names:
        raise bad("--plot", "no point with an answer", "a study that ran")
    objectives, notes = list(space.study.objectives), []
    panels: list[Any] = [lambda axes: heat_map(axes, space, table, names[0])]
    if len(objectives) > 1:
        panels.insert(0, lambda axes: pareto(axes, space, table, objectives[:2]))
    if growth is not None:
        panels.append(lambda axes: hypervolume(axes, growth))
    else:
        try:
            found = sensitivity(space, table.values[names[0]])
            panels.append(lambda axes: bars(axes, found, names[0]))
        except InputError as error:
            notes.append(str(error))
    drawing = figure(5.4 * len(panels), 4.6)
    drawing.suptitle(space.study.name or space.study.study or space.study.id)
    for axes, panel in zip(np.atleast_1d(drawing.subplots(1, len(panels))), panels):
        panel(axes)
    save(drawing, path)
    return notes


def pareto(axes: Axes, space: Space, table: Table, objectives: list[str]) -> None:
    """All points over two objectives, and the front of the feasible ones."""
    from matplotlib.ticker import EngFormatter

    values = np.stack([table.values[name] for name in objectives], axis=1)
    ways = np.array([1.0 if space.study.objectives[name] == "min" else -1.0 for name in objectives])
    feasible = table.values.get("feasible", np.ones(len(values))) == 1
    axes.plot(*values[~feasible].T, "x", color=GREY, markersize=4, label="not feasible" if (~feasible).any() else None)
    axes.plot(*values[feasible].T, "o", color=GREY, markersize=4, label="points")
    best = front(np.where(feasible[:, None], values * ways, np.nan))
    order = np.flatnonzero(best)[np.argsort(values[best, 0], kind="stable")]
    steps = "steps-post" if ways[0] > 0 else "steps-pre"  # between two of its points a front is as good as the worse
    style: Any = {"color": ORANGE, "markersize": 5, "linewidth": 1.2, "drawstyle": steps}
    axes.plot(*values[order].T, "o-", **style, label="Pareto front")
    for axis, name in zip((axes.xaxis, axes.yaxis), objectives):
        axis.set_major_formatter(EngFormatter())
        axis.set_label_text(f"{titled(table.columns[name], name)}, {space.study.objectives[name]}")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)


def heat_map(axes: Axes, space: Space, table: Table, name: str) -> None:
    """A column over the first two axes; over the others, its best (of an objective) or its median.

    Of samples: a scatter over the first two paths. Of one axis: a line.
    """
    from matplotlib.ticker import EngFormatter

    values = table.values[name]
    masked = name in space.study.objectives and "feasible" in table.values
    if masked:
        values = np.where(table.values["feasible"] == 1, values, np.nan)
    if len(space.axes) == 1 and len(space.axes[0].paths) > 1 and space.axes[0].name in ("sample", "trial"):
        _scatter(axes, space.axes[0], values, titled(table.columns[name], name))
        return
    grid = values.reshape(space.shape)
    shown_axes = list(range(grid.ndim))[:2]
    others = tuple(axis for axis in range(grid.ndim) if axis not in shown_axes)
    way = space.study.objectives.get(name)
    reduce: Any = {"min": np.nanmin, "max": np.nanmax, None: np.nanmedian}[way]
    title = titled(table.columns[name], name)
    if others:
        empty = np.isnan(grid).all(axis=others)
        grid = np.where(empty, np.nan, reduce(np.where(np.expand_dims(empty, others), 0.0, grid), axis=others))
        how = {"min": "least", "max": "most", None: "median"}[way]
        how += " of feasible points" if masked else ""
        title += f"\n{how} over {', '.join(short(space.axes[axis].name) for axis in others)}"
    elif masked and np.isnan(grid).any():
        title += "\nwhite: no feasible point"
    if grid.ndim == 1:
        axes.plot(grid, "o-", color=BLUE, markersize=4)
        axes.yaxis.set_major_formatter(EngFormatter())
        axes.set_ylabel(title)
        axes.grid(alpha=0.25)
        _ticks(axes.xaxis, space.axes[shown_axes[0]])
        return
    seen = grid[np.isfinite(grid)]
    wide = seen.size and seen.min() > 0 and seen.max() > LOG_FROM * seen.min()
    norm = "log" if wide else "linear"
    image = axes.imshow(grid.T, origin="lower", aspect="auto", cmap="viridis", norm=norm)
    for axis, place in zip((axes.xaxis, axes.yaxis), shown_axes):
        _ticks(axis, space.axes[place])
    axes.figure.colorbar(image, ax=axes, shrink=0.9, format=EngFormatter())
    axes.set_title(title, fontsize="medium")


def _scatter(axes: Axes, axis: Dimension, values: NDArray[np.float64], title: str) -> None:
    """Points over the first two paths of samples, coloured by a column."""
    from matplotlib.ticker import EngFormatter

    marks = []
    for place, path in zip((axes.xaxis, axes.yaxis), axis.paths):
        numbers = Numbers.of(axis.column(path))
        if numbers.units:
            marks.append(numbers.values)
            place.set_major_formatter(EngFormatter("" if numbers.units == "1" else numbers.units))
            place.set_label_text(short(path))
        else:
            texts, codes = np.unique(numbers.values.astype(str), return_inverse=True)
            marks.append(codes)
            place.set_ticks(range(len(texts)), texts)
            place.set_label_text(short(path))
    points = axes.scatter(marks[0], marks[1], c=values, s=16, cmap="viridis")
    axes.figure.colorbar(points, ax=axes, shrink=0.9, format=EngFormatter())
    axes.set_title(title, fontsize="medium")
    axes.grid(alpha=0.25)


def _ticks(axis: Any, dimension: Dimension) -> None:
    """Values of a dimension as tick labels, as many as are readable."""
    places = range(0, len(dimension), -(-len(dimension) // TICKS))
    ends = [path.rpartition(".")[2] + " " for path in dimension.paths] if len(dimension.paths) > 1 else [""]
    axis.set_ticks(places, [", ".join(map("".join, zip(ends, map(shown, dimension.rows[place])))) for place in places])
    axis.set_label_text(short(dimension.name))
    if axis.axis_name == "x" and max(len(str(dimension.rows[place])) for place in places) > 12:
        axis.set_tick_params(rotation=30)


def bars(axes: Axes, found: Sensitivity, name: str) -> None:
    """First-order and total indices of every axis."""
    rows = np.arange(len(found.axes))[::-1]
    axes.barh(rows + 0.2, found.total, 0.36, color=GREY, xerr=found.error, label="with others (total)")
    axes.barh(rows - 0.2, found.first, 0.36, color=BLUE, label="alone (first order)")
    axes.set_yticks(rows, [short(path) for path in found.axes])
    axes.set_xlim(0, max(1.0, float(np.max(found.total + found.error))))
    axes.set_xlabel(f"share of the variance of {name}")
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    axes.grid(alpha=0.25, axis="x")


def hypervolume(axes: Axes, growth: NDArray[np.float64]) -> None:
    """Hypervolume by trial."""
    axes.step(np.arange(1, len(growth) + 1), growth, where="post", color=BLUE)
    axes.set_xlabel("trials")
    axes.set_ylabel("hypervolume, share of the last")
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.25)


def titled(column: Output, name: str) -> str:
    """Name of a column with its unit."""
    return f"{name}, {column.units}" if column.units not in ("", "1") else name


def short(path: str) -> str:
    """A path for a label: its end."""
    return path if len(path) <= LABEL else "…" + path[1 - LABEL :]
