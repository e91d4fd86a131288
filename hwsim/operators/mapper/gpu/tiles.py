"""How a GEMM is cut: which tiles, splits and residencies a library would try, and what each moves and computes.

A candidate is a tile (tile_m x tile_n) on `pair` SMs, a split of the inner dimension and the number of tiles resident
on an SM at once. `enumerate_tiles` lists the sensible ones of every case, `Work` counts what they do. Both the closed
form that ranks candidates and the program that times them take their numbers from `Work`, so they cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.operator import SIXTEENTH_BYTES
from hwsim.units import ceil_div

DEEPEST = 16  # stages of a copy pipeline: more hide no latency there is
LARGE_TILE = 128 * 256  # elements of a tile that keeps a tensor unit busy by itself
Columns = Mapping[str, np.ndarray]
HIT = 1024  # hit shares are counted in 1/1024


@dataclass(frozen=True)
class GemmKernels:
    """A library's GEMM kernels of one GPU generation, as integer columns.

    Attributes
    ----------
    tile_m, tile_n, pair : int64[S]
        Tile shapes and the SMs that work on one tile.
    splits : int64[K]
        Splits of the inner dimension, `split_k` the least of it that one keeps.
    stages, stage_bytes : int
        Least depth of the copy pipeline; bytes of the inner dimension (of one row) that a stage holds.
    accumulators, programs : int
        fp32 accumulators of one SM, most thread blocks of it.
    exposed_1024 : int
        Share, in 1/1024, of an epilogue that the next tile does not hide.
    """

    tile_m: np.ndarray
    tile_n: np.ndarray
    pair: np.ndarray
    splits: np.ndarray
    split_k: int
    stages: int
    stage_bytes: int
    accumulators: int
    programs: int
    exposed_1024: int

    @staticmethod
    def of(machine: Machine, dtype: str) -> GemmKernels:
        """Kernels of the machine's software on its generation; an untuned dtype has one tile, loaded after the last."""
        gemm, limits = machine.kernels.gemm, machine.physics.limits
        untuned = None if machine.timing.served else gemm.untuned.get(dtype)
        pairs = gemm.pair_tiles if machine.physics.tensor.pair > 1 and not untuned else []
        tiles = np.array(
            [(m, n, 1) for m, n in ([untuned] if untuned else gemm.tiles)] + [(m, n, 2) for m, n in pairs], np.int64
        )
        return GemmKernels(
            tile_m=tiles[:, 0].copy(),
            tile_n=tiles[:, 1].copy(),
            pair=tiles[:, 2].copy(),
            splits=np.array([1] if untuned else sorted(gemm.splits), np.int64),
            split_k=gemm.split_k,
            stages=gemm.stages,
            stage_bytes=int(limits.stage),
            accumulators=limits.accumulators,
            programs=1 if untuned else limits.programs,
            exposed_1024=1024 if untuned else machine.exposed_1024,
        )

    @staticmethod
    def of_experts(machine: Machine) -> GemmKernels:
        """Kernels of grouped products: whole inner dimensions, one thread block an SM."""
        gemm, own = machine.kernels.gemm, machine.kernels.moe
        pairs = own.pair_tiles if machine.physics.tensor.pair > 1 else []
        tiles = np.array([(m, n, 1) for m, n in own.tiles] + [(m, n, 2) for m, n in pairs], np.int64)
        return GemmKernels(
            tile_m=tiles[:, 0].copy(),
            tile_n=tiles[:, 1].copy(),
            pair=tiles[:, 2].copy(),
            splits=np.ones(1, np.int64),
            split_k=gemm.split_k,
            stages=gemm.stages,
            stage_bytes=int(machine.physics.limits.stage),
            accumulators=machine.physics.limits.accumulators,
            programs=1,
            exposed_1024=machine.exposed_1024,
        )


def enumerate_tiles(machine: Machine, kernels: GemmKernels, dims: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every sensible candidate of every case: int64 columns case, tile_m, tile_n, pair, split, resident.

    Dropped as never better: tiles of more than twice the matrix, splits of what fills the chip already, residency that
    the number of tiles does not need.
    """
    m, n, k, batch = (dims[name] for name in ("m", "n", "k", "batch"))
    fits = (kernels.tile_m < 2 * m[:, None]) | (kernels.tile_m <= kernels.tile_m.min())
    fits &= (kernels.tile_n < 2 * n[:, None]) | (kernels.tile_n <= kernels.tile_n.min())
    case, shape = np.nonzero(fits)
    tile_m, tile_n, pair = kernels.tile_m[shape], kernels.tile_n[shape], kernels.pair[shape]
    tiles = ceil_div(m[case], tile_m) * ceil_div(n[case], tile_n) * batch[case]
    cores = machine.cores // pair

    splits = kernels.splits
    useful = (splits == 1) | ((k[case][:, None] >= kernels.split_k * splits) & (tiles < 2 * cores)[:, None])
    row, which = np.nonzero(useful)
    case, tile_m, tile_n, pair, cores = case[row], tile_m[row], tile_n[row], pair[row], cores[row]
    split = splits[which]
    items = tiles[row] * split

    most = np.minimum(
        machine.sram // (kernels.stages * kernels.stage_bytes * (tile_m + tile_n)),
        kernels.accumulators * pair // (tile_m * tile_n),
    )
    most = np.where(pair > 1, 1, np.minimum(most, ceil_div(items, cores))).clip(1, kernels.programs)
    levels = np.arange(1, kernels.programs + 1)
    row, which = np.nonzero(levels <= most[:, None])
    return {
        "case": case[row],
        "tile_m": tile_m[row],
        "tile_n": tile_n[row],
        "pair": pair[row],
        "split": split[row],
        "resident": levels[which],
    }


@dataclass(frozen=True)
class Work:
    """What a candidate moves and computes; every field is int64[C].

    A wave is one round of tiles over all SM slots; the last one may be partial. "core" is the SM, or SM pair, of a
    tile.

    Attributes
    ----------
    exposed_1024 : share, in 1/1024, of an epilogue that the next tile does not hide (one int)
    items, slots : work items (tiles x splits), and how many of them a full wave holds
    waves, last : number of waves, items of the last one (= slots when it is full)
    cores : cores of the chip
    resident, resident_last : items that share one core in a full and in the last wave
    steps : stages of the inner dimension that an item passes
    depth : stages of its copy pipeline: what shared memory has room for
    step_flops : FLOP of one item and stage on one SM, padding included
    stage_flops, stage_flops_last : what a stage of all resident items takes of the tensor unit, in FLOP at full rate
    step_bytes : bytes into one SM of one item and stage
    l2_bytes, hbm_bytes : bytes of the whole operator: read from the L2; read from and written back to memory
    tile_bytes : bytes of one item's result out of one SM
    write_bytes : bytes of all results (partial sums in fp32) into the L2
    reduce_bytes : bytes through the L2 to add the splits up
    """

    exposed_1024: int
    items: np.ndarray
    slots: np.ndarray
    waves: np.ndarray
    last: np.ndarray
    cores: np.ndarray
    resident: np.ndarray
    resident_last: np.ndarray
    steps: np.ndarray
    depth: np.ndarray
    step_flops: np.ndarray
    stage_flops: np.ndarray
    stage_flops_last: np.ndarray
    step_bytes: np.ndarray
    l2_bytes: np.ndarray
    hbm_bytes: np.ndarray
    tile_bytes: np.ndarray
    write_bytes: np.ndarray
    reduce_bytes: np.ndarray


def count_work(machine: Machine, kernels: GemmKernels, dims: Columns, dtype: str, chosen: Columns) -> Work:
    """Count the work of the candidates in `chosen` (columns of `enumerate_tiles`)."""
    own = {name: column[chosen["case"]] for name, column in dims.items()}
    down, across = ceil_div(own["m"], chosen["tile_m"]), ceil_div(own["n"], chosen["tile_n"])
    items = down * across * own["batch"] * chosen["split"]
    waves = waves_of(machine, items, chosen)
    size = SIXTEENTH_BYTES[dtype]
    return Work(
        exposed_1024=kernels.exposed_1024,
        **waves,
        **stages_of(machine, kernels, own, size, chosen, waves["resident_last"]),
        **_results(own, chosen),
        l2_bytes=l2_rows(machine, own["m"], own["n"], down, across) * own["batch"] * ceil_div(own["k"] * size, 16),
        hbm_bytes=_hbm_bytes(machine, dims, size, chosen, down, across, waves["slots"]),
    )


def waves_of(machine: Machine, items: np.ndarray, chosen: Columns) -> dict[str, np.ndarray]:
    """Items over the slots of the chip, round by round."""
    cores = machine.cores // chosen["pair"]
    slots = cores * chosen["resident"]
    waves = ceil_div(items, slots)
    last = items - (waves - 1) * slots
    return {
        "items": items,
        "slots": slots,
        "waves": waves,
        "last": last,
        "cores": cores,
        "resident": chosen["resident"],
        "resident_last": ceil_div(last, cores),
    }


def stages_of(
    machine: Machine, kernels: GemmKernels, own: Columns, size: int, chosen: Columns, resident_last: np.ndarray
) -> dict[str, np.ndarray]:
    """What one item takes in and multiplies, stage by stage of the inner dimension."""
    tile_m, tile_n, pair, resident = (chosen[name] for name in ("tile_m", "tile_n", "pair", "resident"))
    step_k = kernels.stage_bytes * 16 // size
    flops = 2 * tile_m * tile_n * step_k // pair
    room = machine.sram * pair // (kernels.stage_bytes * (tile_m + tile_n) * resident)
    alone = np.where(tile_m * tile_n < LARGE_TILE, machine.alone_1024, 1024)
    rows = np.minimum(tile_m, own["m"]) + np.minimum(tile_n, own["n"])
    return {
        "steps": ceil_div(ceil_div(own["k"], chosen["split"]), step_k),
        "depth": room.clip(kernels.stages, DEEPEST),
        "step_flops": flops,
        "stage_flops": flops * np.maximum(1024 * resident, alone) // 1024,
        "stage_flops_last": flops * np.maximum(1024 * resident_last, alone) // 1024,
        "step_bytes": ceil_div(rows * kernels.stage_bytes, pair),
    }


def _results(own: Columns, chosen: Columns) -> dict[str, np.ndarray]:
    """Bytes of results: two an element, or four of partial sums that are added up through the L2."""
    split = chosen["split"]
    each = np.where(split > 1, 4, 2)
    tile = np.minimum(chosen["tile_m"], own["m"]) * np.minimum(chosen["tile_n"], own["n"])
    result = own["m"] * own["n"] * own["batch"]
    return {
        "tile_bytes": ceil_div(tile * each, chosen["pair"]),
        "write_bytes": each * split * result,
        "reduce_bytes": 2 * 4 * (split - 1) * result,
    }


def l2_rows(machine: Machine, m: np.ndarray, n: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Rows of A and columns of B that all tiles fetch; neighbours share a fetch where the generation multicasts."""
    of_a, of_b = across * m, down * n  # every tile column fetches A, every tile row fetches B
    if not machine.multicast:
        return of_a + of_b
    halved = np.where(
        (down > 1) & (across > 1), np.maximum(of_a, of_b), np.where(down > 1, of_b, np.where(across > 1, of_a, 0))
    )
    return of_a + of_b - halved // 2


def _hbm_bytes(
    machine: Machine,
    dims: Columns,
    size: int,
    chosen: Columns,
    down: np.ndarray,
    across: np.ndarray,
    slots: np.ndarray,
) -> np.ndarray:
    """Bytes read from and written to HBM: not what is resident, again what a raster band pushes out of the L2."""
    case = chosen["case"]
    m, n, k, batch = (dims[name] for name in ("m", "n", "k", "batch"))
    a, b, out = ceil_div(m * k * size, 16), ceil_div(n * k * size, 16), 2 * m * n
    timing = machine.timing
    whole = batch * (a + b + out)
    copies = timing.copies(batch * b)
    absent_a = np.where(timing.warm_activations, missing(whole, machine.l2), HIT)
    absent_b = np.where(timing.warm_weights, missing(whole + (copies - 1) * batch * b, machine.l2), HIT)
    saved = batch * (a * (HIT - absent_a) + b * (HIT - absent_b)) // HIT
    write = out * batch * missing(whole, machine.l2) // HIT
    read = (a + b)[case]
    again = np.flatnonzero((np.minimum(a, b) > machine.l2 // 2)[case])
    if len(again):
        read[again] = _raster(
            machine, a[case[again]], b[case[again]], down[again], across[again], slots[again] // chosen["split"][again]
        )
    return np.maximum(read * batch[case] - saved[case], 0) + write[case]


def missing(working_set: np.ndarray, cache: int) -> np.ndarray:
    """Share (of HIT) that misses: nothing up to the usable cache, everything from twice its size."""
    return ((working_set - cache) * HIT // cache).clip(0, HIT)


def _raster(
    machine: Machine, a: np.ndarray, b: np.ndarray, down: np.ndarray, across: np.ndarray, slots: np.ndarray
) -> np.ndarray:
    """Bytes read by the better order of bands: tiles are walked in bands of 1 to 32 tile rows or tile columns."""
    best = np.full(len(a), np.iinfo(np.int64).max)
    slots = np.maximum(slots, 1)
    for streamed, kept, length, width in ((a, b, down, across), (b, a, across, down)):
        for limit in (1, 2, 4, 8, 16, 32):
            band = np.minimum(limit, width)
            bands = ceil_div(width, band)
            band_bytes = kept * band // width
            slice_bytes = streamed * np.minimum(slots // band, length) // length
            waves = ceil_div(length * band, slots)
            reads = streamed * HIT + streamed * (bands - 1) * missing(streamed + band_bytes, machine.l2)
            reads += kept * HIT + kept * (waves - 1) * missing(band_bytes + slice_bytes, machine.l2)
            best = np.minimum(best, reads // HIT)
    return best
