"""The worker of an export: scans its share of the segments and writes their shards.

One event loop keeps several scans going. A segment asks for its next page before it writes the present one;
joining, compressing, hashing and uploading run in threads. When a shard's upload is complete the segment's checkpoint
is replaced, and only then does the shard exist.

Memory of a worker: OPEN_SEGMENTS x (one upload part + two pages of 1 MB), about 60 MB. For Parquet it is
OPEN_PARQUET_SEGMENTS x (that + one row group), and once the columns of a row group.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

import msgspec

from ddb_export.encoding import PARQUET, Encoding
from ddb_export.shard_writer import ShardWriter, open_shard
from ddb_shared import checkpoint as checkpoints
from ddb_shared.aws import Aws, AwsOptions
from ddb_shared.checkpoint import SegmentCheckpoint
from ddb_shared.errors import explained
from ddb_shared.loop import first_error, run_loop, see, shared_pace, stop_event, unless_stopped
from ddb_shared.progress import Tick
from ddb_shared.storage import S3Folder
from ddb_shared.wire import LastKey, ScanPage, Wire, open_wire, scan_request
from ddb_shared.workers import Channel

OPEN_SEGMENTS: Final = 8
# A row group of each waits in memory, and making columns keeps a core busy with four.
OPEN_PARQUET_SEGMENTS: Final = 4
# An export that is killed does at most this much of a segment again, however slow the pace is.
SHARD_SECONDS: Final = 300.0


@dataclass(frozen=True, kw_only=True)
class ScanTask:
    """One worker's share of an export. `max_rcu` is the cap of all workers, `shard_size` in stored bytes."""

    aws: AwsOptions
    table: str
    bucket: str
    prefix: str
    segments: tuple[int, ...]
    total_segments: int
    consistent_read: bool
    encoding: Encoding
    shard_size: int
    max_rcu: float | None


def scan_segments(task: ScanTask, channel: Channel) -> dict[str, int]:
    """Scans the task's segments from their checkpoints on; returns the throttling errors met, by reason."""
    return run_loop(_scan_segments(task, channel), threads=OPEN_SEGMENTS + 2)


async def _scan_segments(task: ScanTask, channel: Channel) -> dict[str, int]:
    aws = Aws(task.aws)
    folder = S3Folder(aws.s3, task.bucket, task.prefix)
    async with (
        shared_pace(task.max_rcu, channel) as pace,
        open_wire(aws, OPEN_SEGMENTS, pace) as wire,
        stop_event(channel) as stop,
    ):
        await _Scanner(task, folder, wire, channel, stop).run()
    return dict(wire.throttled)


class _Scanner:
    """The state that the segments of one worker share."""

    def __init__(
        self, task: ScanTask, folder: S3Folder, wire: Wire, channel: Channel, stop: asyncio.Event
    ) -> None:
        self._task = task
        self._folder = folder
        self._wire = wire
        self._channel = channel
        self.stop = stop
        self._throttled_reported = 0
        self._lanes = OPEN_PARQUET_SEGMENTS if task.encoding.format == PARQUET else OPEN_SEGMENTS

    async def run(self) -> None:
        """Scans all segments, some at a time; the first error ends them all."""
        waiting = deque(self._task.segments)

        async def lane() -> None:
            while waiting and not self.stop.is_set():
                await self._scan(waiting.popleft())

        with first_error():
            async with asyncio.TaskGroup() as lanes:
                for _ in range(min(self._lanes, len(waiting))):
                    lanes.create_task(lane())

    async def _scan(self, segment: int) -> None:
        """One segment, from its checkpoint to its end or until the run is stopped."""
        name = checkpoints.segment_file(segment)
        found = await asyncio.to_thread(checkpoints.load, self._folder, name, SegmentCheckpoint)
        state = found or SegmentCheckpoint(segment=segment)
        pages = _Pages(self, state)
        try:
            while not state.done and not self.stop.is_set():
                state = await self._write_shard(state, pages)
        finally:
            pages.close()

    async def _write_shard(self, state: SegmentCheckpoint, pages: _Pages) -> SegmentCheckpoint:
        """Pages until a shard is full, then its checkpoint. A segment without items has no shard."""
        page = await pages.next()
        if page is None:
            return state
        if page.last_evaluated_key is None and not page.items:
            return await self._save(state, pages)
        task = self._task
        async with open_shard(self._folder, state.segment, len(state.shards), task.encoding) as writer:
            opened_at = time.monotonic()
            while page is not None:
                await self._write_page(writer, page)
                full = self._is_full(writer, opened_at) or page.last_evaluated_key is None
                page = None if full else await pages.next()
            shard = await asyncio.to_thread(writer.commit)
        self._channel.report(Tick(shards=1))
        return await self._save(msgspec.structs.replace(state, shards=[*state.shards, shard]), pages)

    def _is_full(self, writer: ShardWriter, opened_at: float) -> bool:
        return (
            writer.expected_bytes >= self._task.shard_size
            or writer.is_full
            or time.monotonic() - opened_at >= SHARD_SECONDS
            or self.stop.is_set()
        )

    async def _write_page(self, writer: ShardWriter, page: ScanPage) -> None:
        if not page.items:
            return
        size = await asyncio.to_thread(writer.write, page.items)
        throttled = self._wire.throttled.total() - self._throttled_reported
        self._throttled_reported += throttled
        self._channel.report(
            Tick(
                items=len(page.items),
                bytes=size,
                units=page.consumed_units,
                throttled=throttled,
                note=self._wire.pace.reason,
            )
        )

    async def _save(self, state: SegmentCheckpoint, pages: _Pages) -> SegmentCheckpoint:
        state = msgspec.structs.replace(
            state,
            last_key=pages.written_to,
            done=pages.written_to is None,
            consumed_rcu=state.consumed_rcu + pages.take_units(),
        )
        await asyncio.to_thread(checkpoints.save, self._folder, state)
        return state

    async def fetch(self, segment: int, start: LastKey | None) -> ScanPage:
        """One page, at the pace that the cap allows."""
        with explained(f"scan table {self._task.table}"):
            task = self._task
            return await self._wire.scan(
                scan_request(
                    task.table,
                    segment=segment,
                    total_segments=task.total_segments,
                    consistent_read=task.consistent_read,
                    start=start,
                    limit=self._wire.page_limit(consistent_read=task.consistent_read),
                )
            )


class _Pages:
    """The pages of one segment, read one ahead.

    `written_to` is the key after which the scan goes on once all pages that were handed out are written.
    """

    def __init__(self, scanner: _Scanner, state: SegmentCheckpoint) -> None:
        self._scanner = scanner
        self._segment = state.segment
        self._ahead: asyncio.Task[ScanPage] | None = None
        self._units = 0.0
        self.written_to = state.last_key

    async def next(self) -> ScanPage | None:
        """The next page; None once the run is stopped. Not to be called after the last one."""
        request = self._ahead or self._request(self.written_to)
        self._ahead = None
        page = await unless_stopped(self._scanner.stop, request)
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
        """Drops the page that was read ahead."""
        if self._ahead is not None:
            self._ahead.add_done_callback(see)
            self._ahead.cancel()

    def _request(self, start: LastKey | None) -> asyncio.Task[ScanPage]:
        return asyncio.create_task(self._scanner.fetch(self._segment, start))
