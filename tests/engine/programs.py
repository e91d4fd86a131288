"""The programs of all five classes as small builders: each returns a bound program whose time a formula gives."""

from collections.abc import Mapping, Sequence

import numpy as np

from hwsim.operators.program import RESOURCE_DTYPE, Bound, Template, TemplateBuilder, bind

Rates = Mapping[str, tuple[int, ...]]


def fill(t: Template, amounts: Mapping[str, int | Sequence[int]], rates: Rates, cells: Mapping[str, int]) -> Bound:
    """Bind one program by names; a rate is (num, den, lat, gap, chunk), short ones are padded; "port*" is a family."""
    values = np.zeros(t.size("slots"), np.int64)
    for name, slot in t.slots.items():
        values[slot.index : slot.index + slot.size] = (
            amounts[name] if name in amounts else amounts[f"{name.split()[0]}*"]
        )
    resources = np.zeros(t.size("resources"), RESOURCE_DTYPE)
    for index, name in enumerate(t.names["resources"]):
        rate = rates.get(name) or rates[name.rstrip("0123456789,") + "*"]
        resources[index] = (*rate, *(1, 1, 0, 0, 0)[len(rate) :])
    return bind(t, values, resources, cells=np.array([cells[name] for name in t.names["cells"]], np.int64)).require()


# ---- GPU


def gemm(
    groups: int = 4,
    cores: int = 132,
    waves: int = 16,
    steps: int = 128,
    stages: int = 4,
    tail: float = 1.0,
    rates: Rates | None = None,
    tile_bytes: int = 49152,
    flop: int = 4096 * 1024,
    unique_bytes: int = 573440,
    store_bytes: int = 65536,
) -> Bound:
    """Output tiles in waves over equal cores folded into groups; the last wave is filled to a share `tail`."""
    t = _gemm_template(groups)
    used = [cores * (g + 1) // groups - cores * g // groups for g in range(groups)]
    amounts: dict[str, int | Sequence[int]] = {"waves": waves, "steps": steps}
    amounts["fill"] = [unique_bytes, max(1, int(unique_bytes * tail))]
    for g, m in enumerate(used):
        last = max(1, int(m * tail))
        amounts |= {f"group_bytes{g}": [m * tile_bytes, last * tile_bytes], f"core_bytes{g}": [tile_bytes] * 2}
        amounts |= {f"flop{g}": flop, f"accumulate{g}": 1, f"store{g}": [m * store_bytes, last * store_bytes]}
    cells = {f"cores{g}": m for g, m in enumerate(used)} | {"depth": 1 - stages, "l2_depth": 1 - 8 * groups}
    given = {"hbm": (1909, 1, 600), "l2": (5632, 1, 250), "port*": (128, 1, 30), "tensor*": (4096, 1, 30)}
    return fill(t, amounts, given | dict(rates or {}), cells)


def _gemm_template(groups: int) -> Template:
    b = TemplateBuilder(f"gemm in {groups} groups")
    hbm, l2 = b.resource("hbm", "hbm"), b.resource("l2", "l2")
    ports = [b.resource(f"port{g}", "sram", per_core=True) for g in range(groups)]
    tensors = [b.resource(f"tensor{g}", "tensor", per_core=True) for g in range(groups)]
    waves, steps, unique = b.slot("waves"), b.slot("steps"), b.slot("fill", 2)
    l2_full, l2_free = b.counter("l2 full"), b.counter("l2 free")
    depth, l2_depth = b.cell("depth"), b.cell("l2_depth")
    q = b.queue("fill")
    with q.loop(waves, pace=True) as wave, q.loop(steps, pace=True):
        free = (l2_free, l2_depth, groups)
        q.run(hbm, unique, wait=[free], done=l2_full, vary=[(wave, "last", 1)], unit="B")
    for g in range(groups):
        full, empty, done, stored = (b.counter(f"{name}{g}") for name in ("full", "empty", "done", "stored"))
        shared, private = b.slot(f"group_bytes{g}", 2), b.slot(f"core_bytes{g}", 2)
        flop, accumulate, out = b.slot(f"flop{g}"), b.slot(f"accumulate{g}"), b.slot(f"store{g}", 2)
        cores = b.cell(f"cores{g}")
        q = b.queue(f"load{g}", mult=cores)
        with q.loop(waves) as wave, q.loop(steps):
            port = (ports[g], private, {"done": full, "unit": "B"})
            waits = [(l2_full, 1), (empty, depth)]
            q.run(l2, shared, wait=waits, freed=l2_free, vary=[(wave, "last", 1)], unit="B", then=[port])
        q = b.queue(f"mma{g}", mult=cores)
        with q.loop(waves):
            with q.loop(steps):
                q.run(tensors[g], flop, wait=[(full, 1)], freed=empty, unit="FLOP")
            q.run(tensors[g], accumulate, wait=[(stored, 0)], done=done, sync=True)
        q = b.queue(f"store{g}", mult=cores)
        with q.loop(waves) as wave:
            q.run(l2, out, wait=[(done, 1)], done=stored, vary=[(wave, "last", 1)], unit="B")
    return b.build()


def causal_attention(blocks: int, load: tuple[int, ...] = (1, 1, 20), tile: int = 50, tail: int = 7) -> Bound:
    """Query block i reads i + 1 key blocks: the inner trips are an ITER list."""
    b = TemplateBuilder("causal attention")
    hbm, tensor = b.resource("hbm", "hbm"), b.resource("tensor", "tensor")
    rows, keys = b.slot("blocks"), b.slot("keys", blocks)
    kv, work, finish = b.slot("kv"), b.slot("work"), b.slot("finish")
    full, empty = b.counter("full"), b.counter("empty")
    q = b.queue("load")
    with q.loop(rows, pace=True) as row, q.loop(keys, vary=[(row, "iter", 1)], pace=True):
        q.run(hbm, kv, wait=[(empty, -1)], done=full)
    q = b.queue("mma")
    with q.loop(rows) as row:
        with q.loop(keys, vary=[(row, "iter", 1)]):
            q.run(tensor, work, wait=[(full, 1)], freed=empty)
        q.run(tensor, finish, sync=True)
    amounts = {"blocks": blocks, "keys": list(range(1, blocks + 1)), "kv": 30, "work": tile, "finish": tail}
    return fill(b.build(), amounts, {"hbm": load, "tensor": (1, 1)}, {})


# ---- systolic, many-core


def systolic(
    rows: int, cols: int, m: int, folds: int, hbm: tuple[int, ...] | None = None, serial: bool = False
) -> Bound:
    """Weight-stationary folds: install `rows` cycles of weights, stream m rows through; double-buffered or serial."""
    b = TemplateBuilder("systolic")
    memory = b.resource("hbm", "hbm")
    install, array = b.resource("install", "sram"), b.resource("array", "tensor")
    n, weights, bytes_, stream = b.slot("folds"), b.slot("weights"), b.slot("bytes"), b.slot("stream")
    if serial:
        q = b.queue("fold")
        with q.loop(n, pace=True):
            q.run(install, weights, sync=True)
            q.run(array, stream, sync=True)
    else:
        fetched, fetch_free, full, free = (b.counter(name) for name in ("fetched", "fetch free", "full", "free"))
        if hbm:
            q = b.queue("fetch")
            with q.loop(n, pace=True):
                q.run(memory, bytes_, wait=[(fetch_free, -1)], done=fetched, unit="B")
        q = b.queue("weights")
        with q.loop(n, pace=not hbm):
            waits = [(free, -1), (fetched, 1)] if hbm else [(free, -1)]
            q.run(install, weights, wait=waits, done=full, freed=fetch_free)
        q = b.queue("stream")
        with q.loop(n):
            q.run(array, stream, wait=[(full, 1)], freed=free)
    amounts = {"folds": folds, "weights": rows, "bytes": 2 * rows * cols, "stream": m}
    return fill(b.build(), amounts, {"hbm": hbm or (1, 1), "install": (1, 1), "array": (1, 1, rows + cols - 2)}, {})


def bulk_synchronous(steps: int, exchange: Sequence[int], compute: Sequence[int], sync: int) -> Bound:
    """Groups of tiles exchange, meet, compute, meet; each group its own times."""
    b = TemplateBuilder("bulk-synchronous")
    groups = range(len(exchange))
    wires = [b.resource(f"exchange{g}", "link") for g in groups]
    tiles = [b.resource(f"tile{g}", "tensor") for g in groups]
    barriers = [b.resource(f"sync{g}", "sync") for g in groups]
    n, meet = b.slot("steps"), [b.slot(f"meet {g}") for g in groups]
    before, after = b.counter("exchanged"), b.counter("computed")
    for g in groups:
        q = b.queue(f"tiles{g}")
        with q.loop(n, pace=g == 0):
            q.run(wires[g], b.slot(f"exchange{g}"), done=before)
            q.run(barriers[g], meet[g], wait=[(before, len(groups), len(groups))], sync=True)
            q.run(tiles[g], b.slot(f"compute{g}"), done=after)
            q.run(barriers[g], meet[g], wait=[(after, len(groups), len(groups))], sync=True)
    amounts = {"steps": steps, "meet*": sync}
    amounts |= {f"exchange{g}": exchange[g] for g in groups} | {f"compute{g}": compute[g] for g in groups}
    return fill(b.build(), amounts, {"exchange*": (1, 1), "tile*": (1, 1), "sync*": (1, 1)}, {})


# ---- wafer

PARTS = ("multicast", "multiply", "reduce")


def wafer_folded(layers: int, tokens: int, side: int, hop: int, times: tuple[int, int, int], alone: bool) -> Bound:
    """Multicast, multiply, reduce on a side x side region a layer; `alone`: a token starts when the last is done."""
    b = TemplateBuilder("wafer")
    send = [b.resource(f"multicast{n}", "link") for n in range(layers)]
    cores = [b.resource(f"core{n}", "tensor") for n in range(layers)]
    back = [b.resource(f"reduce{n}", "link") for n in range(layers)]
    n = b.slot("tokens")
    token = [b.counter(f"token{index}") for index in range(layers + 1)]
    start, transit = b.cell("start"), b.cell("transit")
    for layer in range(layers):
        arrived, multiplied = b.counter(f"arrived{layer}"), b.counter(f"multiplied{layer}")
        stages = (
            (send[layer], (token[layer], 1) if layer else (token[layers], start), arrived, transit),
            (cores[layer], (arrived, 1), multiplied, 0),
            (back[layer], (multiplied, 1), token[layer + 1], transit),
        )
        for part, (resource, wait, done, delay) in zip(PARTS, stages):
            q = b.queue(f"{resource.name} queue")
            amount = b.slot(f"{part} {layer}")
            with q.loop(n, pace=resource.index == 0):
                q.run(resource, amount, wait=[wait], done=done, delay=delay)
    given = {f"{part}*": time for part, time in zip(PARTS, times)} | {"tokens": tokens}
    cells = {"start": 0 if alone else -tokens, "transit": (side - 1) * hop}
    return fill(b.build(), given, {"multicast*": (1, 1), "core*": (1, 1), "reduce*": (1, 1)}, cells)


def wafer_explicit(tokens: int, side: int, hop: int, times: tuple[int, int, int]) -> Bound:
    """One layer link by link: row multicasts and column reductions are cut-through chains of `side` links."""
    b = TemplateBuilder("wafer mesh")
    rows = [[b.resource(f"row{i},{j}", "link") for j in range(side)] for i in range(side)]
    cols = [[b.resource(f"col{j},{i}", "link") for i in range(side)] for j in range(side)]
    cores = [[b.resource(f"core{i},{j}", "tensor") for j in range(side)] for i in range(side)]
    n, token = b.slot("tokens"), b.counter("token")
    arrived = [[b.counter(f"arrived{i},{j}") for j in range(side)] for i in range(side)]
    ready = [b.counter(f"ready{j}") for j in range(side)]

    def transit(place: int) -> int:
        return hop if place < side - 1 else 0

    for i in range(side):
        q = b.queue(f"row{i}")
        hops = [
            (rows[i][j], b.slot(f"multicast {i},{j}"), {"done": arrived[i][j], "delay": transit(j)})
            for j in range(side)
        ]
        with q.loop(n, pace=i == 0):
            q.run(*hops[0][:2], wait=[(token, 0, side)], then=hops[1:], **hops[0][2])
    for i in range(side):
        for j in range(side):
            q = b.queue(f"core{i},{j}")
            with q.loop(n):
                q.run(cores[i][j], b.slot(f"multiply {i},{j}"), wait=[(arrived[i][j], 1)], done=ready[j])
    for j in range(side):
        q = b.queue(f"col{j}")
        hops = [(cols[j][i], b.slot(f"reduce {i},{j}"), {"delay": transit(i)}) for i in range(side)]
        hops[-1][2]["done"] = token
        with q.loop(n):
            q.run(*hops[0][:2], wait=[(ready[j], side, side)], then=hops[1:], **hops[0][2])
    given = {f"{part}*": time for part, time in zip(PARTS, times)} | {"tokens": tokens}
    return fill(b.build(), given, {"row*": (1, 1), "col*": (1, 1), "core*": (1, 1)}, {})


# ---- pipeline


def pipeline_chips(tokens: int, stages: Sequence[Sequence[tuple[int, int]]], slot: int) -> Bound:
    """One queue a chip, its (work, latency) steps a store-and-forward chain; a token enters every `slot` cycles."""
    b = TemplateBuilder("pipeline of chips")
    steps = [[b.resource(f"chip{c} step{s}", "sram") for s in range(len(chip))] for c, chip in enumerate(stages)]
    n = b.slot("tokens")
    passed = [b.counter(f"passed{c}") for c in range(len(stages))]
    amounts: dict[str, int] = {"tokens": tokens}
    rates: dict[str, tuple[int, ...]] = {}
    for c, chip in enumerate(stages):
        q = b.queue(f"chip{c}", issue=slot if c == 0 else 1)
        hops = []
        for s, (work, latency) in enumerate(chip):
            amounts[f"work{c} {s}"], rates[f"chip{c} step{s}"] = work, (1, 1, latency)
            hops.append((steps[c][s], b.slot(f"work{c} {s}"), {"cut": False}))
        hops[-1][2]["done"] = passed[c]
        with q.loop(n, pace=c == 0):
            wait = [(passed[c - 1], 1)] if c else []
            q.run(*hops[0][:2], wait=wait, then=hops[1:], **hops[0][2])
    return fill(b.build(), amounts, rates, {})


# ---- collectives and copies


def ring(devices: int, chunk: int, rate: tuple[int, ...]) -> Bound:
    """All-reduce by 2 (devices - 1) steps; device d sends what it received from d - 1 the step before."""
    b = TemplateBuilder("ring")
    links = [b.resource(f"link{d}", "link") for d in range(devices)]
    steps = b.slot("steps")
    have = [b.counter(f"have{d}") for d in range(devices)]
    for d in range(devices):
        q = b.queue(f"device{d}")
        with q.loop(steps, pace=d == 0):
            chunk_d = b.slot(f"chunk {d}")
            q.run(links[d], chunk_d, wait=[(have[d], 0)], done=have[(d + 1) % devices], unit="B")
    return fill(b.build(), {"steps": 2 * (devices - 1), "chunk*": chunk}, {"link*": rate}, {})


def ring_gang(devices: int, chunk: int, rate: tuple[int, ...]) -> Bound:
    """The ring folded: one device that signals itself."""
    b = TemplateBuilder("ring gang")
    link, steps, size, have = b.resource("link", "link"), b.slot("steps"), b.slot("chunk"), b.counter("have")
    q = b.queue("device", mult=devices)
    with q.loop(steps, pace=True):
        q.run(link, size, wait=[(have, 0)], done=have, unit="B")
    return fill(b.build(), {"steps": 2 * (devices - 1), "chunk": chunk}, {"link": rate}, {})


def tree(levels: int, pieces: int, piece: int, rate: tuple[int, ...]) -> Bound:
    """Reduce up a binary tree and broadcast down, piece after piece."""
    b = TemplateBuilder("tree")
    nodes = range(2, 2 ** (levels + 1))  # node n has the parent n // 2; node 1 is the root
    up = {n: b.resource(f"up{n}", "link") for n in nodes}
    down = {n: b.resource(f"down{n}", "link") for n in nodes}
    count = b.slot("pieces")
    reduced = {n: b.counter(f"reduced{n}") for n in range(1, 2**levels)}
    whole = {n: b.counter(f"whole{n}") for n in nodes}
    for n in nodes:
        q = b.queue(f"up{n}")
        with q.loop(count, pace=n == 2):
            wait = [(reduced[n], 2, 2)] if n in reduced else []
            q.run(up[n], b.slot(f"piece up{n}"), wait=wait, done=reduced[n // 2], unit="B")
    for n in nodes:
        q = b.queue(f"down{n}")
        with q.loop(count):
            wait = [(whole[n // 2], 1)] if n > 3 else [(reduced[1], 2, 2)]
            q.run(down[n], b.slot(f"piece down{n}"), wait=wait, done=whole[n], unit="B")
    return fill(b.build(), {"pieces": pieces, "piece*": piece}, {"up*": rate, "down*": rate}, {})


def in_network(devices: int, pieces: int, piece: int, rate: tuple[int, ...], switch: tuple[int, ...]) -> Bound:
    """Every device sends to the switch, which reduces and sends back to all."""
    b = TemplateBuilder("in-network")
    up = [b.resource(f"up{d}", "link") for d in range(devices)]
    down = [b.resource(f"down{d}", "link") for d in range(devices)]
    adder = b.resource("switch", "link")
    count, sum_ = b.slot("pieces"), b.slot("sum")
    arrived, reduced = b.counter("arrived"), b.counter("reduced")
    for d in range(devices):
        q = b.queue(f"up{d}")
        with q.loop(count, pace=d == 0):
            q.run(up[d], b.slot(f"piece up{d}"), done=arrived, unit="B")
    q = b.queue("switch")
    with q.loop(count):
        q.run(adder, sum_, wait=[(arrived, devices, devices)], done=reduced)
    for d in range(devices):
        q = b.queue(f"down{d}")
        with q.loop(count):
            q.run(down[d], b.slot(f"piece down{d}"), wait=[(reduced, 1)], unit="B")
    amounts = {"pieces": pieces, "piece*": piece, "sum": piece}
    return fill(b.build(), amounts, {"up*": rate, "down*": rate, "switch": switch}, {})


def dma(pieces: int, piece: int, credits: int, rates: Sequence[tuple[int, ...]], cut: bool) -> Bound:
    """Device memory to host memory over PCIe, `credits` pieces on the way."""
    b = TemplateBuilder("dma")
    hops = [b.resource(name, bound) for name, bound in (("hbm", "hbm"), ("pcie", "host"), ("ddr", "dram"))]
    count, sizes = b.slot("pieces"), [b.slot(f"piece {hop.name}") for hop in hops]
    credit, ahead = b.counter("credit"), b.cell("ahead")
    q = b.queue("engine")
    with q.loop(count, pace=True):
        then = [(hops[1], sizes[1], {"cut": cut}), (hops[2], sizes[2], {"done": credit})]
        q.run(hops[0], sizes[0], wait=[(credit, ahead)], then=then, cut=cut, unit="B")
    amounts = {"pieces": pieces} | {f"piece {hop.name}": piece for hop in hops}
    return fill(b.build(), amounts, dict(zip(("hbm", "pcie", "ddr"), rates)), {"ahead": 1 - credits})
