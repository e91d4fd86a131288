"""Closed loops, the protocol of serving benchmarks: so many users, each of whom asks again as soon as answered.

All users ask at once at the beginning, and none of their requests is left out: the initial burst counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.serving.deployment import Deployment
from hwsim.serving.run import Run, run
from hwsim.workload.table import RequestTable

ROUNDS = 10  # requests a user, unless a protocol says otherwise


def requests(users: int, prompt_tokens: int, output_tokens: int | NDArray[np.int64]) -> RequestTable:
    """Requests of a closed loop in the order they are asked.

    Parameters
    ----------
    users, prompt_tokens : int
    output_tokens : int or int64[n]
        Of every request of `ROUNDS` rounds, or of each of n requests.
    """
    outputs = np.broadcast_to(output_tokens, np.shape(output_tokens) or (ROUNDS * users,)).astype(np.int64)
    zero = np.zeros(len(outputs), np.int64)
    return RequestTable.of(zero, zero + prompt_tokens, outputs, name=f"{users} users", format="closed-loop")


def serve(deployment: Deployment, users: int, table: RequestTable) -> Run:
    """Run a closed loop; a request goes to the replica with the least to do."""
    return run(deployment, table, router="least-loaded", concurrency=users)
