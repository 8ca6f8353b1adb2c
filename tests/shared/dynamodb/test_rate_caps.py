"""A cap holds over any ten seconds, and is reached: the real wire and pace against a table in simulated time."""

import asyncio
import itertools
import math
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ddb_import.batch_write import BATCH_BYTES, BATCH_ITEMS, Overwrite
from ddb_shared.dynamodb.client import Client
from ddb_shared.dynamodb.inflight import InFlightLimit
from ddb_shared.dynamodb.messages import scan_request
from ddb_shared.dynamodb.rate import MAX_REQUEST_SECONDS, RateLimiter, max_workers_at
from support.simulated import now, simulate
from support.simulated_table import WINDOW_SECONDS, SimulatedTable

RUN_SECONDS = 30.0
STEADY_SECONDS = 5.0
LARGEST_ITEM = 400 * 1024
SIZES = (100, 1_000, 10_000, 100_000, LARGEST_ITEM)
Load = Callable[[Client, RateLimiter, float], Awaitable[None]]


async def scan(client: Client, _: RateLimiter, until: float, *, consistent: bool = False) -> None:
    """Scans as an export's worker does: eight segments at once."""

    async def segment(number: int) -> None:
        while now() < until:
            limit = client.page_limit(consistent_read=consistent)
            await client.scan(
                scan_request(
                    "T",
                    segment=number,
                    total_segments=8,
                    consistent_read=consistent,
                    start=None,
                    limit=limit,
                )
            )

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(segment(number))


async def scan_consistently(client: Client, rate_limiter: RateLimiter, until: float) -> None:
    await scan(client, rate_limiter, until, consistent=True)


def write(size: Callable[[], int], indexes: int = 0) -> Load:
    """Loads as an import's worker does: batches as they are read, as many in flight as the flight takes."""

    async def load(client: Client, rate_limiter: RateLimiter, until: float) -> None:
        client.expect_indexes(indexes)
        writer, flight = Overwrite(client, "T", ["pk"]), InFlightLimit(rate_limiter, 16 * 1024 * 1024)

        async def send(batch: list[bytes], length: int) -> None:
            await writer.write(batch)
            flight.release(length)

        async with asyncio.TaskGroup() as group:
            while now() < until:
                batch = batch_of(size)
                length = sum(map(len, batch))
                await flight.acquire(length)
                group.create_task(send(batch, length))

    return load


def batch_of(size: Callable[[], int]) -> list[bytes]:
    """Lines up to the limits of a batch."""
    batch: list[bytes] = []
    while len(batch) < BATCH_ITEMS:
        line = b'{"Item":{"v":{"S":"%s"}}}' % (b"x" * (size() - 8))
        if batch and sum(map(len, batch)) + len(line) > BATCH_BYTES:
            break
        batch.append(line)
    return batch


def run(table: SimulatedTable, cap: float, processes: int, load: Load) -> int:
    """Runs as many workers as the command would; returns their number."""
    workers = min(processes, max_workers_at(cap) or processes)

    async def main() -> None:
        paces = [RateLimiter(cap, workers=workers, clock=now) for _ in range(workers)]
        async with asyncio.TaskGroup() as group:
            for rate_limiter in paces:
                group.create_task(load(table.client(rate_limiter), rate_limiter, RUN_SECONDS))  # type: ignore[arg-type]

    simulate(main())
    return workers


def assert_held(table: SimulatedTable, cap: float, workers: int, smallest: float) -> None:
    """Within 5% over any ten seconds, the first ones too where it is about too much.

    `smallest` is what the smallest request costs, one item: where that is more than a quarter of a second of a worker's
    share, each worker may be one such request off.
    """
    off = max(0.0, smallest - cap / workers * MAX_REQUEST_SECONDS) * workers
    ten = cap * WINDOW_SECONDS
    assert max(table.windows(0, RUN_SECONDS)) <= 1.05 * ten + off
    steady = table.windows(STEADY_SECONDS, RUN_SECONDS)
    if steady:
        assert min(steady) >= 0.95 * ten - off


@pytest.mark.parametrize("processes", [1, 2, 8])
@pytest.mark.parametrize(
    ("cap", "size"),
    [
        *itertools.product([5.0, 25.0, 100.0, 600.0, 3_000.0], SIZES),
        (40_000.0, 10_000),
        (40_000.0, LARGEST_ITEM),
    ],
)
def test_reads_keep_to_the_cap(cap: float, size: int, processes: int) -> None:
    """At most 5% more in any ten seconds from the start, at most 5% less once it runs; one item is 50 units at most."""
    table = SimulatedTable(lambda: size)
    workers = run(table, cap, processes, scan)
    assert_held(table, cap, workers, max(0.5, -(-size // 4096) / 2))


@pytest.mark.parametrize("processes", [1, 4])
@pytest.mark.parametrize("cap", [25.0, 500.0, 2_000.0, 10_000.0])
def test_consistent_reads_keep_to_the_cap(cap: float, processes: int) -> None:
    """A page costs twice as much."""
    table = SimulatedTable(lambda: 10_000)
    workers = run(table, cap, processes, scan_consistently)
    assert_held(table, cap, workers, 3.0)


@pytest.mark.parametrize("processes", [1, 2, 8])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cap", [5.0, 25.0, 100.0, 600.0, 3_000.0])
def test_writes_keep_to_the_cap(cap: float, size: int, processes: int) -> None:
    """A batch of 25 items of 10 KB costs 250 units, and is cut; one item can't be, and is 400 units at most."""
    table = SimulatedTable(lambda: size)
    workers = run(table, cap, processes, write(lambda: size))
    assert_held(table, cap, workers, -(-size // 1024))


@pytest.mark.parametrize("size", [10_000, LARGEST_ITEM])
def test_the_largest_caps_hold(size: int) -> None:
    """What a table of a new account may have at most, with eight workers."""
    table = SimulatedTable(lambda: size)
    workers = run(table, 40_000.0, 8, write(lambda: size))
    assert workers == 8
    assert_held(table, 40_000.0, workers, -(-size // 1024))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("client", ["read", "read consistently", "write"])
@pytest.mark.parametrize("cap", [25.0, 50.0, 250.0, 2_000.0])
def test_items_of_many_sizes_keep_to_the_cap(cap: float, client: str, seed: int) -> None:
    """From 100 B to 10 KB side by side: neither 5% more in any ten seconds nor 5% less, with no item to spare."""
    rng = random.Random(seed)

    def size() -> int:
        return int(math.exp(rng.uniform(math.log(100), math.log(10_000))))

    table = SimulatedTable(size, rng.choice([0.005, 0.02, 0.1]), rng=random.Random(seed + 100))
    loads: dict[str, Load] = {"read": scan, "read consistently": scan_consistently, "write": write(size)}
    run(table, cap, 2, loads[client])
    assert max(table.windows(0, RUN_SECONDS)) <= 1.05 * cap * WINDOW_SECONDS
    assert min(table.windows(STEADY_SECONDS, RUN_SECONDS)) >= 0.95 * cap * WINDOW_SECONDS


@pytest.mark.parametrize("cap", [100.0, 1_000.0, 5_000.0])
def test_what_the_indexes_consume_counts(cap: float) -> None:
    """A write that reaches two indexes costs three times as much, from the first request on."""
    table = SimulatedTable(lambda: 1_000, indexes=2)
    workers = run(table, cap, 4, write(lambda: 1_000, indexes=2))
    assert_held(table, cap, workers, 3.0)


@settings(max_examples=40)
@given(
    cap=st.floats(5, 3_000),
    processes=st.integers(1, 8),
    latency=st.floats(0.002, 0.1),
    seed=st.integers(0, 10**6),
    client=st.sampled_from(["read", "write"]),
)
@example(cap=39.0, processes=1, latency=0.0625, seed=2, client="read")  # two of the largest items in one page
def test_a_cap_holds_whatever_the_sizes(
    cap: float, processes: int, latency: float, seed: int, client: str
) -> None:
    """Items of any size side by side, most of them small: no more than 5% too much, and two of the largest items of each worker."""
    rng = random.Random(seed)

    def size() -> int:
        return min(int(math.exp(rng.uniform(math.log(100), math.log(LARGEST_ITEM)))), LARGEST_ITEM)

    table = SimulatedTable(size, latency, rng=random.Random(seed))
    loads: dict[str, Load] = {"read": scan, "write": write(size)}
    workers = run(table, cap, processes, loads[client])
    assert max(table.windows(0, RUN_SECONDS)) <= 1.05 * cap * WINDOW_SECONDS + 2 * workers * table.largest


@pytest.mark.parametrize("cap", [2_000.0, 8_000.0])
def test_a_worker_that_ends_leaves_its_share_to_the_others(cap: float) -> None:
    """Half of the workers end early: the others continue with all of the cap, and no more than that."""
    table = SimulatedTable(lambda: 1_000)
    workers = min(4, max_workers_at(cap) or 4)

    async def main() -> None:
        paces = [RateLimiter(cap, workers=workers, clock=now) for _ in range(workers)]

        ended: list[int] = []

        async def worker(number: int, rate_limiter: RateLimiter) -> None:
            await scan(table.client(rate_limiter), rate_limiter, RUN_SECONDS if number % 2 else 15.0)
            ended.append(number)
            for other in paces:
                other.rebalance(max(1, workers - len(ended)))

        async with asyncio.TaskGroup() as group:
            for number, rate_limiter in enumerate(paces):
                group.create_task(worker(number, rate_limiter))

    simulate(main())
    ten = cap * WINDOW_SECONDS
    assert max(table.windows(0, RUN_SECONDS)) <= 1.05 * ten
    assert min(table.windows(STEADY_SECONDS, RUN_SECONDS)) >= 0.95 * ten


@pytest.mark.parametrize(
    ("cap", "workers"), [(None, None), (40_000.0, 40), (3_000.0, 3), (999.0, 1), (5.0, 1)]
)
def test_a_small_cap_keeps_few_workers(cap: float | None, workers: int | None) -> None:
    """Each has 1,000 units a second, or is the only one."""
    assert workers == max_workers_at(cap)
