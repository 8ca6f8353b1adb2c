"""The worker of an export: scans its share of the segments and writes their shards.

One event loop runs several scans. A segment requests its next page before it writes the current one; joining,
compressing, hashing and uploading run in threads. When the upload of a shard is complete, the segment's checkpoint is
replaced, and only then does the shard exist.

Memory of a worker: OPEN_SEGMENTS x (one upload part + two pages of 1 MB), about 60 MB. For Parquet it is
OPEN_PARQUET_SEGMENTS x (that + one row group), plus the columns of one row group.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import msgspec

from ddb_export.encoding import Encoding
from ddb_export.shard_writer import ShardWriter, open_shard
from ddb_shared.aws.clients import AwsOptions, connect
from ddb_shared.dynamodb.client import Client, open_client
from ddb_shared.dynamodb.messages import ScanPage
from ddb_shared.dynamodb.scan import SegmentScan
from ddb_shared.format import checkpoint as checkpoints
from ddb_shared.format.checkpoint import SegmentCheckpoint
from ddb_shared.format.manifest import PARQUET
from ddb_shared.runtime.lease import LeaseGuard
from ddb_shared.runtime.loop import (
    first_error,
    retrieve_exception,
    run_loop,
    shared_rate_limiter,
    stop_event,
    unless_stopped,
)
from ddb_shared.runtime.parts import work_through
from ddb_shared.runtime.progress import ProgressEvent, ShardDone
from ddb_shared.runtime.runner import PartsChannel
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import LastKey

OPEN_SEGMENTS: Final = 8
# Each holds a row group in memory, and encoding four of them keeps a core busy.
OPEN_PARQUET_SEGMENTS: Final = 4
# A killed export repeats at most this much work of a segment, however low the rate.
SHARD_SECONDS: Final = 300.0


@dataclass(frozen=True, kw_only=True)
class ScanTask:
    """What every worker of an export has to know. `max_rcu` is the cap of all workers, `shard_size` in stored bytes."""

    aws: AwsOptions
    table: str
    bucket: str
    prefix: str
    total_segments: int
    consistent_read: bool
    encoding: Encoding
    shard_size: int
    max_rcu: float | None


def scan_segments(task: ScanTask, channel: PartsChannel) -> dict[str, int]:
    """Scans the segments that it takes from their checkpoints on; returns the throttling errors met, by reason."""
    throttled = run_loop(_scan_segments(task, channel), threads=OPEN_SEGMENTS + 2)
    channel.report(ProgressEvent(ended=True))
    return throttled


async def _scan_segments(task: ScanTask, channel: PartsChannel) -> dict[str, int]:
    aws = connect(task.aws).under(LeaseGuard(channel.validity))
    storage = S3Storage(aws.s3, task.bucket, task.prefix)
    async with (
        shared_rate_limiter(task.max_rcu, channel) as rate_limiter,
        open_client(aws, OPEN_SEGMENTS, rate_limiter) as client,
        stop_event(channel) as stop,
    ):
        await _Scanner(task, storage, client, channel, stop).run()
    return dict(client.throttled)


class _Scanner:
    """The state shared by the segments of one worker."""

    def __init__(
        self, task: ScanTask, storage: S3Storage, client: Client, channel: PartsChannel, stop: asyncio.Event
    ) -> None:
        self._task = task
        self._storage = storage
        self._client = client
        self._channel = channel
        self._stop = stop
        self._concurrency = OPEN_PARQUET_SEGMENTS if task.encoding.format == PARQUET else OPEN_SEGMENTS

    async def run(self) -> None:
        """Scans all segments, several at a time; the first error ends them all."""
        with first_error():
            await work_through(self._channel, self._stop, self._concurrency, self._scan)

    async def _scan(self, segment: int, end: asyncio.Event) -> SegmentCheckpoint | None:
        """One segment, from its checkpoint to its end; None where `end` came first."""
        name = checkpoints.segment_file(segment)
        found = await asyncio.to_thread(checkpoints.load, self._storage, name, SegmentCheckpoint)
        state = found or SegmentCheckpoint(segment=segment)
        pages = _Pages(self, state, end)
        try:
            while not state.done and not end.is_set():
                state = await self._write_shard(state, pages, end)
        finally:
            pages.close()
        return state if state.done else None

    async def _write_shard(
        self, state: SegmentCheckpoint, pages: _Pages, end: asyncio.Event
    ) -> SegmentCheckpoint:
        """Writes pages until a shard is full, then the checkpoint. A segment without items has no shard."""
        page = await pages.next()
        if page is None:
            return state
        if page.last_evaluated_key is None and not page.items:
            self._report(page, 0)
            return await self._save(state, pages)
        task = self._task
        async with open_shard(self._storage, state.segment, len(state.shards), task.encoding) as writer:
            opened_at = time.monotonic()
            while page is not None:
                await self._write_page(writer, page)
                ends = page.last_evaluated_key is None or end.is_set() or self._is_full(writer, opened_at)
                page = None if ends else await pages.next()
            shard = await asyncio.to_thread(writer.commit)
        took = ShardDone(name=shard.name, items=shard.items, seconds=time.monotonic() - opened_at)
        self._channel.report(ProgressEvent(shards=1, shard=took))
        return await self._save(msgspec.structs.replace(state, shards=[*state.shards, shard]), pages)

    def _is_full(self, writer: ShardWriter, opened_at: float) -> bool:
        return (
            writer.expected_bytes >= self._task.shard_size
            or writer.is_full
            or time.monotonic() - opened_at >= SHARD_SECONDS
        )

    async def _write_page(self, writer: ShardWriter, page: ScanPage) -> None:
        size = await asyncio.to_thread(writer.write, page.items) if page.items else 0
        self._report(page, size)

    def _report(self, page: ScanPage, size: int) -> None:
        """Tells of a page, and of what the client was refused since the last one; `size` is in bytes."""
        reasons, retried = self._client.take_retries()
        self._channel.report(
            ProgressEvent(
                items=len(page.items),
                bytes=size,
                units=page.consumed_units,
                reasons=reasons,
                retried=retried,
                note=self._client.rate_limiter.reason,
            )
        )

    async def _save(self, state: SegmentCheckpoint, pages: _Pages) -> SegmentCheckpoint:
        state = msgspec.structs.replace(
            state,
            last_key=pages.written_to,
            done=pages.written_to is None,
            consumed_rcu=state.consumed_rcu + pages.take_units(),
        )
        await asyncio.to_thread(checkpoints.save, self._storage, state)
        return state

    def segment_scan(self, segment: int) -> SegmentScan:
        """How to read one segment."""
        task = self._task
        return SegmentScan(
            client=self._client,
            table=task.table,
            segment=segment,
            total_segments=task.total_segments,
            consistent_read=task.consistent_read,
        )


class _Pages:
    """The pages of one segment, with one page read ahead.

    `written_to` is the key after which the scan continues once all returned pages are written.
    """

    def __init__(self, scanner: _Scanner, state: SegmentCheckpoint, end: asyncio.Event) -> None:
        self._end = end
        self._scan = scanner.segment_scan(state.segment)
        self._ahead: asyncio.Task[ScanPage] | None = None
        self._units = 0.0
        self.written_to = state.last_key

    async def next(self) -> ScanPage | None:
        """The next page; None once the segment's end is asked for. Not to be called after the last one."""
        request = self._ahead or self._request(self.written_to)
        self._ahead = None
        page = await unless_stopped(self._end, request)
        if page is None:
            return None
        self.written_to = page.last_evaluated_key
        self._units += page.consumed_units
        if page.last_evaluated_key is not None:
            self._ahead = self._request(page.last_evaluated_key)
        return page

    def take_units(self) -> float:
        """Read capacity units consumed since the last call."""
        units, self._units = self._units, 0.0
        return units

    def close(self) -> None:
        """Discards the page read ahead."""
        if self._ahead is not None:
            self._ahead.add_done_callback(retrieve_exception)
            self._ahead.cancel()

    def _request(self, start: LastKey | None) -> asyncio.Task[ScanPage]:
        return asyncio.create_task(self._scan.page(start))
