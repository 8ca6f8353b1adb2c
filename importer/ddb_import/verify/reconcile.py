"""Set reconciliation: the items that two sides do not have in common, in memory that grows with the differences alone.

Each item of one side is added to three cells of a table, and each item of the other side is subtracted from its three; what
both sides hold cancels, in any order. A cell with one item left gives it away; it is taken out of its other two cells,
which gives away the next one, until all are known ("peeling"). This is an invertible Bloom lookup table: Goodrich and
Mitzenmacher, "Invertible Bloom Lookup Tables", 2011. With three cells an item it succeeds, but for one time in thousands, while
there are at most 0.75 as many items as cells.

How many differences there are is not known before. So half of the keys go to a first table, a quarter to a second one, and
so on, all of one size: where the first ones overflow, a later one still tells its share (the strata of Eppstein, Goodrich,
Uyeda and Varghese, "What's the Difference? Efficient Set Reconciliation without Prior Context", SIGCOMM 2011).

Memory: STRATA x 3 cells of about 64 bytes for each item of `size`, 3 KB. Up to 4.5 x `size` items are found all; of more
items, up to 147,000 x `size`, at least 2.25 x `size` are. An item that differs counts twice, once for each side.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

STRATA: Final = 16
HASH_BYTES: Final = 8
_CELLS: Final = 3
# A cell holds the sum of, from the lowest bit: 32 bits of checksum, 64 of the key's hash, 64 of the item's, 64 to spare
# for carries, and the number of items.
_COUNT_SHIFT: Final = 224
_ONE: Final = 1 << _COUNT_SHIFT
_CHECKSUM_BITS: Final = 32
_CHECKSUM_MASK: Final = (1 << _CHECKSUM_BITS) - 1
_HASH_BITS: Final = 8 * HASH_BYTES
_KEY_MASK: Final = (1 << _HASH_BITS) - 1
_VALUE_BITS: Final = _CHECKSUM_BITS + 2 * _HASH_BITS
# Where an item's three cells are: disjoint parts of its hash.
_PART_BITS: Final = 21
# The stratum of a key by the lowest bits of its hash: the number of zeros that they end in.
_STRATUM_MASK: Final = (1 << (STRATA - 1)) - 1
_STRATUM: Final = bytes(
    (bits & -bits).bit_length() - 1 if bits else STRATA - 1 for bits in range(_STRATUM_MASK + 1)
)


class Uncommon(NamedTuple):
    """An item that one side has more often than the other: HASH_BYTES of the hash of its key, and half of its own.

    `copies` is positive where the side that was added has more, and negative where the one that was subtracted has.
    """

    key: bytes
    item: int
    copies: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """What could be read: all that both sides do not have in common, in `share` of the key space (1: in all of it)."""

    items: list[Uncommon]
    share: float


class ReconciliationTable:
    """What is left of two sides. Picklable; the tables of several workers add up if they have the same `size`."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._strata: list[list[int]] = [[0] * (_CELLS * size) for _ in range(STRATA)]

    def add(self, keys: Iterable[bytes], items: Iterable[int]) -> None:
        """Adds items by the hashes of their keys, of HASH_BYTES or more, and of themselves, of 128 bits."""
        self._add(keys, items, 1)

    def subtract(self, keys: Iterable[bytes], items: Iterable[int]) -> None:
        """The same for the other side."""
        self._add(keys, items, -1)

    def _add(self, keys: Iterable[bytes], items: Iterable[int], copies: int) -> None:
        size, strata, from_bytes = self._size, self._strata, int.from_bytes
        for key, item in zip(keys, items, strict=True):
            number = item >> _HASH_BITS << _HASH_BITS | from_bytes(key[:HASH_BYTES], "big")
            total = copies * (_ONE | number << _CHECKSUM_BITS | _checksum(number))
            cells = strata[_STRATUM[number & _STRATUM_MASK]]
            for cell in _cells(number, size):
                cells[cell] += total

    def merge(self, other: ReconciliationTable) -> None:
        """Adds another worker's sums."""
        self._strata = [
            [mine + theirs for mine, theirs in zip(*cells, strict=True)]
            for cells in zip(self._strata, other._strata, strict=True)
        ]

    def decode(self) -> Decoded:
        """What the sides do not have in common; the table stays as it is."""
        items: list[Uncommon] = []
        for stratum in reversed(range(STRATA)):
            found = _peel(list(self._strata[stratum]), self._size)
            if found is None:
                return Decoded(items, 0.0 if stratum == STRATA - 1 else 0.5 ** (stratum + 1))
            items += found
        return Decoded(items, 1.0)


def _checksum(number: int) -> int:
    return zlib.crc32(number.to_bytes(2 * HASH_BYTES, "big"))


def _cells(number: int, size: int) -> tuple[int, int, int]:
    """The cells of an item, one in each third of the table; `number` is the hashes of item and key, joined."""
    first = number >> _HASH_BITS
    second, third = first >> _PART_BITS, first >> 2 * _PART_BITS
    return first % size, size + second % size, 2 * size + third % size


def _peel(cells: list[int], size: int) -> list[Uncommon] | None:
    """Empties the cells; None where something is left that cannot be told apart."""
    found: list[Uncommon] = []
    waiting = [cell for cell, total in enumerate(cells) if total]
    while waiting:
        cell = waiting.pop()
        total = cells[cell]
        single = _single(total)
        if single is None:
            continue
        number, copies = single
        places = _cells(number, size)
        if cell not in places:
            continue
        for place in places:
            cells[place] -= total
        waiting += places
        key = (number & _KEY_MASK).to_bytes(HASH_BYTES, "big")
        found.append(Uncommon(key, number >> _HASH_BITS, copies))
    return None if any(cells) else found


def _single(total: int) -> tuple[int, int] | None:
    """The hashes and the number of the copies where a cell holds one item alone."""
    copies = abs(total) >> _COUNT_SHIFT
    if not copies:
        return None
    value, rest = divmod(abs(total), copies)
    if rest or value >> _VALUE_BITS != _ONE >> _VALUE_BITS:
        return None
    number = (value - _ONE) >> _CHECKSUM_BITS
    if value & _CHECKSUM_MASK != _checksum(number):
        return None
    return number, copies if total > 0 else -copies
