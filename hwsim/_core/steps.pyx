"""Attention of whole steps, composed from samples of standard steps.

Design: seven grid coordinates of a step's sums name a cell; a hash table holds by how much a sample of the cell takes
longer than its closed form; the step takes that much longer than its own. No loop over requests, integers only. A cell
without a sample is named to the caller, who has it simulated, puts it here and asks again. The reference is
hwsim/reference/steps.py.
"""

import numpy as np

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from hwsim._core import step_tables
from hwsim.errors import HwsimError

cdef StepSums _sums
cdef StepForm _form
assert np.asarray(<StepSums[:1]> &_sums).dtype.names == step_tables.StepSums._fields
assert np.asarray(<StepForm[:1]> &_form).dtype == step_tables.FORM_ROW
for _name, _value in {"AXES": AXES, "QUARTERS": QUARTERS, "MEAN": MEAN, "SPREAD": SPREAD, "TILE": TILE, "FINE": FINE,
                      "MOST_WAVES": MOST_WAVES, "MOST_PARTS": MOST_PARTS}.items():
    assert getattr(step_tables, _name) == _value, _name


cdef int64_t larger(int64_t a, int64_t b) noexcept nogil:
    return a if a > b else b


cdef int64_t smaller(int64_t a, int64_t b) noexcept nogil:
    return a if a < b else b


cdef int64_t ceil_div(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b


cdef int64_t nearest(const int64_t *grid, int64_t size, int64_t num, int64_t den) noexcept nogil:
    """Index of the grid point nearest to num / den by ratio; the ends hold what lies beyond them."""
    cdef int64_t low = 0, high = size - 1, middle
    while low < high:
        middle = (low + high + 1) >> 1
        if grid[middle] <= num // den:
            low = middle
        else:
            high = middle - 1
    high = smaller(low + 1, size - 1)
    if num >= grid[low] * den and num * num > grid[low] * grid[high] * den * den:
        return high
    return low


cdef int64_t allowed(const StepTable *t, int64_t widest, int64_t longest) noexcept nogil:
    """Parts that the rule allows decodes beside a chunk of `widest` tokens; blocks of the longest sequence."""
    return t.parts[smaller(ceil_div(widest, t.form.rows), t.most_rounds) * (MOST_PARTS + 1) + smaller(longest, MOST_PARTS)]


cdef int64_t deepest(const StepSums *s) noexcept nogil:
    """Blocks of the longest sequence of a step, decoding or not."""
    return larger(s.longest, ceil_div(s.reach, TILE))


cdef int64_t kind_of(const StepTable *t, int64_t tokens, int64_t chunks, int64_t longest) noexcept nogil:
    """Waves of query tiles, and parts they leave to decodes: what a sample must share with the step."""
    cdef int64_t widest = larger(ceil_div(QUARTERS * tokens, chunks), 1)
    cdef int64_t rounds = tokens // widest * ceil_div(widest, t.form.rows) + ceil_div(tokens % widest, t.form.rows)
    cdef int64_t waves = ceil_div(rounds * t.form.items, t.form.cores)
    return smaller(waves, MOST_WAVES) * 1000 + allowed(t, widest, longest)


cdef int64_t same_class(const StepTable *t, int64_t index, int64_t tokens, int64_t chunks,
                               int64_t longest) noexcept nogil:
    """A grid point of tokens, moved to a neighbour of the step's own kind if it has one."""
    cdef int64_t wanted = kind_of(t, tokens, chunks, longest), place, other
    if kind_of(t, t.axis[1][index], chunks, longest) == wanted:
        return index
    for place in range(6):
        other = index + (1 + place // 2) * (1 if place % 2 == 0 else -1)
        other = smaller(larger(other, 1), t.size[1] - 1)
        if kind_of(t, t.axis[1][other], chunks, longest) == wanted:
            return other
    return index


cdef int64_t cell_of(const StepTable *t, const StepSums *s) noexcept nogil:
    """Flat index of the step's cell."""
    cdef int64_t place[7]
    cdef int64_t i, middle, flat = 0
    for i in range(AXES):
        place[i] = 0
    if s.tokens > 0:
        place[0] = nearest(t.axis[0], t.size[0], QUARTERS * s.tokens, larger(s.widest, 1))
        place[1] = larger(nearest(t.axis[1], t.size[1], s.tokens, 1), 1)
        place[1] = same_class(t, place[1], s.tokens, t.axis[0][place[0]], deepest(s))
        if 2 * s.behind >= TILE * s.widest:
            place[2] = larger(nearest(t.axis[2], t.size[2], s.behind // larger(s.widest, 1), 1), 1)
    if s.decodes > 0:
        place[3] = larger(nearest(t.axis[3], t.size[3], s.decodes, 1), 1)
        place[4] = nearest(t.axis[4], t.size[4], MEAN * s.tiles, s.decodes)
        place[5] = nearest(t.axis[5], t.size[5], SPREAD * s.longest * s.decodes, larger(s.tiles, 1))
        middle = larger(s.keys // s.decodes, 1)
        place[6] = nearest(t.axis[6], t.size[6], SPREAD * (s.moment // s.decodes) // (middle * middle), 1)
    for i in range(AXES):
        flat = flat * t.size[i] + place[i]
    return flat


cdef int64_t mixed_form(const StepTable *t, const StepSums *s, int64_t work, int64_t path,
                               int64_t memory) noexcept nogil:
    cdef const StepForm *f = &t.form
    cdef int64_t decodes = f.mixed_item * s.decodes + f.mixed_tile * s.tiles, total, parts, longest
    cdef int64_t blocks = (s.behind + s.squares) // (f.rows * TILE) + s.tiles
    cdef int64_t each = larger(ceil_div(11 * blocks * f.items, 10 * f.cores), 1)
    parts = smaller(allowed(t, s.widest, deepest(s)), ceil_div(s.longest, each))
    longest = f.mixed_once + f.mixed_step * ceil_div(s.longest, larger(parts, 1))
    longest = larger(path, longest)
    if f.heads_first:
        total = work + larger(decodes // f.group, memory) + decodes - decodes // f.group
        return larger(total, longest) + smaller(total, longest) // 4
    return larger(work + larger(decodes, memory), longest)


cdef int64_t form_of(const StepTable *t, const StepSums *s) noexcept nogil:
    """The closed form of a step, 1/1024 ps."""
    cdef const StepForm *f = &t.form
    cdef int64_t work = f.chunk_token * s.tokens + f.chunk_pair * (2 * s.behind + s.squares)
    cdef int64_t path = f.chunk_once + f.chunk_step * ceil_div(s.reach, f.keys) if s.tokens > 0 else 0
    cdef int64_t memory = f.tile_bytes * s.tiles, start = 0, parts, alone
    if s.tokens > 0:
        start = f.start_prefill + f.token * s.tokens
        if s.decodes > 0 and f.one_kernel:
            return start + f.token * s.decodes + mixed_form(t, s, work, path, memory)
        start += larger(work, path)
    if s.decodes > 0:
        parts = larger(f.cores // larger(s.decodes * f.kv_heads, 1), 1)
        alone = larger(larger(f.decode_item * s.decodes + f.decode_tile * s.tiles, memory),
                       f.decode_once + f.decode_step * s.longest // parts)
        start += f.start_decode + alone
    return start


cdef int64_t closed_form(const StepTable *t, const StepSums *s) noexcept nogil:
    """The closed form of a step, ps, rounded up."""
    return (form_of(t, s) + (1 << FINE) - 1) >> FINE


cdef int64_t slot_of(const StepTable *t, int64_t cell) noexcept nogil:
    """Where a cell's search begins."""
    return <int64_t> ((<uint64_t> cell * <uint64_t> 0x9E3779B97F4A7C15ULL) >> (64 - t.bits))


cdef int64_t place_of(const StepTable *t, int64_t cell) noexcept nogil:
    """Where the sample of a cell is, -1 without one."""
    cdef int64_t place = slot_of(t, cell)
    while t.keys[place] != 0:
        if t.keys[place] == cell + 1:
            return place
        place = (place + 1) & ((1 << t.bits) - 1)
    return -1


cdef int64_t time_of(const StepTable *t, const StepSums *s, int64_t *cell, bint guess) noexcept nogil:
    """Time of a step of one kernel, ps; where its cell has no sample -1, or with `guess` the closed form alone."""
    cdef int64_t place, time = closed_form(t, s)
    cell[0] = cell_of(t, s)
    place = place_of(t, cell[0])
    if place < 0:
        return time if guess else -1
    return larger(time + t.offsets[place], 1)


cdef class Steps:
    """Samples of standard steps, and how they are carried to other steps.

    Parameters
    ----------
    axes : seven int64 arrays
        Rising grids: new tokens over the widest chunk in 1/4, new tokens, keys behind the widest chunk, decodes, 1/4
        tiles a decode, 1/16 of longest / mean, 1/16 of mean square over squared mean. 0 tokens or decodes mean none.
    form : FORM_ROW[1]
    parts : int64[rounds of query tiles + 1, MOST_PARTS + 1]
        Parts that the library's rule allows decodes beside chunks of so many, by the blocks of the longest sequence.
    bits : int
        Of the size of the hash table.
    """

    def __init__(self, axes, form, const int64_t[:, ::1] parts, int bits=20):
        cdef const int64_t[::1] axis
        cdef const StepForm[::1] row = form
        cdef int64_t[::1] keys = np.zeros(1 << bits, np.int64), offsets = np.zeros(1 << bits, np.int64)
        cdef Py_ssize_t i
        if len(axes) != AXES or parts.shape[1] != MOST_PARTS + 1:
            raise ValueError(f"{len(axes)} axes, {parts.shape[1]} columns of parts")
        self.axes = tuple(np.ascontiguousarray(a, np.int64) for a in axes)
        self.form, self.parts, self.held = form, np.asarray(parts), (keys, offsets)
        for i in range(AXES):
            axis = self.axes[i]
            self.table.axis[i] = &axis[0]
            self.table.size[i] = axis.shape[0]
        self.table.form = row[0]
        self.table.keys, self.table.offsets, self.table.bits = &keys[0], &offsets[0], bits
        self.table.parts, self.table.most_rounds = &parts[0, 0], parts.shape[0] - 1

    def put(self, const int64_t[::1] cells, const int64_t[::1] offsets):
        """Keep samples of cells that have none: how much longer than their closed form they take, ps.

        Raises
        ------
        HwsimError
            More than seven eighths of the table would be full: a search would take long.
        """
        cdef Py_ssize_t i
        cdef int64_t place, most = 7 << self.table.bits >> 3
        if self.count + cells.shape[0] > most:
            raise HwsimError(f"steps of more than {most} kinds: cut the requests or the study into several")
        for i in range(cells.shape[0]):
            place = slot_of(&self.table, cells[i])
            while self.table.keys[place]:
                place = (place + 1) & ((1 << self.table.bits) - 1)
            self.table.keys[place], self.table.offsets[place] = cells[i] + 1, offsets[i]
        self.count += cells.shape[0]

    def offset(self, int64_t cell):
        """What `put` keeps of a cell, or None."""
        cdef int64_t place = place_of(&self.table, cell)
        return None if place < 0 else self.table.offsets[place]

    def ask(self, const int64_t[:, ::1] sums):
        """Price steps.

        Parameters
        ----------
        sums : int64[n, 10]
            In the order of StepSums.

        Returns
        -------
        times : int64[n]
            Picoseconds of one layer, -1 where a cell has no sample.
        cells : int64[n, 2]
            Cells that answer: of the step or its chunks, and of decodes in a kernel of their own (-1 = none).
        """
        cdef Py_ssize_t i
        cdef int64_t[::1] times = np.empty(sums.shape[0], np.int64)
        cdef int64_t[:, ::1] cells = np.empty((sums.shape[0], 2), np.int64)
        assert sums.shape[1] == len(step_tables.StepSums._fields)
        for i in range(sums.shape[0]):
            times[i] = self.price(<const StepSums *> &sums[i, 0], &cells[i, 0], False)
        return np.asarray(times), np.asarray(cells)

    def closed(self, const int64_t[:, ::1] sums):
        """The closed form alone of steps asked as in `ask`, int64[n] in ps, rounded up."""
        cdef Py_ssize_t i
        cdef int64_t[::1] out = np.empty(sums.shape[0], np.int64)
        assert sums.shape[1] == len(step_tables.StepSums._fields)
        for i in range(sums.shape[0]):
            out[i] = closed_form(&self.table, <const StepSums *> &sums[i, 0])
        return np.asarray(out)

    cdef int64_t price(self, const StepSums *s, int64_t *cells, bint guess) noexcept nogil:
        """Attention of a step, ps of one layer; where a cell has no sample -1, or with `guess` the closed form alone.

        The cells asked go to cells[0] (of the step, or of its chunks) and cells[1] (of its decodes in a kernel of their
        own), -1 = none.
        """
        cdef StepSums chunks, decodes
        cdef int64_t first, second
        cells[0] = cells[1] = -1
        if self.table.form.one_kernel or s.tokens == 0 or s.decodes == 0:
            return time_of(&self.table, s, cells, guess)
        chunks, decodes = s[0], s[0]
        chunks.decodes = chunks.tiles = chunks.longest = chunks.keys = chunks.moment = 0
        decodes.tokens = decodes.squares = decodes.behind = decodes.reach = decodes.widest = 0
        first = time_of(&self.table, &chunks, cells, guess)
        second = time_of(&self.table, &decodes, cells + 1, guess)
        return -1 if first < 0 or second < 0 else first + second
