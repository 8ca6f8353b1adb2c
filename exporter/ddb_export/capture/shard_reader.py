"""Reads shards of a stream: from a position to the null iterator, page by page, at a bounded rate.

Memory: a page of each connection, and of lines what the log's writer holds.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ddb_export.capture.lineage import ChangesLostError, ShardState
from ddb_export.capture.log_writer import LogWriter, Page
from ddb_export.capture.status import CaptureStatus
from ddb_shared.dynamodb.streams import (
    EXPIRED_ITERATOR,
    NOT_FOUND,
    TRIMMED,
    RecordsPage,
    StreamRecord,
    Streams,
)
from ddb_shared.errors import RequestError, StateError
from ddb_shared.format.change_lines import TIME_TO_LIVE, change_line
from ddb_shared.retry import POLICIES, FailureKind, classify

CONNECTIONS: Final = 32
# Where nothing changes, each shard is asked once a second, and less often where there are more of them: 2,000 every ten seconds.
IDLE_SECONDS: Final = 1.0
IDLE_POLLS_PER_SECOND: Final = 200.0
# A shard with a few changes is asked four times a second, as Lambda does; one with many at once again.
BUSY_SECONDS: Final = 0.25
MANY_RECORDS: Final = 100
# Failures in a row of one shard before the user is told.
_WARN_ATTEMPTS: Final = 6
# A shard may be listed a moment before it can be read.
_NOT_FOUND_ATTEMPTS: Final = 10


class ShardReader:
    """Reads the shards of one stream, each by a call of `read`. `hurry` makes idle shards be asked every second.

    `arrived` is how many changes have come, and `arrived_at` when the last ones did.
    """

    def __init__(
        self,
        streams: Streams,
        writer: LogWriter,
        status: CaptureStatus,
        *,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._streams = streams
        self._writer = writer
        self._status = status
        self._tell = tell
        self._clock = clock
        self._now = now
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._polled: dict[str, float] = {}
        self._failing: set[str] = set()
        self.hurry = False
        self.arrived_at = clock()
        self.arrived = 0

    def polled_since(self, states: Iterable[ShardState], since: float) -> bool:
        """Whether each of these shards was asked after this time, and answered."""
        return all(self._polled.get(state.id, 0.0) >= since for state in states)

    async def read(self, state: ShardState) -> None:
        """Reads one shard from its position to its null iterator. Raises RequestError and TransferError."""
        iterator: str | None = None
        failures: Counter[FailureKind | str] = Counter()
        pause = BUSY_SECONDS
        while True:
            await self._writer.room()
            try:
                async with self._free:
                    iterator = iterator or await self._iterator(state)
                    asked_at = self._clock()
                    page = await self._streams.records(iterator)
            except RequestError as error:
                iterator = await self._recover(state, error, failures, iterator)
                continue
            if failures:
                failures.clear()
                self._recovered(state)
            iterator = page.next_shard_iterator
            state.closed = iterator is None
            records = self._take(state, page)
            self._polled[state.id] = asked_at
            if iterator is None:
                break
            pause = self._pause(records, pause)
            await asyncio.sleep(pause)
        self._polled.pop(state.id, None)

    def _pause(self, records: int, last: float) -> float:
        """Seconds until a shard is asked again."""
        if records >= MANY_RECORDS:
            return 0.0
        if records:
            return BUSY_SECONDS
        longest = (
            IDLE_SECONDS
            if self.hurry
            else max(IDLE_SECONDS, self._status.open_shards / IDLE_POLLS_PER_SECOND)
        )
        return min(max(last, BUSY_SECONDS) * 1.5, longest)

    async def _iterator(self, state: ShardState) -> str:
        """An iterator at the shard's position; raises ChangesLostError where changes after it may be gone."""
        if state.sequence:
            try:
                return await self._streams.iterator(state.id, state.sequence)
            except RequestError as error:
                if error.code != TRIMMED:
                    raise
        return await self._oldest(state)

    async def _oldest(self, state: ShardState) -> str:
        """An iterator at the oldest record that is left, where all that is gone is older than what is needed."""
        if not state.can_skip_trimmed(int(self._now() * 1e6)):
            raise ChangesLostError(f"shard {state.id} holds changes of which the oldest may be gone.")
        return await self._streams.iterator(state.id)

    async def _recover(
        self,
        state: ShardState,
        error: RequestError,
        failures: Counter[FailureKind | str],
        iterator: str | None,
    ) -> str | None:
        """What to continue with after a failure, and when; raises where nothing helps.

        What may pass is waited for as long as it takes: the stream keeps changes for a day.
        """
        if error.code == EXPIRED_ITERATOR:
            return None
        if error.code == TRIMMED:
            return await self._oldest(state)
        kind = FailureKind.TRANSIENT if error.code == NOT_FOUND else classify(error)
        attempt = failures[kind]
        failures[kind] += 1
        if error.code == NOT_FOUND and attempt >= _NOT_FOUND_ATTEMPTS:
            raise ChangesLostError(f"the stream no longer has shard {state.id}.") from error
        policy = POLICIES.get(kind)
        patient = kind in {FailureKind.THROTTLED, FailureKind.TRANSIENT}
        if policy is None or (not patient and attempt + 1 >= policy.attempts):
            raise error
        self._streams.calls.count(kind, error)
        if kind is FailureKind.EXPIRED:
            await self._streams.calls.renew()
        if attempt + 1 == _WARN_ATTEMPTS:
            self._warn(state, kind, error)
        await self._streams.calls.back_off(kind, attempt)
        return iterator

    def _warn(self, state: ShardState, kind: FailureKind, error: RequestError) -> None:
        self._failing.add(state.id)
        if kind is FailureKind.THROTTLED:
            said = "reading is throttled. A shard takes two readers (one of a global table): is there a third one, such as Lambda?"
        else:
            said = f"reading fails: {error}."
        self._status.problem = self._problem()
        if len(self._failing) == 1:
            self._tell(f"Shard {state.id}: {said} The capture keeps trying; changes are kept for 24 hours.")

    def _recovered(self, state: ShardState) -> None:
        self._failing.discard(state.id)
        self._status.problem = self._problem()

    def _problem(self) -> str:
        count = len(self._failing)
        return f"{count:,} shard{'s' if count > 1 else ''} throttled or failing" if count else ""

    def _take(self, state: ShardState, page: RecordsPage) -> int:
        """Hands a page to the writer, and moves the shard's position past it."""
        records = page.records
        if state.sequence and records and int(records[0].images.sequence_number) <= int(state.sequence):
            last = int(state.sequence)
            records = [record for record in records if int(record.images.sequence_number) > last]
        if not records and not state.closed:
            return 0
        lines, times, expired = list[bytes](), list[int](), 0
        for record in records:
            line, micros, by_time_to_live = _line_of(record)
            lines.append(line)
            times.append(micros)
            expired += by_time_to_live
        if records:
            state.sequence = records[-1].images.sequence_number
            state.at = max(state.at, times[-1])
            self.arrived_at = self._clock()
            self.arrived += len(records)
        self._writer.add(
            Page(
                shard=state.id,
                position=state.position(),
                lines=lines,
                bytes=sum(map(len, lines)),
                expired=expired,
                first_at=min(times, default=0),
                last_at=max(times, default=0),
            )
        )
        return len(lines)


def _line_of(record: StreamRecord) -> tuple[bytes, int, bool]:
    """The line of a record, its time in epoch microseconds, and whether time to live deleted the item.

    What a stream of another view leaves out must not be taken for a deletion.
    """
    images, identity = record.images, record.user_identity
    image: msgspec.Raw | None = images.new_image
    is_removed = record.event_name == "REMOVE"
    if is_removed:
        image = None
    elif record.event_name not in {"INSERT", "MODIFY"} or not memoryview(images.new_image).nbytes:
        raise StateError(
            f"The stream's record {images.sequence_number} is {record.event_name!r} and has no new image.",
            "The stream must have the view NEW_IMAGE or NEW_AND_OLD_IMAGES.",
        )
    expired = identity is not None and identity.principal_id == TIME_TO_LIVE and is_removed
    micros = round(images.approximate_creation_date_time * 1e6)
    line = change_line(
        micros=micros, sequence=images.sequence_number, expired=expired, keys=images.keys, new_image=image
    )
    return line, micros, expired
