"""The second pass: which items differ. The items of the buckets that differ are compared in their canonical form.

Memory of a worker: that of reading, 4 MB of sums a side, and the table of `reconcile`: 3 KB for each difference that may be
named, whatever the size of the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ddb_import.verify.digest import Sums, bucket_of
from ddb_import.verify.inputs import THREADS, Cost, Input, Sink, TableInput, read_inputs
from ddb_import.verify.keys import KeyHasher
from ddb_import.verify.reconcile import ReconciliationTable, Uncommon
from ddb_import.verify.records import Item
from ddb_import.verify.report import DifferenceKind
from ddb_import.verify.representation import Representation, hashes_of
from ddb_shared.runtime.loop import run_loop
from ddb_shared.runtime.runner import Channel
from ddb_shared.table.description import KeyAttribute


@dataclass(frozen=True, kw_only=True)
class RefineTask:
    """One worker's share of both sides, and the buckets that differ in `representation`; `size` as of `reconcile`."""

    source: Input
    table: TableInput
    key: tuple[KeyAttribute, ...]
    representation: Representation
    buckets: frozenset[int]
    size: int


@dataclass(slots=True)
class Refined:
    """The canonical sums of both sides in these buckets, and what the sides do not have in common."""

    uncommon: ReconciliationTable
    source: Sums = field(default_factory=Sums)
    table: Sums = field(default_factory=Sums)
    cost: Cost = field(default_factory=Cost)

    def add(self, other: Refined) -> None:
        """Adds another worker's sums."""
        self.uncommon.merge(other.uncommon)
        self.source.merge(other.source)
        self.table.merge(other.table)
        self.cost.add(other.cost)


def refine(task: RefineTask, channel: Channel) -> Refined:
    """Reads the task's share of both sides and reconciles what is in buckets that differ."""
    return run_loop(_refine(task, channel), threads=THREADS)


async def _refine(task: RefineTask, channel: Channel) -> Refined:
    found = Refined(ReconciliationTable(task.size))
    parts = [
        (task.source, _sink(task, found.source, found.uncommon.add)),
        (task.table, _sink(task, found.table, found.uncommon.subtract)),
    ]
    found.cost = await read_inputs(parts, channel)
    return found


def _sink(task: RefineTask, sums: Sums, reconcile: Callable[[Sequence[bytes], Sequence[int]], None]) -> Sink:
    keys = KeyHasher(task.key)

    async def add(items: Sequence[Item]) -> None:
        hashes = hashes_of(items, task.representation)
        items = [
            item
            for item, item_hash in zip(items, hashes, strict=True)
            if bucket_of(item_hash) in task.buckets
        ]
        canonical = hashes_of(items, Representation.CANONICAL)
        sums.add(canonical)
        reconcile(keys.hashes(items), canonical)

    return add


def kinds_of(uncommon: Sequence[Uncommon]) -> dict[bytes, DifferenceKind]:
    """How the items of each key differ, by the key's hash."""
    sources = {item.key for item in uncommon if item.copies > 0}
    tables = {item.key for item in uncommon if item.copies < 0}
    return (
        dict.fromkeys(sources - tables, DifferenceKind.MISSING)
        | dict.fromkeys(tables - sources, DifferenceKind.EXTRA)
        | dict.fromkeys(sources & tables, DifferenceKind.DIFFERENT)
    )
