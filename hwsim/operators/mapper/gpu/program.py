"""The GEMM program of a GPU: one template for every tile, split, shape and chip; only values, rates and cells differ.

Equal SMs are folded into groups: a group's queues are those of one of its SMs, and on what all SMs share its amounts
are
those of all its SMs together. The queues:

    fill        the launch, then HBM -> L2, wave by wave and stage by stage, as far ahead as the copy pipeline is deep
    load g      L2 -> fill port of an SM, into a free stage
    multiply g  tensor unit on a full stage; at the end of a wave its fill and drain, and what of the epilogue nothing
    hides
    store g     the result through the port to L2, and what does not stay in L2 to HBM
    finish      cores that finish late; barrier and reduction of a split inner dimension

Waves have equal amounts but for the last one, stages but for the last one, which also carries the remainder: byte
counts
of HBM and L2 are exact. An SM of a group holds `resident` tiles at a time; they are one command here.
"""

from __future__ import annotations

from functools import cache

from hwsim.operators.program import Loop, Resource, Template, TemplateBuilder

EDGES = 4  # columns of an amount per stage: (not last, last stage) of a wave, then of the last wave


@cache
def template(groups: int) -> Template:
    """The template with `groups` groups of equal SMs."""
    return _Gemm(groups).build()


class _Gemm:
    """What the queues of the template share while it is written."""

    def __init__(self, groups: int) -> None:
        self.groups = groups
        self.b = b = TemplateBuilder(f"gpu-gemm-g{groups}")
        self.launch, self.sync = b.resource("launch", bound="launch"), b.resource("sync", bound="sync")
        self.hbm, self.l2 = b.resource("hbm", bound="hbm"), b.resource("l2", bound="l2")
        self.units = [
            (
                b.resource(f"port.{g}", bound="sram", per_core=True),
                b.resource(f"tensor.{g}", bound="tensor", per_core=True),
            )
            for g in range(groups)
        ]
        self.full, self.free, self.stored = b.counter("l2.full"), b.counter("l2.free"), b.counter("stored")
        self.waves, self.steps = b.slot("waves"), b.slot("steps")
        self.stages = b.cell("1 - stages")
        self.ahead = b.cell("groups x (1 - stages)")
        self.next_tile, self.drain = b.cell("next tile"), b.cell("drain")

    def build(self) -> Template:
        self.fill()
        for g, (port, tensor) in enumerate(self.units):
            self.group(g, port, tensor)
        self.finish()
        return self.b.build()

    def fill(self) -> None:
        q = self.b.queue("fill")
        q.run(self.launch, self.b.slot("launch"), sync=True)
        with q.loop(self.waves, pace=True) as wave, q.loop(self.steps, pace=True) as step:
            q.run(
                self.hbm,
                self.b.slot("hbm.read", EDGES),
                wait=[(self.free, self.ahead, self.groups)],
                done=self.full,
                vary=edges(wave, step),
                unit="B",
            )

    def group(self, g: int, port: Resource, tensor: Resource) -> None:
        """Load, multiply and store queues of group g."""
        b = self.b
        full, empty, done, kept = (b.counter(f"{name}.{g}") for name in ("full", "empty", "tile", "kept"))
        cores = b.cell(f"cores.{g}")
        q = b.queue(f"load.{g}", mult=cores)
        with q.loop(self.waves) as wave:
            q.run(None, wait=[(done, self.next_tile)])
            with q.loop(self.steps) as step:
                q.run(
                    self.l2,
                    b.slot(f"l2.read.{g}", EDGES),
                    wait=[(self.full, 1), (empty, self.stages)],
                    freed=self.free,
                    vary=edges(wave, step),
                    unit="B",
                    then=[(port, b.slot(f"port.read.{g}", EDGES), {"done": full, "unit": "B"})],
                )

        q = b.queue(f"multiply.{g}", mult=cores)
        with q.loop(self.waves) as wave:
            q.run(None, wait=[(kept, -1)])  # two accumulators: the tile before last is stored
            with q.loop(self.steps):
                q.run(
                    tensor, b.slot(f"flops.{g}", 2), wait=[(full, 1)], done=empty, vary=[(wave, "last", 1)], unit="FLOP"
                )
            q.run(tensor, b.slot(f"end.{g}"), delay=self.drain, sync=True)
            q.run(port, b.slot(f"port.exposed.{g}", 2), vary=[(wave, "last", 1)], sync=True, unit="B")
            q.run(None, done=done)

        q = b.queue(f"store.{g}", mult=cores)
        with q.loop(self.waves) as wave:
            q.run(port, b.slot(f"port.hidden.{g}", 2), wait=[(done, 1)], vary=[(wave, "last", 1)], sync=True, unit="B")
            q.run(self.l2, b.slot(f"l2.write.{g}", 2), vary=[(wave, "last", 1)], sync=True, unit="B")
            q.run(None, done=kept)
            q.run(None, done=self.stored)
            q.run(self.hbm, b.slot(f"hbm.write.{g}", 2), vary=[(wave, "last", 1)], unit="B")

    def finish(self) -> None:
        q = self.b.queue("finish")
        q.run(None, wait=[(self.stored, self.b.cell("stores"))])
        q.run(self.sync, self.b.slot("late"), sync=True)
        q.run(self.l2, self.b.slot("reduce"), sync=True, unit="B")


def edges(wave: Loop, step: Loop) -> list[tuple[Loop, str, int]]:
    """Vary terms of an amount per stage with EDGES columns."""
    return [(step, "last", 1), (wave, "last", 2)]
