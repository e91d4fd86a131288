"""Attention on GPUs: laws, conservation, split rules and dispatch, and the reference executor."""

import heapq
from fractions import Fraction

import numpy as np
import pytest
from tick_by_tick import bound_of, check

from hwsim._core.listsched import assign
from hwsim.errors import InputError
from hwsim.operators.machine import Machine
from hwsim.operators.mapper.gpu import attention_decode, attention_prefill
from hwsim.operators.mapper.gpu.attention_splits import wave_efficient
from hwsim.operators.operator import complete, kind_of
from hwsim.operators.simulate import OpResult, simulate

CHIPS = ("a100-sxm", "h100-sxm", "h200-sxm", "b200-sxm", "l40s", "rtx-pro-6000")
STACKS = ("ideal", "vllm", "trtllm")
HEADS = {"heads": 32, "kv_heads": 8, "head_dim": 128}
KINDS = {"attention_decode": attention_decode, "attention_prefill": attention_prefill}


def machine(chip: str = "h100-sxm", software: str = "vllm", protocol: str = "in-model") -> Machine:
    return Machine.of(chip, software, protocol)


def decode(on: Machine, batch: object, keys: object, **more: object) -> OpResult:
    return simulate(on, "attention_decode", {"batch": batch, "kv_len": keys, **HEADS, **more})


def prefill(on: Machine, batch: object, tokens: object, keys: object, **more: object) -> OpResult:
    return simulate(on, "attention_prefill", {"batch": batch, "q_len": tokens, "kv_len": keys, **HEADS, **more})


def random_dims(kind: str, count: int, seed: int) -> dict[str, np.ndarray]:
    """Batches, chunks and contexts over their usual ranges, with one to eight query heads a KV head."""
    rng = np.random.default_rng(seed)
    kv_heads = 2 ** rng.integers(0, 4, count)
    dims = {"kv_heads": kv_heads, "heads": kv_heads * 2 ** rng.integers(0, 4, count), "head_dim": np.full(count, 128)}
    keys = np.exp(rng.uniform(0, 10, count)).astype(np.int64)
    if kind == "attention_decode":
        return dims | {"batch": np.exp(rng.uniform(0, 5.5, count)).astype(np.int64), "kv_len": keys}
    tokens = np.exp(rng.uniform(0, 7.6, count)).astype(np.int64)
    if kind == "attention_mixed":
        n = np.exp(rng.uniform(0, 5.3, count)).astype(np.int64)
        many = np.exp(rng.uniform(0, 9, count)).astype(np.int64)
        return dims | {"prefill_chunk": tokens, "kv_prefill": keys, "n_decode": n, "kv_decode": many}
    return dims | {"batch": rng.integers(1, 4, count), "q_len": tokens, "kv_len": tokens + keys}


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("software", STACKS)
@pytest.mark.parametrize("kind", KINDS)
def test_never_faster_than_the_roofline(kind: str, chip: str, software: str, fuzz_share: float) -> None:
    on = machine(chip, software)
    dims = random_dims(kind, max(12, int(120 * fuzz_share)), seed=3)
    result = simulate(on, kind, dims)
    peak = float(on.chip.units.tensor.per_cycle["bf16"] * on.cores) * on.clock
    cached = dims["kv_len"] - dims.get("q_len", 0)
    bytes_ps = dims["batch"] * cached * dims["kv_heads"] * 512 / float(on.chip.tiers.hbm.rate) * 1e12
    flops_ps = result.flops / peak * 1e12
    assert (result.time_ps >= bytes_ps).all()
    assert (result.time_ps >= flops_ps).all()
    assert (result.bound.sum(axis=1) == result.time_ps).all()


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("software", STACKS)
def test_twice_the_keys_or_the_sequences_are_never_faster(chip: str, software: str) -> None:
    on = machine(chip, software)
    batch, keys = (grid.ravel() for grid in np.meshgrid(2 ** np.arange(9), 256 * 2 ** np.arange(8), indexing="ij"))
    time = decode(on, batch, keys).time_ps.reshape(9, 8)
    if software == "trtllm":  # small batches have a kernel of their own, slower than the one that follows
        time = time[4:]
    assert (time[1:] >= 0.97 * time[:-1]).all()
    assert (time[:, 1:] >= 0.97 * time[:, :-1]).all()
    chunk = prefill(on, 1, 2 ** np.arange(4, 12), 2 ** np.arange(4, 12) + 4096).time_ps
    assert (chunk[1:] >= 0.97 * chunk[:-1]).all()


# What a chip may be said to have: slower or dearer by far, and a tenth better.
POORER = {
    "tiers.hbm.efficiency=30 %": "attention_decode",
    "tiers.hbm.latency=2 us": "attention_decode",
    "tiers.hbm.rate=600 GB/s": "attention_decode",
    "tiers.l2.rate=5 B/cycle": "attention_prefill",
    "units.vector.special=1 FLOP/cycle": "attention_prefill",
    "tiers.l2.usable=5 %": "attention_decode",
}
BETTER = {
    "tiers.hbm.rate": Fraction(11, 10),
    "tiers.hbm.latency": Fraction(9, 10),
    "tiers.l2.rate": Fraction(11, 10),
    "tiers.l2.usable": Fraction(11, 10),
    "units.vector.special": Fraction(11, 10),
    "clocks.core": Fraction(11, 10),
}


@pytest.mark.parametrize("change", POORER)
@pytest.mark.parametrize("software", STACKS)
def test_what_a_chip_cannot_do_attention_does_not_get(software: str, change: str) -> None:
    on = [Machine.of("h100-sxm", software, "graph-replay", {"accelerator": sets}) for sets in ((), (change,))]
    kind = POORER[change]
    dims = {"batch": [64], "kv_len": [4096], **HEADS}
    dims |= {"kv_len": [64]} if "usable" in change else {"batch": [1]} if "latency" in change else {}
    dims |= {"q_len": [4096], "batch": [1]} if kind == "attention_prefill" else {}
    given, poorer = (int(simulate(machine, kind, dims).time_ps[0]) for machine in on)
    assert poorer > 1.05 * given


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("software", STACKS)
def test_more_of_a_resource_is_at_most_one_percent_slower(chip: str, software: str, fuzz_share: float) -> None:
    """Two where chunks and decodes share a kernel: items of both kinds meet in the same queues, in another order."""
    on = machine(chip, software)
    for kind in (*KINDS, "attention_mixed"):
        dims = random_dims(kind, max(30, int(300 * fuzz_share)), seed=11)
        usual = simulate(on, kind, dims).time_ps
        for name, factor in BETTER.items():
            better = Machine.of(chip, software, sets={"accelerator": [scaled(on, name, factor)]})
            time = simulate(better, kind, dims).time_ps
            most = 102 if kind == "attention_mixed" else 101
            assert (100 * time <= most * usual).all(), (kind, name, np.flatnonzero(100 * time > most * usual))


def scaled(on: Machine, name: str, factor: Fraction) -> str:
    """The override that multiplies a number of a chip."""
    value = on.chip
    for part in name.split("."):
        value = getattr(value, part)
    units = {"tiers.hbm.rate": "B/s", "tiers.hbm.latency": "s", "tiers.l2.rate": "B/cycle", "clocks.core": "Hz"}
    units["units.vector.special"] = "FLOP/cycle"
    return f"{name}={float(value * factor):.12f} {units.get(name, '')}".strip()


def test_waves_that_meet_the_memory_together_gain_from_a_faster_one() -> None:
    dims = {"batch": [224], "kv_len": [292], "heads": [16], "kv_heads": [4], "head_dim": [128]}
    machines = (
        Machine.of("a100-sxm", "trtllm", sets={"accelerator": [f"tiers.hbm.rate={rate} GB/s"]}) for rate in (1850, 2039)
    )
    slow, fast = (simulate(on, "attention_decode", dims).time_ps[0] for on in machines)
    assert fast <= slow


@pytest.mark.parametrize("software", STACKS)
def test_cold_keys_and_values_pass_the_memory_once(software: str) -> None:
    dims = random_dims("attention_decode", 60, seed=5)
    result = simulate(machine(software=software), "attention_decode", dims)
    moved = dims["batch"] * dims["kv_len"] * dims["kv_heads"] * 512
    tiles = dims["batch"] * dims["kv_heads"] * (dims["kv_len"] // 64 + 1)
    assert (result.bytes["hbm"] >= moved).all()
    assert (result.bytes["hbm"] <= moved + 132 * 8 * 64 + 64 * tiles).all()  # each tile of a group rounds up


@pytest.mark.parametrize("chip", ["a100-sxm", "h100-sxm", "b200-sxm"])
def test_prefill_issues_whole_tiles_and_no_more(chip: str) -> None:
    on = machine(chip)
    tokens = np.array([64, 512, 2048, 4096])
    result = prefill(on, 1, tokens, tokens)
    useful = 4 * 32 * 128 * tokens * (tokens + 1) // 2
    library = on.kernels.attention.prefill
    rows = library.queries // 4 if library.packed else library.queries
    tiles = [sum(-(-min(rows * (i + 1), t) // library.keys) for i in range(-(-t // rows))) for t in tokens.tolist()]
    whole = np.array(tiles) * (8 if library.packed else 32) * 4 * library.queries * library.keys * 128
    assert (result.flops >= useful).all()
    assert (abs(result.flops - whole) <= 1 + whole // 1000).all()


def test_an_fp8_cache_halves_the_bytes_and_nearly_the_time_of_a_long_decode() -> None:
    on = machine("b200-sxm")
    wide, narrow = decode(on, 128, 16384), decode(on, 128, 16384, kv_dtype="fp8")
    assert narrow.bytes["hbm"][0] == pytest.approx(wide.bytes["hbm"][0] / 2, rel=1e-3)
    assert narrow.time_ps[0] == pytest.approx(wide.time_ps[0] / 2, rel=0.05)


def test_a_window_bounds_what_a_long_context_costs() -> None:
    on = machine()
    assert decode(on, 64, 65536, window=4096).time_ps[0] == decode(on, 64, 4096).time_ps[0]
    assert prefill(on, 1, 1024, 65536, window=4096).flops[0] < prefill(on, 1, 1024, 65536).flops[0] // 8


def test_warm_keys_are_faster_where_they_fit_the_cache_only() -> None:
    cold, warm = machine(), machine(protocol="graph-replay")
    fits = [decode(on, 16, 256) for on in (cold, warm)]
    assert fits[1].bytes["hbm"][0] < fits[0].bytes["hbm"][0] // 100
    assert fits[1].time_ps[0] - warm.timing.gap_ps <= fits[0].time_ps[0]
    too_large = [decode(on, 256, 16384).bytes["hbm"][0] for on in (cold, warm)]
    assert too_large[1] == pytest.approx(too_large[0], rel=0.02)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("kind", KINDS)
def test_ideal_software_is_never_slower_than_a_library(kind: str, chip: str, fuzz_share: float) -> None:
    dims = random_dims(kind, max(30, int(300 * fuzz_share)), seed=8)
    best = simulate(machine(chip, "ideal"), kind, dims).time_ps
    for library in ("vllm", "trtllm"):
        own = simulate(machine(chip, library), kind, dims).time_ps
        assert (best <= own * 1.005).all(), {name: column[np.argmax(best / own)] for name, column in dims.items()}


def test_the_split_rule_is_flash_attentions_loop() -> None:
    rng = np.random.default_rng(1)
    items, blocks = rng.integers(1, 300, 200), rng.integers(1, 400, 200)
    for every in (False, True):
        found = wave_efficient(items, 216, blocks, 128, every)
        loops = [split_by_loop(int(i), 216, int(b), 128, every) for i, b in zip(items, blocks, strict=True)]
        assert found.tolist() == loops


def split_by_loop(items: int, slots: int, blocks: int, most: int, every: bool) -> int:
    """FlashAttention's heuristic in exact fractions; version 3 weighs every split, 2 those that shorten the parts."""
    if Fraction(items) >= Fraction(8, 10) * slots:
        return 1
    efficiency: dict[int, Fraction] = {}
    for split in range(1, min(most, slots, blocks) + 1):
        if every or split == 1 or -(-blocks // split) != -(-blocks // (split - 1)):
            waves = Fraction(items * split, slots)
            efficiency[split] = waves / -(-waves.numerator // waves.denominator)
    best = max(efficiency.values())
    return next(split for split, value in efficiency.items() if value >= Fraction(85, 100) * best)


def test_items_go_to_the_slot_that_is_free_first() -> None:
    rng = np.random.default_rng(2)
    first = np.array([0, 300, 303, 1000])
    cost, slots = rng.integers(1, 50, 1000), np.array([7, 5, 132])
    load, total = assign(first, cost, np.stack([np.ones(1000, np.int64), cost], axis=1), slots)
    for case in range(3):
        heap = [(0, slot) for slot in range(slots[case])]
        for item in range(first[case], first[case + 1]):
            busy, slot = heapq.heappop(heap)
            heapq.heappush(heap, (busy + int(cost[item]), slot))
        assert load[case, : slots[case]].tolist() == [busy for busy, _ in sorted(heap, key=lambda entry: entry[1])]
        assert total[case, : slots[case], 1].tolist() == load[case, : slots[case]].tolist()


SMALL = {"accelerator": ["clocks.core=5 MHz", "units.tensor.count=6", "units.vector.count=6", "tiers.hbm.rate=2 GB/s"]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("software", STACKS)
def test_programs_run_equally_tick_by_tick(kind: str, software: str) -> None:
    on = Machine.of("h100-sxm", software, sets=SMALL)
    given = {"batch": [1, 3], "kv_len": [300, 700], "heads": 8, "kv_heads": 2, "head_dim": 64}
    if kind == "attention_prefill":
        given |= {"q_len": [20, 70], "kv_len": [90, 160]}
    dims = complete(kind_of(kind), given)
    mapper = KINDS[kind]
    for group in mapper.programs(on, dims, "bf16", mapper.propose(on, dims, "bf16").best(1)):
        check(bound_of(group))


@pytest.mark.parametrize(
    ("kind", "dims", "words"),
    [
        ("attention_decode", {"batch": 1, "kv_len": 64, "heads": 12, "kv_heads": 8}, "do not divide"),
        ("attention_decode", {"batch": 1, "kv_len": 64, "q_len": 4, "heads": 8, "kv_heads": 8}, "attention_prefill"),
        ("attention_prefill", {"batch": 1, "kv_len": 64, "q_len": 65, "heads": 8, "kv_heads": 8}, "counts the new"),
        ("attention_mixed", {"prefill_chunk": 0, "kv_prefill": 9, "n_decode": 0, "kv_decode": 9, "heads": 8,
                             "kv_heads": 8}, "nothing to do"),
    ],
)  # fmt: skip
def test_a_case_that_cannot_run_says_why_and_leaves_the_others(kind: str, dims: dict[str, int], words: str) -> None:
    result = simulate(machine(), kind, {name: [value] for name, value in dims.items()} | {"head_dim": 128})
    assert result.time_ps.tolist() == [-1]
    assert words in str(result.error[0])


def test_an_unknown_cache_dtype_is_refused() -> None:
    with pytest.raises(InputError, match="fp9"):
        decode(machine(), 1, 64, kv_dtype="fp9")
