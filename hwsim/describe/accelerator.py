"""One accelerator (one device): units that do arithmetic, tiers that hold bytes, links that move them, power."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from hwsim.describe.block import Block, Description, Reference
from hwsim.describe.classes import OfClass
from hwsim.describe.generation import Generation
from hwsim.describe.link import Link
from hwsim.describe.memory import Memory
from hwsim.describe.quantity import (
    Bare,
    Bytes,
    BytesPerCycle,
    BytesPerSecond,
    Dtype,
    Flop,
    FlopPerCycle,
    Hertz,
    JoulesPerByte,
    JoulesPerFlop,
    Parts,
    Ratio,
    Seconds,
    Share,
    SomeBytes,
    Watts,
    Width,
    refuse,
)

Exponent = Annotated[Fraction, Bare(8)]


class Clocks(Block):
    """Clocks of the device."""

    core: Hertz = Field(description="highest clock of the units and of the on-chip network")


class Tensor(Block):
    """Units that multiply matrices; one entry for the whole device."""

    count: Parts = Field(description="units of the device (SMs, cores)")
    per_cycle: dict[Dtype, Flop] = Field(description="operations of ONE unit per cycle, dense; a FMA is two")


def check_rate(per_cycle: dict[Dtype, Flop], dtype: Dtype, cells: int, parts: str) -> None:
    """Refuse a rate of a unit that is not what its multipliers, rows x cols of all its `parts`, do in a cycle."""
    if per_cycle[dtype] != 2 * cells:
        cure = f"{parts}, rows, cols and per_cycle say the same thing: change them together, other types in proportion"
        wanted = f"2 x {parts} x rows x cols = {2 * cells} FLOP"
        raise refuse(f"{float(per_cycle[dtype]):.15g} FLOP", wanted, cure, at=f"per_cycle.{dtype}")


class Vector(Block):
    """Units that work on vectors."""

    count: Parts = Field(description="units of the device")
    per_cycle: dict[Dtype, Flop] = Field(description="operations of ONE unit per cycle; a FMA is two")
    special: FlopPerCycle = Field(description="exponentials and other special functions of ONE unit per cycle")

    @model_validator(mode="after")
    def _knows_fp32(self) -> Vector:
        if "fp32" not in self.per_cycle:
            raise refuse("nothing for fp32", "the operations in fp32 at least", at="per_cycle")
        return self


class Units(Block):
    """Arithmetic of the device."""

    tensor: Tensor
    vector: Vector


class Sram(Block):
    """Memory inside one unit (shared memory, scratchpad)."""

    capacity: SomeBytes = Field(description="bytes of ONE unit")
    usable: SomeBytes | None = Field(
        None, description="bytes of ONE unit a program can have; unset = the capacity, less what is reserved"
    )
    reserved: Bytes | None = Field(
        None, description="bytes of ONE unit that no program has, where `usable` is unset; none: all are for programs"
    )
    port: BytesPerCycle = Field(description="bytes per cycle into ONE unit from the tier behind it")

    @model_validator(mode="after")
    def _has_what_is_usable(self) -> Sram:
        if self.usable is not None and self.usable > self.capacity:
            raise refuse(
                f"{float(self.usable):g} B", f"at most the capacity of {float(self.capacity):g} B", at="usable"
            )
        if self.room < 1:
            raise refuse(
                f"{float(self.reserved or 0):g} B",
                f"less than the capacity of {float(self.capacity):g} B",
                at="reserved",
            )
        return self

    @property
    def room(self) -> Fraction:
        """Bytes of ONE unit a program can have."""
        return self.capacity - (self.reserved or 0) if self.usable is None else self.usable


class Hbm(Block):
    """Memory of the device: stacks or chips of one memory description."""

    memory: Annotated[Memory, Reference("memory")]
    stacks: Width = Field(description="stacks (or chips) of the memory")
    capacity: SomeBytes = Field(description="bytes of the device, as sold")
    rate: BytesPerSecond = Field(description="bytes per second of the device, as published")
    efficiency: Share = Field(description="share of what the memory's commands allow that long streams reach")
    latency: Seconds = Field(description="time from a unit's request to its first byte")
    window: SomeBytes | None = Field(None, description="bytes the units keep in flight in ONE channel; none: enough")


class Tiers(Block):
    """Where bytes can be, in every class."""

    sram: Sram
    hbm: Hbm | None = Field(None, description="memory of the device; none: its SRAM holds all there is")


class ScaleUp(Block):
    """Links to the other devices of the system."""

    link: Annotated[Link, Reference("link")]
    count: Width = Field(description="links of ONE device")
    topology: Literal["switch", "mesh", "pcie", "torus", "ring", "dragonfly"] = Field(
        description="switch: any pair at full rate; mesh: each pair links of its own, an equal share of `count`; "
        "pcie: through the host's root; torus: neighbours alone; ring: two neighbours alone; "
        "dragonfly: each chip of a node with each, and nodes with one another"
    )
    devices: Parts = Field(description="devices of the largest system")
    dimensions: Parts | None = Field(None, description="of a torus; left out, every dimension has two links")
    cube: Parts | None = Field(
        None,
        description="side of the cubes of a torus that switches join: boxes of whole cubes wrap in every dimension",
    )

    @property
    def sides(self) -> int:
        """Dimensions of a torus."""
        return self.dimensions or max(self.count // 2, 1)


class HostLink(Block):
    """Link to the host."""

    link: Annotated[Link, Reference("link")]


class Links(Block):
    """Ways out of the device."""

    scale_up: ScaleUp
    host: HostLink


class Power(Block):
    """Power of the device: static + active units + bytes + operations, under a limit."""

    limit: Watts = Field(description="power the device may draw over a while")
    idle: Watts = Field(description="no program on the device")
    static: Watts = Field(description="clocks up, no unit busy")
    active_per_unit: Watts = Field(description="a unit that holds a program, waiting or not")
    gating: Literal["unit", "none"] = Field(
        "unit", description="unit: one that holds no program draws no active power; none: all do as long as they serve"
    )
    per_flop: dict[Dtype, JoulesPerFlop] = Field(description="one operation at the highest clock")
    per_byte: dict[Literal["sram", "l2", "hbm"], JoulesPerByte] = Field(description="one byte out of or into a tier")
    exponent: Exponent = Field(description="dynamic and active energy fall with the clock to this power")
    lowest_clock: Ratio = Field(description="share of the highest clock below which the limit makes the chip pause")

    def standing(self, units: int) -> Fraction:
        """Watts that so many units draw whatever runs on them."""
        return self.static + (self.active_per_unit * units if self.gating == "none" else 0)

    @model_validator(mode="after")
    def _leaves_power_for_work(self) -> Power:
        if self.limit <= self.static:
            static = f"more than the static power of {float(self.static):g} W"
            raise refuse(f"{float(self.limit):g} W", static, "raise power.limit: nothing is left for work", at="limit")
        if self.limit < self.idle:
            raise refuse(f"{float(self.idle):g} W", f"at most the limit of {float(self.limit):g} W", at="idle")
        return self


class Accelerator(OfClass, Description):
    """One device: what accelerators of all classes have (`hwsim.describe.classes`)."""

    kind: ClassVar[str] = "accelerator"

    class_: str = Field(alias="class", description="which mapper writes its programs")
    generation: Annotated[Generation, Reference("generation")]
    clocks: Clocks
    units: Units
    tiers: Tiers
    links: Links
    power: Power

    @model_validator(mode="after")
    def _knows_each_type_and_tier(self) -> Accelerator:
        """What nobody says does not count as nothing: efficiency and energy of a type, energy of a tier's bytes."""
        types = "each type of units.tensor.per_cycle"
        for at, wanted, known, told in (
            ("generation.tensor.efficiency", self.units.tensor.per_cycle, self.generation.tensor.efficiency, types),
            ("power.per_flop", self.units.tensor.per_cycle, self.power.per_flop, types),
            ("power.per_byte", self.charged, self.power.per_byte, "each of " + ", ".join(self.charged)),
        ):
            lacking = [each for each in wanted if each not in known]
            if lacking:
                raise refuse("nothing for " + ", ".join(lacking), told, at=at)
        return self

    @model_validator(mode="after")
    def _leaves_power_for_work(self) -> Accelerator:
        standing = self.power.standing(self.units.tensor.count)
        if self.power.limit <= standing:
            drawn = f"more than the {float(standing):g} W that all units draw, of which nothing is gated"
            cure = "raise power.limit or lower active_per_unit: nothing is left for work"
            raise refuse(f"{float(self.power.limit):g} W", drawn, cure, at="power.limit")
        return self

    @property
    def charged(self) -> list[str]:
        """Tiers on the device whose bytes cost energy."""
        return [tier for tier in ("sram", "l2", "hbm") if getattr(self.tiers, tier, None) is not None]

    def capacities(self) -> dict[str, int]:
        """Bytes of the device by tier."""
        sram = {"sram": int(self.tiers.sram.capacity * self.units.tensor.count)}
        return sram if self.tiers.hbm is None else {**sram, "hbm": int(self.tiers.hbm.capacity)}

    def tier_rates(self) -> dict[str, tuple[Fraction, Fraction]]:
        """Bytes per second, and seconds until the first byte, of the tiers between the units and the memory."""
        return {"sram": (self.tiers.sram.port * self.clocks.core, Fraction(0))}

    def energy_per_byte(self, tier: str) -> Fraction:
        """Joules of a byte out of or into a tier, or over a link; none where no description says."""
        each = {str(name): joules for name, joules in self.power.per_byte.items()}
        each |= {"link": self.links.scale_up.link.energy, "host": self.links.host.link.energy}
        return each.get(tier, Fraction(0))

    @property
    def home(self) -> Literal["sram", "hbm"]:
        """Tier that holds a model's weights and its keys and values."""
        return "sram" if self.tiers.hbm is None else "hbm"

    @property
    def room(self) -> int:
        """Bytes of the device that programs can have of that tier."""
        hbm = self.tiers.hbm
        return int(self.tiers.sram.room * self.units.tensor.count if hbm is None else hbm.capacity)
