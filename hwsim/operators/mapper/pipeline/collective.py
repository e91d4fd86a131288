"""Collectives over links whose arrivals the schedule knows: no handshake, no launch, a hop and the bytes of a link.

Chips of a node have a link to each other, so every chip sends its parts to all at once. Larger groups go on between
nodes: a chip holds its share of what its node has and exchanges parts of that with its peers in the other nodes. The
phases of a group, each one hop (between nodes that a chip has no link to, two) and the bytes of its busiest link:

    all_reduce       reduce in the node, reduce between nodes, gather between nodes, gather in the node
    reduce_scatter   the first two; all_gather the last two
    all_to_all       parts between nodes to the peer, then in the node
    send             one link
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from hwsim.operators.amounts import Ints
from hwsim.operators.candidates import Candidates, Programs, rates_of
from hwsim.operators.mapper.pipeline.machine import Machine
from hwsim.operators.mapper.refusals import group, reasons
from hwsim.operators.program import Template, TemplateBuilder
from hwsim.units import ceil_div

PHASES: Mapping[str, tuple[str, ...]] = {
    "all_reduce": ("inside", "between", "between", "inside"),
    "all_gather": ("between", "inside"),
    "reduce_scatter": ("inside", "between"),
    "all_to_all": ("between", "inside"),
    "send": ("inside",),
}


@cache
def template(phases: tuple[str, ...]) -> Template:
    """Phases one after the other; one that a group does not need has no bytes and takes no time."""
    b = TemplateBuilder("pipeline-collective-" + "-".join(phases))
    link = b.resource("link", bound="link")
    hops = {name: b.cell(f"hop {name}") for name in dict.fromkeys(phases)}
    slots = {name: b.slot(name) for name in dict.fromkeys(phases)}
    q = b.queue("chip")
    for phase in phases:
        q.run(link, slots[phase], delay=hops[phase], sync=True, unit="B")
    return b.build()


@dataclass(frozen=True)
class Mapper:
    """Mapper of one kind of collective; its dimensions are `devices` and `bytes`."""

    kind: str

    def refuse(self, machine: Machine, dims: Mapping[str, Ints], dtype: str) -> list[str | None]:
        """Groups larger than the accelerator's largest system."""
        return reasons(group(machine, dims))

    def propose(self, machine: Machine, dims: Mapping[str, Ints], dtype: str) -> Candidates:
        """One candidate a case: the schedule is fixed."""
        return Candidates.one_each(dims)

    def programs(self, machine: Machine, dims: Mapping[str, Ints], dtype: str, chosen: Candidates) -> list[Programs]:
        """Programs of the cases; bytes are those that ONE link carries."""
        t = template(PHASES[self.kind])
        devices, phases = dims["devices"][chosen.case], PHASES[self.kind]
        carried = self.carried(machine, devices, dims["bytes"][chosen.case])
        values = np.stack([carried[name] for name in t.names["slots"]], axis=1)
        ways = {"inside": np.minimum(devices, machine.node) - 1, "between": machine.between}
        sent = sum(carried[name] * ways[name] * phases.count(name) for name in ways)
        # A chip has links to so many other nodes; its neighbours hand on what it sends to more.
        linked = ceil_div(devices, machine.node) - 1 <= machine.between
        hops = {"inside": np.full_like(devices, machine.hop), "between": np.where(linked, machine.hop, 2 * machine.hop)}
        cells = np.stack([hops[name.removeprefix("hop ")] for name in t.names["cells"]], axis=1)
        return [Programs(t, chosen.case, values, rates_of(t, {"link": (machine.link, 0)}), cells, bytes={"link": sent})]

    def carried(self, machine: Machine, devices: Ints, size: Ints) -> dict[str, Ints]:
        """Bytes of the busiest link in a phase inside a node and in one between nodes; 0 where there is none."""
        if self.kind == "send":
            return {"inside": size, "between": np.zeros_like(size)}
        local = np.minimum(devices, machine.node)
        nodes = ceil_div(devices, machine.node)
        # All-to-all hands on in the node what came for the node's other chips from every node.
        inside = ceil_div(size, devices) * nodes if self.kind == "all_to_all" else ceil_div(size, local)
        share = size if self.kind == "all_to_all" else ceil_div(size, local)
        parts = ceil_div(ceil_div(share, nodes) * (nodes - 1), machine.between)
        return {"inside": inside * (local > 1), "between": parts * (nodes > 1)}

    def describe(self, chosen: Candidates, row: int) -> str:
        """A candidate in words."""
        return "scheduled exchange"


# Named by hwsim.operators.simulate, one for each kind.
all_reduce, all_gather, reduce_scatter, all_to_all, send = (Mapper(kind) for kind in PHASES)
