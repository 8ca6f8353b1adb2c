"""Repairs what a report names, where the table, and a source table, still hold what the report says.

Each item is read again, then written on the condition that it has not changed: missing ones where there is none, different ones
over what was found, extra ones deleted where that was asked for. What has changed since is left alone and reported. Expired items
are left to time to live.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from ddb_import.verify.conditional_write import ConditionalWrites
from ddb_import.verify.confirm import BATCH_KEYS, Candidate, Confirmer, Lookups, open_confirmer
from ddb_import.verify.inputs import Cost
from ddb_import.verify.outcome import count_failing
from ddb_import.verify.records import canonical_or_raw, is_object
from ddb_import.verify.report import DifferenceKind, ItemDifference, Obstacle, Unrepaired
from ddb_shared.aws.clients import connect
from ddb_shared.dynamodb.batch import map_errors_unless_invalid
from ddb_shared.dynamodb.client import CONDITION_FAILED, Client, open_client
from ddb_shared.errors import RequestError
from ddb_shared.runtime.loop import first_error, run_loop, shared_rate_limiter
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.runner import Channel

OPEN_WRITES: Final = 16
# Of items that are read again and written at once: the same are read from the table.
BATCH_BYTES: Final = 4 * 1024 * 1024
MAX_REFUSALS: Final = 20  # in the result; all of them are in the report


@dataclass(frozen=True, kw_only=True)
class RepairTask:
    """Differences to repair, and how to check them afterwards. `max_wcu` is write capacity units per second."""

    lookups: Lookups
    differences: list[ItemDifference]
    delete_extra: bool
    max_wcu: float | None


@dataclass(slots=True)
class Repaired:
    """What became of the differences; `remaining` are those that a consistent read still finds, `failing` as of `outcome`.

    `unrepaired` are those of one part of a report, `refusals` the first messages.
    """

    written: int = 0
    deleted: int = 0
    remaining: Counter[DifferenceKind] = field(default_factory=Counter)
    failing: int = 0
    obstacles: Counter[Obstacle] = field(default_factory=Counter)
    refusals: list[str] = field(default_factory=list)
    unrepaired: list[Unrepaired] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)

    def add(self, other: Repaired) -> None:
        """Adds another part of the same report, but not its lines."""
        self.written += other.written
        self.deleted += other.deleted
        self.remaining.update(other.remaining)
        self.failing += other.failing
        self.obstacles.update(other.obstacles)
        self.refusals += other.refusals[: MAX_REFUSALS - len(self.refusals)]
        self.cost.add(other.cost)


def repair(task: RepairTask, channel: Channel) -> Repaired:
    """Repairs the task's differences and reads them again."""
    return run_loop(_repair(task, channel), threads=2)


async def _repair(task: RepairTask, channel: Channel) -> Repaired:
    aws, done = connect(task.lookups.table.aws), Repaired()
    async with (
        shared_rate_limiter(task.max_wcu, channel) as rate_limiter,
        open_client(aws, OPEN_WRITES, rate_limiter) as client,
        open_confirmer(task.lookups, done.cost, channel) as confirmer,
    ):
        repairer = _Repairer(task, client, confirmer, done)
        for batch in _batches(task.differences):
            if channel.stopping():
                break
            await repairer.repair(batch)
            channel.report(ProgressEvent(items=len(batch)))
        done.cost.throttled.update(client.throttled)
    return done


class _Repairer:
    def __init__(self, task: RepairTask, client: Client, confirmer: Confirmer, done: Repaired) -> None:
        self._task = task
        self._client = client
        self._confirmer = confirmer
        self._done = done
        self._requests = ConditionalWrites(task.lookups.table.table, task.lookups.table.key_names)

    async def repair(self, batch: Sequence[ItemDifference]) -> None:
        """Repairs what may be repaired and is as it was, then reads the whole batch again."""
        turns, obstacles = asyncio.Semaphore(OPEN_WRITES), dict[bytes, tuple[Obstacle, str]]()
        now = await self._check(batch)

        async def write(difference: ItemDifference) -> None:
            async with turns:
                obstacle = await self._write(difference)
            if obstacle:
                obstacles[bytes(difference.key)] = obstacle

        with first_error():
            async with asyncio.TaskGroup() as group:
                for difference in filter(self._is_repairable, batch):
                    current = now.get(bytes(difference.key))
                    if current and not _is_same(difference, current):
                        obstacles[bytes(difference.key)] = (
                            Obstacle.CHANGED,
                            "It changed after it was compared.",
                        )
                    elif current:
                        group.create_task(write(difference))
        self._count(batch, await self._check(batch), obstacles)

    def _is_repairable(self, difference: ItemDifference) -> bool:
        if difference.kind is DifferenceKind.EXTRA:
            return self._task.delete_extra
        return difference.kind is not DifferenceKind.EXPIRED

    async def _check(self, batch: Sequence[ItemDifference]) -> dict[bytes, ItemDifference]:
        """Those that differ now, by their keys."""
        candidates = [
            Candidate(bytes(one.key), (one.expected_item,) if one.expected_item is not None else ())
            for one in batch
        ]
        return {bytes(one.key): one for one in await self._confirmer.check(candidates)}

    async def _write(self, difference: ItemDifference) -> tuple[Obstacle, str] | None:
        """Writes or deletes one item; returns what kept it from it."""
        if difference.expected_item is not None and not is_object(difference.expected_item):
            return Obstacle.REFUSED, "NotAnItem: the line of the export is not an item"
        try:
            with map_errors_unless_invalid(f"repair table {self._task.lookups.table.table}"):
                await self._send(difference)
        except RequestError as error:
            if error.code == CONDITION_FAILED:
                return Obstacle.CHANGED, "It changed while it was repaired."
            return Obstacle.REFUSED, f"{error.code}: {error.message}"
        return None

    async def _send(self, difference: ItemDifference) -> None:
        expected, actual, requests = difference.expected_item, difference.actual_item, self._requests
        if expected is not None and actual is not None:
            await self._client.put(requests.replace(expected, actual, difference.attributes))
        elif expected is not None:
            await self._client.put(requests.put_new(expected))
        elif actual is not None:
            await self._client.delete(requests.delete(bytes(difference.key), actual))

    def _count(
        self,
        batch: Sequence[ItemDifference],
        remaining: dict[bytes, ItemDifference],
        obstacles: dict[bytes, tuple[Obstacle, str]],
    ) -> None:
        done = self._done
        done.remaining.update(difference.kind for difference in remaining.values())
        done.failing += count_failing(remaining.values(), self._task.lookups.expiry)
        for difference in filter(self._is_repairable, batch):
            key = bytes(difference.key)
            if key not in remaining:
                # a write whose first answer was lost fails its condition when it is repeated, and has repaired all the same
                done.written += difference.kind is not DifferenceKind.EXTRA
                done.deleted += difference.kind is DifferenceKind.EXTRA
                continue
            reason, message = obstacles.get(key, (Obstacle.CHANGED, "It changed after it was repaired."))
            done.obstacles[reason] += 1
            if reason is Obstacle.REFUSED and len(done.refusals) < MAX_REFUSALS:
                done.refusals.append(message)
            done.unrepaired.append(
                Unrepaired(
                    reason=reason,
                    message=message,
                    kind=remaining[key].kind,
                    key=difference.key,
                    expected=remaining[key].expected,
                    actual=remaining[key].actual,
                )
            )


def _is_same(reported: ItemDifference, current: ItemDifference) -> bool:
    """Whether both sides hold what the report says, in any spelling."""
    pairs = ((reported.expected, current.expected), (reported.actual, current.actual))
    return all(canonical_or_raw(before) == canonical_or_raw(now) for before, now in pairs)


def _batches(differences: Sequence[ItemDifference]) -> Iterator[list[ItemDifference]]:
    """As many as are read again by one request, and fit in memory."""
    batch: list[ItemDifference] = []
    size = 0
    for difference in differences:
        if batch and (len(batch) == BATCH_KEYS or size + difference.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(difference)
        size += difference.size
    if batch:
        yield batch
