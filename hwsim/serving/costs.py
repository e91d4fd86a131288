"""The cost surfaces of a deployment: tables over token and sequence counts, and attention over two integers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from hwsim import memo
from hwsim._core import serve_types
from hwsim._core.serve_types import TILE_TOKENS
from hwsim.describe.software import Software
from hwsim.operators.machine import Machine
from hwsim.operators.simulate import simulate
from hwsim.operators.step import StepSamples
from hwsim.operators.surface import COLUMNS, MISSING, Ints, Surface, grid, sample_rows, stairs
from hwsim.serving.layers import AttentionShape, Use
from hwsim.serving.plan import Phase, Placement
from hwsim.units import ceil_div, ps_ceil

BLOCK = 16  # counts simulated together: more cost less each, but a short run asks few of them


class UseTable:
    """Operators of a step that depend on one count alone, summed into one exact table for every kind of stage.

    Parameters
    ----------
    phase : Phase
        What they are simulated on, and the stages.
    uses : iterable of Use
    times : int64[kinds, most + 1]
        Filled here: picoseconds of all uses of a stage together; 0 at count 0, -1 where not simulated. Equal stages are
        priced once: a row for each of `phase.kinds`.

    Attributes
    ----------
    surfaces : dict of str to Surface
        One exact surface a use; times are of ONE call.
    """

    def __init__(self, phase: Phase, uses: Iterable[Use], times: Ints) -> None:
        self.phase, self.times = phase, times
        self.uses = {use.name: use for use in uses}
        most = times.shape[1] - 1
        self.surfaces = {name: use_surface(phase.machine, use, most) for name, use in self.uses.items()}
        self.times[:], self.times[:, 0] = MISSING, 0
        self._sum()

    def calls(self, name: str) -> int:
        """How often a step runs a use, in all stages."""
        return sum(self.uses[name].times(span) for span in self.phase.spans)

    def fill(self, counts: Ints) -> None:
        """Simulate these counts, and those in the same aligned blocks."""
        points = np.unique(counts) - 1
        for surface in self.surfaces.values():
            surface.fill_blocks(points, [BLOCK])
        self._sum()

    def _sum(self) -> None:
        """Times of counts that all uses have samples of."""
        total = np.zeros((len(self.times), self.times.shape[1] - 1), np.int64)
        known = np.ones(total.shape[1], bool)
        for name, surface in self.surfaces.items():
            known &= surface.times != MISSING
            each = np.array([self.uses[name].times(span) for span in self.phase.kinds], np.int64)
            total += surface.times * each[:, None]
        self.times[:, 1:][:, known] = total[:, known]

    def totals(self, calls: Ints) -> dict[str, np.ndarray]:
        """Columns of `surface.COLUMNS` summed over a run, an operator, where `calls[c]` steps had count c."""
        used = np.flatnonzero(calls[1:])
        return {
            name: (calls[1:][used] @ surface.samples[used]).astype(object) * self.calls(name)
            for name, surface in self.surfaces.items()
        }


def use_surface(machine: Machine, use: Use, most: int) -> Surface:
    """The exact surface of one use over counts 1..most."""

    def sampler(questions: Ints) -> Ints:
        counts = questions[:, 0]
        dims = {name: np.full(len(counts), value, np.int64) for name, value in use.dims.items()}
        return sample_rows(simulate(machine.placed, use.kind, dims | {use.varies: counts * use.scale}, dtype=use.dtype))

    key = {"machine": machine.key, "kind": use.kind, "dims": use.dims, "varies": use.varies, "scale": use.scale,
           "dtype": use.dtype}  # fmt: skip
    return Surface(use.name, [np.arange(1, most + 1)], sampler, memo.Table(key, 1, len(COLUMNS)))


# Attention is a staircase: in the chunk by the query tiles of the kernels (16 tokens divide all of them), in the keys
# that a query sees by their KV tiles. Exact up to these sizes, growing by 1/RATIO beyond.
STAIR, EXACT_VISIBLE, EXACT_TILES, RATIO = 16, 8192, 512, 64
ATTENTION_BLOCK = (8, 4)  # grid points simulated together
LEAST = 8192, 512, 1 << 17  # reach of shared tables: budgets and batches that servers are commonly given


Keep = Callable[[str, Callable[[], "CostTables"]], "CostTables"]


class Reach(NamedTuple):
    """Ends of the tables: new tokens of a step, its sequences, keys of a sequence."""

    tokens: int
    sequences: int
    longest: int

    @classmethod
    def of(cls, placement: Placement, software: Software) -> Reach:
        """Those of the scheduler; beyond them, to a power of two, where steps are answered whole.

        Samples of whole steps belong to cells that are numbered by the ends, so that deployments of one reach share
        them, in a process and on disk. Other classes ask for operators, which have no number.
        """
        scheduler = software.scheduler
        most = max(scheduler.token_budget, scheduler.max_num_seqs)
        own = cls(most, scheduler.max_num_seqs, placement.kv_blocks * scheduler.block_tokens)
        if not placement.decode.machine.whole_steps:
            return own
        return cls(*(1 << max(limit - 1, least - 1).bit_length() for limit, least in zip(own, LEAST)))


@dataclass(frozen=True)
class PhaseTables:
    """Operators of the steps of one phase: by padded tokens, by scheduled requests."""

    tokens: UseTable
    sequences: UseTable

    @property
    def both(self) -> tuple[tuple[int, UseTable], ...]:
        """The tables with the numbers the core has for them."""
        return (serve_types.TOKEN_TIME, self.tokens), (serve_types.SEQ_TIME, self.sequences)


@dataclass
class CostTables:
    """Everything the serving core asks the price of.

    Attributes
    ----------
    placement : Placement
    phases : tuple of PhaseTables
        Of the placement's phases: one where steps with prompts run as those without, else of decode and of prefill.
    token_time, seq_time : int64[kinds, counts]
        Times of all phases' kinds of stages, one below the other: the phases' tables are views into them.
    prefill, decode : Surface
        Attention of one layer of uniform steps: one chunk by (chunk, keys that its last query sees), decodes of equal
        contexts by (decodes, KV tiles a decode).
    steps : StepSamples or None
        Attention of one layer of any other step; None for classes that run a step's parts one after the other.
    """

    placement: Placement
    phases: tuple[PhaseTables, ...]
    token_time: Ints
    seq_time: Ints
    prefill: Surface
    decode: Surface
    steps: StepSamples | None
    software: Software

    @classmethod
    def of(cls, placement: Placement, software: Software, keep: Keep = lambda key, make: make()) -> CostTables:
        """Empty tables; samples are simulated when a replay asks for them.

        Parameters
        ----------
        keep : callable
            (key, make) -> tables of that key, made before or now: deployments share them that differ in schedulers.
        """
        reach, phases = Reach.of(placement, software), placement.phases
        key = repr(([(p.machine.key, p.spans) for p in phases], placement.attention, placement.tokens,
                    placement.sequences, reach))  # fmt: skip
        return replace(keep(key, lambda: cls._of(placement, software, reach)), placement=placement, software=software)

    @classmethod
    def _of(cls, placement: Placement, software: Software, reach: Reach) -> CostTables:
        attention = placement.attention
        kinds = sum(len(phase.kinds) for phase in placement.phases)
        token_time, seq_time = (np.empty((kinds, most + 1), np.int64) for most in (reach.tokens, reach.sequences))
        phases, first = [], 0
        for phase in placement.phases:
            rows = slice(first, first + len(phase.kinds))
            tables = (placement.tokens, token_time), (placement.sequences, seq_time)
            phases.append(PhaseTables(*(UseTable(phase, uses, times[rows]) for uses, times in tables)))
            first = rows.stop
        machine, asked = placement.decode.machine, attention.steps(*reach)
        return cls(
            placement,
            tuple(phases),
            token_time,
            seq_time,
            prefill_surface(placement.prefill.machine, attention, reach.tokens, reach.longest),
            decode_surface(machine, attention, reach.sequences, reach.longest),
            machine.placed.step_surface(asked) if len(phases) == 1 else None,
            software,
        )

    def fill(self, missing: Ints) -> None:
        """Simulate what the core lacked: rows (table, ix, iy) of `ServeRun.missing`."""
        kinds, first = missing[:, 0], 0
        for tables in self.phases:
            here = (missing[:, 2] >= first) & (missing[:, 2] < first + len(tables.tokens.times))
            for code, table in tables.both:
                if np.any(here & (kinds == code)):
                    table.fill(missing[here & (kinds == code), 1])
            first += len(tables.tokens.times)
        for surface, code in ((self.prefill, serve_types.PREFILL), (self.decode, serve_types.DECODE)):
            rows = missing[kinds == code]
            if len(rows):
                surface.fill_blocks(rows[:, 1] * len(surface.axes[1]) + rows[:, 2], ATTENTION_BLOCK)
        if self.steps is not None:
            self.steps.fill(missing[kinds == serve_types.STEP, 1])

    @cached_property
    def core(self) -> serve_types.Costs:
        """The tables as the serving core reads them; `fill` writes into the same arrays."""
        overheads, scheduler = self.software.overheads, self.software.scheduler
        most = max(scheduler.token_budget, scheduler.max_num_seqs)
        pad = np.arange(self.token_time.shape[1])
        pad[: most + 1] = serve_types.pad_table(most, list(scheduler.capture_sizes))
        layers = [span.layers for phase in self.placement.phases for span in phase.kinds]
        orders = self.placement.orders()
        fetch, landing = self._offloaded()
        return serve_types.Costs(
            token_time=self.token_time,
            seq_time=self.seq_time,
            prefill=_core_surface(self.prefill, skew=1),
            decode=_core_surface(self.decode),
            step=self.steps,
            layers=np.array(layers),
            decode_order=orders[0],
            prefill_order=orders[-1],
            pad=pad,
            step_gap_ps=landing
            + np.array([ps_ceil(overheads.step_gap + count * overheads.layer_gap) for count in layers]),
            seq_gap_ps=ps_ceil(overheads.seq_gap),
            mixed_gap_ps=np.array([ps_ceil(count * overheads.mixed_gap) for count in layers]),
            fetch_ps=fetch,
            change_ps=self.placement.change_ps,
        )

    def _offloaded(self) -> tuple[Ints, Ints]:
        """Picoseconds of each kind of stage until its offloaded weights have come, and that its memory takes them."""
        spans = [span for phase in self.placement.phases for span in phase.kinds]
        of = self.placement.offload
        if of is None:
            return np.zeros(len(spans), np.int64), np.zeros(len(spans), np.int64)
        return np.array([of.fetch_ps(span) for span in spans]), np.array([of.landing_ps(span) for span in spans])

    @property
    def cell_rows(self) -> Mapping[int, Ints]:
        """Sample of every cell of the table of steps that was asked."""
        return {} if self.steps is None else self.steps.rows

    def flush(self) -> None:
        """Keep new samples on disk."""
        exact = [surface for t in self.phases for _, table in t.both for surface in table.surfaces.values()]
        for surface in (*exact, self.prefill, self.decode, self.steps):
            if surface is not None and surface.memo is not None:
                surface.memo.flush()


def _core_surface(surface: Surface, skew: int = 0) -> serve_types.Surface:
    x, y = surface.axes
    return serve_types.Surface(x, y, surface.times, skew)


def prefill_surface(machine: Machine, shape: AttentionShape, most_chunk: int, longest: int) -> Surface:
    """Attention of one chunk of one sequence, over the chunk and the keys its last query sees, one layer."""

    def dims(chunk: Ints, visible: Ints) -> dict[str, Ints]:
        return {"batch": np.ones_like(chunk), "q_len": chunk, "kv_len": np.maximum(chunk, visible)}

    tile = machine.prefill_keys
    chunks = np.union1d([1], stairs(2, STAIR, most_chunk, most_chunk))  # one query alone is another kernel
    axes = [chunks, stairs(1, tile, EXACT_VISIBLE, longest, RATIO)]
    return attention_surface("attention_prefill", machine, shape, axes, dims)


def decode_surface(machine: Machine, shape: AttentionShape, most_decodes: int, longest: int) -> Surface:
    """Attention of n decodes of equal contexts of some KV tiles, one layer."""

    def dims(decodes: Ints, tiles: Ints) -> dict[str, Ints]:
        return {"batch": decodes, "q_len": np.ones_like(decodes), "kv_len": tiles * TILE_TOKENS}

    axes = [grid(1, most_decodes, most_decodes), grid(1, EXACT_TILES, ceil_div(longest, TILE_TOKENS), RATIO)]
    return attention_surface("attention_decode", machine, shape, axes, dims)


def attention_surface(
    kind: str,
    machine: Machine,
    shape: AttentionShape,
    axes: list[Ints],
    dims: Callable[[Ints, Ints], dict[str, Ints]],
) -> Surface:
    """A surface of an attention kind over two integers that `dims` turns into the operator's dimensions."""
    heads = {"heads": shape.heads, "kv_heads": shape.kv_heads, "head_dim": shape.head_dim}

    def sampler(questions: Ints) -> Ints:
        asked = dims(questions[:, 0], questions[:, 1])
        fixed = {name: np.full(len(questions), value, np.int64) for name, value in heads.items()}
        every = asked | fixed | {"kv_dtype": shape.kv_dtype}
        return sample_rows(simulate(machine.placed, kind, every, dtype=shape.dtype))

    key = {"machine": machine.key, "kind": kind, "dims": heads, "dtype": shape.dtype, "kv_dtype": shape.kv_dtype}
    return Surface(kind, axes, sampler, memo.Table(key, 2, len(COLUMNS)))
