"""Random serving runs, small enough that blocks, slots and budgets are always short."""

from dataclasses import dataclass

import numpy as np

from hwsim._core import serve_types as types
from hwsim._core.serve import ServeRun

PICK = np.random.Generator.choice


@dataclass
class Case:
    """One run and how to make its cost tables again, whole or empty."""

    requests: types.Requests
    rules: types.Rules
    seed: int

    def costs(self, known: bool = True) -> types.Costs:
        """Random cost tables of this case; with `known` false, all samples are missing."""
        rng = np.random.default_rng([self.seed, 1])
        tokens, seqs = self.rules.max_tokens, self.rules.max_num_seqs
        kinds = int(rng.integers(1, self.rules.stages + 1))
        orders = rng.integers(-1, kinds, (2, self.rules.stages))
        orders[:, 0] = 0  # a stage has something to do
        longest = int((self.requests.prompt_tokens + self.requests.output_tokens).max(initial=1))
        costs = types.Costs(
            token_time=rng.integers(0, 500, (kinds, tokens + 1)),
            seq_time=rng.integers(0, 100, (kinds, seqs + 1)),
            prefill=surface(rng, 1, tokens, 0, longest + tokens, int(rng.integers(0, 2))),
            decode=surface(rng, 1, seqs, 1, -(-longest // self.rules.tile_tokens)),
            layers=rng.integers(0, 4, kinds),
            decode_order=orders[0],
            prefill_order=orders[int(rng.integers(0, 2))],
            pad=types.pad_table(tokens, np.unique(rng.integers(1, tokens + 1, 4))),
            step_gap_ps=rng.integers(0, 50, kinds),
            seq_gap_ps=rng.integers(0, 10, kinds),
            mixed_gap_ps=rng.integers(0, 50, kinds),
            change_ps=int(PICK(rng, [0, 0, 70])),
            fetch_ps=rng.integers(0, 2000, kinds) * int(rng.integers(0, 2)),
        )
        if not known:
            for table in tables(costs):
                table.fill(-1)
        return costs


def tables(costs: types.Costs) -> list[np.ndarray]:
    """The cost tables by the number `missing` gives them."""
    assert costs.prefill is not None and costs.decode is not None
    return [costs.token_time, costs.seq_time, costs.prefill.value, costs.decode.value]


def put(costs: types.Costs, truth: list[np.ndarray], table: int, ix: int, iy: int) -> None:
    """Fill in a missing sample: (count, kind of stage) of the tables of counts, (x, y) of the surfaces."""
    at = (iy, ix) if table in (types.TOKEN_TIME, types.SEQ_TIME) else (ix, iy)
    tables(costs)[table][at] = truth[table][at]


def surface(rng: np.random.Generator, x0: int, x1: int, y0: int, y1: int, skew: int = 0) -> types.Surface:
    grids = [np.unique(np.append(rng.integers(a, b + 1, 5), [a, b])) for a, b in ((x0, x1), (y0, y1))]
    return types.Surface(*grids, rng.integers(20, 300, (len(grids[0]), len(grids[1]))), skew)


def random_case(seed: int) -> Case:
    """Case number `seed`."""
    rng = np.random.default_rng([seed, 0])
    rules = random_rules(rng)
    n = int(rng.integers(1, 60))
    room = (rules.kv_blocks - 1) * rules.block_tokens
    longest = max(2, min(room, 400) // int(PICK(rng, [1, 2, 4, 20])))
    prompt = rng.integers(1, longest, n)
    output = rng.integers(1, max(2, min(longest, int(PICK(rng, [3, 20, 200])))), n)
    if rules.concurrency:
        fits = rules.blocks_needed(prompt, output) < rules.kv_blocks
        prompt, output = prompt[fits], output[fits]
    arrival = np.sort(rng.integers(0, 1 + int(PICK(rng, [0, 300, 3000, 30000])), len(prompt)))
    if rng.random() < 0.3:
        return Case(types.Requests(arrival, prompt, output), rules, seed)
    width = rules.block_tokens * int(PICK(rng, [1, 2, 4]))
    offset, ids = random_prefixes(rng, prompt, width)
    return Case(types.Requests(arrival, prompt, output, offset, ids, width), rules, seed)


def random_rules(rng: np.random.Generator) -> types.Rules:
    stages = int(PICK(rng, [1, 1, 2, 3, 6]))
    scheduler = str(PICK(rng, ["mixed", "mixed", "prefill-first", "static"]))
    whole = stages > 1 and scheduler == "prefill-first"
    return types.Rules(
        stages=stages,
        token_budget=int(rng.integers(1, PICK(rng, [5, 12, 40, 300]))),
        max_num_seqs=int(rng.integers(1, PICK(rng, [4, 24, 60]))),
        kv_blocks=int(rng.integers(2, PICK(rng, [20, 80, 600]))),
        block_tokens=int(PICK(rng, [1, 4, 16])),
        tile_tokens=int(PICK(rng, [1, 8, 128])),
        async_depth=int(rng.integers(1, max(2, stages) + 1)),
        scheduler=scheduler,
        reserve=str(PICK(rng, types.RESERVES[1:] if whole else types.RESERVES)),
        prefix_caching=bool(rng.random() < 0.6),
        replicas=int(PICK(rng, [1, 1, 2, 3])),
        router=str(PICK(rng, types.ROUTERS)),
        frontend_ps=int(PICK(rng, [0, 0, 7, 500])),
        concurrency=int(PICK(rng, [0, 0, 0, 1, 5, 100])),
        micro_batches=str(PICK(rng, types.MICRO_BATCHES)),
    )


def random_prefixes(rng: np.random.Generator, prompt: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Trace blocks in which requests share beginnings: a random tree whose nodes are ids (some rows have none)."""
    children: dict[tuple[int, int], int] = {}
    offset, ids = [0], []
    for tokens in prompt:
        at = -1
        for _ in range(-(-int(tokens) // width) if rng.random() < 0.9 else 0):
            at = children.setdefault((at, int(rng.integers(0, 3) * (rng.random() < 0.3))), len(children))
            ids.append(at)
        offset.append(len(ids))
    return np.array(offset), np.array(ids, np.int64)


def core(case: Case, costs: types.Costs, room: int = 10_000, shuffle: np.random.Generator | None = None):
    """The core's tables of a case, with buffers of `room` rows and missing samples filled in a random order."""
    truth = tables(case.costs())
    run = ServeRun(case.requests, case.rules, costs)
    steps, chunks = np.zeros(room, types.STEP_DTYPE), np.zeros(room, types.CHUNK_DTYPE)
    kept_steps, kept_chunks = [steps[:0]], [chunks[:0]]
    while True:
        status = run.run(steps, chunks)
        kept_steps.append(steps[: run.n_steps].copy())
        kept_chunks.append(chunks[: run.n_chunks].copy())
        if status == types.MISSING:
            rows = run.missing()
            if shuffle is not None:
                rows = shuffle.permutation(rows)[: shuffle.integers(1, len(rows) + 1)]
            for table, ix, iy in rows:
                put(costs, truth, table, ix, iy)
        elif status != types.BUFFER_FULL:
            break
    assert status == types.DONE, types.STATUS_NAMES[status]
    return run, run.requests(), np.concatenate(kept_steps), np.concatenate(kept_chunks)
