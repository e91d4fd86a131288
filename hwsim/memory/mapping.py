"""Address mappings: each bit of bank, row and column is the XOR of some address bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.describe.commands import BUILT_IN, FIELDS, AddressField, Commands, Organisation
from hwsim.errors import bad

# From the most to the least significant part of a flat bank number.
_BANK_FIELDS: tuple[AddressField, ...] = ("pseudo_channel", "stack", "bank_group", "bank")
_BITS = dict[AddressField, list[int]]  # mask of address bits for each bit of a field, lowest first


@dataclass(frozen=True)
class AddressMap:
    """Where an address lies; bits of it are byte-address bits.

    Attributes
    ----------
    name : str
    bits : dict
        For each field a mask of address bits for each of its bits, lowest first.
    """

    name: str
    bits: _BITS

    def decode_table(self) -> NDArray[np.uint64]:
        """What each byte of an address adds (XOR) to column | flat bank << 16 | row << 32: uint64[8, 256]."""
        places = [(mask, bit) for bit, mask in enumerate(self.bits["column"])]
        places += [(mask, 16 + bit) for bit, mask in enumerate(self.bank_bits())]
        places += [(mask, 32 + bit) for bit, mask in enumerate(self.bits["row"])]
        table = np.zeros((8, 256), np.uint64)
        for byte in range(8):
            for bit in range(8):
                moved = sum(1 << place for mask, place in places if mask >> (8 * byte + bit) & 1)
                table[byte, np.arange(256) >> bit & 1 == 1] ^= np.uint64(moved)
        return table

    def row_period(self) -> int:
        """Bytes after which addresses differ in nothing but their row, as a number; 0 if rows are not such bits."""
        rows = self.bits["row"]
        lowest = rows[0] if rows else 0
        others = [mask for field, masks in self.bits.items() if field != "row" for mask in masks]
        plain = rows == [lowest << bit for bit in range(len(rows))] and all(mask < lowest for mask in others)
        return lowest if plain and lowest.bit_count() == 1 else 0

    def bank_bits(self) -> list[int]:
        """Masks of the flat bank number, lowest bit first."""
        return [mask for field in reversed(_BANK_FIELDS) for mask in self.bits[field]]


def address_map(commands: Commands, name: str, where: str) -> AddressMap:
    """A built-in mapping or one of the description.

    Raises
    ------
    InputError
        Unknown name, bits outside the channel, or a mapping in which two addresses are the same place.
    """
    widths = field_widths(commands.organisation)
    lowest = _log2(int(commands.organisation.access))
    if name in BUILT_IN:
        make = _mop4clxor if name == "mop4clxor" else _robaracoch
        return AddressMap(name, _at(make(widths), lowest))
    if name not in commands.mappings:
        raise bad(where, repr(name), "a mapping: " + ", ".join((*BUILT_IN, *commands.mappings)))
    return AddressMap(name, _described(commands.mappings[name], widths, lowest, f"mappings.{name}"))


def field_widths(organisation: Organisation) -> dict[AddressField, int]:
    """Bits of each field; rows need not fill theirs."""
    counts = {
        "column": organisation.columns,
        "pseudo_channel": organisation.pseudo_channels,
        "stack": organisation.stacks,
        "bank_group": organisation.bank_groups,
        "bank": organisation.banks,
        "row": organisation.rows,
    }
    for field, count in counts.items():
        if field != "row" and count & (count - 1):
            raise bad(f"organisation.{field}", count, "a power of two", "only rows may be another number")
    return {field: (counts[field] - 1).bit_length() for field in FIELDS}


def _log2(value: int) -> int:
    if value < 1 or value & (value - 1):
        raise bad("organisation.access", f"{value} B", "a power of two")
    return value.bit_length() - 1


def _at(bits: _BITS, lowest: int) -> _BITS:
    return {field: [mask << lowest for mask in masks] for field, masks in bits.items()}


def _in_order(parts: list[tuple[AddressField, int]]) -> _BITS:
    """Fields laid out from the lowest bit, in pieces of so many bits."""
    bits: _BITS = {field: [] for field in FIELDS}
    at = 0
    for field, width in parts:
        bits[field] += [1 << bit for bit in range(at, at + width)]
        at += width
    return bits


def _robaracoch(widths: dict[AddressField, int]) -> _BITS:
    """Row, bank, stack, pseudo-channel, column from the highest bit: a stream stays in one row."""
    order: tuple[AddressField, ...] = ("column", *_BANK_FIELDS, "row")
    return _in_order([(field, widths[field]) for field in order])


def _mop4clxor(widths: dict[AddressField, int]) -> _BITS:
    """Four columns, then the banks, the other columns, the row; bank fields XORed with successive column bits."""
    low = min(2, widths["column"])
    parts: list[tuple[AddressField, int]] = [("column", low)]
    parts += [(field, widths[field]) for field in _BANK_FIELDS]
    parts += [("column", widths["column"] - low), ("row", widths["row"])]
    bits = _in_order(parts)
    column = iter(bits["column"])
    for field in _BANK_FIELDS:
        bits[field] = [mask ^ next(column, 0) for mask in bits[field]]
    return bits


def _described(
    fields: Mapping[AddressField, list[str]], widths: dict[AddressField, int], lowest: int, at: str
) -> _BITS:
    bits: _BITS = {field: [] for field in FIELDS}
    for field in FIELDS:
        texts = fields.get(field, [])
        if len(texts) != widths[field]:
            raise bad(f"{at}.{field}", f"{len(texts)} bits", f"{widths[field]} bits")
        bits[field] = [_mask(text, lowest, lowest + sum(widths.values()), f"{at}.{field}") for text in texts]
    if _rank([mask for masks in bits.values() for mask in masks]) < sum(widths.values()):
        raise bad(at, "two addresses at one place", "bits that are independent under XOR")
    return bits


def _mask(text: str, lowest: int, end: int, at: str) -> int:
    mask = 0
    for part in text.split("^"):
        if not part.strip().isdecimal() or not lowest <= int(part) < end:
            raise bad(at, repr(text), f"address bits {lowest} to {end - 1}, e.g. '{lowest} ^ {end - 1}'")
        mask ^= 1 << int(part)
    return mask


def _rank(masks: list[int]) -> int:
    """Rank over GF(2)."""
    basis: list[int] = []
    for mask in masks:
        for pivot in basis:
            mask = min(mask, mask ^ pivot)
        if mask:
            basis.append(mask)
    return len(basis)
