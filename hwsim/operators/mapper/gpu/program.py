"""The GEMM program of a GPU: one template for every tile, split, shape and chip; only values, rates and cells differ.

Equal SMs are folded into groups: a group's queues are those of one of its SMs, and on what all SMs share its amounts
are those of all its SMs together. The queues:

    fill        kernels that quantise the activations, then the launch; then HBM -> L2 by waves and stages, as far
                ahead as the copy pipeline is deep
    load g      L2 -> fill port of an SM, into a free stage
    multiply g  tensor unit on a full stage; at the end of a wave its fill and drain
    store g     the result out of the SM to L2, in pieces: the next tile waits for as many as the generation exposes
    finish      cores that finish late; barrier and reduction of a split inner dimension

Waves have equal amounts but for the last one, stages but for the last one, which also carries the remainder: the bytes
of HBM and L2 are exact. An SM of a group holds `resident` tiles at a time; together they are one command here. Dirty
lines leave the L2 when fills push them out, so their bytes are spread over the fills. Where a generation cannot load
the next tile beside the epilogue, the next wave starts when the last one is stored, on all SMs: waves in step keep the
order of requests at the L2 the same whatever the rates, and so more of a resource is never slower.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from hwsim.operators.program import Cell, Counter, Loop, Resource, Template, TemplateBuilder
from hwsim.operators.template import Wait

EDGES = 4  # columns of an amount per stage (or piece): (not the last, the last) of a wave, then of the last wave
PIECES = 4  # of a tile's result


@cache
def template(groups: int) -> Template:
    """The template with `groups` groups of equal SMs."""
    return _Gemm(groups).build()


@dataclass(frozen=True)
class _Group:
    """What the queues of one group share: its SM's private units, its counters and how many SMs it stands for."""

    number: int
    port: Resource
    out: Resource
    tensor: Resource
    full: Counter  # stages filled
    empty: Counter  # stages read by the tensor unit
    tile: Counter  # tiles multiplied
    kept: Counter  # pieces of tiles that have left the accumulators
    cores: Cell


class _Gemm:
    """Writes the template queue by queue."""

    def __init__(self, groups: int) -> None:
        self.b = b = TemplateBuilder(f"gpu-gemm-g{groups}")
        self.launch, self.sync = b.resource("launch", bound="launch"), b.resource("sync", bound="sync")
        self.hbm, self.l2 = b.resource("hbm", bound="hbm"), b.resource("l2", bound="l2")
        self.full, self.free, self.stored = b.counter("l2.full"), b.counter("l2.free"), b.counter("stored")
        self.waves, self.steps, self.pieces = b.slot("waves"), b.slot("steps"), b.slot("pieces")
        self.stages, self.ahead = b.cell("1 - stages"), b.cell("groups x (1 - stages)")
        self.next_tile, self.free_pieces, self.drain = b.cell("next tile"), b.cell("free pieces"), b.cell("drain")
        self.groups = [self._group(g) for g in range(groups)]
        self.quantize = b.law("hbm.quantize", self.hbm)

    def _group(self, g: int) -> _Group:
        b = self.b
        return _Group(
            number=g,
            port=b.resource(f"port.{g}", bound="sram", per_core=True),
            out=b.resource(f"out.{g}", bound="sram", per_core=True),
            tensor=b.resource(f"tensor.{g}", bound="tensor", per_core=True),
            full=b.counter(f"full.{g}"),
            empty=b.counter(f"empty.{g}"),
            tile=b.counter(f"tile.{g}"),
            kept=b.counter(f"kept.{g}"),
            cores=b.cell(f"cores.{g}"),
        )

    def build(self) -> Template:
        self.fill()
        for group in self.groups:
            self.load(group)
            self.multiply(group)
            self.store(group)
        self.finish()
        return self.b.build()

    def fill(self) -> None:
        q = self.b.queue("fill")
        q.run(self.launch, self.b.slot("quantize.launch"), sync=True)
        q.run(self.quantize, self.b.slot("quantize.bytes"), sync=True, unit="B")
        q.run(self.launch, self.b.slot("launch"), sync=True)
        with q.loop(self.waves, pace=True) as wave, q.loop(self.steps, pace=True) as step:
            wait = [(self.free, self.ahead, len(self.groups))]
            q.run(self.hbm, self.b.slot("hbm", EDGES), wait=wait, done=self.full, vary=edges(wave, step), unit="B")

    def load(self, of: _Group) -> None:
        read, fill = (self.b.slot(f"{name}.{of.number}", EDGES) for name in ("l2.read", "port.read"))
        q = self.b.queue(f"load.{of.number}", mult=of.cores)
        with q.loop(self.waves) as wave:
            q.run(None, wait=[(self.stored, self.next_tile, PIECES * len(self.groups))])
            with q.loop(self.steps) as step:
                wait: list[Wait] = [(self.full, 1), (of.empty, self.stages)]
                hop = (of.port, fill, {"done": of.full, "unit": "B"})
                q.run(self.l2, read, wait=wait, freed=self.free, vary=edges(wave, step), unit="B", then=[hop])

    def multiply(self, of: _Group) -> None:
        flops = self.b.slot(f"flops.{of.number}", 2)
        q = self.b.queue(f"multiply.{of.number}", mult=of.cores)
        with q.loop(self.waves) as wave:
            q.run(None, wait=[(of.kept, self.free_pieces, PIECES)])
            with q.loop(self.steps):
                q.run(of.tensor, flops, wait=[(of.full, 1)], done=of.empty, vary=[(wave, "last", 1)], unit="FLOP")
            q.run(of.tensor, self.b.slot(f"end.{of.number}"), delay=self.drain, sync=True)
            q.run(None, done=of.tile)

    def store(self, of: _Group) -> None:
        out, write = (self.b.slot(f"{name}.{of.number}", EDGES) for name in ("out", "l2.write"))
        q = self.b.queue(f"store.{of.number}", mult=of.cores)
        with q.loop(self.waves) as wave:
            q.run(None, wait=[(of.tile, 1)])
            with q.loop(self.pieces) as piece:
                hop = (self.l2, write, {"done": self.stored, "unit": "B"})
                q.run(of.out, out, freed=of.kept, vary=edges(wave, piece), unit="B", then=[hop])

    def finish(self) -> None:
        q = self.b.queue("finish")
        q.run(None, wait=[(self.stored, self.b.cell("stores"))])
        q.run(self.sync, self.b.slot("late"), sync=True)
        q.run(self.l2, self.b.slot("reduce"), sync=True, unit="B")


def edges(wave: Loop, step: Loop) -> list[tuple[Loop, str, int]]:
    """Vary terms of an amount per stage with EDGES columns."""
    return [(step, "last", 1), (wave, "last", 2)]
