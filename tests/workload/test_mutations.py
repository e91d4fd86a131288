"""Damaged request files: whatever stands in them, there is a table or one InputError that names the file."""

from pathlib import Path

import numpy as np
import pytest

from hwsim.errors import InputError
from hwsim.workload import RequestTable, load
from hwsim.workload.table import MAX_SPAN_PS, MAX_TOKENS

AZURE = b"\r\n".join(
    [b"TIMESTAMP,ContextTokens,GeneratedTokens"]
    + [b"2023-11-16 18:15:%02d.6805900,%d,%d" % (i, 3 * i + 1, i + 1) for i in range(12)]
)
MOONCAKE = b"\n".join(
    b'{"timestamp": %d, "input_length": %d, "output_length": 5, "hash_ids": [0, %d]}' % (i, 600 + i, i + 1)
    for i in range(8)
)
# Bytes that mean something to one of the formats, more often than chance would draw them.
TELLING = b'0123456789-+.:TZ,"{}[]eENa \r\n\t\0\xff\xef\xbb\xbf'


def mutated(text: bytes, random: np.random.Generator) -> bytes:
    """A text with a few bytes changed, put in, left out or doubled, sometimes cut."""
    content = bytearray(text)
    for _ in range(random.integers(1, 5)):
        place = int(random.integers(len(content)))
        byte = int(TELLING[random.integers(len(TELLING))] if random.random() < 0.8 else random.integers(256))
        match random.integers(4):
            case 0:
                content[place] = byte
            case 1:
                content.insert(place, byte)
            case 2:
                del content[place : place + int(random.integers(1, 9))]
            case 3:
                content[place:place] = content[place : place + int(random.integers(1, 60))]
    return bytes(content[: int(random.integers(1, len(content) + 1))] if random.random() < 0.2 else content)


def check(table: RequestTable) -> None:
    """What every consumer of a table relies on."""
    assert table.arrival_ps[0] == 0
    assert (np.diff(table.arrival_ps) >= 0).all()
    assert table.span_ps <= MAX_SPAN_PS
    for tokens in (table.prompt_tokens, table.output_tokens):
        assert tokens.min() >= 1
        assert tokens.max() <= MAX_TOKENS
    assert table.prefix_offset[-1] == len(table.prefix_ids)
    if table.prefix_block_tokens:
        assert (np.diff(table.prefix_offset) == -(-table.prompt_tokens // table.prefix_block_tokens)).all()


@pytest.mark.parametrize(("name", "text"), [("azure.csv", AZURE), ("mooncake.jsonl", MOONCAKE)])
def test_a_damaged_file_gives_a_table_or_names_itself(
    tmp_path: Path, fuzz_share: float, name: str, text: bytes
) -> None:
    random, path = np.random.default_rng(11), tmp_path / name
    refused = 0
    runs = int(4000 * fuzz_share)
    for _ in range(runs):
        path.write_bytes(mutated(text, random))
        try:
            check(load(path))
        except InputError as error:
            refused += 1
            assert str(path) in str(error)
    assert 0.3 * runs < refused < runs
