"""Operators that stream rows through tiles: one superstep, and a second where tiles share a row and its sums.

Activations lie somewhere in the tiles: the exchange brings each tile its share, as it brings rows of an embedding from
where they are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from hwsim.operators.amounts import Ints, size_bytes
from hwsim.operators.candidates import Candidates, Programs
from hwsim.operators.mapper.manycore import program
from hwsim.operators.mapper.manycore.machine import Machine
from hwsim.operators.mapper.manycore.program import Work
from hwsim.operators.mapper.manycore.split import SUM, absent, finer_of
from hwsim.operators.mapper.streams import Stream, StreamMapper
from hwsim.units import ceil_div

GRAIN = 64  # least elements of a row that are worth a tile of their own
SUMS = 2  # numbers of a row that its tiles tell one another: a sum and a square, a maximum and a sum


@dataclass(frozen=True)
class Mapper(StreamMapper):
    """On tiles, in more or fewer pieces."""

    def propose(self, machine: Machine, dims: Mapping[str, Ints], dtype: str) -> Candidates:
        """Candidates of a case differ in the number of pieces."""
        choices, count = finer_of(machine), len(dims["rows"])
        case = np.repeat(np.arange(count), len(choices))
        columns = {"variant": self.variants(dims)[case], "finer": np.tile(np.array(choices, np.int64), count)}
        rank = np.zeros_like(case)
        for rows, work in self.works(machine, dims, dtype, columns, case):
            rank[rows] = program.rank(machine, work, dtype)
        return Candidates(case, rank, columns)

    def programs(self, machine: Machine, dims: Mapping[str, Ints], dtype: str, chosen: Candidates) -> list[Programs]:
        """One group of programs for each variant."""
        works = self.works(machine, dims, dtype, chosen.columns, chosen.case)
        return [program.programs(machine, work, dtype, rows) for rows, work in works]

    def works(
        self, machine: Machine, dims: Mapping[str, Ints], dtype: str, columns: Mapping[str, Ints], case: Ints
    ) -> Iterator[tuple[Ints, Work]]:
        """Rows of each variant, and their supersteps."""
        for stream, of, rows in self.by_stream(dims, columns["variant"], case):
            yield rows, work_of(machine, of, dtype, stream, columns["finer"][rows])


def work_of(machine: Machine, dims: Mapping[str, Ints], dtype: str, stream: Stream, finer: Ints) -> Work:
    """Supersteps of streams of rows x cols elements."""
    rows, cols = dims["rows"], dims["cols"]
    elements = rows * cols
    together = np.ones_like(rows)  # tiles of a row
    if stream.rows:
        together = np.minimum(machine.cores // np.minimum(rows, machine.cores), ceil_div(cols, GRAIN))
        share = np.where(together > 1, ceil_div(cols, together), ceil_div(rows, machine.cores) * cols)
    else:
        share = np.maximum(ceil_div(elements, machine.cores), np.minimum(elements, GRAIN))
    tiles = ceil_div(elements, share)
    source, result = size_bytes(elements * stream.reads, dtype), size_bytes(elements * stream.writes, dtype)
    steps = ceil_div(machine.buffers * size_bytes(share * (stream.reads + stream.writes), dtype), machine.workspace)
    steps = (steps * finer).clip(1, ceil_div(share, GRAIN))
    step = {
        "port": size_bytes(share * stream.reads, dtype),
        "local": size_bytes(share * (stream.reads * stream.passes + stream.writes), dtype),
        "special": share * stream.special,
        "vector": share * stream.flops,
    }
    several = together > 1
    combine = {
        "port": SUM * SUMS * together * several,
        "local": size_bytes(share * stream.reads, dtype) * several,
        "vector": (share + SUMS * together) * several,
    }
    memory, write = traffic(machine, source, result, stream)
    return Work(
        steps=steps,
        tiles=np.stack([tiles, np.zeros_like(tiles)], axis=1),
        step={part: program.in_steps(amount, steps) for part, amount in step.items()},
        combine={part: program.full(amount) for part, amount in combine.items()},
        memory=memory,
        write=write,
        flops=elements * stream.flops,
    )


def traffic(machine: Machine, source: Ints, result: Ints, stream: Stream) -> tuple[Ints, Ints]:
    """Bytes from and to memory behind the chip: what is cold, what does not fit on the chip."""
    if not machine.streamed:
        return np.zeros_like(source), np.zeros_like(source)
    place = machine.activations if machine.timing.warm_activations else 0
    gone = absent(source + result, place)
    read = np.minimum(gone, source)
    return (source if stream.cold else read), gone - read


norm = Mapper("norm", "residual")
activation = Mapper("activation", "gated")
softmax, rope, embed, sample = (Mapper(kind) for kind in ("softmax", "rope", "embed", "sample"))
