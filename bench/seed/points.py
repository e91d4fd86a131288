"""Points of the study `seed-comparison`: read from its result, written as CSV."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hwsim.analyse.roofline import Roof
from hwsim.describe import load

FIGURES = ("ttft_ms", "tpot_ms", "tok_s", "tok_s_user", "energy_j_token", "power_w")
# What limits a time, as a reader thinks of it: the classes of hwsim's attribution.
GROUPS = {
    "memory": ("hbm", "dram", "cxl", "flash", "l2", "sram"),
    "compute": ("tensor", "vector", "issue"),
    "links": ("link", "sync", "latency"),
    "software": ("host", "launch", "queue", "idle"),
}


@dataclass(frozen=True)
class Row:
    """One point.

    Attributes
    ----------
    system, software, precision, plan, model : str
    isl, osl, users : int
        Prompt and output tokens of each request, requests in flight.
    figures : dict of str to float
        `FIGURES`; empty where the point could not run.
    overload, bound, error : str
    shares : dict of str to float
        Share of time by `GROUPS`.
    chips_j_token : float
        Joules a token of the chips that serve: `energy_j_token` less the static power of spare chips and idle replicas.
    """

    system: str
    software: str
    precision: str
    plan: str
    model: str
    isl: int
    osl: int
    users: int
    figures: dict[str, float] = field(default_factory=dict)
    overload: str = ""
    bound: str = ""
    error: str = ""
    shares: dict[str, float] = field(default_factory=dict)
    chips_j_token: float = float("nan")

    @property
    def label(self) -> str:
        """The machine and its precision."""
        return f"{self.system} {self.precision}"

    @property
    def class_(self) -> str:
        """Class of its chips."""
        return str(described(self.system).accelerator.class_)

    @property
    def tok_s_chip(self) -> float:
        """Tokens a second of one chip of the machine, spare ones too."""
        return self.figures["tok_s"] / described(self.system).count

    @property
    def wall_j_token(self) -> float:
        """Joules a token at the wall: all chips and their hosts, at work all the time, over what supplies pass on."""
        found = described(self.system)
        if found.host is None:
            return float("nan")
        watts = self.figures["power_w"] + found.nodes * float(found.host.idle + found.host.active)
        return watts / float(found.host.supply) / self.figures["tok_s"]

    def __getitem__(self, name: str) -> float:
        return self.figures[name] if name in self.figures else float(getattr(self, name))


@cache
def described(system: str) -> Any:
    """Description of a system."""
    return load(system, "system")


def replicas(plan: str) -> int:
    """Replicas of a plan."""
    return int(dict(part.split("=") for part in plan.split(",")).get("dp", "1"))


def memory_rate(system: str, plan: str, whole: bool) -> float:
    """Bytes a second from where weights lie: of one chip, or of all chips that serve one stream."""
    found = described(system)
    rate = float(Roof.of(system, found.accelerator).rate)
    return rate * found.active / replicas(plan) if whole else rate


def serving_share(system: str, plan: str, users: int) -> float:
    """Share of a machine's chips that work for so many users: no spare ones, no replicas without requests."""
    found = described(system)
    return found.active / found.count * min(users, replicas(plan)) / replicas(plan)


def read(path: Path) -> list[Row]:
    """Rows of a result; what the study's constraints exclude is left out."""
    with h5py.File(path) as file:
        columns = {name: file[name][()] for name in file if isinstance(file[name], h5py.Dataset)}
        errors = dict(zip(file["errors/point"][()].tolist(), file["errors/text"].asstr()[()]))
        excluded = str(file["status"].attrs["flag_meanings"]).split().index("excluded")
    grid = columns["status"].shape
    asked = [np.unravel_index(at, grid) for at in np.flatnonzero(columns["status"].ravel() != excluded)]
    return [_row(columns, at, errors.get(int(np.ravel_multi_index(at, grid)), "")) for at in asked]


def _row(columns: dict[str, Any], at: Any, error: str) -> Row:
    machine, request, load_ = at
    texts = {name: columns[name][machine].decode() for name in ("system", "software", "precision", "plan")}
    texts["model"] = columns["model"][request].decode()
    sizes = {name: int(columns[f"workload.{name}"][request]) for name in ("isl", "osl")}
    users = int(columns["concurrency"][load_])
    if error:
        return Row(**texts, **sizes, users=users, error=error)
    share = serving_share(texts["system"], texts["plan"], users)
    idle = (1 - share) * float(columns["energy_static_j_token"][at])
    return Row(
        **texts,
        **sizes,
        users=users,
        figures={name: float(columns[name][at]) for name in FIGURES},
        overload=columns["overload"][at].decode(),
        bound=columns["bound"][at].decode(),
        shares={name: sum(float(columns[f"bound_{each}"][at]) for each in parts) for name, parts in GROUPS.items()},
        chips_j_token=float(columns["energy_j_token"][at] - idle),
    )


def write(rows: list[Row], path: Path) -> None:
    """All points as CSV; those that could not run with their reason."""
    asked = ("system", "software", "precision", "plan", "model", "isl", "osl", "users")
    numbers = [*FIGURES, "chips_j_token", "wall_j_token", *(f"{name}_share" for name in GROUPS)]
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow([*asked, *numbers, "bound", "overload", "error"])
        for row in rows:
            each = [row.chips_j_token, row.wall_j_token, *row.shares.values()] if row.figures else []
            found = [*row.figures.values(), *each]
            texts = [f"{number:.6g}" for number in found] or [""] * len(numbers)
            out.writerow([*(getattr(row, name) for name in asked), *texts, row.bound, row.overload, row.error])


def chosen(rows: list[Row], **wanted: Any) -> list[Row]:
    """Rows that ran and have these values."""
    return [row for row in rows if row.figures and all(getattr(row, name) == value for name, value in wanted.items())]
