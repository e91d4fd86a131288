"""The event-driven core does in every tick what the reference does, under all standards and policies."""

import numpy as np
import pytest
from request_streams import STYLES, stream

from hwsim.describe import library, load
from hwsim.memory.channel import Piece, answers, new_channel
from hwsim.memory.channel_tables import ChannelTables, Options, channel_tables
from hwsim.reference import dram as reference

MEMORIES = [name for name in library.names("memory") if load(name, "memory").commands]


def random_tables(rng: np.random.Generator, memory: str) -> ChannelTables:
    """A channel under policies drawn at random, its refreshes moved into a short run."""
    described = load(memory, "memory")
    modes = ["none", "all-bank"]
    if any("REFPB" in rule.after for rule in described.commands.rules):
        modes.append("per-bank")
    mode = str(rng.choice(modes))
    found = channel_tables(
        described,
        Options(
            scheduler=str(rng.choice(["frfcfs", "frfcfs-rowhit"])),
            mapping=str(rng.choice(["mop4clxor", "robaracoch"])),
            queues=int(rng.choice([1, 2, 4, 8, 16, 32])),
            refresh=mode,
            row_policy=str(rng.choice(["open", "closed", "timeout"])),
        ),
    )
    settings = found.settings
    settings["phase"] = rng.integers(1, 600)
    if rng.random() < 0.5:
        least = 40 if mode == "per-bank" else 2 * int(settings["recovery"][0])
        settings["interval"] = rng.integers(least, 4 * least)
    return found


def agree(found: ChannelTables, piece: Piece) -> None:
    channel = new_channel(found)
    channel.feed(piece.address, piece.is_write, piece.earliest, piece.arrive, piece.depart, piece.delayed)
    result = reference.run(
        found.settings, found.rules, found.address_map.bits, piece.address, piece.is_write, piece.earliest
    )
    assert result.arrive == piece.arrive.tolist()
    assert result.depart == piece.depart.tolist()
    assert result.delayed == (piece.delayed != 0).tolist()
    counts = {name: count for name, count in channel.counts.items() if count and name != "open_ticks"}
    assert counts == dict(result.counts)


@pytest.mark.fuzz
def test_core_and_reference_agree_on_every_request(fuzz_share):
    for seed in range(round(1000 * fuzz_share)):
        rng = np.random.default_rng(seed)
        memory = MEMORIES[seed % len(MEMORIES)]
        found = random_tables(rng, memory)
        piece = stream(rng, found.access, STYLES[seed % len(STYLES)], int(rng.integers(20, 120)))
        try:
            agree(found, piece)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {memory}") from error


def test_a_stream_cut_into_pieces_gives_the_same_ticks():
    rng = np.random.default_rng(5)
    for seed in range(40):
        found = random_tables(rng, MEMORIES[seed % len(MEMORIES)])
        whole = stream(rng, found.access, STYLES[seed % len(STYLES)], 400)
        channel = new_channel(found)
        channel.feed(whole.address, whole.is_write, whole.earliest, whole.arrive, whole.depart, whole.delayed)
        cuts = np.sort(rng.integers(0, 401, 6))
        parts = [slice(a, b) for a, b in zip([0, *cuts], [*cuts, 400])]
        pieces = [Piece.of(int(p.start), whole.address[p], whole.is_write[p], whole.earliest[p]) for p in parts]
        done = list(answers(new_channel(found), pieces))
        for name in ("arrive", "depart", "delayed"):
            assert np.array_equal(np.concatenate([getattr(piece, name) for piece in done]), getattr(whole, name)), seed
