"""Rooflines: what a device can do at best over the operations a byte asks for, and simulated operators below it.

A roof is what the description says: peak of each dtype at the highest clock, published rate of the memory that holds
models (of a chip without one: what its SRAM gives the units). A point is one operator of a model's step on one device
at the time that `simulate` gives it. Its FLOPs are those of its result, without a kernel's padding; its bytes are those
that passed the memory, so what a cache keeps does not count, and no point is above the roof.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from typing import TYPE_CHECKING, Any

from hwsim.analyse.blocks import si, sram_rate
from hwsim.analyse.level_names import Label, name_levels
from hwsim.analyse.plots import figure
from hwsim.describe.accelerator import Accelerator
from hwsim.operators.machine import Machine
from hwsim.operators.simulate import simulate
from hwsim.serving.deployment import Deployment, compile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BATCHES = (1, 8, 32, 128)  # decodes of a step
CHUNKS = (512, 2048)  # prompt tokens of a step
CONTEXT = 2048  # keys that a decode sees
SHOWN = ("qkv", "gate_up", "up", "down", "attention")  # with the most FLOPs of a layer
MARKS = {"qkv": "s", "gate_up": "o", "up": "o", "down": "^", "attention": "D"}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")


@dataclass(frozen=True)
class Roof:
    """What one device of a system can do at best.

    Attributes
    ----------
    system : str
    memory : str
        Tier that the rate is of: "hbm" or "sram".
    rate : Fraction
        Bytes per second.
    peaks : dict of str to Fraction
        FLOP per second, by dtype.
    """

    system: str
    memory: str
    rate: Fraction
    peaks: Mapping[str, Fraction]

    @classmethod
    def of(cls, system: str, chip: Accelerator) -> Roof:
        """The roof of one device."""
        tensor, clock, hbm = chip.units.tensor, chip.clocks.core, chip.tiers.hbm
        peaks = {str(dtype): peak * tensor.count * clock for dtype, peak in tensor.per_cycle.items()}
        rate = hbm.rate if hbm is not None and chip.home == "hbm" else sram_rate(chip)
        return cls(system, chip.home, rate, peaks)

    def ridge(self, dtype: str) -> float:
        """FLOP per byte above which the units limit, not the memory."""
        return float(self.peaks[dtype] / self.rate)

    def at(self, intensity: float, dtype: str) -> float:
        """FLOP per second at best, for so many FLOP per byte."""
        return min(float(self.peaks[dtype]), intensity * float(self.rate))


@dataclass(frozen=True)
class Point:
    """A simulated operator.

    Attributes
    ----------
    step, operator, dtype, bound : str
        "decode 8", "prefill 2048"; role in the model; what it is multiplied in; what limited it.
    time_ps, flops, bytes : int
        Of one call on one device; bytes that passed the memory.
    share : float
        Of the device's units that work on it: a region of a wafer, while others work on other batches.
    """

    step: str
    operator: str
    dtype: str
    bound: str
    time_ps: int
    flops: int
    bytes: int
    share: float = 1.0

    @property
    def intensity(self) -> float:
        """FLOP per byte; infinite where a cache or the exchange brings all bytes."""
        return self.flops / self.bytes if self.bytes else inf

    @property
    def rate(self) -> float:
        """FLOP per second of the device, all of its parts at such work."""
        return self.flops * 1e12 / (self.time_ps * self.share)


def points(deployment: Deployment) -> Iterator[Point]:
    """Operators of a layer at some decodes and some prompt tokens a step."""
    placement, memory = deployment.placement, deployment.system.accelerator.home
    for step, count, machine in _steps(deployment):
        for use in placement.tokens:
            if use.name in SHOWN:
                sized = use.dims | {use.varies: count * use.scale}
                yield from _point(machine, step, use.name, use.kind, sized, use.dtype, memory)
        shape = placement.attention
        heads: dict[str, Any] = {"heads": shape.heads, "kv_heads": shape.kv_heads, "head_dim": shape.head_dim}
        decode = step.startswith("decode")
        sizes = (count, 1, CONTEXT) if decode else (1, count, count)
        dims = dict(zip(("batch", "q_len", "kv_len"), sizes)) | heads | {"kv_dtype": shape.kv_dtype}
        kind = "attention_decode" if decode else "attention_prefill"
        yield from _point(machine, step, "attention", kind, dims, shape.dtype, memory)


def _steps(deployment: Deployment) -> Iterator[tuple[str, int, Machine]]:
    """Name of a step, its tokens and what it runs on."""
    placement = deployment.placement
    for count in BATCHES:
        yield f"decode {count}", count, placement.decode.machine
    for count in CHUNKS:
        yield f"prefill {count}", count, placement.prefill.machine


def _point(
    machine: Machine, step: str, name: str, kind: str, dims: Mapping[str, object], dtype: str, memory: str
) -> Iterator[Point]:
    result = simulate(machine, kind, dims, dtype)
    if result.error[0] is None:
        sizes = int(result.time_ps[0]), useful_flops(kind, dims), int(result.bytes[memory][0])
        share = machine.cores / machine.chip.units.tensor.count
        yield Point(step, name, machine.multiplied(dtype), result.bound_name(0), *sizes, share)


def useful_flops(kind: str, dims: Mapping[str, Any]) -> int:
    """FLOPs that a result asks for: of a product, or of causal attention."""
    if kind == "gemm":
        return int(2 * dims["m"] * dims["n"] * dims["k"])
    queries = dims["q_len"]
    seen = queries * dims["kv_len"] - queries * (queries - 1) // 2
    return int(4 * dims["batch"] * dims["heads"] * dims["head_dim"] * seen)


def placed(roof: Roof, model: str, plan: str, software: str, precision: str) -> tuple[Roof, list[Point]]:
    """A roof with the operators of a model on it."""
    return roof, list(points(compile(roof.system, model, plan, software, precision=precision or None)))


def table(found: list[tuple[Roof, list[Point]]]) -> str:
    """Roofs, then points, as text."""
    lines = [f"{'system':<18} {'memory':<7} {'rate':>10}  {'dtype':<6} {'peak':>13} {'ridge FLOP/B':>13}"]
    for roof, _ in found:
        for dtype, peak in roof.peaks.items():
            head = f"{roof.system:<18} {roof.memory:<7} {si(roof.rate, 'B/s'):>10}"
            lines.append(f"{head}  {dtype:<6} {si(peak, 'FLOP/s'):>13} {roof.ridge(dtype):>13.1f}")
    if any(own for _, own in found):
        head = f"{'system':<18} {'step':<13} {'operator':<10} {'dtype':<6} {'time us':>10}"
        lines += ["", f"{head} {'FLOP/B':>9} {'reached':>13} {'of roof':>8}  bound"]
    lines += [_line(roof, point) for roof, own in found for point in own]
    return "\n".join(lines)


def _line(roof: Roof, point: Point) -> str:
    share = point.rate / roof.at(point.intensity, point.dtype)
    return (
        f"{roof.system:<18} {point.step:<13} {point.operator:<10} {point.dtype:<6} {point.time_ps / 1e6:>10.2f} "
        f"{point.intensity:>9.2f} {si(point.rate, 'FLOP/s'):>13} {share:>8.1%}  {point.bound}"
    )


def draw(found: list[tuple[Roof, list[Point]]], title: str = "") -> Figure:
    """Roofs on logarithmic axes, one colour a system; a point's shape says the operator, hollow ones are of decodes."""
    drawing = figure(10.5, 6)
    axes = drawing.subplots()
    low, high = _reach(found)
    labels: list[Label] = []
    for number, (roof, own) in enumerate(found):
        colour = COLOURS[number % len(COLOURS)]
        labels += _roof(axes, roof, colour, (low, high), "-" if number < len(COLOURS) else "--")
        for point in own:
            face = "white" if point.step.startswith("decode") else colour
            place = [min(point.intensity, high / 1.1)], [point.rate]
            axes.plot(*place, MARKS[point.operator], color=colour, markersize=5, markerfacecolor=face, zorder=3)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_xlabel("FLOP per byte of the memory that holds the model")
    axes.set_ylabel("FLOP/s of one device")
    axes.set_title(title, fontsize="medium")
    axes.grid(alpha=0.25, which="both")
    name_levels(drawing, axes, labels)
    _legend(axes, found)
    drawing.legend(loc="outside right upper", frameon=False, fontsize=8)
    return drawing


def _reach(found: list[tuple[Roof, list[Point]]]) -> tuple[float, float]:
    """FLOP per byte that the picture begins and ends with; what lies in a cache would be far to the right."""
    ridges = [roof.ridge(dtype) for roof, _ in found for dtype in roof.peaks]
    places = [point.intensity for _, own in found for point in own if point.bytes]
    return min(*ridges, *places, 1.0) / 2, max(ridges) * 40


def _roof(axes: Axes, roof: Roof, colour: str, reach: tuple[float, float], style: str) -> list[Label]:
    """Memory's slope up to the highest peak, and a level for each peak; their names with where they begin."""
    levels: dict[float, list[str]] = {}
    for dtype, best in roof.peaks.items():
        levels.setdefault(float(best), []).append(dtype)
    top = max(levels)
    slope = [reach[0], top / float(roof.rate)]
    label = f"{roof.system}, {roof.memory} {si(roof.rate, 'B/s')}"
    axes.plot(slope, [x * float(roof.rate) for x in slope], color=colour, linestyle=style, linewidth=1.5, label=label)
    for peak in levels:
        level = [peak / float(roof.rate), reach[1]], [peak, peak]
        axes.plot(*level, color=colour, linestyle=style, linewidth=1.5 if peak == top else 0.9)
    names = ((peak, f"{', '.join(dtypes)} {si(peak, 'FLOP/s')}") for peak, dtypes in levels.items())
    return [Label(text, peak / float(roof.rate), peak, colour) for peak, text in names]


def _legend(axes: Axes, found: list[tuple[Roof, list[Point]]]) -> None:
    """Entries for the shapes that are there."""
    names = dict.fromkeys(point.operator for _, own in found for point in own)
    for name in names:
        axes.plot([], [], MARKS[name], color="#555555", markersize=5, label=name)
    if names:
        axes.plot([], [], "o", color="#555555", markerfacecolor="white", markersize=5, label="hollow: decode")
