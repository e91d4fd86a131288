"""An accelerator, a software profile and a protocol, resolved into what mappers count in: cycles of the core clock.

Design: descriptions hold physical units as exact fractions, mappers work in integers. `Machine.of` is the one place
where they meet: rates become units per cycle in fractions of a small denominator, rounded down (nothing gets faster by
rounding); times become whole cycles, rounded up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib import import_module
from math import floor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hwsim.describe import load
from hwsim.describe.block import digest_of
from hwsim.describe.library import names
from hwsim.errors import bad
from hwsim.memory.law import ServiceLaw, laws
from hwsim.units import ceil_div, cycles_ceil

if TYPE_CHECKING:
    from hwsim.operators.step import StepSamples, StepShape

ENDLESS = 1 << 62  # bytes: room for every operand
DENOMINATOR = 256  # of rates per cycle: at most 0.01 % below the described rate of any chip
SLOWEST, FASTEST = 10**6, 10**12  # core clocks whose cycles are whole numbers of picoseconds or nearly so
KILO = 1000  # clocks are rounded down to whole kHz, which keeps picoseconds of long runs inside int64


# Class of accelerators -> module with the Machine of its mappers.
MACHINES: Mapping[str, str] = {
    "gpu": "hwsim.operators.mapper.gpu.machine",
    "systolic": "hwsim.operators.mapper.systolic.machine",
    "pipeline": "hwsim.operators.mapper.pipeline.machine",
    "wafer": "hwsim.operators.mapper.wafer.machine",
    "manycore": "hwsim.operators.mapper.manycore.machine",
}


@dataclass(frozen=True)
class Timing:
    """A protocol as a mapper sees it.

    Attributes
    ----------
    gap_ps : int
        Gap of one replay, shared by its copies.
    most_copies : int
        Operators of one replay, each with weights of its own.
    fill : int
        0: always `most_copies`; else only as many as it takes to fill this many bytes with weights.
    warm_weights, warm_activations, warm_kv : bool
        What the L2 holds at the start, as far as it fits.
    served : bool
        Kernels are tuned and scales of activations known, as in a server; else an operator is built alone.
    sustained : bool
        Under load for long enough that the power limit acts; else for `warmups` + `replays` replays.
    patience_ps : int
        Full load until the power limit acts.
    """

    gap_ps: int
    most_copies: int
    fill: int
    warm_weights: bool
    warm_activations: bool
    warm_kv: bool
    served: bool
    sustained: bool
    warmups: int = 0
    replays: int = 1
    patience_ps: int = 0

    def copies(self, weight_bytes: np.ndarray) -> np.ndarray:
        """Operators in one replay, int64, for weights of so many bytes."""
        if not self.fill:
            return np.full_like(weight_bytes, self.most_copies)
        return ceil_div(self.fill, np.maximum(weight_bytes, 1)).clip(1, self.most_copies)


@dataclass(frozen=True)
class Machine(ABC):
    """What one device offers to a mapper; the class's own machine (`MACHINES`) adds what only its mappers know.

    Attributes
    ----------
    accelerator, software, protocol, generation, class_ : str
        What it was made from.
    clock : int
        Core clock in Hz, whole kHz; one tick of a program is one cycle of it.
    cores : int
        Units of the device (SMs of a GPU, cores of a TPU).
    tensor : mapping of str to Fraction
        Sustained FLOP per cycle of one core, by dtype; a dtype that is not there cannot run.
    vector, special : Fraction
        fp32 FLOP, and special functions, per cycle of one core: of its share of the vector units.
    sram, hbm, room : int
        Bytes: a program can have of one core, of the device's memory (0: it has none), of the tier that holds models.
    port, hbm_rate : Fraction
        Sustained bytes per cycle: into one core, of the device's memory (0 without one, as all of `hbm`).
    hbm_latency, launch : int
        Cycles: first byte of memory; start and drain of a kernel.
    physics, kernels, power, chip, collectives : descriptions
        Generation, the software's kernels of this generation, power of the accelerator, the accelerator itself, the
        software's library of collectives.
    timing : Timing
    profile, timed : descriptions
        The software and the protocol whole, to resolve the machine again with another memory.
    key : str
        Hash of the accelerator, of what the software runs on its generation, and of the protocol.
    """

    accelerator: str
    software: str
    protocol: str
    generation: str
    class_: str
    clock: int
    cores: int
    tensor: Mapping[str, Fraction]
    vector: Fraction
    special: Fraction
    sram: int
    port: Fraction
    hbm: int
    room: int
    hbm_rate: Fraction
    hbm_latency: int
    launch: int
    timing: Timing
    key: str
    physics: Any = field(repr=False)
    kernels: Any = field(repr=False)
    power: Any = field(repr=False)
    chip: Any = field(repr=False)
    collectives: Any = field(repr=False)
    profile: Any = field(repr=False)
    timed: Any = field(repr=False)

    @property
    def placed(self) -> Machine:
        """The same device without an end of its memory: KV blocks see to it that a placed model's steps fit.

        A cost surface asks around what a step asks, and what lies beside may be more than the device holds.
        """
        return replace(self, hbm=self.hbm and ENDLESS, room=ENDLESS)

    @staticmethod
    def of(
        accelerator: str | Any,
        software: str | Any = "ideal",
        protocol: str | Any = "in-model",
        sets: Mapping[str, Sequence[str]] | None = None,
    ) -> Machine:
        """Resolve three descriptions, given by name or loaded.

        Parameters
        ----------
        sets : mapping of str to sequence of str, optional
            Overrides by kind: {"accelerator": ["clocks.core=1.5 GHz"]}.

        Raises
        ------
        InputError
            An unknown name, or software without kernels for this generation.
        """
        sets = sets or {}
        chip, stack, how = (
            load(given, kind, sets.get(kind, ())) if isinstance(given, str) else given
            for given, kind in ((accelerator, "accelerator"), (software, "software"), (protocol, "protocol"))
        )
        return resolve(chip, stack, how)

    @classmethod
    def own(cls, chip: Any, service: Mapping[str, ServiceLaw], clock: int) -> dict[str, Any]:
        """Fields of the class's own machine."""
        return {}

    @property
    @abstractmethod
    def prefill_keys(self) -> int:
        """Keys of a tile of prefill attention: its time is a staircase of them."""

    @property
    def wide(self) -> str:
        """Type of 16 bits that activations, keys and values have."""
        return "bf16" if "bf16" in self.tensor else "fp16"

    @property
    def weights(self) -> str:
        """Type of weights unless one is asked for: of 16 bits, or the first that the chip multiplies."""
        return self.wide if self.wide in self.tensor else next(iter(self.tensor))

    @property
    def turn(self) -> int:
        """Cycles that a step of a collective takes beside its link: none where copies need no code of their own."""
        return 0

    def multiplied(self, dtype: str) -> str:
        """The type that operands stored as `dtype` are multiplied in."""
        return dtype

    whole_steps: ClassVar[bool] = False  # whether `step_surface` has an answer

    def step_surface(self, shape: StepShape) -> StepSamples | None:
        """What times the attention of whole steps; None where a step's parts run one after the other."""
        return None

    @classmethod
    def cache(cls, chip: Any) -> int:
        """Bytes that weights of one replay must fill so that none is left for the next."""
        return 0

    def with_memory_at(self, share: Fraction) -> Machine:
        """The same device with its memory at a share of the rate that its law says."""
        tiers = self.chip.tiers
        hbm = tiers.hbm.model_copy(update={"efficiency": tiers.hbm.efficiency * share})
        chip = self.chip.model_copy(update={"tiers": tiers.model_copy(update={"hbm": hbm})})
        return resolve(chip, self.profile, self.timed)

    def cycles(self, seconds: Fraction) -> int:
        """Whole cycles that cover `seconds`."""
        return cycles_ceil(seconds, Fraction(self.clock))

    def ps(self, cycles: np.ndarray) -> np.ndarray:
        """Picoseconds of int64 `cycles`, rounded up."""
        period = Fraction(10**12, self.clock)
        whole, rest = np.divmod(cycles, period.denominator)
        return whole * period.numerator + ceil_div(rest * period.numerator, period.denominator)


def per_cycle(rate: Fraction) -> Fraction:
    """A rate per cycle with a small denominator, rounded down.

    Raises
    ------
    InputError
        Less than the smallest rate: such a unit would never end.
    """
    if rate * DENOMINATOR < 1:
        got = f"{float(rate):.3g} a cycle of the core clock"
        raise bad("a described rate", got, f"at least 1/{DENOMINATOR}", "raise the rate, or its efficiency")
    return Fraction(floor(rate * DENOMINATOR), DENOMINATOR)


def stacks_for(generation: Any) -> list[str]:
    """Shipped software with kernels for a generation."""
    stacks: list[Any] = [load(name, "software") for name in names("software")]
    return [stack.id for stack in stacks if stack.kernels_for(generation) is not None]


def resolve(chip: Any, stack: Any, how: Any) -> Machine:
    """The machine of three loaded descriptions."""
    generation, units, tiers, service = chip.generation, chip.units, chip.tiers, laws(chip)
    kernels = stack.kernels_for(generation)
    if kernels is None:
        named = generation.id or generation.name or "a generation of its own"
        raise bad(
            f"software {stack.id}",
            f"no kernels for {named}",
            "one of " + ", ".join(stack.kernels),
            f"{chip.id} is of generation {named}: choose {', '.join(stacks_for(generation)) or 'ideal'}",
        )
    clock = floor(chip.clocks.core / KILO) * KILO
    if not SLOWEST <= clock <= FASTEST:
        raise bad(f"accelerator {chip.id}", f"a core clock of {float(chip.clocks.core):g} Hz", "1 MHz to 1 THz")
    efficiency = generation.tensor.efficiency
    beside = Fraction(units.vector.count, units.tensor.count)  # vector units of a core
    made = _machine_of(chip.class_)
    # A server's scheduler and overheads change no operator: samples are shared between them.
    runs = digest_of([stack.id, kernels, stack.collectives])
    return made(
        accelerator=chip.id,
        software=stack.id,
        protocol=how.id,
        generation=generation.id,
        class_=chip.class_,
        clock=clock,
        cores=units.tensor.count,
        tensor={
            dtype: per_cycle(peak * efficiency[dtype])
            for dtype, peak in units.tensor.per_cycle.items()
            if dtype in efficiency
        },
        vector=per_cycle(units.vector.per_cycle["fp32"] * beside),
        special=per_cycle(units.vector.special * beside),
        sram=int(tiers.sram.room),
        port=per_cycle(service["sram"].rate / clock),
        room=chip.room,
        **_memory(tiers.hbm, service.get("hbm"), clock),
        launch=cycles_ceil(generation.timing.launch, Fraction(clock)),
        timing=_timing(how, stack, chip, made),
        key="/".join((chip.digest, runs, how.digest)),
        physics=generation,
        kernels=kernels,
        power=chip.power,
        chip=chip,
        collectives=stack.collectives,
        profile=stack,
        timed=how,
        **made.own(chip, service, clock),
    )


def _memory(hbm: Any, law: ServiceLaw | None, clock: int) -> dict[str, Any]:
    """Fields of the device's memory."""
    if law is None:
        return {"hbm": 0, "hbm_rate": Fraction(0), "hbm_latency": 0}
    return {
        "hbm": int(hbm.capacity),
        "hbm_rate": per_cycle(law.rate / clock),
        "hbm_latency": cycles_ceil(law.latency, Fraction(clock)),
    }


def _machine_of(class_: str) -> type[Machine]:
    """Machine of a class of accelerators."""
    module = import_module(MACHINES[class_])
    found = module.Machine
    assert issubclass(found, Machine)
    return found


def _timing(how: Any, stack: Any, chip: Any, made: type[Machine]) -> Timing:
    """The protocol's rules for one software stack (its id without the version) on one chip."""
    rules = how.copies
    copies = rules.get(stack.id, rules.get(stack.id.split("-")[0], rules["default"]))
    return Timing(
        gap_ps=floor(how.gap * 10**12),
        most_copies=copies.most,
        fill=int(made.cache(chip)) if copies.rule == "fill-l2" else 0,
        warm_weights=how.warm.weights,
        warm_activations=how.warm.activations,
        warm_kv=how.warm.kv,
        served=how.served,
        sustained=how.sustained,
        warmups=how.warmups,
        replays=how.replays,
        patience_ps=floor(chip.generation.timing.patience * 10**12),
    )
