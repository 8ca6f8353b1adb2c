"""The second step: the items of buckets that differ are read again and paired by their keys.

The buckets are taken in slices, one pass over both sides for each, so that what is held fits in memory: the parent and
all workers together hold at most 2 x SLICE_BYTES, or twice the largest bucket, which is a 65,536th of the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from ddb_import.verify.digests import THREADS, Digests
from ddb_import.verify.sides import Cost, ExportSide, Side, Sink, read_sides, text_of
from ddb_shared.canonical import canonical, canonical_key
from ddb_shared.digest import Bucketer, Item, Sums, hash_of
from ddb_shared.loop import run_loop
from ddb_shared.table import KeyAttribute
from ddb_shared.workers import Channel

# About a million items of 250 bytes: one pass for most accidents, on any machine.
SLICE_BYTES: Final = 512 * 1024 * 1024
# A Record with its three byte strings and its place in a dict, measured.
RECORD_BYTES: Final = 400


class Record(NamedTuple):
    """An item of a bucket that differs.

    `identity` is the hash of its key, `data` the item where it is the export's, else its key alone, canonical.
    """

    bucket: int
    identity: bytes
    hash: bytes
    data: bytes


@dataclass(frozen=True, kw_only=True)
class MatchTask:
    """One worker's share of both sides, and the buckets to take from it."""

    sides: tuple[Side, Side]
    key: tuple[KeyAttribute, ...]
    buckets: frozenset[int]


@dataclass(slots=True)
class Found:
    """The items of both sides in the buckets of a slice."""

    left: list[Record] = field(default_factory=list)
    right: list[Record] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)

    def add(self, other: Found) -> None:
        """Adds another worker's part."""
        self.left += other.left
        self.right += other.right
        self.cost.add(other.cost)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A key whose items may differ. `item` is the export's, None where it has none or a table is on that side."""

    key: bytes
    item: bytes | None


def slices(buckets: Sequence[int], digests: Digests, most_bytes: int) -> Iterator[list[int]]:
    """The buckets in groups whose items take about `most_bytes` of memory."""
    left, right = digests.left, digests.right
    item_bytes = left.bytes / max(left.sums.items, 1)
    group: list[int] = []
    held = 0.0
    for bucket in buckets:
        weight = (
            left.sums[bucket].items * (item_bytes + RECORD_BYTES) + right.sums[bucket].items * RECORD_BYTES
        )
        if group and held + weight > most_bytes:
            yield group
            group, held = [], 0.0
        group.append(bucket)
        held += weight
    if group:
        yield group


def collect(task: MatchTask, channel: Channel) -> Found:
    """Reads the items of the wanted buckets."""
    return run_loop(_collect(task, channel), threads=THREADS)


async def _collect(task: MatchTask, channel: Channel) -> Found:
    found = Found()
    parts = [(task.sides[0], _sink(task, 0, found.left)), (task.sides[1], _sink(task, 1, found.right))]
    found.cost = await read_sides(parts, channel)
    return found


def _sink(task: MatchTask, side: int, records: list[Record]) -> Sink:
    bucketer, names = Bucketer(task.key), [attribute.name for attribute in task.key]
    keep_item = isinstance(task.sides[side], ExportSide)

    async def add(items: Sequence[Item]) -> None:
        for bucket, item in zip(bucketer.buckets(items), items, strict=True):
            if bucket in task.buckets:
                form = canonical_or_text(item)
                key = key_or_raw(form, names)
                data = bytes(item) if keep_item and is_object(form) else key
                records.append(Record(bucket, hash_of(key), hash_of(form), data))

    return add


def canonical_or_text(item: Item) -> bytes:
    """The canonical form; bytes that are no item as a JSON string, which a report can hold."""
    try:
        return canonical(item)
    except (msgspec.DecodeError, RecursionError):
        return text_of(item)


def is_object(form: bytes) -> bool:
    """Whether a canonical form is that of an item, and no text."""
    return form.startswith(b"{")


def key_or_raw(item: Item, names: Iterable[str]) -> bytes:
    """The canonical key; the bytes themselves where they are no item with that key."""
    try:
        return canonical_key(item, names)
    except (msgspec.DecodeError, RecursionError, KeyError):
        return bytes(item)


def candidate_of(item: Item, key_names: Iterable[str], *, keep_item: bool) -> Candidate:
    """An item as a candidate."""
    form = canonical_or_text(item)
    data = bytes(item) if is_object(form) else form
    return Candidate(key_or_raw(form, key_names), data if keep_item else None)


def sums_of(records: Iterable[Record]) -> Sums:
    """The canonical sums of these items."""
    sums, taken = Sums(), list(records)
    sums.add([record.bucket for record in taken], [record.hash for record in taken])
    return sums


def pair(found: Found, key_names: Sequence[str]) -> list[Candidate]:
    """What is on one side only, or not equal on both.

    Several lines of an export with one key count as one item, which is equal if one of them is.
    """
    right = {record.identity: record for record in found.right}
    left: dict[bytes, Record] = {}
    for record in found.left:
        known = left.get(record.identity)
        if known is None or not _is_equal(known, right):
            left[record.identity] = record
    uneven = [record for record in left.values() if not _is_equal(record, right)]
    candidates = [Candidate(key_or_raw(record.data, key_names), record.data) for record in uneven]
    extra = [record for identity, record in right.items() if identity not in left]
    return candidates + [Candidate(record.data, None) for record in extra]


def _is_equal(record: Record, others: dict[bytes, Record]) -> bool:
    other = others.get(record.identity)
    return other is not None and other.hash == record.hash
