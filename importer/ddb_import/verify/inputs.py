"""The two sides of a comparison, and how a worker reads its share of both at once.

Memory of a worker: OPEN_SEGMENTS x 2 MB (a page and its body) for each table, OPEN_SHARDS x 2 MB for the export. Of an export with
changes, OPEN_SHARDS x 20 MB (a file of the log and its lines), and what `overlay` says.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ddb_import.shard_reader import ShardReader
from ddb_import.verify.overlay import BaseFilter, LastLines, Overlay, read_images
from ddb_import.verify.records import Item, items_of
from ddb_shared.aws.clients import AwsOptions, connect
from ddb_shared.dynamodb.client import Client, open_client
from ddb_shared.dynamodb.scan import SegmentScan
from ddb_shared.format.manifest import Shard
from ddb_shared.runtime.loop import first_error, shared_rate_limiter, stop_event, unless_stopped
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.runner import Channel
from ddb_shared.storage.base import Storage
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.capacity import Cap, units_at
from ddb_shared.table.description import LastKey, Table
from ddb_shared.table.segments import choose_segments, split_round_robin

THREADS: Final = 6  # of a worker, for what would block
OPEN_SEGMENTS: Final = 8
OPEN_SHARDS: Final = 4  # decompressing and hashing run in threads, as do the digests


@dataclass(frozen=True, kw_only=True)
class ExportInput:
    """Shards of an export. `unverified` are those that were copied or modified, whose checksum must be verified first.

    `images` are its changes, where it has any, and `overlay` says which items of the shards count beside them.
    """

    aws: AwsOptions
    bucket: str
    prefix: str
    shards: tuple[Shard, ...]
    unverified: frozenset[str] = frozenset()
    images: tuple[LastLines, ...] = ()
    overlay: Overlay | None = None

    def split(self, workers: int) -> list[ExportInput]:
        """One share for each worker."""
        shares = zip(
            split_round_robin(self.shards, workers), split_round_robin(self.images, workers), strict=True
        )
        return [dataclasses.replace(self, shards=shards, images=images) for shards, images in shares]


@dataclass(frozen=True, kw_only=True)
class TableInput:
    """Scan segments of a table. `max_rcu` is the cap of all workers together, in units per second."""

    aws: AwsOptions
    table: str
    segments: tuple[int, ...]
    total_segments: int
    max_rcu: float | None

    def split(self, workers: int) -> list[TableInput]:
        """One share for each worker."""
        return [
            dataclasses.replace(self, segments=share) for share in split_round_robin(self.segments, workers)
        ]


Input = ExportInput | TableInput
# Receives items as they are read; an exception ends the reading.
Sink = Callable[[Sequence[Item]], Awaitable[None]]


@dataclass(slots=True)
class Cost:
    """Read capacity units consumed, and throttled requests by reason."""

    consumed_rcu: float = 0.0
    throttled: Counter[str] = field(default_factory=Counter)

    def add(self, other: Cost) -> None:
        """Adds another part of the same run."""
        self.consumed_rcu += other.consumed_rcu
        self.throttled.update(other.throttled)


def whole_table(aws: AwsOptions, table: Table, name: str, max_rcu: Cap | None) -> TableInput:
    """All segments of a table; `name` is its name, or its ARN if it belongs to another account."""
    total = choose_segments(table)
    units = units_at(max_rcu, table.definition, "Read")
    return TableInput(aws=aws, table=name, segments=tuple(range(total)), total_segments=total, max_rcu=units)


async def read_inputs(parts: Sequence[tuple[Input, Sink]], channel: Channel) -> Cost:
    """Reads all items of the inputs into their sinks; after a stop only some of them."""
    cost = Cost()
    async with stop_event(channel) as stop:
        with first_error():
            async with asyncio.TaskGroup() as group:
                for input_, sink in parts:
                    reader = _TableReader if isinstance(input_, TableInput) else _ExportReader
                    group.create_task(reader(input_, sink, channel, stop, cost).run())  # type: ignore[arg-type]
    return cost


class _ExportReader:
    def __init__(
        self, input_: ExportInput, sink: Sink, channel: Channel, stop: asyncio.Event, _: Cost
    ) -> None:
        self._storage: Storage = S3Storage(connect(input_.aws).s3, input_.bucket, input_.prefix)
        self._waiting: deque[Shard | LastLines] = deque((*input_.shards, *input_.images))
        self._filter = BaseFilter(input_.overlay) if input_.overlay else None
        self._unverified = input_.unverified
        self._sink = sink
        self._channel = channel
        self._stop = stop

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(OPEN_SHARDS, len(self._waiting))):
                group.create_task(self._read_waiting())

    async def _read_waiting(self) -> None:
        while self._waiting and not self._stop.is_set():
            shard = self._waiting.popleft()
            if isinstance(shard, LastLines):
                await self._read_images(shard)
                continue
            if shard.name in self._unverified and shard.name.endswith(".parquet"):
                # the parser must not see forged data
                await asyncio.to_thread(ShardReader(self._storage, shard).verify_checksum)
            await self._read(ShardReader(self._storage, shard))

    async def _read(self, reader: ShardReader) -> None:
        while not self._stop.is_set() and (lines := await asyncio.to_thread(reader.read)) is not None:
            if lines:
                items = items_of(lines)
                await self._sink(self._filter(items) if self._filter else items)
            self._channel.report(ProgressEvent(items=len(lines), bytes=sum(map(len, lines))))
        self._channel.report(ProgressEvent(shards=1))

    async def _read_images(self, images: LastLines) -> None:
        items = await asyncio.to_thread(read_images, self._storage, images)
        await self._sink(items)
        self._channel.report(ProgressEvent(items=len(items), bytes=sum(map(len, items))))


class _TableReader:
    def __init__(
        self, input_: TableInput, sink: Sink, channel: Channel, stop: asyncio.Event, cost: Cost
    ) -> None:
        self._input = input_
        self._waiting = deque(input_.segments)
        self._sink = sink
        self._channel = channel
        self._stop = stop
        self._cost = cost

    async def run(self) -> None:
        aws = connect(self._input.aws)
        async with (
            shared_rate_limiter(self._input.max_rcu, self._channel) as rate_limiter,
            open_client(aws, OPEN_SEGMENTS, rate_limiter) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(min(OPEN_SEGMENTS, len(self._waiting))):
                group.create_task(self._read_waiting(client))
        self._cost.throttled.update(client.throttled)

    async def _read_waiting(self, client: Client) -> None:
        while self._waiting and not self._stop.is_set():
            await self._scan(client, self._waiting.popleft())

    async def _scan(self, client: Client, segment: int) -> None:
        table = self._input
        scan = SegmentScan(
            client=client,
            table=table.table,
            segment=segment,
            total_segments=table.total_segments,
            consistent_read=False,  # half the price; differences are read again consistently
        )
        start: LastKey | None = None
        while not self._stop.is_set():
            page = await unless_stopped(self._stop, scan.page(start))
            if page is None:
                return
            if page.items:
                await self._sink(page.items)
            self._cost.consumed_rcu += page.consumed_units
            reasons, retried = client.take_retries()
            self._channel.report(
                ProgressEvent(
                    items=len(page.items),
                    bytes=sum(map(len, page.items)),
                    units=page.consumed_units,
                    reasons=reasons,
                    retried=retried,
                    note=client.rate_limiter.reason,
                )
            )
            start = page.last_evaluated_key
            if start is None:
                return
