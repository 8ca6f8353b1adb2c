"""Digests of a table by bucket of its key space: two tables are equal if they are equal in every bucket.

A bucket holds a count and the sum, modulo 2^128, of a 128-bit BLAKE2b hash of each item, so the order of the items plays
no part and the parts of many workers add up. It finds every error and accident; it is no defence against someone who can
choose the items of a table by the million (Wagner's generalised birthday attack on sums).

The raw road hashes an item's bytes as they came and decodes nothing but its key: about 3 µs for 500 bytes. The canonical
road hashes `canonical.canonical`: about 13 µs. Memory: 65,536 sums of 60 bytes, 4 MB a side.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import compress
from typing import Any, Final

import msgspec

from ddb_shared.canonical import canonical, normal_number
from ddb_shared.table import KeyAttribute

# One differing item has its bucket read again: with 65,536 buckets, 15,000 items of a billion.
BUCKETS: Final = 65_536
HASH_BYTES: Final = 16
# A bucket's count stands above its sum in one integer: 2^64 hashes of 128 bits cannot reach it.
_COUNT_SHIFT: Final = 192
_ONE: Final = 1 << _COUNT_SHIFT
_SUM_MASK: Final = (1 << 128) - 1

Item = bytes | msgspec.Raw


@dataclass(frozen=True, slots=True)
class BucketDigest:
    """What one bucket holds: a number of items and the sum of their hashes."""

    items: int
    sum: int


class Sums:
    """The buckets of one side of a comparison. Picklable; the sums of several workers add up."""

    def __init__(self, totals: list[int] | None = None) -> None:
        self._totals = totals or [0] * BUCKETS

    def add(self, buckets: Iterable[int], hashes: Iterable[bytes]) -> None:
        """Adds items, each its bucket and its hash."""
        totals, from_bytes, one = self._totals, int.from_bytes, _ONE
        for bucket, digest in zip(buckets, hashes, strict=True):
            totals[bucket] += one + from_bytes(digest, "big")

    def merge(self, other: Sums) -> None:
        """Adds another worker's part."""
        self._totals = [mine + theirs for mine, theirs in zip(self._totals, other._totals, strict=True)]

    def replace(self, other: Sums, buckets: Iterable[int]) -> None:
        """Takes these buckets from `other`."""
        for bucket in buckets:
            self._totals[bucket] = other._totals[bucket]

    def __getitem__(self, bucket: int) -> BucketDigest:
        total = self._totals[bucket]
        return BucketDigest(total >> _COUNT_SHIFT, total & _SUM_MASK)

    @property
    def items(self) -> int:
        """The items of all buckets."""
        return sum(total >> _COUNT_SHIFT for total in self._totals)

    def differing(self, other: Sums) -> list[int]:
        """The buckets in which the two sides are not equal."""
        pairs = zip(self._totals, other._totals, strict=True)
        return [
            bucket
            for bucket, (mine, theirs) in enumerate(pairs)
            if mine != theirs and self[bucket] != other[bucket]
        ]

    def digest(self) -> str:
        """One digest of the whole, 32 hexadecimal digits.

        It is the hash of each bucket that holds anything, in order: number (4 bytes), count (8) and sum (16), big-endian.
        """
        whole = blake2b(digest_size=HASH_BYTES)
        for bucket in compress(range(BUCKETS), self._totals):
            part = self[bucket]
            numbers = ((bucket, 4), (part.items, 8), (part.sum, HASH_BYTES))
            whole.update(b"".join(number.to_bytes(size, "big") for number, size in numbers))
        return whole.hexdigest()


def hash_of(data: Item) -> bytes:
    """The 128-bit hash that the buckets sum. BLAKE2b is as fast on machines without SHA instructions."""
    return blake2b(data, digest_size=HASH_BYTES).digest()


def raw_hashes(items: Iterable[Item]) -> list[bytes]:
    """Hashes of the items' bytes as they are."""
    return [blake2b(item, digest_size=HASH_BYTES).digest() for item in items]


def canonical_hashes(items: Iterable[Item]) -> list[bytes]:
    """Hashes of the items' canonical forms; bytes that are no item are hashed as they are."""
    return [hash_of(canonical_or_raw(item)) for item in items]


def canonical_or_raw(item: Item) -> bytes:
    """The canonical form, or the bytes themselves where they are no item."""
    try:
        return canonical(item)
    except (msgspec.DecodeError, RecursionError):
        return bytes(item)


def _number_text(text: str) -> str:
    """Most number keys are whole and positive, and need no regular expression to tell."""
    return text if text.isdecimal() and text[0] != "0" else normal_number(text)


def _binary_text(text: str) -> str:
    try:
        return binascii.a2b_base64(text).hex()
    except ValueError:
        return text


def _same(text: str) -> str:
    return text


_TEXTS: Final[dict[str, Callable[[str], str]]] = {"S": _same, "N": _number_text, "B": _binary_text}


class Bucketer:
    """Finds the bucket of items by their key, whose attributes are all that it decodes.

    Every legal spelling of a key gives the same bucket. What has no such key lands in the bucket of its bytes.
    """

    def __init__(self, key: Sequence[KeyAttribute]) -> None:
        fields: list[tuple[str, Any, Any]] = []
        for number, attribute in enumerate(key):
            value = msgspec.defstruct("Value", [("text", str, msgspec.field(name=attribute.type))], gc=False)
            fields.append((f"key{number}", value, msgspec.field(name=attribute.name)))
        # One decoder call an item is faster than one for a page, which would have to be joined first.
        self._decode = msgspec.json.Decoder(msgspec.defstruct("Key", fields, gc=False)).decode
        self._texts = _texts([_TEXTS[attribute.type] for attribute in key])

    def buckets(self, items: Sequence[Item]) -> list[int]:
        """The bucket of each item, 0 to BUCKETS - 1."""
        try:
            texts = self._texts(list(map(self._decode, items)))
        except (msgspec.DecodeError, RecursionError):
            return [self._bucket(item) for item in items]
        return [checksum % BUCKETS for checksum in map(zlib.crc32, map(str.encode, texts))]

    def _bucket(self, item: Item) -> int:
        try:
            text = self._texts([self._decode(item)])[0].encode()
        except (msgspec.DecodeError, RecursionError):
            return zlib.crc32(item) % BUCKETS
        return zlib.crc32(text) % BUCKETS


def _texts(normal: Sequence[Callable[[str], str]]) -> Callable[[Sequence[Any]], list[str]]:
    """What makes one text of each decoded key."""
    if len(normal) == 1:
        (only,) = normal
        return lambda keys: [only(key.key0.text) for key in keys]
    first, second = normal
    if first is _same:
        return lambda keys: [f"{key.key0.text}\0{second(key.key1.text)}" for key in keys]
    return lambda keys: [f"{first(key.key0.text)}\0{second(key.key1.text)}" for key in keys]
