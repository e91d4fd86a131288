"""Address mappings: every address has a place of its own, and a described mapping is one too."""

import numpy as np
import pytest

from hwsim.describe import load
from hwsim.errors import InputError
from hwsim.memory.mapping import address_map


def places(name: str, addresses: np.ndarray, memory: str = "hbm3-6400") -> np.ndarray:
    table = address_map(load(memory, "memory").commands, name, "mapping").decode_table()
    found = np.zeros(len(addresses), np.uint64)
    for byte in range(8):
        found ^= table[byte, (addresses >> (8 * byte)) & 255]
    return found


@pytest.mark.parametrize("name", ["mop4clxor", "robaracoch"])
def test_addresses_of_a_megabyte_lie_in_different_places(name):
    assert len(np.unique(places(name, np.arange(1 << 15) * 32))) == 1 << 15


def test_mop4_keeps_four_columns_together_and_walks_the_bank_groups():
    found = places("mop4clxor", np.arange(64) * 32)
    column, bank = found & np.uint64(0xFFFF), (found >> np.uint64(16)) & np.uint64(0xFFFF)
    assert (column & np.uint64(3)).tolist()[:4] == [0, 1, 2, 3]
    assert len(np.unique(bank)) == 16


def described(folder, top: str) -> str:
    """A memory with a mapping of its own, whose highest row bit is XORed into a bank bit."""
    file = folder / "mine.yaml"
    file.write_text(f"""extends: hbm3-6400
kind: memory
commands:
  mappings:
    mine:
      column: ["5", "6", "7", "8", "9"]
      pseudo_channel: ["10 ^ 20"]
      stack: ["11"]
      bank_group: ["12", "13"]
      bank: ["14", "15 ^ {top}"]
      row: ["16", "17", "18", "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "{top}"]
""")
    return str(file)


def test_a_described_mapping_is_one_to_one(tmp_path):
    found = places("mine", np.arange(1 << 15) * 32, described(tmp_path, "29"))
    assert len(np.unique(found)) == 1 << 15


def test_a_mapping_that_puts_two_addresses_in_one_place_is_refused(tmp_path):
    with pytest.raises(InputError, match="two addresses at one place"):
        places("mine", np.arange(4), described(tmp_path, "28"))


def test_a_bit_outside_the_channel_is_refused(tmp_path):
    with pytest.raises(InputError, match="address bits 5 to 29"):
        places("mine", np.arange(4), described(tmp_path, "30"))
