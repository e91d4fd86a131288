"""Points in the unit cube: where a study's samples lie between the ends of its axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.describe.study import Sampler
from hwsim.errors import bad

STEP = 2.0**-30  # shares are multiples of it: exact in binary, the same text on every machine


def draw(sampler: Sampler, axes: int, where: str = "sampler") -> NDArray[np.float64]:
    """Points of a sampler.

    Parameters
    ----------
    sampler : Sampler
    axes : int
    where : str
        What a message names as the place of the fault.

    Returns
    -------
    float64[n, axes]
        In [0, 1), multiples of 2**-30. n is `sampler.points`; of saltelli, points x (axes + 2).

    Raises
    ------
    InputError
        scipy or SALib is not installed, or a saltelli design whose base is no power of two.

    Notes
    -----
    Sobol' sequences are scrambled (Owen 1998) and latin hypercubes drawn by scipy.stats.qmc; saltelli is the design of
    Saltelli et al. (2010) for first-order and total indices, by SALib.
    """
    if sampler.method == "random":
        made = np.random.Generator(np.random.PCG64(sampler.seed)).random((sampler.points, axes))
    elif sampler.method == "saltelli":
        made = _saltelli(sampler, axes, where)
    else:
        made = _quasi(sampler, axes, where)
    return np.minimum(np.floor(made / STEP) * STEP, 1 - STEP)


def _quasi(sampler: Sampler, axes: int, where: str) -> NDArray[np.float64]:
    try:
        from scipy.stats import qmc
    except ImportError:
        raise bad(where, "no scipy", "hwsim[search]", "pip install 'hwsim[search]'") from None
    if sampler.method == "latin-hypercube":
        found: NDArray[np.float64] = qmc.LatinHypercube(axes, seed=sampler.seed).random(sampler.points)
        return found
    sequence = qmc.Sobol(axes, seed=sampler.seed)
    made: NDArray[np.float64] = sequence.random_base2(max(0, (sampler.points - 1).bit_length()))
    return made[: sampler.points]


def problem(axes: int) -> dict[str, object]:
    """The unit cube as SALib describes a problem."""
    return {"num_vars": axes, "names": [str(index) for index in range(axes)], "bounds": [[0.0, 1.0]] * axes}


def _saltelli(sampler: Sampler, axes: int, where: str) -> NDArray[np.float64]:
    try:
        from SALib.sample import sobol
    except ImportError:
        raise bad(where, "no SALib", "hwsim[search]", "pip install 'hwsim[search]'") from None
    if sampler.points & (sampler.points - 1):
        raise bad(where, f"{sampler.points} points", "a power of two for saltelli, e.g. 64")
    made: NDArray[np.float64] = sobol.sample(problem(axes), sampler.points, calc_second_order=False, seed=sampler.seed)
    return made
