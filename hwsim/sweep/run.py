"""`hwsim.sweep`: a study from its file to its result."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwsim.errors import bad
from hwsim.files import counted
from hwsim.sweep.check import StudyLike, checked
from hwsim.sweep.drive import Driver, Shard, Watch, has_points
from hwsim.sweep.executors import Factory, Opener, mpi, opener
from hwsim.sweep.ledger import Ledger
from hwsim.sweep.merge import Table, merge, write
from hwsim.sweep.outputs import Output
from hwsim.sweep.space import Space

if TYPE_CHECKING:
    import xarray

    from hwsim.sweep.search import Found


@dataclass(frozen=True)
class Result:
    """A study that was run, wholly or in part.

    Attributes
    ----------
    output : Path
        HDF5 file, whole where no point is missing.
    counts : dict of str to int
        Points by status; empty for a shard, which writes no result.
    space, table
        The points and their answers.
    """

    output: Path
    counts: dict[str, int]
    space: Space
    table: Table | None = None

    def dataset(self) -> xarray.Dataset:
        """The result in xarray (needs hwsim[analysis])."""
        import xarray

        return xarray.load_dataset(self.output, engine="h5netcdf")


def default_output(space: Space, suffix: str = "") -> Path:
    """Where a study goes that nobody named a file for."""
    return Path(f"{space.study.study or space.study.id or 'study'}{suffix}.h5")


def folder_of(output: Path) -> Path:
    """Folder of the study and its journals, beside the result."""
    return output.with_name(f"{output.name}.journal")


def sweep(
    study: StudyLike,
    executor: str | Factory = "local",
    *,
    output: str | Path | None = None,
    workers: int | None = None,
    shard: str = "",
    resume: bool = False,
    restart: bool = False,
    retry_failed: bool = False,
    watch: Watch | None = None,
) -> Result | None:
    """Run all points of a study and write its result.

    Parameters
    ----------
    study : str, Path, mapping or Study
        Name or file of a study, or the same as a mapping or an object.
    executor : str or callable
        "local" (processes), "threads", "dask", "dask=ADDRESS", "mpi", or what makes a `concurrent.futures.Executor`.
    output : str or Path, optional
        HDF5 file; NAME.h5 of the study by default. Journals lie in OUTPUT.journal beside it.
    workers : int, optional
        Tasks at once; all cores by default.
    shard : str, optional
        "I/N": run every N-th task only and write no result; `merge` joins the shards.
    resume, restart : bool
        What to do with the journals of an earlier run: go on, or start anew. Without either they are refused, unless
        they have all answers.
    retry_failed : bool
        Try points again that failed.
    watch : callable, optional
        Gets the report of each task.

    Returns
    -------
    Result or None
        None on the MPI ranks that only worked.

    Raises
    ------
    InputError
        A bad study; nothing ran.
    """
    given: dict[str, Any] = {"output": output, "shard": shard, "resume": resume, "restart": restart, "watch": watch}
    if executor != "mpi":
        return _run(study, opener(executor, workers), retry_failed=retry_failed, **given)
    with mpi() as pool:  # all ranks open it, before anything can fail on one of them
        if pool is None:
            return None
        return _run(study, lambda: nullcontext(pool), retry_failed=retry_failed, **given)


def search(
    study: StudyLike,
    executor: str | Factory = "local",
    *,
    output: str | Path | None = None,
    workers: int | None = None,
    trials: int = 100,
    sampler: str = "tpe",
    seed: int = 0,
    resume: bool = False,
    watch: Callable[[int, int], None] | None = None,
) -> tuple[Found, Path]:
    """Look for the best points of a study with objectives, and write its trials.

    Parameters
    ----------
    study, executor, workers
        As `sweep`; axes that are ranges are searched between their ends, others by their values.
    output : str or Path, optional
        HDF5 file; NAME-search.h5 by default.
    trials : int
        Points to look at.
    sampler : {"tpe", "nsga2", "gp", "random"}
        Of optuna.
    resume : bool
        Take the answers of an earlier search from its journals.

    Returns
    -------
    found : Found
        Trials, their Pareto front, the hypervolume by trial.
    output : Path
    """
    from hwsim.sweep.search import Search

    space = checked(study)
    place = Path(output) if output else default_output(space, "-search")
    folder = folder_of(place)
    if has_points(folder) and not resume:
        raise bad(str(folder), "journals of an earlier search", "--resume to go on, or another -o")
    found = Search(space, folder, opener(executor, workers), trials, sampler, seed, watch).run()
    table = found.table
    table.columns |= {"pareto": Output("1", "1 on the front"), "hypervolume": Output("1", "of the first trials")}
    table.values |= {"pareto": found.pareto.astype(float), "hypervolume": found.hypervolume}
    write(found.space, table, place)
    return found, place


def _run(study: Any, pools: Opener, *, output: Any, shard: str, resume: bool, restart: bool, retry_failed: bool,
         watch: Watch | None) -> Result:  # fmt: skip
    space = checked(study)
    place = Path(output) if output else default_output(space)
    if not place.absolute().parent.is_dir():
        raise bad("-o", str(place), "a file in a folder that exists")
    part = Shard.parse(shard) if shard else Shard()
    folder = folder_of(place)
    if restart:
        shutil.rmtree(folder, ignore_errors=True)
    elif has_points(folder) and not (resume or retry_failed or shard):
        _check_answered(folder, space)
    Driver(space, folder, pools, part, retry_failed, watch).run()
    if shard:
        return Result(place, {}, space)
    table = merge(space, folder, place)
    return Result(place, table.counts(), space, table)


def _check_answered(folder: Path, space: Space) -> None:
    """Refuse journals of an earlier run that lack points: whether they are to be run on top is the user's to say.

    A study whose points all have their answer needs no word: nothing runs again.
    """
    ledger = Ledger.read(folder, space)
    left = sum(len(ledger.open(space, space.task(number))) for number in range(space.tasks))
    if left:
        got = f"journals of an earlier run, without answers of {counted(left, 'point')} of this study"
        raise bad(str(folder), got, "--resume to run those alone, or --restart to remove the journals and start anew")


def merged(study: StudyLike, output: str | Path | None = None) -> Result:
    """Join the journals of a study, whole or not, into its result."""
    space = checked(study)
    place = Path(output) if output else default_output(space)
    folder = folder_of(place)
    if not has_points(folder):
        raise bad(str(folder), "no journals", "the folder of a study that ran", f"hwsim sweep ... -o {place}")
    table = merge(space, folder, place)
    return Result(place, table.counts(), space, table)
