"""The worker that applies a change log to a table, from its checkpoint until the log is closed, or the run is stopped.

One worker does it, of a cluster as well: it applies more changes a second than the default quota of a table lets through, it alone knows
which changes of a key wait, and one checkpoint is one number. Memory: MAX_WAITING_BYTES of changes that wait and are in flight, what LogReader reads ahead, and IN_FLIGHT_BYTES of requests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ddb_import.apply.book import Book, Snapshot
from ddb_import.apply.exporter import ExporterWatch
from ddb_import.apply.keys import KeyReader
from ddb_import.apply.log_reader import POLL_SECONDS, LogReader, end_of
from ddb_import.apply.order import Write
from ddb_import.apply.standing_rejects import StandingRejects
from ddb_import.apply.state import CHANGE_REJECTS, read_apply, read_change_rejects, write_apply
from ddb_import.batch_write import WriteRequests
from ddb_import.load import (
    CHECKPOINT_SECONDS,
    DRAIN_SECONDS,
    IN_FLIGHT_BYTES,
    REPORT_SECONDS,
    Loaded,
)
from ddb_import.state import write_rejects
from ddb_shared.aws.clients import AwsOptions, connect
from ddb_shared.dynamodb.client import Client, open_client
from ddb_shared.dynamodb.inflight import InFlightLimit
from ddb_shared.dynamodb.rate import MAX_REQUESTS
from ddb_shared.errors import TransferError
from ddb_shared.format import changes as log
from ddb_shared.runtime.lease import LeaseGuard
from ddb_shared.runtime.loop import first_error, run_loop, shared_rate_limiter, stop_event, unless_stopped
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.runner import Channel
from ddb_shared.storage.base import Storage
from ddb_shared.storage.location import open_storage
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import KeyAttribute
from ddb_shared.times import now_text

# The more changes wait, the more of them are superseded and need no write; and the more memory they take.
MAX_WAITING_BYTES: Final = 16 * 1024 * 1024
# A capture writes every five seconds at the least. The lease is one small GET.
WATCH_SECONDS: Final = 10.0
# Threads: the records that are read ahead, the checkpoint, and one to spare.
_THREADS: Final = 8


@dataclass(frozen=True, kw_only=True)
class FollowTask:
    """What the worker has to know. `bucket` and `prefix` are the export's folder; `run` is that of the import's plan."""

    aws: AwsOptions
    table: str
    key: tuple[KeyAttribute, ...]
    bucket: str
    prefix: str
    state_url: str
    max_wcu: float | None
    run: int
    indexes: int = 0
    poll_seconds: float = POLL_SECONDS


def follow_changes(task: FollowTask, channel: Channel) -> Loaded:
    """Applies changes as they appear; returns once a closed log is applied to its end, or after a stop."""
    return run_loop(_follow(task, channel), threads=_THREADS)


async def _follow(task: FollowTask, channel: Channel) -> Loaded:
    guard = LeaseGuard(channel.validity)
    aws = connect(task.aws).under(guard)
    async with (
        shared_rate_limiter(task.max_wcu, channel) as rate_limiter,
        open_client(aws, MAX_REQUESTS, rate_limiter) as client,
        stop_event(channel) as stop,
    ):
        client.expect_indexes(task.indexes)
        storage, key_of = open_storage(aws.s3, task.state_url), KeyReader(task.key)
        state = await asyncio.to_thread(read_apply, storage, task.run)
        standing = await asyncio.to_thread(StandingRejects, key_of, [storage])
        book = Book(storage, state, standing, await asyncio.to_thread(read_change_rejects, storage))
        export = S3Storage(aws.s3, task.bucket, task.prefix)
        end = end_of(await asyncio.to_thread(log.read_closed, export))
        follower = _Follower(
            book,
            LogReader(export, key_of, state.applied, task.poll_seconds, end=end),
            WriteRequests(client, task.table, [attribute.name for attribute in task.key]),
            _Saver(storage, standing, guard, book.snapshot()),
            ExporterWatch(export, f"The capture of changes in {export.url} is not closed"),
            client=client,
            channel=channel,
            stop=stop,
        )
        await follower.run()
    return Loaded(follower.consumed_wcu, dict(client.throttled))


class _Saver:
    """Stores the books: marks and rejects before the state that covers them."""

    def __init__(
        self, storage: Storage, standing: StandingRejects, guard: LeaseGuard, saved: Snapshot
    ) -> None:
        self._storage = storage
        self._standing = standing
        self._guard = guard
        self._saved = saved.state
        self._turn = asyncio.Lock()

    async def save(self, book: Book) -> None:
        """Stores what has changed since the last time."""
        async with self._turn:
            snapshot = book.snapshot()
            if snapshot.state != self._saved or snapshot.rejects is not None:
                await asyncio.to_thread(self._store, snapshot)
                self._saved = snapshot.state

    def _store(self, snapshot: Snapshot) -> None:
        self._guard.wait_in_thread()  # a state in a local folder has no requests that would ask
        self._standing.save()
        if snapshot.rejects is not None:
            write_rejects(self._storage, CHANGE_REJECTS, snapshot.rejects)
        write_apply(self._storage, snapshot.state, now_text())


class _Follower:
    """Feeds changes from the log to the table."""

    def __init__(
        self,
        book: Book,
        reader: LogReader,
        writer: WriteRequests,
        saver: _Saver,
        exporter: ExporterWatch,
        *,
        client: Client,
        channel: Channel,
        stop: asyncio.Event,
    ) -> None:
        self.consumed_wcu = 0.0
        self._book = book
        self._reader = reader
        self._writer = writer
        self._saver = saver
        self._exporter = exporter
        self._client = client
        self._channel = channel
        self._stop = stop
        self._in_flight = InFlightLimit(client.rate_limiter, IN_FLIGHT_BYTES)
        self._writes: set[asyncio.Task[None]] = set()
        # something may be read, or sent, that could not before; each has one waiter, which clears it
        self._may_read, self._may_send = asyncio.Event(), asyncio.Event()
        self._is_read = False
        self._tally = _Tally(changed_at=time.monotonic())
        self._note = ""

    async def run(self) -> None:
        """Returns once all is applied, or after a stop; what is confirmed is saved, after an error too."""
        try:
            with first_error():
                async with asyncio.TaskGroup() as group:
                    background = [
                        group.create_task(job())
                        for job in (
                            self._save_regularly,
                            self._report_regularly,
                            self._watch_exporter,
                            self._close_on_stop,
                        )
                    ]
                    async with asyncio.TaskGroup() as work:
                        work.create_task(self._feed())
                        await self._send(work)
                    for job in background:
                        job.cancel()
        finally:
            self._reader.close()
            self._report(ended=True)
            with suppress(TransferError):  # the error that ended the run is reported
                await self._saver.save(self._book)

    async def _feed(self) -> None:
        """Takes records of the log while there is room for them."""
        while not self._stop.is_set():
            if self._book.order.bytes >= MAX_WAITING_BYTES:
                await self._wait(self._may_read)
                continue
            read = await self._reader.read(self._stop)
            if read is None:
                break
            self._tally.note_arrival(read.record.changes)
            self._book.add(read)
            self._wake()
        self._is_read = True
        self._wake()

    async def _send(self, group: asyncio.TaskGroup) -> None:
        """Sends batches while there are any; after a stop, waits a while for those in flight."""
        while not self._stop.is_set():
            batch = self._book.order.take()
            if batch:
                size = sum(len(write.request) for write in batch)
                if not await self._in_flight.acquire(size):
                    break
                task = group.create_task(self._write(batch, size))
                self._writes.add(task)
                task.add_done_callback(self._writes.discard)
            elif self._is_read and not len(self._book.order):
                return
            else:
                await self._wait(self._may_send)
        await self._drain()

    def _wake(self) -> None:
        self._may_read.set()
        self._may_send.set()

    async def _wait(self, event: asyncio.Event) -> None:
        event.clear()
        await unless_stopped(self._stop, event.wait())

    async def _write(self, batch: Sequence[Write], size: int) -> None:
        try:
            outcome = await self._writer.write([write.request for write in batch])
        finally:
            self._in_flight.release(size)
        self._book.settle(batch, outcome)
        self._wake()
        self.consumed_wcu += outcome.units
        self._tally.add(outcome.units, size, len(outcome.rejects))

    async def _drain(self) -> None:
        if self._writes:
            await asyncio.wait(self._writes, timeout=DRAIN_SECONDS)
        for write in self._writes:
            write.cancel()

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            await self._saver.save(self._book)

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            self._report()

    async def _watch_exporter(self) -> None:
        """Says when nobody captures the changes that are waited for; raises ExportError where that lasts."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._note = await self._look_at_exporter()

    async def _look_at_exporter(self) -> str:
        if self._reader.is_waiting and not self._book.waiting:
            return await asyncio.to_thread(self._exporter.look)
        self._exporter.note_alive()
        return ""

    async def _close_on_stop(self) -> None:
        await self._stop.wait()
        self._in_flight.close()
        self._wake()

    def _report(self, *, ended: bool = False) -> None:
        self._channel.report(self._tally.event(self._client, self._book, self._note, ended=ended))


@dataclass(slots=True)
class _Tally:
    """What was done since the last report, and when changes arrived last."""

    changed_at: float
    bytes: int = 0
    units: float = 0.0
    rejected: int = 0
    settled_before: int = 0

    def note_arrival(self, changes: int) -> None:
        """A record with so many changes was read."""
        if changes:
            self.changed_at = time.monotonic()

    def add(self, units: float, size: int, rejected: int) -> None:
        """A batch was written."""
        self.units += units
        self.bytes += size
        self.rejected += rejected

    def event(self, client: Client, book: Book, note: str, *, ended: bool) -> ProgressEvent:
        """The report."""
        reasons, retried = client.take_retries()
        event = ProgressEvent(
            items=book.settled - self.settled_before,
            bytes=self.bytes,
            units=self.units,
            rejected=self.rejected,
            reasons=reasons,
            retried=retried,
            note=client.rate_limiter.reason,
            status="; ".join(filter(None, (self._status(book), note))),
            ended=ended,
        )
        self.settled_before = book.settled
        self.bytes = self.rejected = 0
        self.units = 0.0
        return event

    def _status(self, book: Book) -> str:
        """How far behind the source it is; silence is told as silence, since more may be on its way."""
        if book.waiting:
            behind = max(time.time() - book.last_at / 1e6, 0.0) if book.last_at else None
            files = f"{book.waiting:,} file{'s' if book.waiting > 1 else ''} waiting"
            return files if behind is None else f"{behind:,.0f} s behind, {files}"
        return f"no changes for {time.monotonic() - self.changed_at:,.0f} s"
