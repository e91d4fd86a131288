"""The blocks of a device or a system as facts to draw: units, tiers near to far, links; rates of the whole device."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hwsim.describe.accelerator import Accelerator
from hwsim.describe.block import Description
from hwsim.describe.system import System
from hwsim.errors import bad
from hwsim.operators.mapper.wiring import box
from hwsim.units import format as exact

PREFIXES = ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k"), (0, ""))
# Tiers in the order of their distance from the units, and what users call them.
TIERS = {"sram": "SRAM of the units", "l2": "L2", "shared": "shared SRAM", "hbm": "memory"}


@dataclass(frozen=True)
class Block:
    """One box: its name, a line for each fact, and the rate between it and what is nearer to the units."""

    name: str
    lines: tuple[str, ...]
    rate: str = ""


@dataclass(frozen=True)
class Topology:
    """How devices of a system are joined.

    Attributes
    ----------
    kind : str
    count, spares : int
        Devices; those that stand by.
    node : int
        Devices of a node, 0: there are none.
    sides : tuple of int
        Of a torus.
    """

    kind: str
    count: int
    spares: int = 0
    node: int = 0
    sides: tuple[int, ...] = ()


@dataclass(frozen=True)
class Picture:
    """What a drawing shows.

    Attributes
    ----------
    title : str
    units, tiers, ways : tuple of Block
        Inside the device from left to right; ways out of it.
    topology : Topology or None
        Of a system.
    """

    title: str
    units: tuple[Block, ...]
    tiers: tuple[Block, ...]
    ways: tuple[Block, ...]
    topology: Topology | None = None


def blocks(description: Description) -> Picture:
    """Blocks of an accelerator or of a system.

    Raises
    ------
    InputError
        Another kind of description.
    """
    if isinstance(description, System):
        scale_up, count = description.accelerator.links.scale_up, description.count
        sides = box(count, scale_up.sides) if scale_up.topology == "torus" else ()
        topology = Topology(scale_up.topology, count, description.spares, getattr(scale_up, "node", 0), sides)
        return _picture(description.accelerator, f"{count} x {description.accelerator.name}", topology)
    if isinstance(description, Accelerator):
        return _picture(description, description.name)
    raise bad("--draw", f"a {description.kind}", "an accelerator or a system", "e.g. hwsim show h100-sxm-x8 --draw")


def _picture(chip: Accelerator, title: str, topology: Topology | None = None) -> Picture:
    return Picture(f"{title} (class {chip.class_})", _units(chip), _tiers(chip), _ways(chip), topology)


def _units(chip: Accelerator) -> tuple[Block, ...]:
    tensor, vector, clock = chip.units.tensor, chip.units.vector, chip.clocks.core
    head = (f"{_units_of(tensor.count)} at {exact(clock, 'Hz')}", *_structure(tensor))
    peaks = (f"{dtype} {si(peak * tensor.count * clock, 'FLOP/s')}" for dtype, peak in tensor.per_cycle.items())
    rates = (f"{dtype} {si(peak * vector.count * clock, 'FLOP/s')}" for dtype, peak in vector.per_cycle.items())
    half = getattr(vector, "half", None)
    wide = () if half is None else (f"16 bits {si(half * vector.count * clock, 'FLOP/s')}",)
    special = f"special {si(vector.special * vector.count * clock, '/s')}"
    return Block("tensor units", (*head, *peaks)), Block(
        "vector units", (_units_of(vector.count), *rates, *wide, special)
    )


def _units_of(count: int) -> str:
    return f"{count:,} unit{'s' if count > 1 else ''}"


def _structure(tensor: Any) -> tuple[str, ...]:
    """What a unit is made of, in classes that say so."""
    for parts in ("arrays", "planes"):
        if hasattr(tensor, parts):
            return (f"{getattr(tensor, parts)} {parts} of {tensor.rows} x {tensor.cols}",)
    return (f"blocks of {tensor.depth} x {tensor.columns}",) if hasattr(tensor, "depth") else ()


def _tiers(chip: Accelerator) -> tuple[Block, ...]:
    """Near to far; the port of the units' SRAM is the way to the next tier, or its own where it has none behind it."""
    clock, count, tiers = chip.clocks.core, chip.units.tensor.count, chip.tiers
    further = [name for name in TIERS if name != "sram" and getattr(tiers, name, None) is not None]
    sram = tiers.sram
    port = si(sram.port * count * clock, "B/s")
    near = "" if further and not own_reads(chip) else si(sram_rate(chip), "B/s")
    facts = [_size(sram.capacity * count), f"{count:,} x {exact(sram.capacity, 'B')}"][: 2 if count > 1 else 1]
    facts += [f"port {port}"] if further or own_reads(chip) else []
    fabric = getattr(chip, "fabric", None)
    if fabric is not None:
        facts += [f"mesh: {si(fabric.rate * clock, 'B/s')} a way", f"a hop in {exact(fabric.hop, 'cycle')}"]
    return (Block(TIERS["sram"], tuple(facts), near), *(_FURTHER[name](chip) for name in further))


def own_reads(chip: Any) -> Fraction | None:
    """Bytes per cycle that ONE unit reads from its own SRAM, in classes that say so."""
    found: Fraction | None = getattr(chip.tiers.sram, "read", None) or getattr(chip.units.tensor, "streams", None)
    return found


def sram_rate(chip: Accelerator) -> Fraction:
    """Bytes per second between all units and their SRAM; the ports' rate where a class says no other."""
    return (own_reads(chip) or chip.tiers.sram.port) * chip.units.tensor.count * chip.clocks.core


def _l2(chip: Any) -> Block:
    l2 = chip.tiers.l2
    rate = si(l2.rate * chip.units.tensor.count * chip.clocks.core, "B/s")
    return Block(TIERS["l2"], (_size(l2.capacity), f"{float(l2.usable):.0%} for one copy"), rate)


def _shared(chip: Any) -> Block:
    shared = chip.tiers.shared
    return Block(TIERS["shared"], (_size(shared.capacity),), si(shared.rate, "B/s"))


def _hbm(chip: Any) -> Block:
    hbm = chip.tiers.hbm
    parts = f"{exact(hbm.stacks, '1')} x {hbm.memory.id or hbm.memory.name}"
    reach = f"{float(hbm.efficiency):.0%} of its commands"
    return Block(hbm.memory.standard, (_size(hbm.capacity), parts, reach, exact(hbm.latency, "s")), si(hbm.rate, "B/s"))


_FURTHER = {"l2": _l2, "shared": _shared, "hbm": _hbm}


def _ways(chip: Accelerator) -> tuple[Block, ...]:
    scale_up, host = chip.links.scale_up, chip.links.host.link
    name = scale_up.link.name or scale_up.link.id
    links = name if scale_up.count == 1 else f"{scale_up.count} x {name}"
    lines = [links, f"{scale_up.topology}, up to {scale_up.devices:,}"]
    lines += [f"{float(scale_up.link.efficiency):.0%} payload, {exact(scale_up.link.latency, 's')}"]
    others = Block("other devices", tuple(lines), si(scale_up.count * scale_up.link.rate, "B/s"))
    return others, Block("host", (host.name or host.id, exact(host.latency, "s")), si(host.rate, "B/s"))


def _size(capacity: Fraction) -> str:
    """Capacity, in the binary unit where it is a whole number of it."""
    text = exact(capacity, "B")
    return text if len(text) < 9 else si(capacity, "B")


def si(value: Fraction | float, unit: str) -> str:
    """A value to three digits.

    Examples
    --------
    >>> si(3.35e12, "B/s")
    '3.35 TB/s'
    """
    number = float(value)
    power, prefix = next(((p, name) for p, name in PREFIXES if number >= 0.9995 * 10**p), (0, ""))
    scaled = float(f"{number / 10**power:.3g}")
    return f"{scaled:.{0 if not scaled or scaled >= 100 else 1 if scaled >= 10 else 2}f} {prefix}{unit}"
