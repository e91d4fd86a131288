"""The kinds of operators: what each is called, its dimensions, their defaults and ranges.

A kind is a question ("how long does this GEMM take?"); a mapper of an accelerator class answers it. Command line,
memo and validation read their columns from `KINDS`, so a new kind is one entry here and one mapper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from hwsim.describe import routing
from hwsim.errors import bad

DTYPES: tuple[str, ...] = ("bf16", "fp16", "fp8", "nvfp4", "int8", "int4")

# Sixteenths of a byte per element: nvfp4 carries one fp8 scale per 16 values (4.5 bits).
SIXTEENTH_BYTES: Mapping[str, int] = {"bf16": 32, "fp16": 32, "fp8": 16, "nvfp4": 9, "int8": 16, "int4": 8, "fp32": 64}

LIMIT = 1 << 31  # no dimension of an operator is larger; products of three of them are checked where they are formed


@dataclass(frozen=True)
class Dim:
    """One integer dimension of an operator: its column name, meaning, default (None = required) and range.

    One that is written as a word has `read`, which numbers it (None for a word it does not know), and says in
    `expected` which there are.
    """

    name: str
    meaning: str
    default: int | None = None
    low: int = 1
    high: int = LIMIT
    read: Callable[[str], int | None] | None = None
    expected: str = ""

    def number(self, text: str) -> int | None:
        """The dimension written as `text`, or None where it is none or out of its range."""
        if self.read is not None:
            return self.read(text)
        value = int(text) if text.isascii() and text.isdigit() else -1
        return value if self.low <= value <= self.high else None

    def holds(self, value: object) -> bool:
        """Whether a value, or the word it is written as, is one of the dimension."""
        if isinstance(value, str):
            return self.read is not None and self.read(value) is not None
        return isinstance(value, int) and self.low <= value <= self.high

    @property
    def wanted(self) -> str:
        """What a text has to be, in words."""
        return self.expected or f"a whole number from {self.low} to {self.high}"


@dataclass(frozen=True)
class Kind:
    """A kind of operator.

    Attributes
    ----------
    dims : tuple of Dim
        Integer columns, in the order of the command line.
    dtypes : tuple of str
        Further columns that name a dtype; empty means the operator's own dtype.
    """

    name: str
    meaning: str
    dims: tuple[Dim, ...]
    dtypes: tuple[str, ...] = field(default=())


ROWS_COLS = (Dim("rows", "rows (tokens)"), Dim("cols", "elements of a row"))
HEADS = (Dim("heads", "query heads"), Dim("kv_heads", "key and value heads"), Dim("head_dim", "elements of a head"))
WINDOW = Dim("window", "keys visible to a query, 0 = all", default=0, low=0)
COLLECTIVE = (Dim("devices", "ranks of the group", low=1, high=1 << 16), Dim("bytes", "size", high=1 << 42))

_KINDS = (
    Kind(
        "gemm",
        "C[m,n] = A[m,k] B[k,n], B the weights; `batch` independent ones",
        (
            Dim("m", "rows of A and C"),
            Dim("n", "columns of B and C"),
            Dim("k", "inner dimension"),
            Dim("batch", "independent products", default=1),
        ),
    ),
    Kind(
        "attention_prefill",
        "causal attention of q_len new tokens over kv_len visible keys",
        (
            Dim("batch", "sequences"),
            Dim("q_len", "new tokens of a sequence"),
            Dim("kv_len", "keys visible to the last query, cached + q_len"),
            *HEADS,
            WINDOW,
        ),
        ("kv_dtype",),
    ),
    Kind(
        "attention_decode",
        "attention of one new token of each sequence",
        (
            Dim("batch", "sequences"),
            Dim("q_len", "new tokens of a sequence", default=1),
            Dim("kv_len", "keys visible to the query"),
            *HEADS,
            WINDOW,
        ),
        ("kv_dtype",),
    ),
    Kind(
        "attention_mixed",
        "one kernel over a prefill chunk and decoding sequences",
        (
            Dim("prefill_chunk", "new tokens of the chunk", low=0),
            Dim("kv_prefill", "keys cached before the chunk", low=0),
            Dim("n_decode", "decoding sequences", low=0),
            Dim("kv_decode", "keys of each of them", low=0),
            *HEADS,
        ),
        ("kv_dtype",),
    ),
    Kind("all_reduce", "every rank gets the sum; bytes = the buffer of a rank", COLLECTIVE),
    Kind("all_gather", "every rank gets all parts; bytes = the whole output", COLLECTIVE),
    Kind("reduce_scatter", "every rank gets its part of the sum; bytes = the whole input", COLLECTIVE),
    Kind("all_to_all", "every rank sends a part to every other; bytes = the buffer of a rank", COLLECTIVE),
    Kind(
        "send",
        "one rank sends to another; bytes = what it sends",
        (Dim("devices", "sender and receiver", default=2, low=2, high=2), Dim("bytes", "size", high=1 << 42)),
    ),
    Kind(
        "moe",
        "a layer of experts on the fullest of tp x ep devices: each token goes through top_k gated feed-forwards",
        (
            Dim("tokens", "tokens of all ep devices together", high=1 << 20),
            Dim("hidden", "elements of a token", high=1 << 20),
            Dim("intermediate", "width of an expert", high=1 << 20),
            Dim("experts", "experts of the layer", high=1 << 12),
            Dim("top_k", "experts of a token", high=1 << 6),
            Dim("tp", "devices that share each expert", default=1, high=1 << 16),
            Dim("ep", "devices that share out the experts", default=1, high=1 << 12),
            Dim(
                "distribution",
                "tokens over experts",
                default=routing.BALANCED,
                low=0,
                high=routing.STEEPEST,
                read=routing.distribution,
                expected=routing.EXPECTED,
            ),
        ),
    ),
    Kind("softmax", "softmax over each row", ROWS_COLS),
    Kind(
        "norm",
        "norm of each row; with residual = 1 it is added first and written back",
        (*ROWS_COLS, Dim("residual", "0 or 1", default=0, low=0, high=1)),
    ),
    Kind(
        "activation",
        "element by element; with gated = 1 two halves come in and their product goes out",
        (*ROWS_COLS, Dim("gated", "0 or 1", default=0, low=0, high=1)),
    ),
    Kind("rope", "rotary embedding of queries and keys, in place; cols = all their elements of a token", ROWS_COLS),
    Kind("embed", "gather of embedding rows", ROWS_COLS),
    Kind("sample", "softmax and draw over the vocabulary", ROWS_COLS),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _KINDS}


def kind_of(name: str, where: str = "op") -> Kind:
    """The kind called `name`; `where` is the place to blame when there is none."""
    try:
        return KINDS[name]
    except KeyError:
        raise bad(where, repr(name), "one of " + ", ".join(KINDS)) from None


def complete(kind: Kind, dims: Mapping[str, object], dtype: str = "bf16", where: str = "dims") -> dict[str, np.ndarray]:
    """Dimensions as int64 arrays of one length, defaults filled in, ranges checked.

    Further dtypes of the kind (kv_dtype) become indices into DTYPES; they may be given as names or as indices.

    Parameters
    ----------
    dims : mapping of str to array-like of int
        Scalars are broadcast to the longest.

    Raises
    ------
    InputError
        A dimension is missing, unknown, not an integer or out of its range.
    """
    unknown = set(dims) - {dim.name for dim in kind.dims} - set(kind.dtypes)
    if unknown:
        raise bad(
            where, ", ".join(sorted(unknown)), f"dimensions of {kind.name}: {', '.join(d.name for d in kind.dims)}"
        )
    columns = {dim.name: _column(dim, dims, kind, where) for dim in kind.dims}
    for name in kind.dtypes:
        index = Dim(name, "dtype", default=DTYPES.index(dtype), low=0, high=len(DTYPES) - 1)
        columns[name] = _column(index, {name: _dtype_indices(dims.get(name, dtype), where)}, kind, where)
    arrays = np.broadcast_arrays(*columns.values())
    return {name: np.ascontiguousarray(a) for name, a in zip(columns, arrays, strict=True)}


def _column(dim: Dim, dims: Mapping[str, object], kind: Kind, where: str) -> np.ndarray:
    value = dims.get(dim.name, dim.default)
    if value is None:
        raise bad(where, f"no {dim.name}", f"{kind.name} needs {dim.name} ({dim.meaning})")
    array = _words(dim, np.atleast_1d(np.asarray(value)), where)
    if array.dtype.kind not in "iu":
        raise bad(where, f"{dim.name} of type {array.dtype}", "integers")
    array = array.astype(np.int64)
    outside = (array < dim.low) | (array > dim.high)
    if outside.any():
        raise bad(where, f"{dim.name} = {array[outside][0]}", f"{dim.low} to {dim.high}")
    return array


def _words(dim: Dim, array: np.ndarray, where: str) -> np.ndarray:
    """Words of a dimension that is written so as its numbers; other arrays stay."""
    if dim.read is None or array.dtype.kind != "U":
        return array
    numbers = [dim.read(str(word)) for word in array]
    for word, number in zip(array, numbers):
        if number is None:
            raise bad(where, f"{dim.name} {str(word)!r}", dim.wanted)
    return np.array(numbers, np.int64)


def _dtype_indices(names: object, where: str) -> np.ndarray:
    array = np.atleast_1d(np.asarray(names))
    if array.dtype.kind in "iu":
        return array
    unknown = sorted({str(name) for name in array} - set(DTYPES))
    if unknown:
        raise bad(where, f"dtype {unknown[0]!r}", "one of " + ", ".join(DTYPES))
    return np.array([DTYPES.index(str(name)) for name in array], np.int64)
