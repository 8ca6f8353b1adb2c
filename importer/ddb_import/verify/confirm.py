"""Confirms differences: both sides are read again, tables with ConsistentRead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from ddb_import.verify.canonical import canonical_attributes
from ddb_import.verify.expiry import Expiry
from ddb_import.verify.inputs import Cost
from ddb_import.verify.records import Item, canonical_or_raw, canonical_or_text, is_object, key_or_raw
from ddb_import.verify.report import DifferenceKind, ItemDifference
from ddb_shared import retry
from ddb_shared.aws.clients import AwsOptions, connect
from ddb_shared.dynamodb.batch import read_all
from ddb_shared.dynamodb.client import Client, open_client
from ddb_shared.errors import RequestError
from ddb_shared.runtime.loop import run_loop, shared_rate_limiter
from ddb_shared.runtime.runner import Channel

BATCH_KEYS: Final = 100  # BatchGetItem takes at most 100 keys (API reference, BatchGetItem)
OPEN_BATCHES: Final = 8


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """How to read single items of a table. `max_rcu` is the cap of all workers together, in units per second."""

    aws: AwsOptions
    table: str
    key_names: tuple[str, ...]
    max_rcu: float | None


@dataclass(frozen=True, kw_only=True)
class Lookups:
    """How to read single items of both sides; `source` is None where the source is an export."""

    table: Lookup
    source: Lookup | None
    expiry: Expiry


@dataclass(frozen=True, slots=True)
class Candidate:
    """A key whose items may differ.

    `items` are the export's: more than one where several of its lines have this key, none where it has none, or where the
    source is a table.
    """

    key: bytes
    items: tuple[bytes, ...] = ()


def candidate_of(item: Item, key_names: Iterable[str], *, keep_item: bool) -> Candidate:
    """An item as a candidate."""
    canonical_item = canonical_or_text(item)
    data = bytes(item) if is_object(canonical_item) else canonical_item
    return Candidate(key_or_raw(canonical_item, key_names), (data,) if keep_item else ())


def merge_candidates(candidates: Iterable[Candidate]) -> list[Candidate]:
    """One candidate for each key."""
    items: dict[bytes, tuple[bytes, ...]] = {}
    for candidate in candidates:
        items[candidate.key] = items.get(candidate.key, ()) + candidate.items
    return [Candidate(key, found) for key, found in items.items()]


class TableReader:
    """Reads items of one table by their keys."""

    def __init__(self, lookup: Lookup, client: Client, cost: Cost) -> None:
        self._lookup = lookup
        self._client = client
        self._cost = cost

    async def read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The table's items with these keys, by canonical key.

        A key that DynamoDB rejects as invalid is in no table; the batch is split until it stands alone.
        """
        if not keys:
            return {}
        try:
            return await self._read(keys)
        except RequestError as refusal:
            if retry.classify(refusal) is not retry.FailureKind.INVALID:
                raise
        middle = len(keys) // 2
        return {**await self.read(keys[:middle]), **await self.read(keys[middle:])} if middle else {}

    async def _read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        responses = await read_all(self._client, self._lookup.table, keys)
        self._cost.consumed_rcu += sum(response.consumed_units for response in responses)
        items = (item for response in responses for found in response.responses.values() for item in found)
        return {key_or_raw(item, self._lookup.key_names): bytes(item) for item in items}


class Confirmer:
    """Says which candidates differ now. `source` is None where the source is an export."""

    def __init__(self, table: TableReader, source: TableReader | None, expiry: Expiry) -> None:
        self._table = table
        self._source = source
        self._expiry = expiry

    async def check(self, candidates: Sequence[Candidate]) -> list[ItemDifference]:
        """The differences among these candidates, in their order."""
        batches = [candidates[start : start + BATCH_KEYS] for start in range(0, len(candidates), BATCH_KEYS)]
        turns = asyncio.Semaphore(OPEN_BATCHES)

        async def check(batch: Sequence[Candidate]) -> list[ItemDifference]:
            async with turns:
                return await self._check(batch)

        checked = await asyncio.gather(*map(check, batches))
        return [difference for part in checked for difference in part]

    async def _check(self, batch: Sequence[Candidate]) -> list[ItemDifference]:
        keys = list(dict.fromkeys(candidate.key for candidate in batch if is_object(candidate.key)))
        actual = await self._table.read(keys)
        if self._source is not None:
            items = await self._source.read(keys)
            batch = [Candidate(key, (items[key],) if key in items else ()) for key in keys]
        made = (self._compare(candidate, actual.get(candidate.key)) for candidate in batch)
        return [difference for difference in made if difference is not None]

    def _compare(self, candidate: Candidate, actual: bytes | None) -> ItemDifference | None:
        """Several lines of an export with one key count as one item, which is equal if one of them is."""
        versions = candidate.items or (None,)
        differences = [compare(candidate.key, expected, actual) for expected in versions]
        if None in differences or (difference := differences[-1]) is None:
            return None
        return self._expired(difference) or difference

    def _expired(self, difference: ItemDifference) -> ItemDifference | None:
        """The same as expired, where time to live may have deleted the item on the side that lacks it."""
        if difference.kind is DifferenceKind.MISSING and is_object(bytes(difference.expected)):
            item = bytes(difference.expected)
        elif difference.kind is DifferenceKind.EXTRA and self._source is not None:
            item = bytes(difference.actual)
        else:
            return None
        if not self._expiry.is_expired(item):
            return None
        return msgspec.structs.replace(difference, kind=DifferenceKind.EXPIRED)


@asynccontextmanager
async def open_confirmer(lookups: Lookups, cost: Cost, channel: Channel) -> AsyncIterator[Confirmer]:
    """A confirmer with its connections."""
    async with AsyncExitStack() as stack:
        table = await stack.enter_async_context(open_reader(lookups.table, cost, channel))
        source = None
        if lookups.source is not None:
            source = await stack.enter_async_context(open_reader(lookups.source, cost, channel))
        yield Confirmer(table, source, lookups.expiry)


@asynccontextmanager
async def open_reader(lookup: Lookup, cost: Cost, channel: Channel) -> AsyncIterator[TableReader]:
    """A reader with its connections."""
    aws = connect(lookup.aws)
    async with (
        shared_rate_limiter(lookup.max_rcu, channel) as rate_limiter,
        open_client(aws, OPEN_BATCHES, rate_limiter) as client,
    ):
        yield TableReader(lookup, client, cost)
        cost.throttled.update(client.throttled)


def compare(key: bytes, expected: bytes | None, actual: bytes | None) -> ItemDifference | None:
    """How two items with the same key differ; None if they are equal, or both are gone."""
    if expected is None and actual is None:
        return None
    if expected is None or actual is None:
        kind = DifferenceKind.EXTRA if expected is None else DifferenceKind.MISSING
        return ItemDifference(kind=kind, key=msgspec.Raw(key), expected=_raw(expected), actual=_raw(actual))
    if canonical_or_raw(expected) == canonical_or_raw(actual):
        return None
    ours, theirs = canonical_attributes(expected), canonical_attributes(actual)
    return ItemDifference(
        kind=DifferenceKind.DIFFERENT,
        key=msgspec.Raw(key),
        attributes=[name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)],
        expected=_raw(expected),
        actual=_raw(actual),
    )


def _raw(item: bytes | None) -> msgspec.Raw:
    return msgspec.Raw(item if item is not None else b"null")


@dataclass(frozen=True, kw_only=True)
class ConfirmTask:
    """Candidates, and where to read them."""

    lookups: Lookups
    candidates: Sequence[Candidate]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Which candidates are differences."""

    differences: list[ItemDifference]
    cost: Cost


def confirm(task: ConfirmTask, channel: Channel) -> Confirmed:
    """Reads the candidates again, until the run is stopped."""
    return run_loop(_confirm(task, channel), threads=2)


async def _confirm(task: ConfirmTask, channel: Channel) -> Confirmed:
    cost, differences = Cost(), []
    round_items = BATCH_KEYS * OPEN_BATCHES
    async with open_confirmer(task.lookups, cost, channel) as confirmer:
        for start in range(0, len(task.candidates), round_items):
            if channel.stopping():
                break
            differences += await confirmer.check(task.candidates[start : start + round_items])
    return Confirmed(differences, cost)
