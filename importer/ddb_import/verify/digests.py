"""The first step: digests of both sides by bucket. Memory of a worker: that of `sides`, and 4 MB of sums a side."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ddb_import.verify.sides import Cost, Side, Sink, read_sides
from ddb_shared.digest import Bucketer, Item, Sums, canonical_hashes, raw_hashes
from ddb_shared.loop import run_loop
from ddb_shared.table import KeyAttribute
from ddb_shared.workers import Channel

THREADS: Final = 6


class Form(enum.StrEnum):
    """What of an item is hashed: its bytes as they came, or its canonical form."""

    RAW = "raw"
    CANONICAL = "canonical"


@dataclass(frozen=True, kw_only=True)
class DigestTask:
    """One worker's share of both sides. Where `buckets` is given, items of others are left out."""

    sides: tuple[Side, Side]
    key: tuple[KeyAttribute, ...]
    form: Form = Form.RAW
    buckets: frozenset[int] | None = None


@dataclass(slots=True)
class SideDigest:
    """The sums of one side, and the bytes of its items as they came."""

    sums: Sums = field(default_factory=Sums)
    bytes: int = 0

    def add(self, other: SideDigest) -> None:
        """Adds another worker's part."""
        self.sums.merge(other.sums)
        self.bytes += other.bytes


@dataclass(slots=True)
class Digests:
    """What the workers found: both sides, left the export or source table, right the table."""

    left: SideDigest = field(default_factory=SideDigest)
    right: SideDigest = field(default_factory=SideDigest)
    cost: Cost = field(default_factory=Cost)

    def add(self, other: Digests) -> None:
        """Adds another worker's part."""
        self.left.add(other.left)
        self.right.add(other.right)
        self.cost.add(other.cost)


def digest(task: DigestTask, channel: Channel) -> Digests:
    """Reads the task's share of both sides into sums."""
    return run_loop(_digest(task, channel), threads=THREADS)


async def _digest(task: DigestTask, channel: Channel) -> Digests:
    found = Digests()
    parts = [(task.sides[0], _sink(task, found.left)), (task.sides[1], _sink(task, found.right))]
    found.cost = await read_sides(parts, channel)
    return found


def _sink(task: DigestTask, side: SideDigest) -> Sink:
    bucketer = Bucketer(task.key)
    hashes = canonical_hashes if task.form is Form.CANONICAL else raw_hashes
    wanted = task.buckets

    async def add(items: Sequence[Item]) -> None:
        buckets = bucketer.buckets(items)
        if wanted is not None:
            chosen = [pair for pair in zip(buckets, items, strict=True) if pair[0] in wanted]
            buckets, items = [bucket for bucket, _ in chosen], [item for _, item in chosen]
        side.sums.add(buckets, hashes(items))
        side.bytes += sum(memoryview(item).nbytes for item in items)

    return add
