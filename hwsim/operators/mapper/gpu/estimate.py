"""Closed form of the GEMM program, for ranking candidates: whole batches, integers, 1/16 cycles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwsim.operators.amounts import Ints, sixteenths
from hwsim.operators.mapper.gpu.machine import Machine
from hwsim.operators.mapper.gpu.program import PIECES
from hwsim.operators.mapper.gpu.tiles import Work


@dataclass(frozen=True)
class _Parts:
    """Times of a candidate's resources, int64[C] in 1/16 cycles: totals, and of one wave (full, last)."""

    stage: tuple[Ints, Ints]  # a stage at its slowest: port, tensor unit, or latency over the depth of the pipeline
    latency: Ints  # latency over the depth of the pipeline
    port: tuple[Ints, Ints]  # a stage through the port of an SM
    tensor: tuple[Ints, Ints]  # a stage on its tensor unit
    hbm: Ints  # all bytes
    l2: Ints
    write: Ints  # a full wave's results into the L2
    epilogue: tuple[Ints, Ints]  # a wave's results out of an SM


def _parts(machine: Machine, dtype: str, work: Work) -> _Parts:
    port, out = (sixteenths(size, machine.port) for size in (work.step_bytes, work.tile_bytes))
    both = (work.resident, work.resident_last)
    ports = port * both[0], port * both[1]
    tensor = tuple(sixteenths(flops, machine.tensor[dtype]) for flops in (work.stage_flops, work.stage_flops_last))
    hbm = sixteenths(work.hbm_bytes, machine.stream_rate)
    latency = 16 * np.where(hbm > 0, machine.hbm_latency, machine.l2_latency) // work.depth
    return _Parts(
        stage=(
            np.maximum(np.maximum(ports[0], tensor[0]), latency),
            np.maximum(np.maximum(ports[1], tensor[1]), latency),
        ),
        latency=latency,
        port=ports,
        tensor=(tensor[0], tensor[1]),
        hbm=hbm,
        l2=sixteenths(work.l2_bytes + work.write_bytes, machine.l2_rate),
        write=sixteenths(work.write_bytes * work.slots // work.items, machine.l2_rate),
        epilogue=(out * both[0], out * both[1]),
    )


def estimate(machine: Machine, dtype: str, work: Work, split: Ints) -> Ints:
    """Time of each candidate: launch, first bytes, its waves, and what only the end of the last one takes."""
    parts = _parts(machine, dtype, work)
    waves = _in_turn(machine, work, parts) if work.exposed_1024 >= 1024 else _overlapped(machine, work, parts)
    once = machine.launch + machine.hbm_latency + 2 * machine.l2_latency + machine.wave + finish_skew(machine, work)
    total = waves + 16 * once + parts.epilogue[1]
    return total + np.where(split > 1, 16 * machine.barrier + sixteenths(work.reduce_bytes, machine.l2_rate), 0)


def _overlapped(machine: Machine, work: Work, parts: _Parts) -> Ints:
    """Tiles loaded and stored while others are multiplied: a wave takes as long as the slowest of all that goes on.

    What begins with the tensor units waits for one stage of memory; what ends with memory still multiplies one stage.
    """
    drain = 16 * machine.wave
    between = drain + parts.epilogue[0] * work.exposed_1024 // 1024
    store = np.maximum(parts.epilogue[0], parts.write)
    tensor = work.steps * parts.tensor[0] + between, work.steps * parts.tensor[1]
    fills = [work.steps * np.maximum(port, parts.latency) for port in parts.port]
    shared = np.maximum(parts.hbm, parts.l2)
    memory = shared * work.slots // work.items, shared * work.last // work.items
    full = np.maximum(np.maximum(tensor[0], fills[0]), np.maximum(memory[0], store))
    last = np.maximum(
        np.maximum(tensor[1], fills[1]), np.maximum(memory[1], np.where(work.waves > 1, store - drain, 0))
    )
    of_tensor = np.where(work.waves > 1, full == tensor[0], last == tensor[1])
    ends = np.where(of_tensor, _first_stage(work, parts), parts.port[1] + parts.tensor[1])
    return (work.waves - 1) * full + last + ends


def _in_turn(machine: Machine, work: Work, parts: _Parts) -> Ints:
    """Tiles loaded only when the last ones are stored: a wave pays its first stage, its end and its epilogue.

    Memory fills the L2 meanwhile, as many stages as the pipeline is deep.
    """
    fill = (parts.hbm + parts.l2) // (work.waves * work.steps)
    shared = np.maximum(parts.hbm, parts.l2)
    end = 16 * (machine.wave + 2 * machine.l2_latency) + parts.epilogue[0] + parts.write // PIECES
    waves = []
    for stage, port, tensor, items in zip(parts.stage, parts.port, parts.tensor, (work.slots, work.last)):
        memory = shared * items // work.items
        ahead = memory * np.minimum(work.depth, work.steps) // work.steps
        compute = fill + port + work.steps * stage
        waves.append(
            (
                np.maximum(compute + end, memory + np.maximum(end - ahead, 0)),
                np.maximum(compute, memory + port + tensor),
            )
        )
    return (work.waves - 1) * waves[0][0] + waves[1][1]


def _first_stage(work: Work, parts: _Parts) -> Ints:
    """The first stage of the first wave: nothing overlaps it."""
    items = np.where(work.waves > 1, work.slots, work.last)
    port = np.where(work.waves > 1, *parts.port)
    return (parts.hbm + parts.l2) * items // (work.items * work.steps) + port


def finish_skew(machine: Machine, work: Work) -> Ints:
    """Cycles between the first and the last core that finish a memory-bound last wave: they drift as a random walk.

    The square root is correctly rounded everywhere, so its floor has equal bits everywhere.
    """
    cycles = sixteenths(work.hbm_bytes, machine.stream_rate) // 16 * work.last // work.items
    return np.sqrt((cycles * machine.grain).astype(np.float64)).astype(np.int64)
