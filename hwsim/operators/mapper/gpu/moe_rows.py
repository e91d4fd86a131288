"""Kernels that move the rows of a layer of experts about: quantise, expand, activate, finalise, one after the other.

A row kernel gives each row a thread block, several of which an SM has under way at once. It takes as long as the blocks
wait, as their bytes take through the SMs, or as what the L2 does not hold takes of the memory, whichever is longest.
"""

from __future__ import annotations

from functools import cache

from hwsim.operators.program import Template, TemplateBuilder

KERNELS = ("quantise", "expand", "activation", "finalise")


@cache
def template() -> Template:
    """All launches, then kernel by kernel."""
    b = TemplateBuilder("gpu-moe-rows")
    launch, blocks = b.resource("launch", bound="launch"), b.resource("blocks", bound="latency")
    port, hbm = b.resource("port", bound="sram"), b.resource("hbm", bound="hbm")
    go, ended, trips = b.counter("go"), b.counter("ended"), b.slot("kernels")

    q = b.queue("launch")
    q.run(launch, b.slot("launch"), sync=True)
    with q.loop(trips):
        q.run(None, wait=[(ended, 0, 3)], done=go)
    for name, resource, unit in (("blocks", blocks, "cycle"), ("port", port, "B"), ("hbm", hbm, "B")):
        q = b.queue(name)
        with q.loop(trips) as kernel:
            amount = b.slot(name, len(KERNELS))
            q.run(resource, amount, wait=[(go, 1)], sync=True, done=ended, vary=[(kernel, "iter", 1)], unit=unit)
    return b.build()
