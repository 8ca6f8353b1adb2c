"""Writes batches of lines until the service has confirmed or rejected every item."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from ddb_shared.dynamodb.batch import map_errors_unless_invalid, write_all
from ddb_shared.dynamodb.client import CONDITION_FAILED, Client
from ddb_shared.dynamodb.messages import content_of_request, delete_request, line_of_request, puts_of
from ddb_shared.errors import RequestError
from ddb_shared.format.lines import are_items, item_of, key_of
from ddb_shared.retry import FailureKind, classify

BATCH_ITEMS: Final = 25  # BatchWriteItem takes at most 25 puts (API reference, BatchWriteItem)
# and 16 MB. Every open shard holds a batch, so this bounds a worker's memory. Batches of items of up to 40 KB are still
# full, and with larger items the cost of a request is small compared to that of its bytes.
BATCH_BYTES: Final = 1024 * 1024
# Our code for a line that is never sent.
NOT_AN_ITEM: Final = "NotAnItem"


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that cannot be written: its index within the batch, and the service's reason."""

    index: int
    line: bytes
    code: str
    message: str

    @property
    def error(self) -> dict[str, str]:
        """The reason as a rejects file keeps it."""
        return {"code": self.code, "message": self.message}


@dataclass(slots=True)
class Outcome:
    """The result of a batch: each line is written, skipped or rejected. `units` is the capacity consumed."""

    written: int = 0
    skipped: int = 0
    units: float = 0.0
    rejects: list[Reject] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Adds the result of another part of the batch."""
        self.written += other.written
        self.skipped += other.skipped
        self.units += other.units
        self.rejects += other.rejects


class Writer(Protocol):
    """Writes lines into a table."""

    async def write(self, lines: Sequence[bytes]) -> Outcome:
        """Returns once every line is written, skipped or rejected; raises errors that end the import."""
        ...

    def save(self) -> None:
        """Stores what must be stored before a checkpoint that covers what was written; called in a thread."""
        ...


class BatchWriter(ABC):
    """Writes by BatchWriteItem: one write unit per KB of the larger of old and new item.

    An entry is the bytes of one line or request; what it looks like is the business of the kinds of writers below.
    """

    def __init__(self, client: Client, table: str, key_names: Sequence[str]) -> None:
        self._client = client
        self._table = table
        self._key_names = key_names

    @abstractmethod
    def _requests(self, entries: Sequence[bytes]) -> bytes | None:
        """The entries as requests, joined by commas; None where one of them is malformed."""

    @abstractmethod
    def _keyed(self, entry: bytes) -> bytes | None:
        """The JSON object that holds the entry's key attributes; None where it is malformed."""

    def _line(self, entry: bytes) -> bytes:
        """The entry as a line of a rejects file."""
        return entry

    async def write(self, entries: Sequence[bytes]) -> Outcome:
        """See Writer."""
        outcome = Outcome()
        if math.isinf(self._client.rate_limiter.max_request_units):
            await self._write(entries, range(len(entries)), outcome)
            return outcome
        start = 0
        while start < len(entries):
            end = self._part_end(entries, start)
            await self._write(entries[start:end], range(start, end), outcome)
            start = end
        return outcome

    def _part_end(self, entries: Sequence[bytes], start: int) -> int:
        """The end of the next part of the batch that fits a small cap; an item above it is sent alone."""
        room = self._client.rate_limiter.max_request_units
        for end in range(start, len(entries)):
            room -= self._client.write_units(len(entries[end]))
            if room < 0 and end > start:
                return end
        return len(entries)

    async def _write(self, entries: Sequence[bytes], indexes: Sequence[int], outcome: Outcome) -> None:
        """Writes a part; splits one that the service rejects until the invalid items stand alone."""
        error = RequestError(NOT_AN_ITEM, 'the line is not of the form {"Item":{…}}')
        requests = self._requests(entries)
        if requests is not None:
            try:
                outcome.units += await write_all(self._client, self._table, requests, len(entries))
            except RequestError as refusal:
                if classify(refusal) is not FailureKind.INVALID:
                    raise
                error = refusal
            else:
                outcome.written += len(entries)
                return
        if len(entries) == 1:
            outcome.rejects.append(Reject(indexes[0], self._line(entries[0]), error.code, error.message))
            return
        for part in self._parts(entries, outcome):
            await self._write([entries[at] for at in part], [indexes[at] for at in part], outcome)

    def _parts(self, entries: Sequence[bytes], outcome: Outcome) -> list[Sequence[int]]:
        """Where the entries are that no later one of the same key replaces, or else the halves of the batch."""
        last: dict[object, int] = {}
        for at, entry in enumerate(entries):
            keyed = self._keyed(entry)
            key = key_of(keyed, self._key_names) if keyed is not None else None
            last[at if key is None else key] = at
        if len(last) < len(entries):
            outcome.skipped += len(entries) - len(last)
            return [sorted(last.values())]
        middle = len(entries) // 2
        return [range(middle), range(middle, len(entries))]


class Overwrite(BatchWriter):
    """Puts that replace what is there; an entry is the line of an item."""

    def _requests(self, entries: Sequence[bytes]) -> bytes | None:
        return puts_of(entries) if are_items(entries) else None

    def _keyed(self, entry: bytes) -> bytes | None:
        return item_of(entry)

    def save(self) -> None:
        """See Writer."""

    async def delete(self, keys: Sequence[bytes]) -> float:
        """Deletes the items with these keys, at most BATCH_ITEMS; returns the write units consumed."""
        requests = [delete_request(key) for key in keys]
        return await write_all(self._client, self._table, b",".join(requests), len(requests))


class WriteRequests(BatchWriter):
    """Puts and deletes; an entry is a well-formed request, as `put_request` and `delete_request` return it."""

    def _requests(self, entries: Sequence[bytes]) -> bytes | None:
        return b",".join(entries)

    def _keyed(self, entry: bytes) -> bytes | None:
        return content_of_request(entry)

    def _line(self, entry: bytes) -> bytes:
        return line_of_request(entry)


class SkipExisting:
    """Puts on the condition that no item has the key: PutItem, one write unit per KB, also for skipped items."""

    def __init__(self, client: Client, table: str, key_names: Sequence[str]) -> None:
        self._client = client
        self._suffix = b"," + msgspec.json.encode(
            {
                "TableName": table,
                "ConditionExpression": "attribute_not_exists(#key)",
                "ExpressionAttributeNames": {"#key": key_names[0]},
                "ReturnConsumedCapacity": "TOTAL",
            }
        ).removeprefix(b"{")
        self._table = table

    async def write(self, lines: Sequence[bytes]) -> Outcome:
        """See Writer."""
        outcome = Outcome()
        for index, line in enumerate(lines):
            await self._put(index, line, outcome)
        return outcome

    def save(self) -> None:
        """See Writer."""

    async def _put(self, index: int, line: bytes, outcome: Outcome) -> None:
        item = item_of(line)
        if item is None:
            outcome.rejects.append(
                Reject(index, line, NOT_AN_ITEM, 'the line is not of the form {"Item":{…}}')
            )
            return
        try:
            with map_errors_unless_invalid(f"write to table {self._table}"):
                response = await self._client.put(b'{"Item":' + item + self._suffix)
        except RequestError as error:
            if error.code == CONDITION_FAILED:
                outcome.skipped += 1
            else:
                outcome.rejects.append(Reject(index, line, error.code, error.message))
        else:
            outcome.written += 1
            outcome.units += response.consumed_units
