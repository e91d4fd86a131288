"""Journals after a kill."""

import numpy as np
import pytest

from hwsim.sweep.journal import BEGIN, DONE, FAILED, KEY_DTYPE, ROWS, Journal, blocks, is_alive, journals, row_dtype

LAYOUT = bytes(16)


def rows(*keys: int, status: int = DONE) -> np.ndarray:
    made = np.zeros(len(keys), row_dtype(2))
    made["key"]["low"], made["status"] = keys, status
    made["values"] = np.array(keys)[:, None] * [1.0, 0.1]
    return made


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path, LAYOUT, 2)
    made.begin(np.zeros(1, KEY_DTYPE))
    made.rows(rows(1, 2))
    made.rows(rows(3, status=FAILED), ["no room"])
    return made


def test_blocks_are_read_as_written(journal):
    found = list(blocks(journal.path, LAYOUT, 2))
    assert [block.what for block in found] == [BEGIN, ROWS, ROWS]
    assert found[1].rows["values"].tolist() == [[1.0, 0.1], [2.0, 0.2]]
    assert found[2].texts == ["no room"]


def test_cut_anywhere_a_journal_keeps_its_whole_blocks(journal, tmp_path):
    data, whole = journal.path.read_bytes(), list(blocks(journal.path, LAYOUT, 2))
    cut = tmp_path / "cut.jrn"
    seen = set()
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        found = list(blocks(cut, LAYOUT, 2))
        seen.add(len(found))
        assert [block.rows.tobytes() for block in found] == [block.rows.tobytes() for block in whole[: len(found)]]
    assert seen == {0, 1, 2}


def test_a_damaged_block_and_what_follows_do_not_count(journal, tmp_path):
    data = bytearray(journal.path.read_bytes())
    data[-1] ^= 1
    (tmp_path / "bad.jrn").write_bytes(data)
    assert len(list(blocks(tmp_path / "bad.jrn", LAYOUT, 2))) == 2


def test_another_layout_is_not_read(journal):
    assert not list(blocks(journal.path, bytes(15) + b"1", 2))


def test_a_journal_is_alive_until_its_writer_closes_it(journal, tmp_path):
    assert journals(tmp_path) == [journal.path] and is_alive(journal.path)
    journal.close()
    assert not is_alive(journal.path)
