"""Reads a range of a change log once, for the last change of each key.

Memory: 200 bytes for each key that has changes, MAX_KEYS at most, and READ_AHEAD files of requests, some 10 MB each. Where more
keys have changes, only those of a part of all keys are kept: each of the parts, a power of two, takes a reading of the log and
of the base of its own; the table is read once all the same.
"""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Final

from ddb_import.apply.keys import KeyReader
from ddb_import.apply.log_reader import POLL_SECONDS, LogPart, LogReader, missing_record
from ddb_import.verify.inputs import ExportInput
from ddb_import.verify.keys import hash_of_key
from ddb_import.verify.overlay import LastLines, Overlay, part_of
from ddb_import.verify.reconcile import HASH_BYTES
from ddb_shared.aws.clients import connect
from ddb_shared.dynamodb.messages import is_put
from ddb_shared.errors import ExportError
from ddb_shared.format import changes as log
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
# A place: the record, the line in its file, and whether it puts an item.
_LINE_BITS: Final = 32
_LINE_MASK: Final = (1 << _LINE_BITS) - 1
_PUT: Final = 1


@dataclass(frozen=True, slots=True)
class LogRange:
    """The records after `after` up to `last`, and how many changes they hold."""

    after: int
    last: int
    changes: int

    @classmethod
    def of(cls, storage: Storage, after: int, last: int) -> LogRange:
        """Of records that are written."""
        return cls(after, last, _changes_until(storage, last) - _changes_until(storage, after))


def _changes_until(storage: Storage, number: int) -> int:
    record = log.read_record(storage, number) if number else None
    if number and record is None:
        raise missing_record(storage, number)
    return record.total_changes if record else 0


class LastChanges:
    """Where the last change of each key is, of the keys in one `part`; `parts` doubles where more than `max_keys` have changes.

    `wanted` are the first HASH_BYTES of the hashes of the keys that count, None for all.
    """

    def __init__(self, part: int, parts: int, max_keys: int, wanted: frozenset[bytes] | None = None) -> None:
        self.part = part
        self.parts = parts
        self.records = 0
        self.changes = 0
        self._max_keys = max_keys
        self._wanted = wanted
        self._places: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    @property
    def keys(self) -> frozenset[bytes]:
        """The hashes of the keys that have changes."""
        return frozenset(self._places)

    def leave_out(self, keys: Set[bytes]) -> None:
        """Forgets these keys, by their hashes."""
        for key in keys & self._places.keys():
            del self._places[key]

    def add(self, read: LogPart) -> None:
        """The next record of the log."""
        self.records += 1
        self.changes += len(read.writes)
        first = read.record.number << _LINE_BITS
        for write in read.writes:
            key = hash_of_key(write.key)
            if self._wanted is not None and key[:HASH_BYTES] not in self._wanted:
                continue
            if self.parts == 1 or part_of(key, self.parts) == self.part:
                self._places[key] = (first | write.line) << 1 | is_put(write.request)
        # the first part finds out how many there are; the others are as large, but for chance
        while self.part == 0 and len(self._places) > self._max_keys:
            self.parts *= 2
            self._places = {
                key: place for key, place in self._places.items() if part_of(key, self.parts) == 0
            }

    def over(self, base: ExportInput, key: tuple[KeyAttribute, ...]) -> ExportInput:
        """The base with these changes."""
        overlay = Overlay(key=key, changed=self.keys, part=self.part, parts=self.parts)
        puts = (place for place in self._places.values() if place & _PUT)
        return dataclasses.replace(base, images=_by_record(puts), overlay=overlay)

    def lines(self) -> tuple[LastLines, ...]:
        """The last changes, by record."""
        return _by_record(self._places.values())


def _by_record(places: Iterable[int]) -> tuple[LastLines, ...]:
    lines: dict[int, array[int]] = {}
    for place in places:
        record, line = place >> 1 + _LINE_BITS, place >> 1 & _LINE_MASK
        lines.setdefault(record, array("I")).append(line)
    return tuple(LastLines(record, lines[record]) for record in sorted(lines))


@dataclass(frozen=True, kw_only=True)
class ChangesTask:
    """Where a log is, what is read of it, and which keys are wanted: those in a part of all, or `wanted` (see LastChanges)."""

    source: ExportInput
    range: LogRange
    key: tuple[KeyAttribute, ...]
    part: int = 0
    parts: int = 1
    max_keys: int = MAX_KEYS
    wanted: frozenset[bytes] | None = None


def read_last_changes(task: ChangesTask, channel: Channel) -> LastChanges:
    """Reads the range, until the run is stopped. Raises ExportError or ShardError where it is not what was written."""
    source = task.source
    storage = S3Storage(connect(source.aws).s3, source.bucket, source.prefix)
    return run_loop(_read(storage, task, channel), threads=READ_AHEAD)


async def _read(storage: Storage, task: ChangesTask, channel: Channel) -> LastChanges:
    found = LastChanges(task.part, task.parts, task.max_keys, task.wanted)
    keys, range_ = KeyReader(task.key), task.range
    reader = LogReader(storage, keys, range_.after, POLL_SECONDS, read_ahead=READ_AHEAD, end=range_.last)
    async with stop_event(channel) as stop:
        try:
            while (read := await reader.read(stop)) is not None:
                found.add(read)
                channel.report(ProgressEvent(items=read.record.changes))
        finally:
            reader.close()
        if not stop.is_set():
            _check(found, range_, storage)
    return found


def _check(found: LastChanges, range_: LogRange, storage: Storage) -> None:
    records = range_.last - range_.after
    if (found.records, found.changes) != (records, range_.changes):
        raise ExportError(
            f"{storage.url}{log.LOG} should have {range_.changes:,} changes in {records:,} records, up to number {range_.last:,}; "
            f"it has {found.changes:,} in {found.records:,}.",
            "Do not use this export: someone changed its log.",
        )
