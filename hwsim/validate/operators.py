"""Operators against measured kernels, compared kind by kind, chip by chip, stack by stack.

The measured tables are NVIDIA aiconfigurator's (Apache-2.0; times of graph replays) and, of a TPU, LLMServingSim's
(MIT); each `Source` says how one file's columns become the dimensions of an operator. Errors are |simulated - measured|
/ measured, as median and 90th percentile, with the median of the signed error.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hwsim.describe.routing import distribution
from hwsim.errors import bad
from hwsim.operators.machine import Machine
from hwsim.operators.operator import DTYPES
from hwsim.operators.simulate import MAPPERS, simulate

CHIPS: Mapping[str, str] = {"a100_sxm": "a100-sxm", "h100_sxm": "h100-sxm", "b200_sxm": "b200-sxm", "l40s": "l40s"}
STACKS: Mapping[str, str] = {"VLLM": "vllm", "TRTLLM": "trtllm"}
MEASURED_DTYPES: Mapping[str, str] = {
    "bfloat16": "bf16",
    "half": "fp16",
    "float16": "fp16",
    "fp8": "fp8",
    "nvfp4": "nvfp4",
}

# What a measured table calls a kind otherwise than hwsim.
KINDS: Mapping[str, str] = {"alltoall": "all_to_all"}

# Kernels of a table that the stack runs only when told to: the L40S was timed with two libraries, and vLLM's own choice
# there is FlashAttention 2.
OTHER_LIBRARIES = ("vllm_flashinfer_fidecode", "vllm_flashinfer_fiprefill")

# Grouped products as the library runs them; its kernels for least latency are timed with a routing of their own.
GROUPED = "moe_torch_flow_cutlass"

Row = Mapping[str, str]


@dataclass(frozen=True)
class Source:
    """How a measured file becomes operators.

    Attributes
    ----------
    file : str
        Name in the folder of measured data.
    dtype : str
        Column of the operands' dtype; a file without one holds bf16.
    kind : callable
        Kind of operator of a row.
    dims : mapping of str to callable
        Each dimension from a row; a name of a dtype is a dimension too.
    sets : mapping of str to tuple of str
        Overrides by kind of description: what the file's kernels do otherwise than the stack they came with.
    chip, software : str
        Names for a file that has no columns `system` and `framework`.
    protocol : str
        How the file was timed.
    time_ps : callable
        Measured time of a row.
    wanted : callable
        Whether a row is compared.
    note : str
        Follows the kind in reports.
    """

    file: str
    dtype: str
    kind: Callable[[Row], str]
    dims: Mapping[str, Callable[[Row], int]]
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    chip: str = ""
    software: str = ""
    protocol: str = "graph-replay"
    time_ps: Callable[[Row], float] = lambda row: float(row["latency_ms"]) * 1e9
    wanted: Callable[[Row], bool] = lambda row: True
    note: str = ""

    def machine_of(self, row: Row) -> tuple[str | None, str | None]:
        """Chip and software of a row; None for what hwsim does not know."""
        return self.chip or CHIPS.get(row["system"]), self.software or STACKS.get(row["framework"])

    def dtype_of(self, row: Row) -> str | None:
        """Dtype of a row's operands, "bf16/fp8" where the cache has another; None for one that hwsim does not know."""
        if not self.dtype:
            return "bf16"
        own = MEASURED_DTYPES.get(row[self.dtype])
        cache = MEASURED_DTYPES.get(row.get("kv_cache_dtype", row[self.dtype]))
        return own if own == cache or own is None or cache is None else f"{own}/{cache}"


def _whole(column: str) -> Callable[[Row], int]:
    return lambda row: int(row[column])


def _dtype(column: str) -> Callable[[Row], int]:
    return lambda row: DTYPES.index(MEASURED_DTYPES[row[column]])


def _own_kernel(row: Row) -> bool:
    return row["kernel_source"] not in OTHER_LIBRARIES


def _always(value: int) -> Callable[[Row], int]:
    return lambda row: value


def _square(row: Row) -> bool:
    return row["n"] == row["k"] == "4096"


_HEADS = {
    "batch": _whole("batch_size"),
    "heads": _whole("num_heads"),
    "kv_heads": _whole("num_key_value_heads"),
    "head_dim": _whole("head_dim"),
    "window": _whole("window_size"),
    "kv_dtype": _dtype("kv_cache_dtype"),
}

_TPU: dict[str, Any] = {"chip": "tpu-v6e", "software": "jax", "protocol": "in-model"}
_TPU_GEMM: dict[str, Any] = {
    "dtype": "",
    "kind": lambda row: "gemm",
    "dims": {name: _whole(name) for name in ("m", "n", "k")},
    "time_ps": lambda row: float(row["latency_ns"]) * 1e3,
    **_TPU,
}

SOURCES: Mapping[str, Source] = {
    "gemm": Source("gemm.csv", "gemm_dtype", lambda row: "gemm", {name: _whole(name) for name in ("m", "n", "k")}),
    "attention_prefill": Source(
        "attention_prefill.csv",
        "attn_dtype",
        lambda row: "attention_prefill",
        {**_HEADS, "q_len": _whole("isl"), "kv_len": lambda row: int(row["isl"]) + int(row["step"])},
        wanted=_own_kernel,
    ),
    "attention_decode": Source(
        "attention_decode.csv",
        "attn_dtype",
        lambda row: "attention_decode",
        {**_HEADS, "kv_len": _whole("kv_len")},
        wanted=_own_kernel,
    ),
    "nccl": Source(
        "nccl.csv",
        "nccl_dtype",
        lambda row: KINDS.get(row["op_name"], row["op_name"]),
        {"devices": _whole("num_gpus"), "bytes": lambda row: 2 * int(row["message_size"])},
        {"software": ("collectives=nccl-2.29",)},
    ),
    "moe": Source(
        "moe.csv",
        "moe_dtype",
        lambda row: "moe",
        {
            "tokens": _whole("num_tokens"),
            "hidden": _whole("hidden_size"),
            "intermediate": _whole("inter_size"),
            "experts": _whole("num_experts"),
            "top_k": _whole("topk"),
            "tp": _whole("moe_tp_size"),
            "ep": _whole("moe_ep_size"),
            "distribution": lambda row: distribution(row["distribution"]) or 0,
        },
        wanted=lambda row: row["kernel_source"] == GROUPED,
    ),
    "tpu_gemm": Source("tpu_v6e_llama31_8b.csv", wanted=lambda row: not _square(row), **_TPU_GEMM),
    # The same shape was measured twice with times a factor 2 apart: it is reported apart.
    "tpu_gemm_4096": Source("tpu_v6e_llama31_8b.csv", wanted=_square, note=" 4096^2", **_TPU_GEMM),
    "tpu_attention": Source(
        "tpu_v6e_llama31_8b_attention.csv",
        "",
        lambda row: f"attention_{row['phase']}",
        {
            "batch": _whole("batch"),
            "q_len": lambda row: max(1, int(row["q_len"])),
            "kv_len": lambda row: int(row["q_len"]) + int(row["kv_len"]),
            **{name: _always(size) for name, size in (("heads", 32), ("kv_heads", 8), ("head_dim", 128))},
        },
        time_ps=lambda row: float(row["mean_ns"]) * 1e3,
        **_TPU,
    ),
}


@dataclass(frozen=True)
class Line:
    """Errors of one kind, chip, stack and dtype: of `count` rows, while `dropped` rows have no simulated time."""

    kind: str
    chip: str
    software: str
    dtype: str
    count: int
    dropped: int
    median: float
    p90: float
    bias: float


Group = tuple[str, str, str, str]  # kind, chip, stack, dtype


def compare(folder: Path, name: str, dtypes: tuple[str, ...] = ("bf16",)) -> dict[Group, np.ndarray]:
    """Signed relative errors of a source, float64 per group, in the order of its rows.

    A row that cannot run, and every row of a kind without a mapper, has NaN.

    Parameters
    ----------
    folder : Path
        Of the measured files.
    name : str
        A key of SOURCES.
    dtypes : tuple of str
        Which operand dtypes to run; "bf16/fp8" are bf16 operands with an fp8 cache.
    """
    source = SOURCES[name]
    errors = {}
    for group, rows in _grouped(folder / source.file, source, dtypes).items():
        kind, chip, stack, dtype = group
        machine = Machine.of(chip, stack, source.protocol, source.sets)
        if (machine.class_, kind) not in MAPPERS:
            errors[kind + source.note, chip, stack, dtype] = np.full(len(rows), np.nan)
            continue
        dims = {dim: np.array([of(row) for row in rows], np.int64) for dim, of in source.dims.items()}
        measured = np.array([source.time_ps(row) for row in rows])
        result = simulate(machine, kind, dims, dtype.split("/")[0])
        errors[kind + source.note, chip, stack, dtype] = np.where(
            result.time_ps >= 0, result.time_ps / measured - 1, np.nan
        )
    return errors


def _grouped(path: Path, source: Source, dtypes: tuple[str, ...]) -> dict[Group, list[Row]]:
    if not path.is_file():
        raise bad(str(path), "no such file", "a folder with the measured tables", "name it with --measured")
    groups: dict[Group, list[Row]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            chip, stack = source.machine_of(row)
            dtype = source.dtype_of(row)
            if chip and stack and dtype in dtypes and source.wanted(row):
                groups.setdefault((source.kind(row), chip, stack, dtype), []).append(row)
    return groups


def lines(errors: Mapping[Group, np.ndarray]) -> Iterator[Line]:
    """A line for each group, and one for each chip over its stacks."""
    chips: dict[Group, list[np.ndarray]] = {}
    for (kind, chip, stack, dtype), error in errors.items():
        chips.setdefault((kind, chip, "all", dtype), []).append(error)
        yield _line((kind, chip, stack, dtype), error)
    for group, parts in chips.items():
        yield _line(group, np.concatenate(parts))


def _line(group: Group, error: np.ndarray) -> Line:
    known = error[~np.isnan(error)]
    dropped = len(error) - len(known)
    if not len(known):
        return Line(*group, 0, dropped, np.nan, np.nan, np.nan)
    size = np.abs(known)
    p90 = float(np.quantile(size, 0.9))
    return Line(*group, len(known), dropped, float(np.median(size)), p90, float(np.median(known)))


def table(found: list[Line]) -> str:
    """Lines as a table, errors in percent."""
    head = f"{'operator':<18} {'chip':<14} {'software':<8} {'dtype':<6} {'rows':>6} {'dropped':>7} {'median %':>9}"
    head += f" {'p90 %':>7} {'bias %':>7}"
    body = [
        f"{line.kind:<18} {line.chip:<14} {line.software:<8} {line.dtype:<6} {line.count:>6} {line.dropped:>7} "
        f"{100 * line.median:>9.1f} {100 * line.p90:>7.1f} {100 * line.bias:>+7.1f}"
        for line in sorted(found, key=lambda one: (one.kind, one.dtype, one.chip, one.software == "all", one.software))
    ]
    return "\n".join([head, *body])
