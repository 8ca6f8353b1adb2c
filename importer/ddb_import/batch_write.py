"""Writes batches of lines until the service has confirmed or refused every single item."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from ddb_shared.errors import WireError, explained
from ddb_shared.items import are_items, batch_request, item_of, key_of, puts_of
from ddb_shared.retry import POLICIES, Kind, classify
from ddb_shared.wire import CONDITION_FAILED, Wire

BATCH_ITEMS: Final = 25  # BatchWriteItem takes at most 25 puts (API reference, BatchWriteItem)
# and 16 MB. Every open shard has a batch waiting, so this bounds a worker's memory. Batches of items of up to 40 KB are
# full all the same, and of larger ones a request costs little beside its bytes.
BATCH_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that can't be written: its index within the batch, and the service's reason."""

    index: int
    line: bytes
    code: str
    message: str


@dataclass(slots=True)
class Outcome:
    """What became of a batch: each line is written, skipped or rejected. `units` is capacity consumed."""

    written: int = 0
    skipped: int = 0
    units: float = 0.0
    rejects: list[Reject] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Adds a part of the same batch."""
        self.written += other.written
        self.skipped += other.skipped
        self.units += other.units
        self.rejects += other.rejects


class Writer(Protocol):
    """Writes lines into a table."""

    async def write(self, lines: Sequence[bytes]) -> Outcome:
        """Returns once every line is written, skipped or rejected; raises what forbids to go on."""
        ...


class Overwrite:
    """Puts that replace what is there: BatchWriteItem, one write unit per KB of the larger of old and new item."""

    def __init__(self, wire: Wire, table: str, key_names: Sequence[str]) -> None:
        self._wire = wire
        self._table = table
        self._key_names = key_names

    async def write(self, lines: Sequence[bytes]) -> Outcome:
        """See Writer."""
        outcome = Outcome()
        if math.isinf(self._wire.pace.portion):
            await self._write(lines, range(len(lines)), outcome)
            return outcome
        start = 0
        while start < len(lines):
            end = self._portion_end(lines, start)
            await self._write(lines[start:end], range(start, end), outcome)
            start = end
        return outcome

    def _portion_end(self, lines: Sequence[bytes], start: int) -> int:
        """Where a part of the batch ends that a small cap has room for; an item that is more than that goes alone."""
        room = self._wire.pace.portion
        for end in range(start, len(lines)):
            room -= self._wire.write_units(len(lines[end]))
            if room < 0 and end > start:
                return end
        return len(lines)

    async def _write(self, lines: Sequence[bytes], indexes: Sequence[int], outcome: Outcome) -> None:
        """Splits a batch that the service calls invalid until the bad items stand alone."""
        error = WireError("NotAnItem", 'the line is not of the form {"Item":{…}}')
        if are_items(lines):
            try:
                outcome.units += await self.send(puts_of(lines), len(lines))
            except WireError as refusal:
                if classify(refusal) is not Kind.INVALID:
                    raise
                error = refusal
            else:
                outcome.written += len(lines)
                return
        if len(lines) == 1:
            outcome.rejects.append(Reject(indexes[0], lines[0], error.code, error.message))
            return
        for part in self._parts(lines, outcome):
            await self._write([lines[at] for at in part], [indexes[at] for at in part], outcome)

    def _parts(self, lines: Sequence[bytes], outcome: Outcome) -> list[Sequence[int]]:
        """Where the lines are that no later line of the same key replaces, or else the halves of the batch."""
        last: dict[object, int] = {}
        for at, line in enumerate(lines):
            item = item_of(line)
            last[key_of(item, self._key_names) if item is not None else at] = at
        if len(last) < len(lines):
            outcome.skipped += len(lines) - len(last)
            return [sorted(last.values())]
        middle = len(lines) // 2
        return [range(middle), range(middle, len(lines))]

    async def send(self, puts: bytes, items: int) -> float:
        """Sends write requests, joined by commas, until nothing is unprocessed; the retry budget counts only rounds that wrote nothing."""
        units, attempt = 0.0, 0
        while True:
            with explained_unless_invalid(f"write to table {self._table}"):
                answer = await self._wire.batch_write(batch_request(self._table, [puts]), items)
            units += answer.consumed_units
            if not answer.refused_items:
                return units
            left = [put for unprocessed in answer.unprocessed_items.values() for put in unprocessed]
            attempt = 0 if len(left) < items else attempt + 1
            if attempt >= POLICIES[Kind.THROTTLED].attempts:
                with explained(f"write to table {self._table}"):
                    raise WireError("UnprocessedItems", f"nothing was written in {attempt} tries", 400, ())
            await self._wire.back_off(Kind.THROTTLED, attempt)
            puts, items = b",".join(left), len(left)


class SkipExisting:
    """Puts on the condition that there is no such item: PutItem, one write unit per KB, also for what is skipped."""

    def __init__(self, wire: Wire, table: str, key_names: Sequence[str]) -> None:
        self._wire = wire
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

    async def _put(self, index: int, line: bytes, outcome: Outcome) -> None:
        item = item_of(line)
        if item is None:
            outcome.rejects.append(
                Reject(index, line, "NotAnItem", 'the line is not of the form {"Item":{…}}')
            )
            return
        try:
            with explained_unless_invalid(f"write to table {self._table}"):
                answer = await self._wire.put(b'{"Item":' + item + self._suffix)
        except WireError as error:
            if error.code == CONDITION_FAILED:
                outcome.skipped += 1
            else:
                outcome.rejects.append(Reject(index, line, error.code, error.message))
        else:
            outcome.written += 1
            outcome.units += answer.consumed_units


@contextmanager
def explained_unless_invalid(doing: str) -> Iterator[None]:
    """Like `explained`, but lets pass what concerns single items: validation and failed conditions."""
    try:
        yield
    except WireError as error:
        if classify(error) is Kind.INVALID or error.code == CONDITION_FAILED:
            raise
        with explained(doing):
            raise
