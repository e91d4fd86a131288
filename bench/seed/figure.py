"""One figure of the points of `seed-comparison`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from findings import sixteen, streams
from points import Row, memory_rate

from hwsim.analyse.plots import figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "b200": "#0072b2", "gb200": "#56b4e9", "mi300x": "#d55e00", "tpu": "#009e73",
    "ipu": "#e69f00", "mtia": "#cc79a7", "wse": "#000000", "groq": "#7f7f7f",
}  # fmt: skip
MODEL, SMALL = "llama-2-70b", "llama-3.1-8b"


def draw(rows: list[Row], path: Path) -> None:
    """Six panels: bandwidth and speed, throughput, energy, speed of a user, contexts, what limits."""
    drawing = figure(15, 8.6)
    panels = drawing.subplots(2, 3)
    bandwidth(panels[0, 0], rows)
    over_users(panels[0, 1], rows, "tok_s", "tokens/s of the machine")
    over_users(panels[0, 2], rows, "energy_j_token", "J/token, all chips of the machine")
    over_users(panels[1, 0], rows, "tok_s_user", "tokens/s of a user")
    over_context(panels[1, 1], rows)
    limits(panels[1, 2], rows)
    handles, labels = panels[0, 1].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    save(drawing, path)


def colour(row: Row) -> str:
    """Colour of a machine's maker."""
    return next(value for name, value in COLOURS.items() if row.system.startswith(name))


def bandwidth(axes: Axes, rows: list[Row]) -> None:
    """Rate of the memory that holds weights, all chips of the stream, against the speed of one stream."""
    for model, mark in ((MODEL, "o"), (SMALL, "^")):
        for row in streams(rows, model):
            at = memory_rate(row.system, row.plan, True) / 1e12, row["tok_s_user"]
            axes.plot(*at, mark, color=colour(row), markersize=7, fillstyle="full" if mark == "o" else "none")
            if row.system != "gb200-nvl72":
                axes.annotate(
                    row.system, at, xytext=(4, 4 if model == SMALL else -9), textcoords="offset points", fontsize=7
                )
    axes.set(xscale="log", yscale="log", xlabel="memory of all chips that serve the stream, TB/s",
             ylabel="tokens/s of one stream", title=f"one stream: {MODEL} (dots), {SMALL} (triangles)")  # fmt: skip
    axes.margins(x=0.2)
    axes.grid(alpha=0.25)


def machines(rows: list[Row], **wanted: object) -> dict[str, list[Row]]:
    """Rows by machine, 16-bit weights."""
    found: dict[str, list[Row]] = {}
    for row in sixteen(rows, **wanted):
        found.setdefault(row.label, []).append(row)
    return found


def over_users(axes: Axes, rows: list[Row], name: str, title: str) -> None:
    """A figure over the users; hollow where they wait for memory or slots."""
    for label, ran in machines(rows, model=MODEL, isl=1024).items():
        users, values = [row.users for row in ran], [row[name] for row in ran]
        axes.plot(users, values, "-", color=colour(ran[0]), linewidth=1.3, label=label)
        for row in ran:
            fill = colour(row) if row.overload != "yes" else "white"
            axes.plot(row.users, row[name], "o", color=colour(row), markerfacecolor=fill, markersize=5)
    axes.set(xscale="log", yscale="log", xlabel="users (hollow: they wait)", ylabel=title,
             title=f"{MODEL}, prompts of 1,024, 128 output tokens")  # fmt: skip
    axes.set_xticks([1, 8, 32, 128, 256], ["1", "8", "32", "128", "256"])
    axes.minorticks_off()
    axes.grid(alpha=0.25)


def over_context(axes: Axes, rows: list[Row]) -> None:
    """Speed of one stream over its window: Llama-2-70B up to 4K, Llama-3.1-70B beyond."""
    found = machines([row for row in rows if row.model in (MODEL, "llama-3.1-70b")], users=1, osl=128)
    for label, ran in found.items():
        sizes = [(row.isl + row.osl) / 1024 for row in ran]
        axes.plot(sizes, [row["tok_s_user"] for row in ran], "o-", color=colour(ran[0]), markersize=4, label=label)
    axes.set(xscale="log", yscale="log", xlabel="window, K tokens", ylabel="tokens/s of one stream",
             title="70B, one stream (a line ends where memory does)")  # fmt: skip
    axes.set_xticks([1.125, 4, 16, 32, 128], ["1", "4", "16", "32", "128"])
    axes.minorticks_off()
    axes.grid(alpha=0.25)


def limits(axes: Axes, rows: list[Row]) -> None:
    """Share of time that arithmetic limits, over the users."""
    for label, ran in machines(rows, model=MODEL, isl=1024).items():
        shares = [row.shares["compute"] * 100 for row in ran]
        axes.plot([row.users for row in ran], shares, "o-", color=colour(ran[0]), markersize=4, label=label)
    axes.set(xscale="log", ylim=(0, 100), xlabel="users", ylabel="% of time limited by arithmetic",
             title=f"{MODEL}, prompts of 1,024, 128 output tokens")  # fmt: skip
    axes.set_xticks([1, 8, 32, 128, 256], ["1", "8", "32", "128", "256"])
    axes.minorticks_off()
    axes.grid(alpha=0.25)
