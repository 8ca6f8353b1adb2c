"""One capture: copies a stream's changes into the log of an export until it is closed or stopped, in a thread of the command.

What happens where it is killed, or two of them run, is told in shared/README.md.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from ddb_export.capture.lineage import Lineage
from ddb_export.capture.log_writer import LogWriter
from ddb_export.capture.proof import explain
from ddb_export.capture.shard_reader import CONNECTIONS, ShardReader
from ddb_export.capture.status import CaptureStatus
from ddb_export.capture.stream import refuse_another
from ddb_export.capture.stream_reader import StreamReader
from ddb_shared.aws.clients import Aws
from ddb_shared.dynamodb.streams import open_streams
from ddb_shared.errors import ServiceError, StateError
from ddb_shared.format import changes as log
from ddb_shared.format.changes import QUIET, Closed, FinishRequest, StreamRecord
from ddb_shared.runtime.events import about, table_in_hand
from ddb_shared.runtime.loop import first_error, run_loop
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.base import Storage
from ddb_shared.table.description import find

# By arrival: DynamoDB Local's times are rounded to the minute.
QUIET_SECONDS: Final = 5.0
# How often it looks for the request to finish, for a cancellation, and for what became of the table.
_FINISH_SECONDS: Final = 1.0
_CLOSED_SECONDS: Final = 5.0
_TABLE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.1
# Uploads, looks and credentials at the same time.
_THREADS: Final = 6
_LOG: Final = logging.getLogger(__name__)


class _End(enum.Enum):
    STOPPED = "stopped"
    DRAINED = "drained"
    QUIET = "quiet"


def _holds(request: FinishRequest, captured: int) -> bool:
    """Whether the log may be closed by this request: one of the proof `quiet` is void once more was captured."""
    return request.proof != QUIET or request.changes in {None, captured}


class Capture:
    """The capture and its thread. It has begun once the shards are recorded; `closed` is the end of the log.

    `address` is the name or ARN by which the table is asked for.
    """

    def __init__(
        self,
        storage: Storage,
        stream: StreamRecord,
        address: str,
        aws: Aws,
        stop: Stop,
        *,
        tell: Callable[[str], None],
    ) -> None:
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._table = table_in_hand()
        self._storage = storage
        self._stream = stream
        self._address = address
        self._aws = aws
        self._stop = stop
        self._tell = tell
        self._asked_to_end = threading.Event()
        self.status = CaptureStatus()
        self._begun = threading.Event()
        self.closed: Closed | None = None
        self._error: BaseException | None = None

    def start(self) -> None:
        """Starts the thread; returns once the capture has begun. Raises what keeps it from that."""
        self._thread.start()
        self._begun.wait()
        self.check()

    def is_running(self) -> bool:
        """Whether the log is neither closed nor the capture stopped."""
        return self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> None:
        """Returns once the capture has ended, or the time is over; raises what ended it."""
        self._thread.join(seconds)
        self.check()

    def _run(self) -> None:
        try:
            with about(self._table):
                self.closed = run_loop(self._capture(), _THREADS)
        except BaseException as error:  # noqa: BLE001 - the command's thread raises it
            self._error = error
            self._stop.request()
        finally:
            self._begun.set()

    def check(self) -> None:
        """Raises what ended the capture."""
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Writes what was captured and ends; the stream keeps what comes later for 24 hours."""
        self._asked_to_end.set()
        self._thread.join()

    async def _capture(self) -> Closed | None:
        """Returns the end of the log; None where the capture was stopped before it."""
        began_at = int(time.time() * 1e6)
        async with open_streams(self._aws, self._stream.stream_arn, CONNECTIONS) as streams:
            writer = LogWriter(self._storage, on_commit=self.status.committed)
            state = await asyncio.to_thread(writer.take_over)
            self.status.total_changes, self.status.total_expired = state.total_changes, state.total_expired
            shard_reader = ShardReader(streams, writer, self.status, tell=self._tell)
            reader = StreamReader(
                streams, Lineage(state.positions, began_at), shard_reader, writer, self.status
            )
            await reader.start()
            await writer.write(begins=True)
            self._begun.set()
            with first_error():
                async with asyncio.TaskGroup() as group:
                    group.create_task(writer.run(reader.polled_since))
                    reading = group.create_task(reader.run())
                    end, request = await self._until_end(reader, shard_reader, state.total_changes)
                    reading.cancel()
                    writer.end()
            if end is _End.STOPPED or request is None:
                return None
            # a later --finish, after --unblock, may have replaced the request that was seen first
            request = await asyncio.to_thread(log.read_finish, self._storage) or request
            explains = explain(request, self.status.newest_at, writer.total_changes)
            return await writer.close(request.proof, explains)

    async def _until_end(
        self, reader: StreamReader, shard_reader: ShardReader, captured: int
    ) -> tuple[_End, FinishRequest | None]:
        """Waits for the end; raises StateError where the log was closed, or the table changed, by someone else.

        `captured` is how many changes earlier runs have captured. A stream that stays enabled may have changes after a request:
        then --finish has to replace it.
        """
        request: FinishRequest | None = None
        finish_at = closed_at = table_at = requested_at = time.monotonic()
        while not (self._stop.requested() or self._asked_to_end.is_set()):
            now = time.monotonic()
            if reader.exhausted.is_set():
                return _End.DRAINED, request or await self._look_for_request() or await self._refuse_end()
            stays = request is None or request.proof == QUIET
            if request is not None and stays:
                holds = _holds(request, captured + shard_reader.arrived)
                if holds and reader.is_quiet(requested_at, QUIET_SECONDS):
                    return _End.QUIET, request
            if stays and now >= finish_at:
                found, finish_at = await self._look_for_request(), now + _FINISH_SECONDS
                if request is None or found not in {None, request}:
                    request, requested_at = found, now
                # a request that is void may stay for days
                shard_reader.hurry = request is not None and _holds(request, captured + shard_reader.arrived)
            if now >= closed_at:
                closed_at = now + _CLOSED_SECONDS
                await self._look(self._refuse_closed)
            if stays and now >= table_at:
                table_at = now + _TABLE_SECONDS
                await self._look(self._refuse_another_table)
            await asyncio.sleep(_POLL_SECONDS)
        return _End.STOPPED, None

    async def _look_for_request(self) -> FinishRequest | None:
        found: list[FinishRequest] = []

        def look() -> None:
            request = log.read_finish(self._storage)
            found.extend([request] if request is not None else [])

        await self._look(look)
        return found[0] if found else None

    async def _look(self, look: Callable[[], None]) -> None:
        """Looks at the bucket or the table; where they do not answer now, the next time will do."""
        try:
            await asyncio.to_thread(look)
        except ServiceError as error:
            _LOG.info("%s", error.message)

    def _refuse_closed(self) -> None:
        closed = log.read_closed(self._storage)
        if closed is not None and closed.cancelled:
            raise StateError(
                f"The capture was cancelled at {closed.closed_at} (--cancel).",
                "Its changes are not complete: start a new export.",
            )
        if closed is not None:
            raise StateError(
                f"The log {self._storage.url}{log.CHANGES} was closed at {closed.closed_at} by another run."
            )

    def _refuse_another_table(self) -> None:
        refuse_another(self._stream, find(self._aws.dynamodb, self._address))

    async def _refuse_end(self) -> FinishRequest:
        """Raises what ended the stream, if that was not --finish; --cancel closes the log before it disables the stream."""
        await asyncio.to_thread(self._refuse_closed)
        await asyncio.to_thread(self._refuse_another_table)
        raise StateError(
            f"The stream {self._stream.stream_arn} was disabled, and not by --finish. What was written to the table since is "
            "not captured.",
            "End this export with --cancel, and start a new one with --follow.",
        )
