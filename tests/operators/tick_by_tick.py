"""The executor against the reference, and the shapes that products of every class are tried with."""

import numpy as np

from hwsim.operators.candidates import Programs
from hwsim.operators.operator import complete, kind_of
from hwsim.operators.program import Bound, bind, run_many
from hwsim.reference import engine as reference


def bound_of(group: Programs) -> Bound:
    return bind(group.template, group.values, group.rates, group.laws, group.cells)


def check(bound: Bound) -> None:
    """Ends, busy times and passes of all programs equal those of the reference."""
    outcome = run_many(bound.require())
    for program in range(len(bound)):
        slow = reference.run(bound, program)
        assert (slow.end, slow.status) == (outcome.end[program], outcome.status[program])
        assert slow.busy == outcome.busy[program].tolist()
        assert slow.passes == outcome.passes[program].tolist()


def shapes(count: int, seed: int, octaves: tuple[int, int], dtype: str = "bf16") -> dict[str, np.ndarray]:
    """Random products: m from 1 over so many octaves, n and k from 64 over so many."""
    rng = np.random.Generator(np.random.PCG64(seed))
    exponents = rng.integers(0, np.array([octaves[0], octaves[1], octaves[1]]) * 64, (count, 3)) / 64
    m, n, k = (np.maximum(1, base * 2 ** exponents[:, i]).astype(np.int64) for i, base in enumerate((1, 64, 64)))
    return complete(kind_of("gemm"), {"m": m, "n": n, "k": k}, dtype)
