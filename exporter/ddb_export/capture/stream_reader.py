"""Reads all shards of a stream side by side, parents before children, and finds the children of those that end.

The calls are bounded, whatever the stream's size and however long it is read: the whole of it is listed every LISTING_SECONDS,
and a shard that ends costs one call more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from ddb_export.capture.lineage import ChangesLostError, Lineage, ShardState
from ddb_export.capture.log_writer import LogWriter, Page
from ddb_export.capture.shard_reader import ShardReader
from ddb_export.capture.status import CaptureStatus
from ddb_shared.dynamodb.streams import DISABLED, NOT_FOUND, Streams
from ddb_shared.errors import RequestError, map_errors
from ddb_shared.retry import FailureKind, classify
from ddb_shared.runtime.loop import first_error, is_set_within

# 14,000 shards of a day are 140 calls.
LISTING_SECONDS: Final = 600.0
# Where more shards have ended at the same time, a listing finds their children with fewer calls.
_MAX_ASKED: Final = 10
# Between listings that wait for the children of a shard that ended; each may be a hundred calls.
_MIN_PAUSE_SECONDS: Final = 1.0
_MAX_PAUSE_SECONDS: Final = 30.0
# A stream that is disabled, and all of whose shards were read to the end, is listed again after so long: a listing may be
# a moment old.
_SETTLED_SECONDS: Final = 3.0


class StreamReader:
    """Reads one stream. `exhausted` is set once it is disabled and every shard was read to its null iterator."""

    def __init__(
        self,
        streams: Streams,
        lineage: Lineage,
        shard_reader: ShardReader,
        writer: LogWriter,
        status: CaptureStatus,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._streams = streams
        self._lineage = lineage
        self._shard_reader = shard_reader
        self._writer = writer
        self._status = status
        self._clock = clock
        self._now = now
        self._wake = asyncio.Event()
        self._ready: list[ShardState] = []
        self._group: asyncio.TaskGroup | None = None
        self._drained_at: float | None = None
        self.exhausted = asyncio.Event()

    async def start(self) -> None:
        """Lists the stream for the first time, so that its shards can be recorded before the scan begins."""
        with map_errors(f"list the shards of {self._streams.stream_arn}"):
            await self._list()

    async def run(self) -> None:
        """Reads until it is cancelled, or the stream is exhausted. Raises TransferError."""
        with map_errors(f"read the stream {self._streams.stream_arn}"), first_error():
            async with asyncio.TaskGroup() as self._group:
                ready, self._ready = self._ready, []
                for state in ready:
                    self._group.create_task(self._read(state))
                await self._discover()

    def polled_since(self, since: float) -> bool:
        """Whether each shard that can be read was asked after this time, and answered, and none is still to be found or begun.

        A shard that ended may have children that are not known yet: what they hold would be overlooked.
        """
        lineage = self._lineage
        known = bool(lineage.reading) and not lineage.waiting and not lineage.childless
        return known and self._shard_reader.polled_since(lineage.reading, since)

    def is_quiet(self, since: float, seconds: float) -> bool:
        """Whether nothing has arrived for so long, and each shard was asked again after that."""
        return self.polled_since(max(self._shard_reader.arrived_at, since) + seconds)

    async def _read(self, state: ShardState) -> None:
        await self._shard_reader.read(state)
        self._begin(self._lineage.close(state))
        self._wake.set()

    def _begin(self, states: Iterable[ShardState]) -> None:
        """Records the positions of new shards and starts to read them."""
        for state in states:
            self._writer.add(Page(state.id, state.position(), []))
            if self._group is None:
                self._ready.append(state)
            else:
                self._group.create_task(self._read(state))
        self._status.open_shards = len(self._lineage.reading)

    async def _discover(self) -> None:
        """Finds the children of shards that ended, and at last that there are none."""
        pause = _MIN_PAUSE_SECONDS
        if self._is_looking():  # since an earlier run, or from the start: no shard's end will tell
            self._wake.set()
        while not self.exhausted.is_set():
            woken = await is_set_within(self._wake, LISTING_SECONDS)
            self._wake.clear()
            await self._ask_for_children()
            if woken and not self._is_looking():
                continue
            await self._list_patiently()
            if self._is_looking():
                await asyncio.sleep(pause)
                pause = min(pause * 2, _MAX_PAUSE_SECONDS)
                self._wake.set()
            else:
                pause = _MIN_PAUSE_SECONDS

    def _is_looking(self) -> bool:
        """Whether the next listing may find what is missing: children of shards that ended, parents, or any shard at all."""
        lineage = self._lineage
        return bool(lineage.childless or lineage.orphans) or lineage.is_drained()

    async def _ask_for_children(self) -> None:
        childless = self._lineage.childless
        if len(childless) > _MAX_ASKED or self._drained_at is not None:
            return
        for state in childless:
            at = int(self._now() * 1e6)
            with suppress(RequestError):  # the listing that follows tells what is wrong
                self._begin(self._lineage.learn_children(await self._streams.children_of(state.id), at))

    async def _list_patiently(self) -> None:
        """A listing that fails for a reason that may pass is left to the next time."""
        try:
            await self._list()
        except RequestError as error:
            if error.code == NOT_FOUND:
                raise ChangesLostError(f"the stream {self._streams.stream_arn} no longer exists.") from error
            if classify(error) not in {FailureKind.THROTTLED, FailureKind.TRANSIENT}:
                raise

    async def _list(self) -> None:
        at = int(self._now() * 1e6)
        description = await self._streams.describe()
        known = set(self._lineage.shards)
        self._begin(self._lineage.learn(description.shards, at))
        self._writer.drop(known - self._lineage.shards.keys())
        if description.stream_status != DISABLED or not self._lineage.is_drained():
            self._drained_at = None
        elif self._drained_at is None:
            self._drained_at = self._clock()
        elif self._clock() - self._drained_at >= _SETTLED_SECONDS:
            self.exhausted.set()
