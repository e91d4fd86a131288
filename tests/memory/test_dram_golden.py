"""The channel agrees request by request with an independent command-level simulator."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from request_streams import STYLES, stream

import hwsim
from hwsim._core.dram_tables import COMMAND_NAMES, COMMAND_ROW
from hwsim.memory.channel import Piece, new_channel, tables_of
from hwsim.memory.channel_tables import ChannelTables, Options

MEMORIES = {"hbm2": "hbm2-2000", "hbm3": "hbm3-6400", "hbm4": "hbm4-8000"}
SCHEDULERS = {"fr": "frfcfs", "frrh": "frfcfs-rowhit"}
MAPPINGS = {"mop4": "mop4clxor", "robaracoch": "robaracoch"}
REFRESH = {"refab": "all-bank", "noref": "none"}
RUNS = [
    f"{config}__{requests}"
    for config, names in {
        "hbm3-frrh-mop4-q32-noref": ("mix2r1w_rand32_3k", "rand_read_32B_3k", "seq_read_3k"),
        "hbm3-frrh-mop4-q32-refab": ("mix2r1w_rand32_3k", "rand_read_32B_3k", "seq_read_3k"),
        "hbm3-frrh-robaracoch-q64-refab": ("rand_read_32B_3k", "seq_read_3k"),
        "hbm2-frrh-mop4-q32-noref": ("rand_read_32B_3k", "seq_read_3k"),
    }.items()
    for requests in names
]

pytestmark = pytest.mark.shared


def tables(config: str) -> ChannelTables:
    """Tables of a golden config by its name."""
    memory, scheduler, mapping, queues, refresh = config.split("-")
    options = Options(SCHEDULERS[scheduler], MAPPINGS[mapping], int(queues[1:]), REFRESH[refresh])
    return tables_of(MEMORIES[memory], options)


def read_requests(file: Path) -> Piece:
    lines = [line.split() for line in file.read_text().splitlines()]
    address = np.array([int(line[0], 16) for line in lines], np.int64)
    write = np.array([line[1] == "WRITE" for line in lines], np.uint8)
    return Piece.of(0, address, write, np.array([int(line[2]) for line in lines], np.int64))


def run_whole(found: ChannelTables, piece: Piece, log: np.ndarray | None = None) -> None:
    channel = new_channel(found)
    channel.feed(piece.address, piece.is_write, piece.earliest, piece.arrive, piece.depart, piece.delayed, False, log)


@pytest.mark.parametrize("run", RUNS)
def test_every_request_of_a_golden_run_arrives_and_departs_in_its_tick(shared, run):
    config, requests = run.split("__")
    piece = read_requests(shared / "golden/dram/requests" / f"{requests}.trace")
    run_whole(tables(config), piece)
    lines = (shared / "golden/dram/runs" / f"{run}.req.csv").read_text().splitlines()
    golden = np.array([line.split(",")[3:] for line in lines], np.int64)
    assert np.array_equal(golden, np.stack([piece.arrive, piece.depart], axis=1))


@pytest.mark.parametrize("run", [RUNS[4], RUNS[8]])
def test_every_command_of_a_golden_run_issues_in_its_tick(shared, run):
    config, requests = run.split("__")
    found = tables(config)
    piece = read_requests(shared / "golden/dram/requests" / f"{requests}.trace")
    log = np.zeros(20_000, COMMAND_ROW)
    run_whole(found, piece, log)
    names = {"REFab": "REF", "PREA": "PREA", "PREab": "PREA", "PREpb": "PRE"}
    lines = [line.split(",") for line in (shared / "golden/dram/runs" / f"{run}.cmd.csv").read_text().splitlines()[1:]]
    golden = [(int(line[0]), names.get(line[1], line[1])) for line in lines]
    assert golden == [(int(row["tick"]), COMMAND_NAMES[row["command"]]) for row in log if row["tick"]]


@pytest.mark.parametrize("config", ["hbm3-frrh-mop4-q64-refab", "hbm4-frrh-mop4-q64-refab", "hbm2-frrh-mop4-q64-refab"])
def test_described_constraints_give_the_preset_in_ticks(shared, config):
    text = (shared / "golden/dram/configs" / f"{config}.json").read_text()
    dram = json.loads(text)["memory_system"]["controllers"][0]["dram"]
    stacked = len(dram["org"]["count"]) == 7
    classes = [0, 1, 2, 3, 4, 3, 4, 5, 6]
    golden = set()
    for level, afters, befores, ticks, *more in dram["timing_constraints"]:
        window, siblings = (more + [1, False][len(more) :])[:2]
        level += level >= 2 and not stacked
        pairs = ((after, before) for after in afters for before in befores if max(after, before) < 9)
        golden |= {(level, after, classes[before], ticks, window, int(siblings)) for after, before in pairs}
    mine = set(map(tuple, tables(config).rules.tolist()))
    assert golden <= mine
    # Beyond the preset: a bank's refresh after auto-precharge, and for HBM2 rules that HBM3 has and that bind nothing.
    extra = {rule for rule in mine - golden if rule[2] != 6}
    assert all(rule[3] <= 2 for rule in extra)


def replica_case(seed: int, n: int) -> tuple[str, ChannelTables, Piece]:
    """A config name and requests like those of the golden runs, and others."""
    rng = np.random.default_rng(seed)
    memory, refresh = str(rng.choice(["hbm3", "hbm4"])), str(rng.choice(list(REFRESH)))
    scheduler, mapping = str(rng.choice(list(SCHEDULERS))), str(rng.choice(list(MAPPINGS)))
    config = f"{memory}-{scheduler}-{mapping}-q{rng.choice([2, 8, 16, 37, 64, 128])}-{refresh}"
    return config, tables(config), stream(rng, 32, STYLES[seed % len(STYLES)], n)


def replica_config(folder: Path, name: str) -> dict:
    """The config of a name: the published one of its memory with other choices."""
    memory, scheduler, mapping, queues, refresh = name.split("-")
    config = json.loads((folder / f"{memory}-frrh-mop4-q64-refab.json").read_text())
    controller = config["memory_system"]["controllers"][0]
    controller["scheduler"]["impl"] = {"fr": "FRFCFS", "frrh": "FRFCFS-RowHit"}[scheduler]
    controller["addr_mapper"]["impl"] = {"mop4": "MOP4CLXOR", "robaracoch": "RoBaRaCoCh"}[mapping]
    controller["refresh_manager"]["impl"] = {"refab": "AllBank", "noref": "NoRefresh"}[refresh]
    controller["read_buffer_size"] = controller["write_buffer_size"] = int(queues[1:])
    return config


def test_more_runs_agree_with_the_replica_of_the_simulator(shared, fuzz_share, tmp_path):
    folder = shared / "golden/dram"
    for seed in range(max(5, round(60 * fuzz_share))):
        name, found, piece = replica_case(seed, 500)
        run_whole(found, piece)
        config, trace, answers = (tmp_path / file for file in ("config.json", "requests.trace", "answers.csv"))
        config.write_text(json.dumps(replica_config(folder / "configs", name)))
        ops = ["WRITE" if write else "READ" for write in piece.is_write]
        trace.write_text("".join(f"{a:#x} {op} {t}\n" for a, op, t in zip(piece.address, ops, piece.earliest)))
        rows = zip(piece.address, ops, piece.arrive, piece.depart)
        answers.write_text("".join(f"{i},{a:x},{op[0]},{t},{d}\n" for i, (a, op, t, d) in enumerate(rows)))
        command = [sys.executable, folder / "replica.py", config, trace, answers]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert said.strip().endswith("mismatches 0"), (seed, name, said)


def test_arrays_give_the_ticks_of_the_golden_run(shared):
    piece = read_requests(shared / "golden/dram/requests/rand_read_32B_3k.trace")
    ticks = hwsim.memory.run(
        "hbm3-6400", piece.address, piece.is_write, piece.earliest, scheduler="frfcfs-rowhit", queues=32, refresh="none"
    )
    lines = (shared / "golden/dram/runs/hbm3-frrh-mop4-q32-noref__rand_read_32B_3k.req.csv").read_text().splitlines()
    assert [f"{a},{d}" for a, d in zip(ticks.arrive, ticks.depart)] == [line.split(",", 3)[3] for line in lines]
