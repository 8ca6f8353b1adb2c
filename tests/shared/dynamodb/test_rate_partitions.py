"""An import of a scan-ordered export into a table whose partitions each take 1,000 units a second, in simulated time."""

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from ddb_shared.dynamodb.inflight import InFlightLimit
from ddb_shared.dynamodb.rate import RateLimiter
from ddb_shared.retry import POLICIES, FailureKind
from support.fake.capacity import HASHES, Limits
from support.fake.plan import FaultPlan
from support.simulated import now, simulate

PARTITIONS, PARTITION_UNITS = 8, 1_000.0
TABLE_UNITS = PARTITIONS * PARTITION_UNITS
SEGMENTS = 16
OPEN_SHARDS = 16
BATCH = 25
WARM_SECONDS = 5.0


@dataclass
class Table:
    """Throttles each partition by the hash of the key; refuses a share of all items besides, whatever the rate."""

    flaky: float = 0.0
    latency: float = 0.01
    written: list[tuple[float, int]] = field(default_factory=list)
    throttled: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def __post_init__(self) -> None:
        plan = FaultPlan(partitions=PARTITIONS)
        self._limits = Limits(plan, direction="Write", per_partition=PARTITION_UNITS, provisioned=None, now=0)

    async def write(self, hashes: Sequence[int]) -> list[int]:
        """What comes back."""
        await asyncio.sleep(self.rng.uniform(0.5, 1.5) * self.latency)
        left = []
        for key_hash in hashes:
            if self._limits.refusal(key_hash, now()) or self.rng.random() < self.flaky:
                left.append(key_hash)
            else:
                self._limits.take(key_hash, 1.0)
        self.written.append((now(), len(hashes) - len(left)))
        self.throttled += len(left)
        return left


class Rates(NamedTuple):
    """Units a second after WARM_SECONDS and before the last tenth, and of the whole; units refused per unit written."""

    steady: float
    overall: float
    throttled: float


def rates(table: Table) -> Rates:
    total = sum(units for _, units in table.written)
    done = steady = 0
    until = 0.0
    for moment, units in table.written:
        done += units
        steady += units if moment > WARM_SECONDS else 0
        until = moment
        if done >= 0.9 * total:
            break
    return Rates(
        steady / max(until - WARM_SECONDS, 0.01), total / table.written[-1][0], table.throttled / total
    )


async def load(
    shards: deque[list[int]], table: Table, rng: random.Random, rate_limiter: RateLimiter, open_shards: int
) -> None:
    """A worker: so many shards at once, whose batches take turns; what comes back is sent again after a backoff."""
    flight = InFlightLimit(rate_limiter, 1 << 30)

    async def send(batch: Sequence[int]) -> None:
        attempt = 0
        while batch:
            await rate_limiter.acquire(len(batch))
            left = await table.write(batch)
            rate_limiter.adjust(charged=len(batch), consumed=len(batch) - len(left), throttled=len(left))
            attempt = 0 if len(left) < len(batch) else attempt + 1
            batch = left
            if batch:
                await asyncio.sleep(POLICIES[FailureKind.THROTTLED].wait_seconds(attempt, rng))
        flight.release(1)

    async with asyncio.TaskGroup() as writes:

        async def lane() -> None:
            while shards:
                shard = shards.popleft()
                for start in range(0, len(shard), BATCH):
                    await flight.acquire(1)
                    writes.create_task(send(shard[start : start + BATCH]))

        async with asyncio.TaskGroup() as lanes:
            for _ in range(open_shards):
                lanes.create_task(lane())


def run(
    keys: Sequence[int], workers: int = 1, open_shards: int = OPEN_SHARDS, table: Table | None = None
) -> Rates:
    """Loads a scan-ordered export of items with these key hashes, a shard for each segment."""
    table = table or Table()
    shards: list[list[int]] = [[] for _ in range(SEGMENTS)]
    for key in sorted(keys):
        shards[key * SEGMENTS // HASHES].append(key)

    async def main() -> None:
        paces = [RateLimiter(workers=workers, clock=now) for _ in range(workers)]
        ended: list[int] = []

        async def work(worker: int) -> None:
            share = deque(shards[worker::workers])
            await load(share, table, random.Random(worker), paces[worker], open_shards)
            ended.append(worker)
            for rate_limiter in paces:
                rate_limiter.rebalance(max(1, workers - len(ended)))

        async with asyncio.TaskGroup() as group:
            for worker in range(workers):
                group.create_task(work(worker))

    simulate(main())
    assert sum(units for _, units in table.written) == len(keys), "something was lost"
    return rates(table)


def even(count: int) -> list[int]:
    rng = random.Random(7)
    return [rng.randrange(HASHES) for _ in range(count)]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_interleaved_shards_fill_all_partitions(workers: int) -> None:
    """At least 90% of 8,000 units a second, with at most 10% refused, for any number of workers."""
    found = run(even(200_000), workers)
    assert found.steady >= 0.9 * TABLE_UNITS
    assert found.throttled <= 0.1


def test_one_shard_after_another_heats_one_partition_at_a_time() -> None:
    """Which is why they are interleaved."""
    assert run(even(40_000), open_shards=1).steady <= 1.5 * PARTITION_UNITS


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_hot_key_keeps_the_others_waiting_for_nothing(workers: int) -> None:
    """Half of all items share a key: two partitions' worth a second is the best, and 85% of it is reached."""
    found = run(even(40_000) + [HASHES // 3] * 40_000, workers)
    assert found.overall >= 0.85 * 2 * PARTITION_UNITS
    assert found.throttled <= 0.15


def test_few_refusals_without_a_reason_slow_nothing_down() -> None:
    """2% that come back whatever the rate are sent again, and the rate stays."""
    assert run(even(60_000), table=Table(flaky=0.02)).overall >= 0.9 * TABLE_UNITS
