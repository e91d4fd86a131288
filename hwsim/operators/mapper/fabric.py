"""Links of a machine and its software's library of collectives, resolved into cycles and bytes per cycle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from hwsim.describe.collectives import Collectives, Exchange, Fabric, Kernel, Ring
from hwsim.errors import bad
from hwsim.memory.law import ServiceLaw, link_law
from hwsim.operators.amounts import Ints
from hwsim.operators.machine import Machine
from hwsim.operators.mapper.wiring import Torus, Wiring, wiring_of

RINGS = ("all_reduce", "all_gather", "reduce_scatter")
# Kernel of a library -> the collectives it runs.
KERNELS: Mapping[str, tuple[str, ...]] = {
    "direct": ("all_gather", "reduce_scatter"),
    "one-shot": ("all_reduce",),
    "two-shot": ("all_reduce",),
    "in-switch": ("all_reduce",),
}


@dataclass(frozen=True)
class Algorithm:
    """One way to run a collective on one machine.

    Attributes
    ----------
    name : str
        For people.
    shape : str
        How many steps it takes and what a rank sends in each: a key of the mapper's table.
    launch, peer, start, step : int
        Cycles: of the kernel, per other rank, of the set-up, of a step beside its bytes (the link's latency included).
    rate : (int, int)
        Bytes per cycle of all links of a rank, one direction, as numerator and denominator.
    copy_ : Fraction
        Local copy at the end, as a share of a rank's part.
    wire : int
        Bytes on a host path for every byte.
    devices : int
        Fewest ranks it works for.
    below : mapping of int to int
        By number of ranks: buffers smaller than this go to it unasked; empty where it competes by time.
    """

    name: str
    shape: str
    launch: int
    peer: int
    start: int
    step: int
    rate: tuple[int, int]
    copy_: Fraction = Fraction(0)
    wire: int = 1
    devices: int = 1
    below: Mapping[int, int] = field(default_factory=dict)

    def preferred(self, devices: Ints, size: Ints) -> np.ndarray:
        """bool[P]: the library's rule gives the case to this algorithm."""
        limit = np.zeros_like(size)
        for count, below in self.below.items():
            limit[devices == count] = below
        return size < limit


@dataclass(frozen=True)
class Group:
    """What joins the devices of a system, and how its library uses it.

    Attributes
    ----------
    algorithms : mapping of str to list of Algorithm
        By kind of collective.
    host_paths : list of (int, (int, int))
        (Largest group, bytes per cycle) where no links join devices.
    wiring : Wiring
        Ways of parts from rank to rank.
    """

    algorithms: Mapping[str, list[Algorithm]]
    host_paths: list[tuple[int, tuple[int, int]]]
    wiring: Wiring

    def asked(self, kind: str, devices: Ints, size: Ints) -> list[np.ndarray]:
        """bool[P] for each algorithm of a kind: the first that the library's rule names, else all that compete."""
        algorithms = self.algorithms[kind]
        preferred = np.stack([algorithm.preferred(devices, size) for algorithm in algorithms])
        first = np.where(preferred.any(axis=0), preferred.argmax(axis=0), -1)
        return [
            first == index if algorithm.below else (first < 0) & (devices >= algorithm.devices)
            for index, algorithm in enumerate(algorithms)
        ]

    def host_rate(self, devices: Ints) -> tuple[Ints, Ints]:
        """Bytes per cycle that all ranks share through the host, (num, den); 0/1 where links alone join the group."""
        num, den = np.zeros_like(devices), np.ones_like(devices)
        for largest, rate in reversed(self.host_paths):
            inside = (devices > 2) & ((devices <= largest) | (largest == self.host_paths[-1][0]))
            num[inside], den[inside] = rate
        return num, den


def group_of(machine: Machine) -> Group:
    """What a machine has for collectives.

    Raises
    ------
    InputError
        The library describes neither the machine's link nor `any`.
    """
    scale_up = machine.chip.links.scale_up
    resolve = _Resolver(machine, _fabric(machine.collectives, scale_up.link.id))
    host = resolve.host_paths() if scale_up.topology == "pcie" else []
    return Group(resolve.algorithms(), host, resolve.wiring)


def _fabric(library: Collectives, link: str) -> Fabric:
    found = library.fabrics.get(link) or library.fabrics.get("any")
    if found is None:
        cure = "describe the link under `fabrics`, or `any` for all others"
        raise bad(f"collectives {library.id}", f"no fabric {link}", f"one of {', '.join(library.fabrics)}", cure)
    return found


class _Resolver:
    """A fabric's seconds and shares in a machine's cycles and bytes per cycle."""

    def __init__(self, machine: Machine, fabric: Fabric) -> None:
        self.machine, self.fabric = machine, fabric
        scale_up = machine.chip.links.scale_up
        self.wiring = wiring_of(scale_up)
        self.published = scale_up.link.rate * scale_up.count
        self.law: ServiceLaw = link_law(scale_up.link, scale_up.count)
        self.latency = self.law.latency_cycles(machine.clock)
        self.step = self.latency + machine.turn

    def algorithms(self) -> dict[str, list[Algorithm]]:
        found = {kind: [self.ring(kind, name, part) for name, part in self.fabric.ring.items()] for kind in RINGS}
        if not isinstance(self.wiring, Torus):  # they send straight to every other
            for part in self.fabric.kernels:
                for kind in KERNELS[part.algorithm]:
                    found[kind].append(self.kernel(part))
        found["all_to_all"] = [self.exchange(name, part) for name, part in self.fabric.exchange.items()]
        # Between two ranks the exchange is a send and a receive; only the sender's part moves and nothing is copied.
        found["send"] = [
            replace(way, name=f"send {name}", shape="send", copy_=Fraction(0))
            for name, way in zip(self.fabric.exchange, found["all_to_all"], strict=True)
        ]
        return found

    def ring(self, kind: str, name: str, part: Ring) -> Algorithm:
        cycles = self.machine.cycles
        return Algorithm(
            name=f"ring {name}", shape=f"{kind} ring", launch=cycles(self.fabric.launch), peer=0,
            start=cycles(part.start), step=cycles(part.step) + self.step,
            rate=self.rate(part.rate), copy_=part.copy_, wire=part.wire,
        )  # fmt: skip

    def exchange(self, name: str, part: Exchange) -> Algorithm:
        cycles = self.machine.cycles
        return Algorithm(
            name=f"exchange {name}", shape="exchange", launch=cycles(self.fabric.launch), peer=0,
            start=cycles(part.start), step=self.step,
            rate=self.rate(part.rate), copy_=part.copy_, wire=part.wire,
        )  # fmt: skip

    def kernel(self, part: Kernel) -> Algorithm:
        cycles = self.machine.cycles
        return Algorithm(
            name=part.algorithm, shape=part.algorithm, launch=cycles(part.launch), peer=cycles(part.peer), start=0,
            step=self.step, rate=self.rate(part.rate), devices=part.devices,
            below={int(count): int(size) for count, size in part.below.items()},
        )  # fmt: skip

    def rate(self, share: Fraction) -> tuple[int, int]:
        """Bytes per cycle of a share of the published rate, never above the payload rate of the link's law."""
        return replace(self.law, rate=min(self.published * share, self.law.rate)).per_cycle(self.machine.clock)

    def host_paths(self) -> list[tuple[int, tuple[int, int]]]:
        paths = sorted(self.fabric.host_paths, key=lambda path: path.devices)
        return [(path.devices, replace(self.law, rate=path.rate).per_cycle(self.machine.clock)) for path in paths]
