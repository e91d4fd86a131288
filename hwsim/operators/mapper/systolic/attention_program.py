"""The attention program of a systolic accelerator: keys and values stay in an array, queries move through it.

Equal cores are one group. The work of a core is items (a sequence in decode, a block of queries of a sequence in
prefill), one after the other; an item goes through the keys it sees, block by block. The queues:

    read     launch; keys and values of block after block from memory, two blocks ahead
    keep     the start of an item, then of each block; its keys and values into an array, a row a cycle
    array    the queries of the item through what is kept
    vector   the softmax of the block
    write    queries in, results out, at the end

With two phases a core does its prefill items first, its decode items after them: a mixed batch in one kernel.
"""

from __future__ import annotations

from functools import cache

from hwsim.operators.program import Template, TemplateBuilder
from hwsim.operators.template import Slot

AHEAD = 2  # blocks on their way from memory, and sets of registers of an array


@cache
def template(phases: int) -> Template:
    """The template with `phases` classes of items, one after the other."""
    b = TemplateBuilder(f"systolic-attention-p{phases}")
    launch, hbm = b.resource("launch", bound="launch"), b.resource("hbm", bound="hbm")
    start = b.resource("start", bound="issue", per_core=True)
    keep, array = (b.resource(name, bound="tensor", per_core=True) for name in ("keep", "array"))
    vector, special = (b.resource(name, bound="vector", per_core=True) for name in ("vector", "special"))
    full, free, kept, spare, scored, done = (
        b.counter(name) for name in ("full", "free", "kept", "spare", "scored", "done")
    )
    parts = [_Phase(b, str(phase)) for phase in range(phases)]

    q = b.queue("read")
    q.run(launch, b.slot("launch"), sync=True)
    for p in parts:
        with q.loop(p.items) as item, q.loop(p.blocks, pace=True, vary=[(item, "last", 1)]) as block:
            rest = [(item, "last", 1), (block, "last", 2)]
            q.run(hbm, p.bytes, wait=[(free, 1 - AHEAD)], done=full, vary=rest, unit="B")
    q = b.queue("keep")
    for p in parts:
        with q.loop(p.items) as item:
            q.run(start, p.item, sync=True)
            with q.loop(p.blocks, vary=[(item, "last", 1)]) as block:
                rest = [(item, "last", 1), (block, "last", 2)]
                q.run(start, p.block, wait=[(full, 1)], sync=True)
                q.run(keep, p.kept, wait=[(spare, 1 - AHEAD)], done=kept, vary=rest, sync=True)
                q.run(None, done=free)
    q = b.queue("array")
    for p in parts:
        with q.loop(p.items) as item, q.loop(p.blocks, vary=[(item, "last", 1)]) as block:
            rest = [(item, "last", 1), (block, "last", 2)]
            q.run(array, p.moved, wait=[(kept, 1)], freed=spare, done=scored, vary=rest)
    q = b.queue("vector")
    for p in parts:
        with q.loop(p.items) as item, q.loop(p.blocks, vary=[(item, "last", 1)]) as block:
            rest = [(item, "last", 1), (block, "last", 2)]
            q.run(special, p.special, wait=[(scored, 1)], vary=rest)
            q.run(vector, p.flops, done=done, vary=rest, unit="FLOP")
    b.queue("write").run(hbm, b.slot("out"), wait=[(done, b.cell("all blocks"))], unit="B")
    return b.build()


class _Phase:
    """Slots of one class of items; an amount has columns by (last item, last block): only the last of all differs."""

    def __init__(self, b: TemplateBuilder, name: str) -> None:
        def slot(what: str, size: int = 1) -> Slot:
            return b.slot(f"{what}.{name}", size)

        self.items, self.blocks = slot("items"), slot("blocks", 2)
        self.item, self.block = slot("item"), slot("block")
        self.bytes, self.kept, self.moved = slot("bytes", 4), slot("kept", 4), slot("moved", 4)
        self.special, self.flops = slot("special", 4), slot("flops", 4)
