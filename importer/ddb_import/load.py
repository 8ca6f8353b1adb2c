"""The worker of an import: loads its shards, several at a time, until every item is confirmed.

A scan returns items in hash order, so loading shards one after another would overload one partition of the table at a
time. A worker keeps OPEN_SHARDS shards of different segments open and interleaves their batches.

Memory of a worker: OPEN_SHARDS x (a chunk of lines, read buffers, a batch: about 2 MB) + three times IN_FLIGHT_BYTES of
requests (lines, puts, body), about 80 MB with items of 400 KB; for Parquet OPEN_PARQUET_SHARDS x 10 MB + the same requests.
Rejects, where there are any, take up to MAX_REJECT_BYTES, and the same again while they are written.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from ddb_import.batch_write import Outcome, Overwrite, Reject, SkipExisting, Writer
from ddb_import.options import OnExisting
from ddb_import.shard_progress import Batcher, ShardProgress
from ddb_import.shard_reader import ShardReader
from ddb_import.state import REJECTS, read_rejects, rejects_file, write_rejects
from ddb_shared.aws.clients import Aws, AwsOptions, connect
from ddb_shared.dynamodb.client import Client, open_client
from ddb_shared.dynamodb.inflight import InFlightLimit
from ddb_shared.dynamodb.rate import MAX_REQUESTS
from ddb_shared.errors import ServiceError, ShardError, TransferError
from ddb_shared.format import checkpoint as checkpoints
from ddb_shared.format.checkpoint import ShardCheckpoint
from ddb_shared.format.manifest import Shard
from ddb_shared.runtime.lease import LeaseGuard
from ddb_shared.runtime.loop import first_error, run_loop, shared_rate_limiter, stop_event, unless_stopped
from ddb_shared.runtime.parts import work_through
from ddb_shared.runtime.progress import ProgressEvent, ShardDone
from ddb_shared.runtime.runner import Channel, PartsChannel
from ddb_shared.storage.base import Storage
from ddb_shared.storage.location import open_storage
from ddb_shared.storage.s3 import S3Storage

OPEN_SHARDS: Final = 16
# An open Parquet shard takes 6 to 9 MB: its footer, up to 4,000 column chunks, and a page, compressed and decompressed.
OPEN_PARQUET_SHARDS: Final = 8
IN_FLIGHT_BYTES: Final = 16 * 1024 * 1024
# Bounds the work repeated after a crash. Each checkpoint is one PUT, 2 ms of CPU: for 16 shards 1% of a core.
CHECKPOINT_SECONDS: Final = 5.0
# How long requests in flight at a stop may take; the parent's grace period ends later.
DRAIN_SECONDS: Final = 5.0
# The rejects of open shards are kept, and written again with each checkpoint. How many there may be is --max-rejects.
MAX_REJECT_BYTES: Final = 32 * 1024 * 1024
REPORT_SECONDS: Final = 0.25


class WriterFactory(Protocol):
    """Makes the writer of a worker; it travels to that, so it must be picklable."""

    def open(self, client: Client, table: str, aws: Aws) -> Writer: ...


@dataclass(frozen=True, kw_only=True)
class LoadTask:
    """What every worker of an import has to know.

    `max_wcu` is the cap of all workers, `open_shards` how many a worker has open at a time, `indexes` how many of the
    table's a write may reach. `writers` makes what writes the lines, where they are not items.
    """

    aws: AwsOptions
    table: str
    key_names: tuple[str, ...]
    bucket: str
    prefix: str
    state_url: str
    on_existing: OnExisting
    max_wcu: float | None
    open_shards: int = OPEN_SHARDS
    run: int = 1
    indexes: int = 0
    writers: WriterFactory | None = None


@dataclass(frozen=True, slots=True)
class LoadPart:
    """One shard of an import. An `unverified` one is read for its checksum before any write."""

    shard: Shard
    unverified: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one worker did: write capacity units consumed, and throttled requests by reason."""

    consumed_wcu: float = 0.0
    throttled: dict[str, int] = field(default_factory=dict)

    def plus(self, other: Loaded) -> Loaded:
        """Both together."""
        throttled = Counter(self.throttled) + Counter(other.throttled)
        return Loaded(self.consumed_wcu + other.consumed_wcu, dict(throttled))


def load_shards(task: LoadTask, channel: PartsChannel) -> Loaded:
    """Loads the shards that it takes from their checkpoints on; their state is the checkpoint."""
    loaded = run_loop(_load_shards(task, channel), threads=OPEN_SHARDS + 2)
    channel.report(ProgressEvent(ended=True))
    return loaded


async def _load_shards(task: LoadTask, channel: PartsChannel) -> Loaded:
    guard = LeaseGuard(channel.validity)
    aws = connect(task.aws).under(guard)
    async with open_writer(task, aws, channel) as (writer, client), stop_event(channel) as stop:
        loader = _Loader(task, aws, guard=guard, writer=writer, client=client, channel=channel, stop=stop)
        await loader.run()
    return Loaded(loader.consumed_wcu, dict(client.throttled))


@asynccontextmanager
async def open_writer(task: LoadTask, aws: Aws, channel: Channel) -> AsyncIterator[tuple[Writer, Client]]:
    """The writer for the task, and its client."""
    writer_class = SkipExisting if task.on_existing is OnExisting.SKIP else Overwrite
    async with (
        shared_rate_limiter(task.max_wcu, channel) as rate_limiter,
        open_client(aws, MAX_REQUESTS, rate_limiter) as client,
    ):
        client.expect_indexes(task.indexes)
        if task.writers is not None:
            yield task.writers.open(client, task.table, aws), client
        else:
            yield writer_class(client, task.table, task.key_names), client


class _Loader:
    """The state shared by the shards of one worker."""

    def __init__(
        self,
        task: LoadTask,
        aws: Aws,
        *,
        guard: LeaseGuard,
        writer: Writer,
        client: Client,
        channel: PartsChannel,
        stop: asyncio.Event,
    ) -> None:
        self._task = task
        self._export: Storage = S3Storage(aws.s3, task.bucket, task.prefix)
        self._storage = open_storage(aws.s3, task.state_url)
        self._guard = guard
        self._client = client
        self._channel = channel
        self._stop = stop
        self._in_flight = InFlightLimit(client.rate_limiter, IN_FLIGHT_BYTES)
        self._writer = writer
        self._open_shards: set[ShardProgress] = set()
        self._tally = _Tally()
        self.consumed_wcu = 0.0

    async def run(self) -> None:
        """Loads all shards, some at a time; the first error ends them all, with what is confirmed saved."""
        try:
            with first_error():
                async with asyncio.TaskGroup() as group:
                    background = [
                        group.create_task(job())
                        for job in (self._save_regularly, self._report_regularly, self._close_on_stop)
                    ]
                    async with asyncio.TaskGroup() as writes:
                        load = functools.partial(self._load, group=writes)
                        await work_through(self._channel, self._stop, self._task.open_shards, load)
                    for job in background:
                        job.cancel()
        finally:
            self._report()
            for shard_progress in self._open_shards:
                with suppress(TransferError):  # the error that ended the run is reported
                    await self._save(shard_progress)

    async def _load(
        self, part: LoadPart, end: asyncio.Event, *, group: asyncio.TaskGroup
    ) -> ShardCheckpoint | None:
        """One shard, from its checkpoint to its end; None where `end` came first."""
        shard = part.shard
        shard_progress = await asyncio.to_thread(self._open, shard.name)
        if shard_progress.state.done:
            return shard_progress.state
        self._open_shards.add(shard_progress)
        opened_at = time.monotonic()
        try:
            complete = await self._send_batches(part, shard_progress, end, group)
        except ShardError:
            await self._restart_shard(shard, shard_progress)
            complete = await self._send_batches(part, shard_progress, end, group)
        await self._drain(shard_progress)
        if complete and shard_progress.state.confirmed == shard.items:
            shard_progress.state = msgspec.structs.replace(shard_progress.state, done=True)
            self._tally.shards += 1
            took = ShardDone(name=shard.name, items=shard.items, seconds=time.monotonic() - opened_at)
            self._channel.report(ProgressEvent(shard=took))
        await self._save(shard_progress)
        self._open_shards.discard(shard_progress)
        return shard_progress.state if complete else None

    async def _restart_shard(self, shard: Shard, shard_progress: ShardProgress) -> None:
        """Resets a shard whose data did not match the manifest, so that none of its lines count as confirmed.

        Raises ShardError if the object itself is damaged; otherwise it was damaged in transit.
        """
        await self._drain(shard_progress)
        await asyncio.to_thread(shard_progress.reset)
        await asyncio.to_thread(ShardReader(self._export, shard).verify_checksum)

    async def _send_batches(
        self, part: LoadPart, shard_progress: ShardProgress, end: asyncio.Event, group: asyncio.TaskGroup
    ) -> bool:
        """Sends every batch after the checkpoint on its way; False where `end` came before the last one."""
        if part.unverified:
            await asyncio.to_thread(ShardReader(self._export, part.shard).verify_checksum)
        reader, batcher = ShardReader(self._export, part.shard), Batcher(shard_progress.state.confirmed)
        while not end.is_set():
            lines = await asyncio.to_thread(reader.read)
            for start, batch in batcher.add(lines):
                size = sum(map(len, batch))
                if not await self._in_flight.acquire(size):
                    return False
                write = group.create_task(self._write(shard_progress, start, batch, size))
                shard_progress.in_flight.add(write)
                write.add_done_callback(shard_progress.in_flight.discard)
            if lines is None:
                return True
        return False

    async def _write(self, shard_progress: ShardProgress, start: int, batch: list[bytes], size: int) -> None:
        try:
            outcome = await self._writer.write(batch)
        finally:
            self._in_flight.release(size)
        shard_progress.confirm(start, start + len(batch), outcome)
        if outcome.rejects:
            self._check_reject_bytes(outcome.rejects[0])
        self.consumed_wcu += outcome.units
        self._tally.add(outcome, size)

    def _check_reject_bytes(self, reject: Reject) -> None:
        kept = sum(shard_progress.reject_bytes for shard_progress in self._open_shards)
        if kept > MAX_REJECT_BYTES:
            raise ServiceError(
                f"The rejected items of the open shards have more than {MAX_REJECT_BYTES:,} bytes; the last: {reject.code}: "
                f"{reject.message}",
                f"Check {self._storage.url}{REJECTS}, and the table's keys and indexes.",
            )

    async def _drain(self, shard_progress: ShardProgress) -> None:
        """Waits for requests in flight; after a stop at most DRAIN_SECONDS."""
        if in_flight := set(shard_progress.in_flight):  # a copy: each write leaves the set when it is done
            await unless_stopped(self._stop, asyncio.wait(in_flight))
            await asyncio.wait(in_flight, timeout=DRAIN_SECONDS)
        for write in shard_progress.in_flight:
            write.cancel()

    def _open(self, shard: str) -> ShardProgress:
        found = checkpoints.load(self._storage, checkpoints.shard_file(shard), ShardCheckpoint)
        state = (
            found
            if found and found.run == self._task.run
            else ShardCheckpoint(shard=shard, run=self._task.run)
        )
        return ShardProgress(
            state, read_rejects(self._storage, rejects_file(shard)) if state.rejected else []
        )

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            for shard_progress in list(self._open_shards):
                await self._save(shard_progress)

    async def _save(self, shard_progress: ShardProgress) -> None:
        await asyncio.to_thread(self._save_now, shard_progress)

    def _save_now(self, shard_progress: ShardProgress) -> None:
        """What the writer stores, and the rejects, before the checkpoint that covers them; one save at a time, so that none overtakes another."""
        with shard_progress.saving:
            state, before = shard_progress.state, shard_progress.saved
            if state == before:
                return
            self._guard.wait_in_thread()  # a state in a local folder has no requests that would ask
            self._writer.save()
            rejects = list(shard_progress.rejects)
            if len(rejects) != shard_progress.saved_rejects:
                write_rejects(self._storage, rejects_file(state.shard), rejects)
                shard_progress.saved_rejects = len(rejects)
            checkpoints.save(self._storage, state)
            shard_progress.saved = state

    async def _close_on_stop(self) -> None:
        await self._stop.wait()
        self._in_flight.close()

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            self._report()

    def _report(self) -> None:
        self._channel.report(self._tally.event(self._client))


@dataclass(slots=True)
class _Tally:
    """What was done since the last report."""

    items: int = 0
    bytes: int = 0
    units: float = 0.0
    shards: int = 0
    rejected: int = 0

    def add(self, outcome: Outcome, size: int) -> None:
        self.items += outcome.written + outcome.skipped
        self.bytes += size
        self.units += outcome.units
        self.rejected += len(outcome.rejects)

    def event(self, client: Client) -> ProgressEvent:
        reasons, retried = client.take_retries()
        event = ProgressEvent(
            items=self.items,
            bytes=self.bytes,
            units=self.units,
            shards=self.shards,
            rejected=self.rejected,
            reasons=reasons,
            retried=retried,
            note=client.rate_limiter.reason,
        )
        self.items = self.bytes = self.shards = self.rejected = 0
        self.units = 0.0
        return event
