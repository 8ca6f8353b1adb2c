"""The second pass: which items differ. The items of the buckets that differ are compared in their canonical form.

Where they are few enough, they are also kept until it is known which of them differ, so that no third pass has to name these.

Memory of a worker: that of reading, 4 MB of sums a side, and the table of `reconcile`: 3 KB for each difference that may be
named, whatever the size of the tables; and what `named` keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress

from ddb_import.verify.digest import Sums, bucket_of
from ddb_import.verify.inputs import THREADS, Cost, Input, Sink, TableInput, read_inputs
from ddb_import.verify.keys import KeyHasher
from ddb_import.verify.named import Named, namer
from ddb_import.verify.reconcile import ReconciliationTable, Uncommon
from ddb_import.verify.records import Item
from ddb_import.verify.report import DifferenceKind
from ddb_import.verify.representation import Representation, hashes_of
from ddb_shared.runtime.loop import run_loop
from ddb_shared.runtime.runner import Channel
from ddb_shared.table.description import KeyAttribute


@dataclass(frozen=True, kw_only=True)
class RefineTask:
    """One worker's share of both sides, and the buckets that differ in `representation`; `size` as of `reconcile`.

    `keep` their items. Those whose keys have the hashes of `left_out` are left out: 130 bytes for each.
    """

    source: Input
    table: TableInput
    key: tuple[KeyAttribute, ...]
    representation: Representation
    buckets: frozenset[int]
    size: int
    keep: bool
    left_out: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class Refined:
    """The canonical sums of both sides in these buckets, what the sides do not have in common, and the items that were kept."""

    uncommon: ReconciliationTable
    kept: Named = field(default_factory=Named)
    source: Sums = field(default_factory=Sums)
    table: Sums = field(default_factory=Sums)
    cost: Cost = field(default_factory=Cost)

    def add(self, other: Refined) -> None:
        """Adds another worker's sums."""
        self.uncommon.merge(other.uncommon)
        self.kept.add(other.kept)
        self.source.merge(other.source)
        self.table.merge(other.table)
        self.cost.add(other.cost)


def refine(task: RefineTask, channel: Channel) -> Refined:
    """Reads the task's share of both sides and reconciles what is in buckets that differ."""
    return run_loop(_refine(task, channel), threads=THREADS)


async def _refine(task: RefineTask, channel: Channel) -> Refined:
    found = Refined(ReconciliationTable(task.size))
    parts = [
        (task.source, _sink(task, task.source, found, found.source, found.uncommon.add)),
        (task.table, _sink(task, task.table, found, found.table, found.uncommon.subtract)),
    ]
    found.cost = await read_inputs(parts, channel)
    return found


def _sink(
    task: RefineTask,
    input_: Input,
    found: Refined,
    sums: Sums,
    reconcile: Callable[[Sequence[bytes], Sequence[int]], None],
) -> Sink:
    keys, keep = KeyHasher(task.key), namer(input_, task.key, found.kept)

    async def add(items: Sequence[Item]) -> None:
        hashes = hashes_of(items, task.representation)
        items = [
            item
            for item, item_hash in zip(items, hashes, strict=True)
            if bucket_of(item_hash) in task.buckets
        ]
        key_hashes = keys.hashes(items)
        if task.left_out:
            counts = [key not in task.left_out for key in key_hashes]
            items, key_hashes = list(compress(items, counts)), list(compress(key_hashes, counts))
        canonical = hashes_of(items, Representation.CANONICAL)
        sums.add(canonical)
        reconcile(key_hashes, canonical)
        if task.keep:
            keep(items, key_hashes)

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
