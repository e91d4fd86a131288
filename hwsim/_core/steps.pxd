# A table of standard steps as nogil code asks it (step_surface.pxd).
from hwsim._core.step_surface cimport StepTable

cdef class Steps:
    cdef StepTable table
    cdef object held        # arrays the table points into
