"""Nothing is called a difference before both sides were read again, tables with ConsistentRead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from ddb_import.batch_write import explained_unless_invalid
from ddb_import.verify.match import Candidate, is_object, key_or_raw
from ddb_import.verify.report import Difference, Kind
from ddb_import.verify.sides import Cost
from ddb_shared import retry
from ddb_shared.aws import Aws, AwsOptions
from ddb_shared.canonical import canonical_attributes
from ddb_shared.digest import canonical_or_raw
from ddb_shared.errors import ServiceError, WireError
from ddb_shared.loop import run_loop, shared_pace
from ddb_shared.wire import Wire, open_wire
from ddb_shared.workers import Channel

BATCH_KEYS: Final = 100  # BatchGetItem takes at most 100 keys (API reference, BatchGetItem)
OPEN_BATCHES: Final = 8


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """How to read single items of a table. `max_rcu` is read capacity units per second, of all workers together."""

    aws: AwsOptions
    table: str
    key_names: tuple[str, ...]
    max_rcu: float | None


class _Reader:
    """Reads items of one table by their keys."""

    def __init__(self, lookup: Lookup, wire: Wire, cost: Cost) -> None:
        self._lookup = lookup
        self._wire = wire
        self._cost = cost

    async def read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The items that the table has of these keys, by canonical key.

        A key that DynamoDB calls invalid is in no table; the batch is split until it stands alone.
        """
        if not keys:
            return {}
        try:
            return await self._read(keys)
        except WireError as refusal:
            if retry.classify(refusal) is not retry.Kind.INVALID:
                raise
        middle = len(keys) // 2
        return {**await self.read(keys[:middle]), **await self.read(keys[middle:])} if middle else {}

    async def _read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        items: dict[bytes, bytes] = {}
        left: Sequence[bytes | msgspec.Raw] = keys
        attempt = 0
        while left:
            with explained_unless_invalid(f"read from table {self._lookup.table}"):
                answer = await self._wire.batch_get(self._request(left), len(left))
            self._cost.consumed_rcu += answer.consumed_units
            for item in (item for found in answer.responses.values() for item in found):
                items[key_or_raw(item, self._lookup.key_names)] = bytes(item)
            unread = [key for table in answer.unprocessed_keys.values() for key in table.keys]
            attempt = attempt + 1 if len(unread) == len(left) else 0
            left = unread
            if left:
                await self._back_off(attempt)
        return items

    async def _back_off(self, attempt: int) -> None:
        if attempt >= retry.POLICIES[retry.Kind.THROTTLED].attempts:
            raise ServiceError(
                f"Could not read from table {self._lookup.table}: no key was processed in {attempt} tries.",
                "The table refuses reads; run the command again, perhaps with --max-rcu.",
            )
        await self._wire.back_off(retry.Kind.THROTTLED, attempt)

    def _request(self, keys: Iterable[bytes | msgspec.Raw]) -> bytes:
        wanted = {"ConsistentRead": True, "Keys": [msgspec.Raw(key) for key in keys]}
        return msgspec.json.encode(
            {"RequestItems": {self._lookup.table: wanted}, "ReturnConsumedCapacity": "TOTAL"}
        )


class Confirmer:
    """Says which candidates differ now. `source` is None where an export is on the left side."""

    def __init__(self, table: _Reader, source: _Reader | None) -> None:
        self._table = table
        self._source = source

    async def check(self, candidates: Sequence[Candidate]) -> list[Difference]:
        """The differences among these candidates, in their order."""
        batches = [candidates[start : start + BATCH_KEYS] for start in range(0, len(candidates), BATCH_KEYS)]
        turns = asyncio.Semaphore(OPEN_BATCHES)

        async def check(batch: Sequence[Candidate]) -> list[Difference]:
            async with turns:
                return await self._check(batch)

        checked = await asyncio.gather(*map(check, batches))
        return [difference for part in checked for difference in part]

    async def _check(self, batch: Sequence[Candidate]) -> list[Difference]:
        keyed = [candidate for candidate in batch if is_object(candidate.key)]
        keys = list(dict.fromkeys(candidate.key for candidate in keyed))
        actual = await self._table.read(keys)
        if self._source is None:
            expected = {candidate.key: candidate.item for candidate in batch}
        else:
            expected = dict(await self._source.read(keys))
        made = (
            compare(candidate.key, expected.get(candidate.key), actual.get(candidate.key))
            for candidate in batch
        )
        return [difference for difference in made if difference is not None]


@asynccontextmanager
async def open_confirmer(
    table: Lookup, source: Lookup | None, cost: Cost, channel: Channel
) -> AsyncIterator[Confirmer]:
    """A confirmer with its connections."""
    async with _open_reader(table, cost, channel) as right:
        if source is None:
            yield Confirmer(right, None)
        else:
            async with _open_reader(source, cost, channel) as left:
                yield Confirmer(right, left)


@asynccontextmanager
async def _open_reader(lookup: Lookup, cost: Cost, channel: Channel) -> AsyncIterator[_Reader]:
    aws = Aws(lookup.aws)
    async with shared_pace(lookup.max_rcu, channel) as pace, open_wire(aws, OPEN_BATCHES, pace) as wire:
        yield _Reader(lookup, wire, cost)
        cost.throttled.update(wire.throttled)


def compare(key: bytes, expected: bytes | None, actual: bytes | None) -> Difference | None:
    """How two items with one key differ; None where they are equal, or both are gone."""
    if expected is None and actual is None:
        return None
    if expected is None or actual is None:
        kind = Kind.EXTRA if expected is None else Kind.MISSING
        return Difference(kind=kind, key=msgspec.Raw(key), expected=_raw(expected), actual=_raw(actual))
    if canonical_or_raw(expected) == canonical_or_raw(actual):
        return None
    left, right = canonical_attributes(expected), canonical_attributes(actual)
    return Difference(
        kind=Kind.DIFFERENT,
        key=msgspec.Raw(key),
        attributes=[name for name in sorted({*left, *right}) if left.get(name) != right.get(name)],
        expected=_raw(expected),
        actual=_raw(actual),
    )


def _raw(item: bytes | None) -> msgspec.Raw:
    return msgspec.Raw(item if item is not None else b"null")


@dataclass(frozen=True, kw_only=True)
class ConfirmTask:
    """Candidates of a slice, and where to read them."""

    table: Lookup
    source: Lookup | None
    candidates: Sequence[Candidate]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Which candidates are differences."""

    differences: list[Difference]
    cost: Cost


def confirm(task: ConfirmTask, channel: Channel) -> Confirmed:
    """Reads the candidates again, until the run is stopped."""
    return run_loop(_confirm(task, channel), threads=2)


async def _confirm(task: ConfirmTask, channel: Channel) -> Confirmed:
    cost, differences = Cost(), []
    round_items = BATCH_KEYS * OPEN_BATCHES
    async with open_confirmer(task.table, task.source, cost, channel) as confirmer:
        for start in range(0, len(task.candidates), round_items):
            if channel.stopping():
                break
            differences += await confirmer.check(task.candidates[start : start + round_items])
    return Confirmed(differences, cost)
