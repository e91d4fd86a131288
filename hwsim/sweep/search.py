"""`hwsim search`: look for the best points of a study instead of running all of them (optuna, hwsim[search]).

Trials come in batches of a fixed size, are answered on the same executors and journals as a sweep, and are told to the
sampler in their order: a search is the same for any number of workers, and a resumed one asks the journals first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.errors import bad
from hwsim.sweep.axes import Axes, Dimension, Range, rounded
from hwsim.sweep.drive import DEATHS, TRIES
from hwsim.sweep.executors import Opener, Pool
from hwsim.sweep.journal import DONE
from hwsim.sweep.ledger import Ledger
from hwsim.sweep.merge import Table, gather
from hwsim.sweep.pareto import front, growth
from hwsim.sweep.space import Space
from hwsim.sweep.work import run_rows, write_study

BATCH = 8  # trials asked for together
SAMPLERS = {"tpe": "TPESampler", "nsga2": "NSGAIISampler", "gp": "GPSampler", "random": "RandomSampler"}


@dataclass
class Search:
    """A search over the axes of a study.

    Parameters
    ----------
    space : Space
        Of a study with objectives; its sampler, if it has one, is not used.
    folder : Path
        Of the study and its journals.
    opener : callable
        Opens the executor.
    trials : int
    sampler : {"tpe", "nsga2", "gp", "random"}
    seed : int
    watch : callable, optional
        Gets (trials answered, all trials).
    """

    space: Space
    folder: Path
    opener: Opener
    trials: int = 100
    sampler: str = "tpe"
    seed: int = 0
    watch: Callable[[int, int], None] | None = None
    token: str = field(init=False, default="")
    pools: ExitStack = field(init=False, default_factory=ExitStack)
    pool: Pool | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not self.space.study.objectives:
            raise bad("search", "a study without objectives", "objectives: {COLUMN: min or max, ...}")
        if self.sampler not in SAMPLERS:
            raise bad("--sampler", repr(self.sampler), "one of " + ", ".join(SAMPLERS))
        if not 1 <= self.trials <= 10**5:
            raise bad("--trials", self.trials, "1 to 100,000")
        axes = Axes(self.space.study)
        self.ranges: dict[str, Range] = axes.ranges
        self.dimensions: list[Dimension] = axes.choices()

    def run(self) -> Found:
        """Ask, answer and tell until all trials are done."""
        with self.pools:
            return self._trials()

    def _trials(self) -> Found:
        optuna = _optuna()
        study = optuna.create_study(directions=self.directions, sampler=self._sampler(optuna))
        self.token = write_study(self.folder, self.space.study)
        rows: list[tuple[Any, ...]] = []
        table: Table | None = None
        while len(rows) < self.trials:
            asked = [study.ask() for _ in range(min(BATCH, self.trials - len(rows)))]
            rows += [self._row(trial) for trial in asked]
            table = self._answered(rows)
            for trial, place in zip(asked, range(len(rows) - len(asked), len(rows))):
                self._tell(optuna, study, trial, table, place)
            if self.watch is not None:
                self.watch(len(rows), self.trials)
        assert table is not None
        return self._found(rows, table)

    @property
    def directions(self) -> list[str]:
        """What optuna is to do with each objective."""
        return [f"{way}imize" for way in self.space.study.objectives.values()]

    def _sampler(self, optuna: Any) -> Any:
        """The sampler of a name."""
        return getattr(optuna.samplers, SAMPLERS[self.sampler])(seed=self.seed)

    def _row(self, trial: Any) -> tuple[Any, ...]:
        """Values of the axes' paths that a trial asks for."""
        row: list[Any] = []
        for axis in self.dimensions:
            span = self.ranges.get(axis.name)
            if span is None:
                row += axis.rows[trial.suggest_categorical(axis.name, list(range(len(axis))))]
            elif span.whole:
                row.append(trial.suggest_int(axis.name, int(span.low), int(span.high), log=span.log))
            else:
                share = trial.suggest_float(axis.name, float(span.low), float(span.high), log=span.log)
                row.append(span.written(min(max(rounded(Fraction(share)), span.low), span.high)))
        return tuple(row)

    def _over(self, rows: Sequence[tuple[Any, ...]]) -> Space:
        """The space of these trials, each as often as it was asked for."""
        paths = tuple(path for axis in self.dimensions for path in axis.paths)
        return self.space.over(Dimension("trial", paths, tuple(rows), ("search",) * len(paths)))

    def _answered(self, rows: list[tuple[Any, ...]]) -> Table:
        """Answers of all trials so far; those that no journal has are run."""
        space = self._over(rows)
        for _ in range(TRIES):
            left = Ledger.read(self.folder, space).open(space, np.arange(len(rows)))
            left = left[np.unique(space.keys(left), return_index=True)[1]]
            if not len(left):
                break
            self._run([rows[index] for index in sorted(left.tolist())], space.axes[0].paths)
        return gather(space, self.folder)

    def _run(self, rows: list[tuple[Any, ...]], paths: tuple[str, ...]) -> None:
        """Answer rows on the executor that is open; one whose workers died is closed."""
        if self.pool is None:
            self.pool = self.pools.enter_context(self.opener())
        try:
            submit = self.pool.executor.submit
            futures = [submit(run_rows, str(self.folder), self.token, paths, [row]) for row in rows]
            for future in futures:
                future.result()
        except Exception as error:
            if not isinstance(error, BrokenExecutor) and type(error).__name__ not in DEATHS:
                raise
            self.pool = None
            self.pools.close()

    def _tell(self, optuna: Any, study: Any, trial: Any, table: Table, place: int) -> None:
        values = [float(table.values[name][place]) for name in self.space.study.objectives]
        done = table.status[place] == DONE
        for rule, far in zip(self.space.feasible, table.violations):
            trial.set_constraint(rule.text, float(far[place]) if done else 1.0)
        if np.isnan(values).any():
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, values)

    def _found(self, rows: list[tuple[Any, ...]], table: Table) -> Found:
        ways = np.array([1.0 if way == "min" else -1.0 for way in self.space.study.objectives.values()])
        values = np.stack([table.values[name] for name in self.space.study.objectives], axis=1) * ways
        feasible = table.values.get("feasible")
        if feasible is not None:
            values[feasible != 1] = np.nan
        return Found(self._over(rows), table, front(values), growth(values))


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes
    ----------
    space : Space
        One dimension, `trial`.
    table : Table
    pareto : bool[trials]
        Trials on the front of feasible ones.
    hypervolume : float64[trials]
        That the first trials cover, as a share of the last.
    """

    space: Space
    table: Table
    pareto: NDArray[np.bool_]
    hypervolume: NDArray[np.float64]


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise bad("search", "no optuna", "hwsim[search]", "pip install 'hwsim[search]'") from None
    import warnings

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna
