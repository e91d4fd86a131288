"""The result of a run: one HDF5 file, written in whole chunks, readable up to the last committed row at any moment.

One group per kind of row, one dataset per column, a dimension scale per group, `units` and `long_name` on every column:
`xarray.open_dataset(path, group="requests")` needs nothing else. Root attributes hold what is needed to run it again.

Design: chunks are shuffled and compressed here and handed to HDF5 as they are, so a chunk is written once, never read
back, and costs no HDF5 cache. The low version bound is the oldest, which every reader knows and which puts no mark into
the file of a killed run. HDF5 changes its index in place; journal.py makes each such change whole or absent, so what
`rows_committed` says is readable whenever the process is killed. SWMR was rejected: it needs the newest format and says
nothing about a killed writer. The file is FILE.part until it is complete; then a check sum is put behind the end that
HDF5 knows of.
"""

from hwsim.trace.columns import BOUND_CLASSES, LEVELS, TABLES, Column, Table
from hwsim.trace.reader import Trace, open_trace
from hwsim.trace.writer import Writer

__all__ = ["BOUND_CLASSES", "LEVELS", "TABLES", "Column", "Table", "Trace", "Writer", "open_trace"]
