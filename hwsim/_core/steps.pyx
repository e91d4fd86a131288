"""The composition of attention steps as the serving core does it, for batches and for tests against the numpy lines."""

import numpy as np
from hwsim._core.step_surface cimport AXES, TILE, StepForm, StepSums, StepTable, step_time
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from hwsim._core import serve_types

cdef StepSums _sums
assert np.asarray(<StepSums[:1]> &_sums).dtype.names == serve_types.StepSums._fields and TILE == serve_types.TILE_TOKENS


cdef class Steps:
    """A StepSurface as the core reads it; holds its arrays.

    Parameters
    ----------
    axes : seven int64 arrays
    keys, offsets : int64[1 << bits]
    constants, parts : int64 arrays
        Of its StepForm.
    """

    def __init__(self, axes, const int64_t[::1] keys, const int64_t[::1] offsets, const int64_t[::1] constants,
                 const int64_t[::1] parts):
        cdef const int64_t[::1] axis
        cdef Py_ssize_t i
        if len(axes) != AXES or constants.shape[0] * sizeof(int64_t) != sizeof(StepForm) or len(keys) != len(offsets):
            raise ValueError("seven axes, constants of the closed form, keys and offsets of one length are needed")
        held = [np.ascontiguousarray(a, np.int64) for a in axes]
        for i in range(AXES):
            axis = held[i]
            self.table.axis[i] = &axis[0]
            self.table.size[i] = axis.shape[0]
        memcpy(&self.table.form, &constants[0], sizeof(StepForm))
        self.table.keys, self.table.offsets, self.table.parts = &keys[0], &offsets[0], &parts[0]
        self.table.bits = int(len(keys)).bit_length() - 1
        self.table.most_rounds = parts.shape[0] // 129 - 1
        self.held = (held, keys, offsets, parts)

    def ask(self, const int64_t[:, ::1] sums):
        """Times of steps, ps, -1 where a cell has no sample: int64[n] from sums int64[n, 10] in the order of StepSums."""
        cdef Py_ssize_t n = sums.shape[0], i
        cdef int64_t[::1] out = np.empty(n, np.int64)
        cdef int64_t cells[2]
        cdef StepSums step
        with nogil:
            for i in range(n):
                memcpy(&step, &sums[i, 0], sizeof(StepSums))
                out[i] = step_time(&self.table, &step, cells)
        return np.asarray(out)
