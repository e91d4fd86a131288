"""Where tasks run: any `concurrent.futures.Executor`, or one by name. hwsim has no scheduler of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import cast

from hwsim.errors import bad
from hwsim.sweep.work import watch_parent


@dataclass(frozen=True)
class Pool:
    """An executor that is open, and how many tasks it runs at once."""

    executor: Executor
    workers: int


Factory = Callable[[], Executor]


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def local(workers: int | None, address: str) -> Iterator[Pool]:
    """Processes of this machine, started by a clean server process that has hwsim imported."""
    import multiprocessing

    count = workers or cores()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hwsim.sweep.work"])
    with ProcessPoolExecutor(count, mp_context=context, initializer=watch_parent) as executor:
        yield Pool(executor, count)


@contextmanager
def threads(workers: int | None, address: str) -> Iterator[Pool]:
    """Threads of this process: the cores hold no GIL, Python around them does."""
    count = workers or cores()
    with ThreadPoolExecutor(count) as executor:
        yield Pool(executor, count)


@contextmanager
def dask(workers: int | None, address: str) -> Iterator[Pool]:
    """A Dask cluster: at an address, or a local one of `workers` processes."""
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise bad("--executor", "dask, which is not installed", "hwsim[hpc]", "pip install 'hwsim[hpc]'") from None
    if address:
        with Client(address) as client:
            yield Pool(client.get_executor(), sum(client.nthreads().values()))
        return
    count = workers or cores()
    with (
        LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield Pool(client.get_executor(), count)


@contextmanager
def mpi() -> Iterator[Pool | None]:
    """Ranks of `mpiexec -n N hwsim sweep ...`: rank 0 gets the pool, the others work until it closes and get None."""
    try:
        from mpi4py import MPI
        from mpi4py.futures import MPICommExecutor
    except ImportError:
        raise bad("--executor", "mpi, but mpi4py is not installed", "hwsim[hpc]", "pip install 'hwsim[hpc]'") from None
    size = MPI.COMM_WORLD.Get_size()
    if size < 2:
        raise bad("--executor", "mpi with one rank", "two ranks or more", "mpiexec -n 3 hwsim sweep ... --executor mpi")
    with MPICommExecutor(MPI.COMM_WORLD, root=0) as executor:
        yield Pool(cast(Executor, executor), size - 1) if executor is not None else None


# Executors that a driver may open again and again. MPI is opened once, by all ranks; SLURM runs drivers (`slurm.py`).
NAMED: Mapping[str, Callable[[int | None, str], AbstractContextManager[Pool]]] = {
    "local": local,
    "threads": threads,
    "dask": dask,
}


Opener = Callable[[], AbstractContextManager[Pool]]


def opener(executor: str | Factory, workers: int | None = None) -> Opener:
    """What opens an executor for the length of a `with`; a broken one can be opened again.

    Parameters
    ----------
    executor : str or callable
        "local", "threads", "dask", "dask=ADDRESS", or what makes a `concurrent.futures.Executor`.
    workers : int, optional
        Tasks at once; of a callable, how many it was made for.
    """
    if workers is not None and workers < 1:
        raise bad("--workers", workers, "at least 1")
    if callable(executor):
        return lambda: given(executor, workers)
    name, _, address = executor.partition("=")
    if name not in NAMED or (address and name != "dask"):
        raise bad("--executor", repr(executor), "one of " + ", ".join([*NAMED, "dask=ADDRESS", "mpi", "slurm"]))
    return lambda: NAMED[name](workers, address)


@contextmanager
def given(factory: Factory, workers: int | None) -> Iterator[Pool]:
    """What a user's factory makes."""
    with factory() as made:
        yield Pool(made, workers or getattr(made, "_max_workers", None) or cores())
