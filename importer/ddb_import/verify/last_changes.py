"""Reads a closed change log once, for the last change of each key.

Memory: 200 bytes for each key that has changes, MAX_KEYS at most, and READ_AHEAD files of requests, some 10 MB each. Where more
keys have changes, only those of a part of all keys are kept: each of the parts, a power of two, takes a reading of the log and
of the base of its own; the table is read once all the same.
"""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ddb_import.apply.keys import KeyReader
from ddb_import.apply.log_reader import POLL_SECONDS, LogPart, LogReader
from ddb_import.verify.inputs import ExportInput
from ddb_import.verify.keys import hash_of_key
from ddb_import.verify.overlay import LastImages, Overlay, part_of
from ddb_shared.aws.clients import connect
from ddb_shared.dynamodb.messages import is_put
from ddb_shared.errors import ExportError
from ddb_shared.format import changes as log
from ddb_shared.format.changes import Closed
from ddb_shared.runtime.loop import run_loop, stop_event
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.runner import Channel
from ddb_shared.storage.base import Storage
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import KeyAttribute

# 200 MB in the parent, 130 MB in each worker.
MAX_KEYS: Final = 1_000_000
# Two requests of 20 to 50 ms for each record: a day of capture, a record a second, is read in 7 to 18 minutes.
READ_AHEAD: Final = 8
_DELETED: Final = 0
_LINE_BITS: Final = 32
_LINE_MASK: Final = (1 << _LINE_BITS) - 1


@dataclass(frozen=True, kw_only=True)
class Captured:
    """The changes of an export, which are complete, and up to which record they are applied to the table; None if unknown."""

    closed: Closed
    applied: int | None

    @property
    def is_applied(self) -> bool:
        """Whether all of them are known to be applied."""
        return self.applied is not None and self.applied >= self.closed.last_number


class LastChanges:
    """Where the last change of each key is, of the keys in one `part`; `parts` doubles where more than `max_keys` have changes."""

    def __init__(self, part: int, parts: int, max_keys: int) -> None:
        self.part = part
        self.parts = parts
        self.records = 0
        self.changes = 0
        self._max_keys = max_keys
        self._places: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def add(self, read: LogPart) -> None:
        """The next record of the log."""
        self.records += 1
        self.changes += len(read.writes)
        first = read.record.number << _LINE_BITS
        for write in read.writes:
            key = hash_of_key(write.key)
            if self.parts == 1 or part_of(key, self.parts) == self.part:
                self._places[key] = first | write.line if is_put(write.request) else _DELETED
        # the first part finds out how many there are; the others are as large, but for chance
        while self.part == 0 and len(self._places) > self._max_keys:
            self.parts *= 2
            self._places = {
                key: place for key, place in self._places.items() if part_of(key, self.parts) == 0
            }

    def over(self, base: ExportInput, key: tuple[KeyAttribute, ...]) -> ExportInput:
        """The base with these changes."""
        overlay = Overlay(key=key, changed=frozenset(self._places), part=self.part, parts=self.parts)
        return dataclasses.replace(base, images=_by_record(self._places.values()), overlay=overlay)


def _by_record(places: Iterable[int]) -> tuple[LastImages, ...]:
    lines: dict[int, array[int]] = {}
    for place in places:
        if place != _DELETED:
            lines.setdefault(place >> _LINE_BITS, array("I")).append(place & _LINE_MASK)
    return tuple(LastImages(record, lines[record]) for record in sorted(lines))


@dataclass(frozen=True, kw_only=True)
class ChangesTask:
    """Where a log is, and which part of the keys is wanted."""

    source: ExportInput
    closed: Closed
    key: tuple[KeyAttribute, ...]
    part: int
    parts: int
    max_keys: int


def read_last_changes(task: ChangesTask, channel: Channel) -> LastChanges:
    """Reads the whole log, until the run is stopped. Raises ExportError or ShardError where it is not what was closed."""
    source = task.source
    storage = S3Storage(connect(source.aws).s3, source.bucket, source.prefix)
    return run_loop(_read(storage, task, channel), threads=READ_AHEAD)


async def _read(storage: Storage, task: ChangesTask, channel: Channel) -> LastChanges:
    found = LastChanges(task.part, task.parts, task.max_keys)
    end = task.closed.last_number
    reader = LogReader(storage, KeyReader(task.key), 0, POLL_SECONDS, read_ahead=READ_AHEAD, end=end)
    async with stop_event(channel) as stop:
        try:
            while (read := await reader.read(stop)) is not None:
                found.add(read)
                channel.report(ProgressEvent(items=read.record.changes))
        finally:
            reader.close()
        if not stop.is_set():
            _check(found, task.closed, storage)
    return found


def _check(found: LastChanges, closed: Closed, storage: Storage) -> None:
    if (found.records, found.changes) != (closed.last_number, closed.changes):
        raise ExportError(
            f"{storage.url}{log.CLOSED} is of {closed.changes:,} changes in {closed.last_number:,} records; the log has "
            f"{found.changes:,} in {found.records:,}.",
            "Do not use this export: someone changed its log.",
        )
