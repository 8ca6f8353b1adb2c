"""The digest of a table: two sides hold the same items if their digests are equal.

An item belongs to one of BUCKETS buckets by its 128-bit hash. A bucket has a count and the sum, modulo 2^128, of the hashes of its
items, so the order of the items does not matter and the results of several workers can be added. Where a bucket differs, only
its items need a closer look. It detects all accidental differences; it does not protect against an attacker who can choose
items (for sums of any hash, Wagner's generalised birthday attack).

Memory: 65,536 sums of 60 bytes, 4 MB a side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import compress
from typing import Final

# One differing item has its bucket looked at again: with 65,536 buckets, 15,000 items of a billion.
BUCKETS: Final = 65_536
_HASH_BYTES: Final = 16
_BUCKET_MASK: Final = BUCKETS - 1
# Count and sum of a bucket are one integer, the count in the upper bits, which a sum of 2^64 hashes cannot reach.
_COUNT_SHIFT: Final = 192
_ONE: Final = 1 << _COUNT_SHIFT
_SUM_MASK: Final = (1 << 128) - 1


@dataclass(frozen=True, slots=True)
class BucketDigest:
    """One bucket: the number of items and the sum of their hashes."""

    items: int
    sum: int


class Sums:
    """The buckets of one side of a comparison. Picklable; the sums of several workers can be merged."""

    def __init__(self) -> None:
        self._totals = [0] * BUCKETS

    def add(self, hashes: Iterable[int]) -> None:
        """Adds items by their hashes."""
        totals, one, mask = self._totals, _ONE, _BUCKET_MASK
        for number in hashes:
            totals[number & mask] += one + number

    def merge(self, other: Sums) -> None:
        """Adds another worker's sums."""
        self._totals = [mine + theirs for mine, theirs in zip(self._totals, other._totals, strict=True)]

    def clear(self, buckets: Iterable[int]) -> None:
        """Forgets what these buckets hold."""
        for bucket in buckets:
            self._totals[bucket] = 0

    def __getitem__(self, bucket: int) -> BucketDigest:
        total = self._totals[bucket]
        return BucketDigest(total >> _COUNT_SHIFT, total & _SUM_MASK)

    @property
    def items(self) -> int:
        """The number of items in all buckets."""
        return sum(total >> _COUNT_SHIFT for total in self._totals)

    def differing(self, other: Sums) -> frozenset[int]:
        """The buckets that differ between the two sides."""
        pairs = zip(self._totals, other._totals, strict=True)
        return frozenset(
            bucket
            for bucket, (mine, theirs) in enumerate(pairs)
            if mine != theirs and self[bucket] != other[bucket]
        )

    def digest(self) -> str:
        """One digest of all buckets, 32 hexadecimal digits.

        It is the hash over the non-empty buckets, in order: number (4 bytes), count (8) and sum (16), big-endian.
        """
        whole = blake2b(digest_size=_HASH_BYTES)
        for bucket in compress(range(BUCKETS), self._totals):
            part = self[bucket]
            numbers = ((bucket, 4), (part.items, 8), (part.sum, _HASH_BYTES))
            whole.update(b"".join(number.to_bytes(size, "big") for number, size in numbers))
        return whole.hexdigest()


def bucket_of(item_hash: int) -> int:
    """The bucket of an item with this hash."""
    return item_hash & _BUCKET_MASK
