"""Attention of whole steps from samples of standard steps, in plain Python: the lines of hwsim/_core/steps.pyx."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from hwsim._core import step_tables as shared
from hwsim._core.serve_types import Ints, StepTimes
from hwsim._core.step_tables import StepSums
from hwsim.units import ceil_div

CHUNKS = StepSums._fields.index("decodes")  # the columns before it are of the chunks


def nearest(grid: Ints, num: int, den: int = 1) -> int:
    """Index of the grid point nearest to num / den by ratio; the ends hold what lies beyond them."""
    low = max(int(np.searchsorted(grid, num // den, side="right")) - 1, 0)
    high = min(low + 1, len(grid) - 1)
    beyond = num >= int(grid[low]) * den and num * num > int(grid[low]) * int(grid[high]) * den * den
    return high if beyond else low


@dataclass(frozen=True)
class Steps:
    """A table of steps as the core has it (`hwsim._core.steps.Steps`); missing samples are asked for."""

    times: StepTimes

    @property
    def axes(self) -> tuple[Ints, ...]:
        """The seven grids."""
        return self.times.table.axes

    @property
    def form(self) -> SimpleNamespace:
        """Constants of the closed form."""
        row = self.times.table.form[0]
        return SimpleNamespace(**{name: int(row[name]) for name in shared.FORM_ROW.names or ()})

    def price(self, sums: StepSums) -> tuple[int, tuple[int, int]]:
        """Attention of a step, ps of one layer, and the cells that answer: see `Steps.price` of the core."""
        if self.form.one_kernel or not sums.tokens or not sums.decodes:
            time, cell = self._part(sums)
            return time, (cell, -1)
        chunks = StepSums(*sums[:CHUNKS], *(0,) * (len(sums) - CHUNKS))
        decodes = StepSums(*(0,) * CHUNKS, *sums[CHUNKS:])
        (first, cell), (second, decode_cell) = self._part(chunks), self._part(decodes)
        return first + second, (cell, decode_cell)

    def _part(self, sums: StepSums) -> tuple[int, int]:
        """Time of a step of one kernel, and its cell."""
        cell, table = self.cell(sums), self.times.table
        if table.offset(cell) is None:
            self.times.fill(np.array([cell]))
        offset = table.offset(cell)
        assert offset is not None
        return max(self.closed(sums) + offset, 1), cell

    def cell(self, sums: StepSums) -> int:
        """Flat index of the cell a step falls into."""
        several, tokens, cached, decodes, mean, spread, moment = self.axes
        at = [0] * shared.AXES
        if sums.tokens:
            at[0] = nearest(several, shared.QUARTERS * sums.tokens, sums.widest)
            at[1] = self._of_its_kind(max(nearest(tokens, sums.tokens), 1), sums, int(several[at[0]]))
            if sums.behind >= shared.TILE // 2 * sums.widest:
                at[2] = max(nearest(cached, sums.behind // sums.widest), 1)
        if sums.decodes:
            middle = max(sums.keys // sums.decodes, 1)
            at[3] = max(nearest(decodes, sums.decodes), 1)
            at[4] = nearest(mean, shared.MEAN * sums.tiles, sums.decodes)
            at[5] = nearest(spread, shared.SPREAD * sums.longest * sums.decodes, sums.tiles)
            at[6] = nearest(moment, shared.SPREAD * (sums.moment // sums.decodes) // middle**2)
        return int(np.ravel_multi_index(at, [len(axis) for axis in self.axes]))

    def _of_its_kind(self, index: int, sums: StepSums, chunks: int) -> int:
        """A grid point of tokens, moved to a neighbour with as many waves and parts as the step if it has one."""
        tokens = self.axes[1]
        wanted = self._kind(sums.tokens, chunks, deepest(sums))
        for shift in (0, 1, -1, 2, -2, 3, -3):
            place = min(max(index + shift, 1), len(tokens) - 1)
            if self._kind(int(tokens[place]), chunks, deepest(sums)) == wanted:
                return place
        return index

    def _kind(self, tokens: int, chunks: int, longest: int) -> tuple[int, int]:
        """Waves of query tiles, and parts they leave to decodes."""
        form, widest = self.form, max(ceil_div(shared.QUARTERS * tokens, chunks), 1)
        tiles = tokens // widest * ceil_div(widest, form.rows) + ceil_div(tokens % widest, form.rows)
        waves = ceil_div(tiles * form.items, form.cores)
        return min(waves, shared.MOST_WAVES), self._allowed(widest, longest)

    def _allowed(self, widest: int, longest: int) -> int:
        """Parts the rule allows decodes beside a chunk of `widest` tokens, by the blocks of the longest sequence."""
        parts = self.times.table.parts
        return int(parts[min(ceil_div(widest, self.form.rows), len(parts) - 1), min(longest, shared.MOST_PARTS)])

    def closed(self, sums: StepSums) -> int:
        """The closed form of a step, ps, rounded up."""
        form, chunk = self.form, sums.tokens > 0
        work = form.chunk_token * sums.tokens + form.chunk_pair * (2 * sums.behind + sums.squares)
        path = (form.chunk_once + form.chunk_step * ceil_div(sums.reach, form.keys)) * chunk
        total = (form.start_prefill + form.token * sums.tokens) * chunk
        if chunk and sums.decodes and form.one_kernel:
            total += form.token * sums.decodes + self._mixed(sums, work, path)
        else:
            total += max(work, path) + (form.start_decode + self._decodes(sums)) * (sums.decodes > 0)
        return ceil_div(total, 1 << shared.FINE)

    def _decodes(self, sums: StepSums) -> int:
        form = self.form
        parts = max(form.cores // max(sums.decodes * form.kv_heads, 1), 1)
        work = form.decode_item * sums.decodes + form.decode_tile * sums.tiles
        return max(work, form.tile_bytes * sums.tiles, form.decode_once + form.decode_step * sums.longest // parts)

    def _mixed(self, sums: StepSums, work: int, path: int) -> int:
        form, memory = self.form, self.form.tile_bytes * sums.tiles
        decodes = form.mixed_item * sums.decodes + form.mixed_tile * sums.tiles
        blocks = (sums.behind + sums.squares) // (form.rows * shared.TILE) + sums.tiles
        each = max(ceil_div(11 * blocks * form.items, 10 * form.cores), 1)
        parts = min(self._allowed(sums.widest, deepest(sums)), ceil_div(sums.longest, each))
        longest = max(path, form.mixed_once + form.mixed_step * ceil_div(sums.longest, max(parts, 1)))
        if not form.heads_first:
            return max(work + max(decodes, memory), longest)
        # The first query head of a KV head waits for HBM, the others find its keys in the L2; heads follow each other,
        # so that the longest item of one is partly hidden behind the work of the next.
        total = work + max(decodes // form.group, memory) + decodes - decodes // form.group
        return max(total, longest) + min(total, longest) // 4


def deepest(sums: StepSums) -> int:
    """Blocks of the longest sequence of a step, decoding or not."""
    return max(sums.longest, ceil_div(sums.reach, shared.TILE))
