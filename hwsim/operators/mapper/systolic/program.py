"""The GEMM program of a systolic accelerator: one template for every block, dataflow, shape and chip.

Equal cores are one group: the queues are those of one core, and on the memory they share its amounts are those of all.
All arrays of a core work in step on folds of one block, so one array stands for them. The queues:

    read    launch; then block by block A and B from memory into the scratchpad, two blocks ahead
    keep    fold by fold what stays in the array, into its second set of registers
    array   fold by fold the rows that move; at the end of a block its start-up, which frees the block's place
    write   blocks of the result to memory

Loops: products, panels of rows of the result (all equal), blocks of its columns, steps along k, folds of an array.
"""

from __future__ import annotations

from functools import cache

from hwsim.operators.program import Template, TemplateBuilder

BUFFERS = 2  # blocks of an operand in the scratchpad: one in use, one on its way


@cache
def template() -> Template:
    """The template; edges of a slot are columns by (last step, last block or first block, last panel)."""
    b = TemplateBuilder("systolic-gemm")
    launch, hbm = b.resource("launch", bound="launch"), b.resource("hbm", bound="hbm")
    keep, array = (b.resource(name, bound="tensor", per_core=True) for name in ("keep", "array"))
    products, panels, blocks, steps = (b.slot(name) for name in ("products", "panels", "blocks", "steps"))
    folds = b.slot("folds", 4)
    there, free, kept, spare, ended = (b.counter(name) for name in ("there", "free", "kept", "spare", "ended"))
    per_block = b.cell("steps of a block")

    q = b.queue("read")
    q.run(launch, b.slot("launch"), sync=True)
    a, weights = b.slot("a", 8), b.slot("b", 4)
    with (
        q.loop(products),
        q.loop(panels) as panel,
        q.loop(blocks, pace=True) as block,
        q.loop(steps, pace=True) as step,
    ):
        reused = [(step, "last", 1), (block, "first", 2), (panel, "last", 4)]
        q.run(hbm, a, wait=[(free, 1 - BUFFERS)], vary=reused, unit="B")
        q.run(hbm, weights, done=there, vary=[(step, "last", 1), (block, "last", 2)], unit="B")
    q = b.queue("keep")
    with q.loop(products), q.loop(panels), q.loop(blocks) as block, q.loop(steps) as step:
        edges = [(step, "last", 1), (block, "last", 2)]
        q.run(None, wait=[(there, 1)])
        with q.loop(folds, vary=edges):
            q.run(keep, b.slot("kept"), wait=[(spare, -1)], done=kept)
    q = b.queue("array")
    with q.loop(products), q.loop(panels), q.loop(blocks) as block, q.loop(steps) as step:
        edges = [(step, "last", 1), (block, "last", 2)]
        q.run(None, wait=[(there, 1)])
        with q.loop(folds, pace=True, vary=edges):
            q.run(array, b.slot("moved", 4), wait=[(kept, 1)], freed=spare, vary=edges)
        q.run(array, b.slot("end"), freed=free, done=ended)
    q = b.queue("write")
    with q.loop(products), q.loop(panels) as panel, q.loop(blocks) as block:
        edges = [(block, "last", 1), (panel, "last", 2)]
        q.run(hbm, b.slot("out", 4), wait=[(ended, per_block, per_block)], vary=edges, unit="B")
    return b.build()
