"""The two sides of a comparison, and how a worker reads its share of both at once.

Memory of a worker: OPEN_SEGMENTS x 2 MB (a page and its body) for each table, OPEN_SHARDS x 2 MB for the export.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from ddb_import.shard_reader import ShardReader
from ddb_shared.aws import Aws, AwsOptions
from ddb_shared.cap import Cap, units_at
from ddb_shared.digest import Item
from ddb_shared.errors import explained
from ddb_shared.items import item_of
from ddb_shared.loop import first_error, shared_pace, stop_event, unless_stopped
from ddb_shared.manifest import Shard
from ddb_shared.progress import Tick
from ddb_shared.storage import Folder, S3Folder
from ddb_shared.table import Table
from ddb_shared.wire import LastKey, ScanPage, Wire, open_wire, scan_request
from ddb_shared.workers import Channel

OPEN_SEGMENTS: Final = 8
OPEN_SHARDS: Final = 4  # decompressing and hashing run in threads, beside the digests
# As the exporter cuts a table: 64 MiB a segment; an empty one costs half a read capacity unit.
LEAST_SEGMENTS: Final = 16
SEGMENT_BYTES: Final = 64 * 1024 * 1024
MOST_SEGMENTS: Final = 1024

_BEFORE: Final = len(b'{"Item":')


@dataclass(frozen=True, kw_only=True)
class ExportSide:
    """Shards of an export. `unproven` names those that are not as S3 stored them: only their checksum can tell."""

    aws: AwsOptions
    bucket: str
    prefix: str
    shards: tuple[Shard, ...]
    unproven: frozenset[str] = frozenset()

    def deal(self, workers: int) -> list[ExportSide]:
        """One share for each worker."""
        return [dataclasses.replace(self, shards=self.shards[worker::workers]) for worker in range(workers)]


@dataclass(frozen=True, kw_only=True)
class TableSide:
    """Scan segments of a table. `max_rcu` is read capacity units per second, of all workers together."""

    aws: AwsOptions
    table: str
    segments: tuple[int, ...]
    total_segments: int
    max_rcu: float | None

    def deal(self, workers: int) -> list[TableSide]:
        """One share for each worker."""
        return [
            dataclasses.replace(self, segments=self.segments[worker::workers]) for worker in range(workers)
        ]


Side = ExportSide | TableSide
# Takes items as they come; what it raises ends the reading.
Sink = Callable[[Sequence[Item]], Awaitable[None]]


@dataclass(slots=True)
class Cost:
    """Read capacity units consumed, and refusals met, by reason."""

    consumed_rcu: float = 0.0
    throttled: Counter[str] = field(default_factory=Counter)

    def add(self, other: Cost) -> None:
        """Adds another part of the same run."""
        self.consumed_rcu += other.consumed_rcu
        self.throttled.update(other.throttled)


def whole_table(aws: AwsOptions, table: Table, name: str, max_rcu: Cap | None) -> TableSide:
    """All of a table; `name` is its name, or its ARN where it belongs to another account."""
    total = min(max(LEAST_SEGMENTS, -(-table.size_bytes // SEGMENT_BYTES)), MOST_SEGMENTS)
    units = units_at(max_rcu, table.definition, "Read")
    return TableSide(aws=aws, table=name, segments=tuple(range(total)), total_segments=total, max_rcu=units)


async def read_sides(parts: Sequence[tuple[Side, Sink]], channel: Channel) -> Cost:
    """Reads all items of the sides into their sinks; after a stop, only some of them."""
    cost = Cost()
    async with stop_event(channel) as stop:
        with first_error():
            async with asyncio.TaskGroup() as group:
                for side, sink in parts:
                    reader = _TableReader if isinstance(side, TableSide) else _ExportReader
                    group.create_task(reader(side, sink, channel, stop, cost).run())  # type: ignore[arg-type]
    return cost


def items_of(lines: Sequence[bytes]) -> list[Item]:
    """The items of a shard's lines.

    A line in the form in which they are written is cut, not parsed; the key's decoder sees whether the rest is an item.
    """
    items: list[Item] = [
        line[_BEFORE:-1] for line in lines if line.startswith(b'{"Item":{') and line.endswith(b"}}")
    ]
    return items if len(items) == len(lines) else [_item_or_text(line) for line in lines]


def _item_or_text(line: bytes) -> bytes:
    """A line that is no item stands for itself as a JSON string, and so equals no item."""
    try:
        item = item_of(line)
    except RecursionError:
        item = None
    return text_of(line) if item is None else item


def text_of(line: Item) -> bytes:
    """Any bytes as a JSON string."""
    return msgspec.json.encode(bytes(line).decode("utf-8", "backslashreplace"))


class _ExportReader:
    def __init__(self, side: ExportSide, sink: Sink, channel: Channel, stop: asyncio.Event, _: Cost) -> None:
        self._folder: Folder = S3Folder(Aws(side.aws).s3, side.bucket, side.prefix)
        self._waiting = deque(side.shards)
        self._unproven = side.unproven
        self._sink = sink
        self._channel = channel
        self._stop = stop

    async def run(self) -> None:
        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(OPEN_SHARDS, len(self._waiting))):
                lanes.create_task(self._lane())

    async def _lane(self) -> None:
        while self._waiting and not self._stop.is_set():
            shard = self._waiting.popleft()
            if shard.name in self._unproven and shard.name.endswith(".parquet"):
                # its parser gets no bytes that somebody may have forged
                await asyncio.to_thread(ShardReader(self._folder, shard).prove)
            await self._read(ShardReader(self._folder, shard))

    async def _read(self, reader: ShardReader) -> None:
        while not self._stop.is_set() and (lines := await asyncio.to_thread(reader.read)) is not None:
            if lines:
                await self._sink(items_of(lines))
            self._channel.report(Tick(items=len(lines)))
        self._channel.report(Tick(shards=1))


class _TableReader:
    def __init__(
        self, side: TableSide, sink: Sink, channel: Channel, stop: asyncio.Event, cost: Cost
    ) -> None:
        self._side = side
        self._waiting = deque(side.segments)
        self._sink = sink
        self._channel = channel
        self._stop = stop
        self._cost = cost

    async def run(self) -> None:
        aws = Aws(self._side.aws)
        async with (
            shared_pace(self._side.max_rcu, self._channel) as pace,
            open_wire(aws, OPEN_SEGMENTS, pace) as wire,
            asyncio.TaskGroup() as lanes,
        ):
            for _ in range(min(OPEN_SEGMENTS, len(self._waiting))):
                lanes.create_task(self._lane(wire))
        self._cost.throttled.update(wire.throttled)

    async def _lane(self, wire: Wire) -> None:
        while self._waiting and not self._stop.is_set():
            await self._scan(wire, self._waiting.popleft())

    async def _scan(self, wire: Wire, segment: int) -> None:
        start: LastKey | None = None
        while not self._stop.is_set():
            page = await unless_stopped(self._stop, self._fetch(wire, segment, start))
            if page is None:
                return
            if page.items:
                await self._sink(page.items)
            self._cost.consumed_rcu += page.consumed_units
            self._channel.report(
                Tick(items=len(page.items), units=page.consumed_units, note=wire.pace.reason)
            )
            start = page.last_evaluated_key
            if start is None:
                return

    async def _fetch(self, wire: Wire, segment: int, start: LastKey | None) -> ScanPage:
        side = self._side
        with explained(f"scan table {side.table}"):
            return await wire.scan(
                scan_request(
                    side.table,
                    segment=segment,
                    total_segments=side.total_segments,
                    consistent_read=False,  # half the price; every difference is read again consistently
                    start=start,
                    limit=wire.page_limit(consistent_read=False),
                )
            )
