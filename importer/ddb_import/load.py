"""The worker of an import: loads its shards, several at once, until every item is confirmed.

A scan returns items in hash order, so one shard after another would heat one partition of the table at a time. A worker
keeps OPEN_SHARDS shards of different segments open, and their batches take turns.

Memory of a worker: OPEN_SHARDS x (a chunk of lines, read buffers, a waiting batch: about 2 MB) + FLIGHT_BYTES of requests
three times (lines, puts, body), about 80 MB with items of 400 KB; for Parquet OPEN_PARQUET_SHARDS x 10 MB + the same requests.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from ddb_import.batch_write import Outcome, Overwrite, SkipExisting, Writer
from ddb_import.lane import Batcher, Lane
from ddb_import.options import OnExisting
from ddb_import.shard_reader import ShardReader
from ddb_import.state import REJECTS, read_rejects, write_rejects
from ddb_shared import checkpoint as checkpoints
from ddb_shared.aws import Aws, AwsOptions
from ddb_shared.checkpoint import ShardCheckpoint
from ddb_shared.errors import ServiceError, ShardError, TransferError
from ddb_shared.loop import first_error, run_loop, shared_pace, stop_event, unless_stopped
from ddb_shared.manifest import Shard
from ddb_shared.progress import Tick
from ddb_shared.storage import Folder, S3Folder, open_folder
from ddb_shared.throttle import MOST_REQUESTS, Flight
from ddb_shared.wire import Wire, open_wire
from ddb_shared.workers import Channel

OPEN_SHARDS: Final = 16
# An open Parquet shard takes 6 to 9 MB: its footer, up to 4,000 column chunks, and a page as stored and as it is.
OPEN_PARQUET_SHARDS: Final = 8
FLIGHT_BYTES: Final = 16 * 1024 * 1024
# What a crash has to write again. Each checkpoint is one PUT of 2 ms of CPU: for 16 shards 1% of a core.
CHECKPOINT_SECONDS: Final = 5.0
# What is in flight when a stop is asked for has this long to be confirmed; the parent's patience ends later.
LANDING_SECONDS: Final = 5.0
# So many bad items are a wrong table or a wrong export, not a few bad items.
MOST_REJECTS: Final = 10_000
REPORT_SECONDS: Final = 0.25


@dataclass(frozen=True, kw_only=True)
class LoadTask:
    """One worker's share of an import.

    `unproven` names shards to be read for their checksum before any write; `max_wcu` is the cap of all workers, `indexes`
    how many of the table's a write may reach.
    """

    aws: AwsOptions
    table: str
    key_names: tuple[str, ...]
    bucket: str
    prefix: str
    state_url: str
    shards: tuple[Shard, ...]
    unproven: frozenset[str]
    on_existing: OnExisting
    max_wcu: float | None
    indexes: int = 0


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one worker did: write capacity units consumed, and refusals met, by reason."""

    consumed_wcu: float
    throttled: dict[str, int]


def load_shards(task: LoadTask, channel: Channel) -> Loaded:
    """Loads the task's shards from their checkpoints on."""
    return run_loop(_load_shards(task, channel), threads=OPEN_SHARDS + 2)


async def _load_shards(task: LoadTask, channel: Channel) -> Loaded:
    aws = Aws(task.aws)
    async with open_writer(task, aws, channel) as (writer, wire), stop_event(channel) as stop:
        loader = _Loader(task, aws, writer=writer, wire=wire, channel=channel, stop=stop)
        await loader.run()
    return Loaded(loader.consumed_wcu, dict(wire.throttled))


@asynccontextmanager
async def open_writer(task: LoadTask, aws: Aws, channel: Channel) -> AsyncIterator[tuple[Writer, Wire]]:
    """The writer that the task asks for, and the wire below it."""
    kind = SkipExisting if task.on_existing is OnExisting.SKIP else Overwrite
    async with shared_pace(task.max_wcu, channel) as pace, open_wire(aws, MOST_REQUESTS, pace) as wire:
        wire.expect_indexes(task.indexes)
        yield kind(wire, task.table, task.key_names), wire


class _Loader:
    """The state that the shards of one worker share."""

    def __init__(
        self, task: LoadTask, aws: Aws, *, writer: Writer, wire: Wire, channel: Channel, stop: asyncio.Event
    ) -> None:
        self._task = task
        self._export: Folder = S3Folder(aws.s3, task.bucket, task.prefix)
        self._folder = open_folder(aws.s3, task.state_url)
        self._wire = wire
        self._channel = channel
        self._stop = stop
        self._flight = Flight(wire.pace, FLIGHT_BYTES)
        self._writer = writer
        self._lanes: set[Lane] = set()
        self._tally = _Tally()
        self._rejects = 0
        self.consumed_wcu = 0.0

    async def run(self) -> None:
        """Loads all shards, OPEN_SHARDS at a time; the first error ends them all, with what is confirmed saved."""
        waiting = deque(self._task.shards)
        try:
            with first_error():
                async with asyncio.TaskGroup() as group:
                    chores = [
                        group.create_task(chore())
                        for chore in (self._save_regularly, self._report_regularly, self._close_on_stop)
                    ]
                    async with asyncio.TaskGroup() as lanes:
                        for _ in range(min(_open_shards(waiting), len(waiting))):
                            lanes.create_task(self._load_waiting(waiting, lanes))
                    for chore in chores:
                        chore.cancel()
        finally:
            self._report()
            for lane in self._lanes:
                with suppress(TransferError):  # the error that ended the run is the one to show
                    await self._save(lane)

    async def _load_waiting(self, waiting: deque[Shard], group: asyncio.TaskGroup) -> None:
        while waiting and not self._stop.is_set():
            await self._load(waiting.popleft(), group)

    async def _load(self, shard: Shard, group: asyncio.TaskGroup) -> None:
        """One shard, from its checkpoint to its end or until the run is stopped."""
        lane = await asyncio.to_thread(self._open, shard.name)
        if lane.state.done:
            return
        self._lanes.add(lane)
        try:
            complete = await self._send_batches(shard, lane, group)
        except ShardError:
            await self._begin_anew(shard, lane)
            complete = await self._send_batches(shard, lane, group)
        await self._land(lane)
        if complete and lane.state.confirmed == shard.items:
            lane.state = msgspec.structs.replace(lane.state, done=True)
            self._tally.shards += 1
        await self._save(lane)
        self._lanes.discard(lane)

    async def _begin_anew(self, shard: Shard, lane: Lane) -> None:
        """Forgets a shard whose lines were not the export's, so that none of them counts as confirmed.

        Raises ShardError where the object itself is damaged; else it was damaged on its way here.
        """
        await self._land(lane)
        lane.begin_anew()
        await asyncio.to_thread(ShardReader(self._export, shard).prove)

    async def _send_batches(self, shard: Shard, lane: Lane, group: asyncio.TaskGroup) -> bool:
        """Sends every batch after the checkpoint on its way; False where the run was stopped before the end."""
        if shard.name in self._task.unproven:
            await asyncio.to_thread(ShardReader(self._export, shard).prove)
        reader, batcher = ShardReader(self._export, shard), Batcher(lane.state.confirmed)
        while not self._stop.is_set():
            lines = await asyncio.to_thread(reader.read)
            for start, batch in batcher.add(lines):
                size = sum(map(len, batch))
                if not await self._flight.take_off(size):
                    return False
                write = group.create_task(self._write(lane, start, batch, size))
                lane.in_flight.add(write)
                write.add_done_callback(lane.in_flight.discard)
            if lines is None:
                return True
        return False

    async def _write(self, lane: Lane, start: int, batch: list[bytes], size: int) -> None:
        try:
            outcome = await self._writer.write(batch)
        finally:
            self._flight.land(size)
        lane.confirm(start, start + len(batch), outcome)
        self._rejects += len(outcome.rejects)
        if self._rejects > MOST_REJECTS:
            reject = outcome.rejects[0]
            raise ServiceError(
                f"More than {MOST_REJECTS:,} items were rejected; the last: {reject.code}: {reject.message}",
                f"Look at {self._folder.url}{REJECTS} and at the table's keys and indexes.",
            )
        self.consumed_wcu += outcome.units
        self._tally.add(outcome, size)

    async def _land(self, lane: Lane) -> None:
        """Waits for what is in flight; once the run is stopped, only for a while."""
        if not lane.in_flight:
            return
        await unless_stopped(self._stop, asyncio.wait(lane.in_flight))
        if lane.in_flight:
            await asyncio.wait(lane.in_flight, timeout=LANDING_SECONDS)
        for write in lane.in_flight:
            write.cancel()

    def _open(self, shard: str) -> Lane:
        found = checkpoints.load(self._folder, checkpoints.shard_file(shard), ShardCheckpoint)
        state = found or ShardCheckpoint(shard=shard)
        kept = read_rejects(self._folder, f"{REJECTS}{shard}.jsonl") if state.rejected else []
        return Lane(state, [reject for reject in kept if reject.line <= state.confirmed])

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            for lane in list(self._lanes):
                await self._save(lane)

    async def _save(self, lane: Lane) -> None:
        await asyncio.to_thread(self._save_now, lane)

    def _save_now(self, lane: Lane) -> None:
        """The rejects before the checkpoint that counts them; one save at a time, so that none overtakes another."""
        with lane.saving:
            state, before = lane.state, lane.saved
            if state == before:
                return
            if state.rejected != before.rejected:
                write_rejects(self._folder, f"{REJECTS}{state.shard}.jsonl", list(lane.rejects))
            checkpoints.save(self._folder, state)
            lane.saved = state

    async def _close_on_stop(self) -> None:
        await self._stop.wait()
        self._flight.close()

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            self._report()

    def _report(self) -> None:
        self._channel.report(self._tally.tick(self._wire))


def _open_shards(shards: Iterable[Shard]) -> int:
    """How many of them may be open at once."""
    parquet = any(shard.name.endswith(".parquet") for shard in shards)
    return OPEN_PARQUET_SHARDS if parquet else OPEN_SHARDS


@dataclass(slots=True)
class _Tally:
    """What was done since the last report."""

    items: int = 0
    bytes: int = 0
    units: float = 0.0
    shards: int = 0
    rejected: int = 0
    throttled_before: int = 0

    def add(self, outcome: Outcome, size: int) -> None:
        self.items += outcome.written + outcome.skipped
        self.bytes += size
        self.units += outcome.units
        self.rejected += len(outcome.rejects)

    def tick(self, wire: Wire) -> Tick:
        throttled = wire.throttled.total()
        tick = Tick(
            items=self.items,
            bytes=self.bytes,
            units=self.units,
            shards=self.shards,
            rejected=self.rejected,
            throttled=throttled - self.throttled_before,
            note=wire.pace.reason,
        )
        self.items = self.bytes = self.shards = self.rejected = 0
        self.units, self.throttled_before = 0.0, throttled
        return tick
