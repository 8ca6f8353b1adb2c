"""A first look at both sides, before a pass over them: is it the right table, and what of an item has to be compared?

Some items of the source, the first ones of shards or scan segments spread over all, are read from the table by their keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from ddb_import.shard_reader import ShardReader
from ddb_import.verify.confirm import (
    BATCH_KEYS,
    Candidate,
    Lookups,
    candidate_of,
    open_confirmer,
    open_reader,
)
from ddb_import.verify.inputs import Cost, ExportInput, Input, TableInput
from ddb_import.verify.overlay import BaseFilter, read_images
from ddb_import.verify.records import Item, is_object, items_of
from ddb_import.verify.report import ItemDifference
from ddb_import.verify.representation import REPRESENT, Representation
from ddb_shared.aws.clients import connect
from ddb_shared.dynamodb.client import open_client
from ddb_shared.dynamodb.scan import SegmentScan
from ddb_shared.runtime.loop import run_loop, shared_rate_limiter
from ddb_shared.runtime.runner import Channel
from ddb_shared.storage.s3 import S3Storage

# One BatchGetItem. A table that has none of them is empty, or another one; of half a table it has about half.
ITEMS: Final = BATCH_KEYS
PARTS: Final = 10

Part = TypeVar("Part")


@dataclass(frozen=True, kw_only=True)
class LookTask:
    """Where to look."""

    source: Input
    lookups: Lookups


@dataclass(slots=True)
class FirstLook:
    """What was seen: `found` of `items` are in the table, and those of `differences` differ, or are missing."""

    items: int = 0
    found: int = 0
    representation: Representation = Representation.RAW
    differences: list[ItemDifference] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)


def look(task: LookTask, channel: Channel) -> FirstLook:
    """Reads a few items of both sides."""
    return run_loop(_look(task, channel), threads=1)


async def _look(task: LookTask, channel: Channel) -> FirstLook:
    seen = FirstLook()
    if isinstance(task.source, ExportInput):
        items = await asyncio.to_thread(_items_of_export, task.source)
    else:
        items = await _items_of_table(task.source, seen.cost, channel)
    names = task.lookups.table.key_names
    keyed = {
        candidate.key: (candidate, item)
        for item in items
        if is_object((candidate := candidate_of(item, names, keep_item=True)).key)
    }
    async with open_reader(task.lookups.table, seen.cost, channel) as reader:
        actual = await reader.read(list(keyed))
    seen.items, seen.found = len(keyed), len(actual)
    seen.representation = _representation([(keyed[key][1], item) for key, item in actual.items()])
    candidates: list[Candidate] = [candidate for candidate, _ in keyed.values()]
    async with open_confirmer(task.lookups, seen.cost, channel) as confirmer:
        seen.differences = await confirmer.check(candidates)
    return seen


def _representation(pairs: Sequence[tuple[Item, Item]]) -> Representation:
    """The cheapest one in which the items that are equal have equal bytes."""
    canonical = REPRESENT[Representation.CANONICAL]
    equal = [(source, table) for source, table in pairs if canonical(source) == canonical(table)]
    for representation in (Representation.RAW, Representation.SORTED):
        form = REPRESENT[representation]
        if all(bytes(form(source)) == bytes(form(table)) for source, table in equal):
            return representation
    return Representation.CANONICAL


def _items_of_export(source: ExportInput) -> list[Item]:
    storage = S3Storage(connect(source.aws).s3, source.bucket, source.prefix)
    shards = _spread(
        [shard for shard in source.shards if shard.items and shard.name not in source.unverified]
    )
    items: list[Item] = []
    images = _spread(source.images)
    for number, part in enumerate(images):  # half of what is looked at, where the export has changes
        share = (ITEMS // 2 - len(items)) // (len(images) - number)
        items += read_images(storage, part)[:share]
    counts = BaseFilter(source.overlay) if source.overlay else None
    for number, shard in enumerate(shards):
        share = (ITEMS - len(items)) // (len(shards) - number)
        found = items_of(ShardReader(storage, shard).read() or [])
        items += (counts(found) if counts else found)[:share]
    return items


async def _items_of_table(source: TableInput, cost: Cost, channel: Channel) -> list[Item]:
    items: list[Item] = []
    async with (
        shared_rate_limiter(source.max_rcu, channel) as rate_limiter,
        open_client(connect(source.aws), 1, rate_limiter) as client,
    ):
        for segment in _spread(source.segments):
            scan = SegmentScan(
                client=client,
                table=source.table,
                segment=segment,
                total_segments=source.total_segments,
                consistent_read=False,
            )
            page = await scan.page(None, ITEMS // PARTS)
            items += page.items
            cost.consumed_rcu += page.consumed_units
    return items


def _spread(parts: Sequence[Part]) -> list[Part]:
    """At most PARTS of them, at even distances."""
    return (
        [parts[number * len(parts) // PARTS] for number in range(PARTS)]
        if len(parts) > PARTS
        else list(parts)
    )
