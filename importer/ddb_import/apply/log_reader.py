"""Reads the change log of an export in order, ahead of what is written; waits for records that are not there yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ddb_import.apply.keys import KeyReader
from ddb_import.apply.order import Part, Write
from ddb_shared.dynamodb.messages import delete_request, put_request
from ddb_shared.errors import ExportError, ShardError
from ddb_shared.format import changes as log
from ddb_shared.format.change_lines import Change
from ddb_shared.format.changes import Closed, LogRecord
from ddb_shared.runtime.loop import unless_stopped
from ddb_shared.storage.base import Storage

# A capture commits about once a second. Two small GETs each time: 1.40 USD a month.
POLL_SECONDS: Final = 1.0
# Where there is a backlog. A record and its file are two requests of 20 to 50 ms each; a file has 8 MiB of lines at most.
READ_AHEAD: Final = 4


@dataclass(frozen=True, slots=True)
class LogPart:
    """One record of the log, with its changes as requests."""

    record: LogRecord
    part: Part
    writes: Sequence[Write]


class LogReader:
    """The records after `applied`, up to `end` where it is given: the last one of a closed log, or one that is known to be written.

    Without it, `end` is found once the log is closed: records after it do not count. Memory: `read_ahead` files of requests, some
    10 MB each.
    """

    def __init__(
        self,
        storage: Storage,
        key_of: KeyReader,
        applied: int,
        poll_seconds: float,
        *,
        read_ahead: int = READ_AHEAD,
        end: int | None = None,
    ) -> None:
        self._storage = storage
        self._key_of = key_of
        self._next = applied + 1
        self._poll_seconds = poll_seconds
        self._read_ahead = read_ahead
        self._ahead: deque[asyncio.Task[LogPart | None]] = deque()
        self._width = 1
        self._end = end
        # whether all that the log has is read, and its next record is not there yet
        self.is_waiting = False

    async def read(self, stop: asyncio.Event) -> LogPart | None:
        """The next record, once it is written; None at the end of a closed log, or after a stop.

        Raises ExportError where the capture was cancelled, ShardError where a file is missing or altered.
        """
        while not stop.is_set():
            found = await self._look(stop)
            if found is not None:
                self.is_waiting = False
                self._next += 1
                self._width = min(2 * self._width, self._read_ahead)
                return found
            self._width = 1
            is_over = stop.is_set() or self._is_after_end(self._next)
            if is_over or await asyncio.to_thread(self._is_at_end):
                break
            self.is_waiting = True
            await unless_stopped(stop, asyncio.sleep(self._poll_seconds))
        self.is_waiting = False
        self.close()
        return None

    def close(self) -> None:
        """Forgets what was read ahead."""
        while self._ahead:
            self._ahead.popleft().cancel()

    async def _look(self, stop: asyncio.Event) -> LogPart | None:
        """The next record; None where it is not written yet."""
        for number in range(self._next + len(self._ahead), self._next + self._width):
            self._ahead.append(asyncio.create_task(asyncio.to_thread(self._read, number)))
        found = await unless_stopped(stop, self._ahead.popleft())
        if found is None:
            self.close()  # those after it were not there either, or are read again
        return found

    def _read(self, number: int) -> LogPart | None:
        record = None if self._is_after_end(number) else log.read_record(self._storage, number)
        # after the end of a log only a run that begins can write: it need not be asked for at each record
        if record is None or (record.begins and self._end is None and self._is_closed_before(number)):
            return None
        return self._part_of(record, log.read_changes(self._storage, record))

    def _is_after_end(self, number: int) -> bool:
        return self._end is not None and number > self._end

    def _is_closed_before(self, number: int) -> bool:
        self._end = end_of(log.read_closed(self._storage))
        return self._is_after_end(number)

    def _part_of(self, record: LogRecord, changes: Sequence[Change]) -> LogPart:
        part = Part(
            record.number, record.file, changes=len(changes), open=len(changes), last_at=record.last_at
        )
        return LogPart(record, part, [self._write_of(part, line, one) for line, one in enumerate(changes, 1)])

    def _write_of(self, part: Part, line: int, change: Change) -> Write:
        try:
            key = self._key_of(change.keys)
        except msgspec.DecodeError as error:
            raise ShardError(
                f"Line {line} of {self._storage.url}{log.CHANGES}{part.file} has no key of the table: {error}",
                "Import into a table with the key attributes of the table that is captured.",
            ) from error
        image = change.new_image
        request = delete_request(change.keys) if image is None else put_request(image)
        return Write(key, request, part, line)

    def _is_at_end(self) -> bool:
        """Whether the log is closed before the next record; raises ExportError where its changes are not complete."""
        closed = log.read_closed(self._storage)
        if closed is not None and closed.cancelled:
            raise cancelled(self._storage)
        end = closed.last_number if self._end is None and closed else self._end
        if end is None:
            return False
        if self._next > end:
            return True
        if log.read_record(self._storage, self._next) is None:
            raise missing_record(self._storage, self._next)
        return False


def end_of(closed: Closed | None) -> int | None:
    """The last record that counts; None where the log is open, or cancelled, which reading it to its end tells."""
    return None if closed is None or closed.cancelled else closed.last_number


def missing_record(storage: Storage, number: int) -> ExportError:
    """The error for a record that a log lacks before its end."""
    return ExportError(
        f"{storage.url}{log.record_file(number)} is missing, and the log does not end before it.",
        "Restore the file from a copy, or export the table again.",
    )


def cancelled(storage: Storage) -> ExportError:
    """The error for a log that was given up."""
    return ExportError(
        f"The capture of changes in {storage.url} was cancelled: its changes are not complete.",
        "Export the table again with --follow. The base export alone can be loaded with --base-only.",
    )
