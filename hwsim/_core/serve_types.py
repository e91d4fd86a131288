"""What a serving run takes and gives: plain integer tables, the same for the core and for the reference.

Times are picoseconds (int64). -1 marks a cost that nobody has simulated yet and a time that never came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from hwsim.errors import bad
from hwsim.units import ceil_div

if TYPE_CHECKING:
    from hwsim._core.steps import Steps

Ints = NDArray[np.int64]

# Schedulers: one mixed batch of decodes and chunks (vLLM, TRT-LLM) · prefill batches first, never mixed (SGLang) ·
# a batch formed when the replica is empty, prefilled, decoded to the end.
SCHEDULERS = ("mixed", "prefill-first", "static")
# Blocks that must be free to admit a request: its first chunk · its whole prompt (vLLM's reserve_full_prompt) ·
# prompt and output, taken at once (TRT-LLM GUARANTEED_NO_EVICT).
RESERVES = ("chunk", "prompt", "output")
ROUTERS = ("round-robin", "least-loaded")
# Decodes where batches pass several stages: those that got their first token in one batch stay in one (vLLM) · each
# joins the set with the fewest, so that as many batches as there are stages share them evenly.
MICRO_BATCHES = ("formed", "even")

TILE_TOKENS = 128  # keys of the tile in which contexts are counted where their cost is asked

# Why `run` came back.
DONE, MISSING, BUFFER_FULL, PAUSED, STUCK, OUT_OF_TABLE = range(6)
STATUS_NAMES = ("done", "missing", "buffer-full", "paused", "stuck", "out-of-table")

# Tables a missing sample belongs to: rows of `missing` are (table, ix, iy): token or sequence count and kind of stage,
# two grid indices of a surface, the flat cell of the table of steps and 0.
TOKEN_TIME, SEQ_TIME, PREFILL, DECODE, STEP = range(5)

INT64 = np.dtype(np.int64)
STEP_COLUMNS = (
    "replica",
    "lane",  # of the replica: its decodes are stepped together; 0 where there is one stage, -1 = chunks that have none
    "scheduled_ps",  # when the scheduler chose the batch
    "start_ps",  # when its first stage began it
    "end_ps",  # when it left the last one
    "busy_ps",  # its time on the stages, waiting between them left out; end_ps - start_ps where there is one stage
    "attention_ps",  # of all layers
    "wait_ps",  # of busy_ps: all was computed and offloaded weights were still to come
    "tokens",
    "padded",  # tokens after padding to a captured size
    "n_decode",
    "n_last",  # decodes that get their last token
    "n_prefill",  # chunks
    "n_sched",  # n_decode + n_prefill
    "sum_context",  # tokens the decodes attend to, the new one included
    "sum_tiles",  # KV tiles of the decodes
    "longest",  # longest context of the decodes
    "preempted",  # requests this step threw out
    "kv_used_blocks",
    "waiting",  # requests of the replica not admitted, arrivals the engine has not seen included
    "running",
    "cell",  # cell of the table of steps that priced its attention; -1 = a surface did
    "decode_cell",  # the same of decodes in a kernel of their own; -1 = there is none
)
CHUNK_COLUMNS = ("step", "request", "chunk", "cached")
REQUEST_COLUMNS = (
    "arrival_ps",
    "queued_ps",  # when the engine drained it from its input
    "admitted_ps",  # first scheduled
    "first_token_ps",
    "finish_ps",
    "prompt",
    "output",
    "cached",  # prompt tokens found in the prefix cache at the first admission
    "preemptions",
    "replica",
)
STEP_DTYPE = np.dtype([(name, INT64) for name in STEP_COLUMNS])
CHUNK_DTYPE = np.dtype([(name, INT64) for name in CHUNK_COLUMNS])
REQUEST_DTYPE = np.dtype([(name, INT64) for name in REQUEST_COLUMNS])


def ints(values: object, name: str) -> Ints:
    """`values` as a contiguous int64 vector; floats are refused, not rounded."""
    array = np.asarray(values)
    if array.ndim != 1 or (not np.issubdtype(array.dtype, np.integer) and array.size):
        raise bad(name, f"{array.dtype} of shape {array.shape}", "a vector of integers")
    return np.ascontiguousarray(array, np.int64)


@dataclass(frozen=True)
class Requests:
    """The requests of a run, sorted by arrival.

    Parameters
    ----------
    arrival_ps, prompt_tokens, output_tokens : int64[n]
    prefix_offset : int64[n + 1], optional
        Request i has the trace blocks `prefix_ids[prefix_offset[i]:prefix_offset[i + 1]]`; equal ids mean equal
        content and an equal prefix before it.
    prefix_ids : int64[], optional
    prefix_block_tokens : int
        Tokens of a trace block; 0 = the trace has no ids.
    """

    arrival_ps: Ints
    prompt_tokens: Ints
    output_tokens: Ints
    prefix_offset: Ints | None = None
    prefix_ids: Ints | None = None
    prefix_block_tokens: int = 0

    def __post_init__(self) -> None:
        for name in ("arrival_ps", "prompt_tokens", "output_tokens"):
            object.__setattr__(self, name, ints(getattr(self, name), f"requests.{name}"))
        n = len(self.arrival_ps)
        if len(self.prompt_tokens) != n or len(self.output_tokens) != n:
            raise bad("requests", f"{n}, {len(self.prompt_tokens)}, {len(self.output_tokens)} rows", "equal lengths")
        if n and (self.arrival_ps[0] < 0 or np.any(np.diff(self.arrival_ps) < 0)):
            raise bad("requests.arrival_ps", "times that fall or are negative", "times sorted from 0 on")
        if np.any(self.prompt_tokens < 1) or np.any(self.output_tokens < 1):
            raise bad("requests", "a request without prompt or output tokens", "at least one of each")
        self._check_prefix(n)

    def _check_prefix(self, n: int) -> None:
        if self.prefix_block_tokens <= 0:
            object.__setattr__(self, "prefix_offset", np.zeros(n + 1, np.int64))
            object.__setattr__(self, "prefix_ids", np.zeros(0, np.int64))
            object.__setattr__(self, "prefix_block_tokens", 0)
            return
        offset = ints(self.prefix_offset, "requests.prefix_offset")
        ids = ints(self.prefix_ids, "requests.prefix_ids")
        if len(offset) != n + 1 or offset[0] != 0 or offset[-1] != len(ids) or np.any(np.diff(offset) < 0):
            raise bad("requests.prefix_offset", f"{len(offset)} offsets", f"{n + 1} that rise from 0 to {len(ids)}")
        object.__setattr__(self, "prefix_offset", offset)
        object.__setattr__(self, "prefix_ids", ids)

    def __len__(self) -> int:
        return len(self.arrival_ps)


@dataclass(frozen=True)
class Rules:
    """What the scheduler may do; every number an integer.

    Parameters
    ----------
    token_budget : int
        Tokens of a step; of a prefill batch where prefills are not mixed with decodes.
    max_num_seqs : int
        Requests running at once on a replica.
    kv_blocks : int
        Blocks of a replica, the null block included: `kv_blocks - 1` can be used.
    block_tokens, tile_tokens : int
        Tokens of a KV block, and of a KV tile of the decode attention (only counted, for the cost).
    async_depth : int
        Batches in flight: 1 or 2, or up to the number of stages.
    scheduler : {"mixed", "prefill-first", "static"}
    reserve : {"chunk", "prompt", "output"}
    prefix_caching : bool
    replicas : int
    router : {"round-robin", "least-loaded"}
    frontend_ps : int
        From a request's arrival until the engine can see it.
    concurrency : int
        0 = requests arrive when their table says; c = c requests at once, each completion replaced by the next one.
    stages : int
        Stages that a batch passes in turn. With more than one, a request in flight is not scheduled again before its
        token is out, so each batch in flight has decodes of its own.
    context : int
        Most tokens of a request, prompt and output together; 0 = any number.
    micro_batches : {"formed", "even"}
        How decodes share the batches in flight where there are several stages. "even" also lets arrivals enter the
        stages at once, not with the next batch that comes out.
    """

    token_budget: int
    max_num_seqs: int
    kv_blocks: int
    block_tokens: int = 16
    tile_tokens: int = TILE_TOKENS
    async_depth: int = 2
    scheduler: str = "mixed"
    reserve: str = "prompt"
    prefix_caching: bool = False
    replicas: int = 1
    router: str = "round-robin"
    frontend_ps: int = 0
    concurrency: int = 0
    stages: int = 1
    context: int = 0
    micro_batches: str = "formed"

    def __post_init__(self) -> None:
        for name in ("token_budget", "max_num_seqs", "block_tokens", "tile_tokens", "replicas", "stages"):
            if getattr(self, name) < 1:
                raise bad(f"scheduler.{name}", getattr(self, name), "at least 1")
        for name in ("frontend_ps", "concurrency", "context"):
            if getattr(self, name) < 0:
                raise bad(f"scheduler.{name}", getattr(self, name), "at least 0")
        if self.kv_blocks < 2:
            raise bad("scheduler.kv_blocks", self.kv_blocks, "at least 2 (one is the null block)")
        if not 1 <= self.async_depth <= max(2, self.stages):
            most = f"1 to {self.stages}" if self.stages > 2 else "1 or 2"
            raise bad("scheduler.async_depth", self.async_depth, f"{most} batches in flight")
        choices = {"scheduler": SCHEDULERS, "reserve": RESERVES, "router": ROUTERS, "micro_batches": MICRO_BATCHES}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise bad(f"scheduler.{name}", repr(getattr(self, name)), " or ".join(allowed))
        if self.stages > 1 and (self.scheduler, self.reserve) == ("prefill-first", "chunk"):
            # A prompt that cannot be completed could take the turns of all lanes with decodes, for ever.
            raise bad("scheduler.reserve", "'chunk' where prompts go first through several stages", "prompt or output")

    @property
    def lanes(self) -> int:
        """Sets of decodes of a replica that are stepped apart: one for each batch in flight where there are stages."""
        return 1 if self.stages == 1 else self.async_depth

    @property
    def even(self) -> bool:
        """Whether decodes join the lane with the fewest when their first token is out."""
        return self.micro_batches == "even" and self.lanes > 1

    @property
    def max_tokens(self) -> int:
        """Most tokens a step can have: a decode step of its own is not bound by the budget of prefills."""
        return self.token_budget if self.scheduler == "mixed" else max(self.token_budget, self.max_num_seqs)

    def blocks_needed(self, prompt: Ints, output: Ints) -> Ints:
        """Blocks a request holds at most; the last token's keys and values are never computed."""
        tokens = prompt + output - (0 if self.reserve == "output" else 1)
        return ceil_div(tokens, self.block_tokens)

    def refused(self, requests: Requests) -> NDArray[np.bool_]:
        """Requests that could never run: longer than the context, or of more blocks than a replica has."""
        needed = self.blocks_needed(requests.prompt_tokens, requests.output_tokens)
        refused: NDArray[np.bool_] = needed > self.kv_blocks - 1
        if self.concurrency and refused.any():
            raise bad("requests", f"{int(refused.sum())} that need more KV blocks than there are",
                      f"at most {self.kv_blocks - 1} blocks a request in a closed loop")  # fmt: skip
        return refused | self.beyond_context(requests.prompt_tokens, requests.output_tokens)

    def beyond_context(self, prompt: Ints, output: Ints) -> NDArray[np.bool_]:
        """Requests that a server refuses since the model's context ends before them."""
        return (prompt + output > self.context) & (self.context > 0)


@dataclass(frozen=True)
class Surface:
    """Samples of a cost on a fixed grid; between grid points it is bilinear, rounded up.

    Parameters
    ----------
    grid_x, grid_y : int64[nx], int64[ny]
        Rising; questions outside stop the run with OUT_OF_TABLE.
    value : int64[nx, ny]
        Picoseconds of one layer; -1 = not simulated yet. Filled in place by the caller when a run returns MISSING.
    skew : int
        A question (x, y) is looked up at (x, y + skew * x): stairs that are straight over chunk and visible keys
        run askew over chunk and cached keys.
    """

    grid_x: Ints
    grid_y: Ints
    value: Ints
    skew: int = 0

    def __post_init__(self) -> None:
        for name in ("grid_x", "grid_y"):
            grid = ints(getattr(self, name), f"surface.{name}")
            if not len(grid) or np.any(np.diff(grid) <= 0):
                raise bad(f"surface.{name}", grid[:8].tolist(), "at least one point, strictly rising")
            object.__setattr__(self, name, grid)
        _check_table(self.value, (len(self.grid_x), len(self.grid_y)), "surface.value")

    @classmethod
    def empty(cls, grid_x: Ints, grid_y: Ints, skew: int = 0) -> Surface:
        """A surface of which no sample is known."""
        return cls(grid_x, grid_y, np.full((len(grid_x), len(grid_y)), -1, np.int64), skew)


def _check_table(table: Ints, shape: tuple[int, ...], name: str) -> None:
    if table.dtype != np.int64 or table.shape != shape or not table.flags.c_contiguous:
        raise bad(name, f"{table.dtype} of shape {table.shape}", f"contiguous int64 of shape {shape}")


class StepTimes(Protocol):
    """Attention of whole steps, one layer (operators.step).

    Attributes
    ----------
    table : hwsim._core.steps.Steps
        What core and reference ask; samples are added when a run returns MISSING with (STEP, cell, 0).
    """

    table: Steps

    def fill(self, cells: Ints) -> None:
        """Put samples of the cells that have none into the table."""


@dataclass(frozen=True)
class Costs:
    """Times of a step's parts; the tables are read again at every `run`, so missing entries are filled in place.

    What differs by stage has a row or an entry for each kind of stage, of which `decode_order` and `prefill_order` make
    the stages. Where there is one kind, a table of one dimension will do, and one number where all have the same.

    Parameters
    ----------
    token_time : int64[kinds, max_tokens + 1]
        All work of a stage that depends on the (padded) token count of the step alone, all layers.
    seq_time : int64[kinds, max_num_seqs + 1]
        Head and sampler, by scheduled requests.
    prefill : Surface, optional
        (chunk, cached): attention of one chunk, one layer.
    decode : Surface, optional
        (decodes, tiles a decode): attention of the decodes alone, one layer.
    layers : int64[kinds]
        Attention layers.
    pad : int64[max_tokens + 1], optional
        Padded token count of a step (`pad_table`); no padding without.
    step_gap_ps, seq_gap_ps, mixed_gap_ps : int64[kinds]
        Stage idle a step, more a scheduled request, more in a step with chunks.
    fetch_ps : int64[kinds]
        Until the offloaded weights of a step have come, from its beginning: a stage is not free before.
    decode_order, prefill_order : int64[stages], optional
        Kind of every stage in a step without chunks, with chunks; -1 = the step passes it at once. The first kind alone
        unless stated; a step with chunks as one without unless stated.
    change_ps : int
        Between the end of all steps without chunks in flight and the next one with chunks, or the other way round: 0
        = they may be under way at the same time.
    step : StepTimes, optional
        Attention of one layer of whole steps, asked by `StepSums`. The surfaces, where there are any, then answer
        only for a chunk alone and for decodes of equal tiles alone, of which they know more. Without it the parts of
        a step (its chunks, its decodes together) run one after the other.
    """

    token_time: Ints
    seq_time: Ints
    prefill: Surface | None
    decode: Surface | None
    layers: Ints | int
    pad: Ints | None = None
    step_gap_ps: Ints | int = 0
    seq_gap_ps: Ints | int = 0
    mixed_gap_ps: Ints | int = 0
    fetch_ps: Ints | int = 0
    step: StepTimes | None = None
    decode_order: Ints | None = None
    prefill_order: Ints | None = None
    change_ps: int = 0

    def __post_init__(self) -> None:
        if self.change_ps < 0:
            raise bad("costs.change_ps", self.change_ps, "at least 0")
        if self.step is None and (self.prefill is None or self.decode is None):
            raise bad("costs", "no attention", "surfaces of prefill and decode, or times of whole steps")
        self._check_stages()
        size = self.token_time.shape[1]
        pad = np.arange(size, dtype=np.int64) if self.pad is None else ints(self.pad, "costs.pad")
        if len(pad) != size or np.any(pad < np.arange(size)) or np.any(pad >= size):
            raise bad("costs.pad", f"{len(pad)} entries", f"{size}, none below its index or above {size - 1}")
        object.__setattr__(self, "pad", pad)

    def _check_stages(self) -> None:
        """Give every kind of stage its row and entry, and prove that the orders name kinds there are."""
        for name in ("token_time", "seq_time"):  # views: what the caller fills in is seen here
            table = getattr(self, name)
            table = table[None] if table.ndim == 1 else table
            kinds = len(table) if name == "token_time" else len(self.token_time)
            _check_table(table, (kinds, table.shape[-1]), f"costs.{name}")
            object.__setattr__(self, name, table)
        kinds = len(self.token_time)
        for name in ("layers", "step_gap_ps", "seq_gap_ps", "mixed_gap_ps", "fetch_ps"):
            given = np.asarray(getattr(self, name))
            values = ints(np.full(kinds, given) if given.ndim == 0 else given, f"costs.{name}")
            if len(values) != kinds or np.any(values < 0):
                raise bad(f"costs.{name}", values.tolist(), f"{kinds} of at least 0, one a kind of stage")
            object.__setattr__(self, name, values)
        decode = np.zeros(1, np.int64) if self.decode_order is None else ints(self.decode_order, "costs.decode_order")
        prefill = decode if self.prefill_order is None else ints(self.prefill_order, "costs.prefill_order")
        for name, order in (("decode_order", decode), ("prefill_order", prefill)):
            if len(order) != len(decode) or not len(order) or np.any((order < -1) | (order >= kinds)):
                raise bad(f"costs.{name}", order[:8].tolist(), f"{len(decode)} kinds of stages below {kinds}, or -1")
            object.__setattr__(self, name, order)

    def check(self, rules: Rules) -> None:
        """Refuse tables too short for these rules."""
        for name, size in (("token_time", rules.max_tokens), ("seq_time", rules.max_num_seqs)):
            if getattr(self, name).shape[1] <= size:
                raise bad(f"costs.{name}", f"{getattr(self, name).shape[1]} entries", f"at least {size + 1}")
        assert self.decode_order is not None
        if len(self.decode_order) != rules.stages:
            raise bad("costs.decode_order", f"{len(self.decode_order)} stages", f"{rules.stages} as the rules have")


def pad_table(max_tokens: int, capture_sizes: Ints | list[int]) -> Ints:
    """Padded token count of every count: up to the next captured size, unchanged above the largest one."""
    sizes = np.unique(ints(capture_sizes, "capture_sizes"))
    sizes = sizes[sizes <= max_tokens]
    table = np.arange(max_tokens + 1, dtype=np.int64)
    if len(sizes):
        inside = table[1:] <= sizes[-1]
        table[1:][inside] = sizes[np.searchsorted(sizes, table[1:][inside])]
    return table
