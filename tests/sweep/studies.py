"""Small studies of the tests."""

from pathlib import Path
from typing import Any

import numpy as np

from hwsim.sweep.check import checked
from hwsim.sweep.merge import Table, gather
from hwsim.sweep.run import folder_of

GEMM: dict[str, Any] = {
    "study": "gemm",
    "base": {"system": "h100-sxm-x8", "operator": {"op": "gemm", "n": 1024, "k": 1024}},
    "axes": {
        "operator.m": [1, 64, 65, 4096],
        "system.accelerator.clocks.core": ["1.2 GHz", "1.755 GHz"],
    },
}
SERVING: dict[str, Any] = {
    "study": "serving",
    "base": {
        "system": "h100-sxm",
        "model": "llama-3.1-8b",
        "trace": "azure-conversation",
        "workload": {"requests": 4, "slo": "ttft=1s,tpot=20ms"},
    },
    "axes": {"workload.rate_scale": [1, 20], "workload.seed": [0, 1]},
}


def table(study: dict[str, Any], place: Path) -> Table:
    """All columns of a study that ran."""
    space = checked(study)
    return gather(space, folder_of(place), list(space.kind.outputs))


def equal(one: Table, other: Table) -> bool:
    """Whether two results have the same bits."""
    return (
        np.array_equal(one.status, other.status)
        and one.errors == other.errors
        and all(one.values[name].tobytes() == other.values[name].tobytes() for name in one.values)
    )
