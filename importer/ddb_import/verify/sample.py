"""A quick look: some items of the export, or of the source table, are read one by one from the table.

It reads whole shards (or scan segments) chosen at random, at least LEAST_PARTS of them, and of each as many items as make
up the percentage, chosen by the hash of their keys. It finds missing and different items, and can't find extra ones.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ddb_import.verify.confirm import BATCH_KEYS, Lookup, open_confirmer
from ddb_import.verify.digests import THREADS
from ddb_import.verify.match import candidate_of
from ddb_import.verify.report import Difference, Kind
from ddb_import.verify.sides import Cost, ExportSide, Side, TableSide, read_sides
from ddb_shared.digest import BUCKETS, Bucketer, Item
from ddb_shared.loop import run_loop
from ddb_shared.table import KeyAttribute
from ddb_shared.workers import Channel

# Fewer would look at too few places of the key space; more would read much to drop most of it.
LEAST_PARTS: Final = 64
# So many named differences of one worker show what is wrong; the rest are counted.
MOST_NAMED: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class SampleTask:
    """One worker's share of a sample: items in the first `buckets` buckets of what `side` reads."""

    side: Side
    key: tuple[KeyAttribute, ...]
    buckets: int
    table: Lookup
    source: Lookup | None


@dataclass(slots=True)
class Sampled:
    """What a sample found; `differences` names at most MOST_NAMED of each worker."""

    items: int = 0
    missing: int = 0
    different: int = 0
    differences: list[Difference] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)

    def add(self, other: Sampled) -> None:
        """Adds another worker's part."""
        self.items += other.items
        self.missing += other.missing
        self.different += other.different
        self.differences += other.differences
        self.cost.add(other.cost)

    def count(self, items: int, differences: Sequence[Difference]) -> None:
        """Adds one batch. An item that is gone from the source since it was read is no difference."""
        self.items += items
        self.missing += sum(difference.kind is Kind.MISSING for difference in differences)
        self.different += sum(difference.kind is Kind.DIFFERENT for difference in differences)
        self.differences += differences[: MOST_NAMED - len(self.differences)]


def thin(side: Side, percent: float, rng: random.Random) -> tuple[Side, int]:
    """What to read of a side, and the number of buckets of which the items are taken."""
    parts: Sequence[object] = side.shards if isinstance(side, ExportSide) else side.segments
    share = percent / 100
    count = min(max(round(len(parts) * share), LEAST_PARTS), len(parts))
    taken = rng.sample(range(len(parts)), count)
    buckets = min(round(share * BUCKETS * len(parts) / max(count, 1)), BUCKETS)
    if isinstance(side, TableSide):
        return replace(side, segments=tuple(side.segments[part] for part in taken)), max(buckets, 1)
    return replace(side, shards=tuple(side.shards[part] for part in taken)), max(buckets, 1)


def sample(task: SampleTask, channel: Channel) -> Sampled:
    """Compares the task's share."""
    return run_loop(_sample(task, channel), threads=THREADS)


async def _sample(task: SampleTask, channel: Channel) -> Sampled:
    found, bucketer = Sampled(), Bucketer(task.key)
    names = [attribute.name for attribute in task.key]
    keeps_item = isinstance(task.side, ExportSide)
    async with open_confirmer(task.table, task.source, found.cost, channel) as confirmer:

        async def take(items: Sequence[Item]) -> None:
            chosen = [
                candidate_of(item, names, keep_item=keeps_item)
                for bucket, item in zip(bucketer.buckets(items), items, strict=True)
                if bucket < task.buckets
            ]
            for start in range(0, len(chosen), BATCH_KEYS):
                batch = chosen[start : start + BATCH_KEYS]
                found.count(len(batch), await confirmer.check(batch))

        found.cost.add(await read_sides([(task.side, take)], channel))
    return found
