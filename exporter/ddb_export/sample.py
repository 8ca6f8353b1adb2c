"""Looks at the first items of segments all over the table, before the export begins."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from ddb_shared.aws import Aws
from ddb_shared.errors import explained
from ddb_shared.loop import run_loop
from ddb_shared.throttle import Pace
from ddb_shared.wire import open_wire, scan_request
from ddb_shared.workers import Stop

# 2,000 items show an attribute that one item in a hundred has 20 times; of 500 bytes they cost 125 read units.
SAMPLE_ITEMS: Final = 2_000
# Pages of 1 MB at the most: 64 MB, and 8,192 read units, of a table of the largest items.
MOST_SEGMENTS: Final = 64
_AT_ONCE: Final = 8


class Sample(msgspec.Struct, frozen=True):
    """Items as DynamoDB JSON, and the read capacity units that they cost."""

    items: list[dict[str, Any]]
    consumed_rcu: float


def take_sample(aws: Aws, table: str, segments: int, max_rcu: float | None, stop: Stop) -> Sample:
    """The first page of up to MOST_SEGMENTS segments; fewer once a stop is asked for."""
    return run_loop(_take(aws, table, segments, max_rcu, stop), threads=1)


async def _take(aws: Aws, table: str, segments: int, max_rcu: float | None, stop: Stop) -> Sample:
    chosen = range(0, segments, -(-segments // MOST_SEGMENTS))
    limit = -(-SAMPLE_ITEMS // len(chosen))
    gate = asyncio.Semaphore(_AT_ONCE)
    async with open_wire(aws, _AT_ONCE, Pace(max_rcu)) as wire:

        async def page(segment: int) -> Sample:
            async with gate:
                if stop.said():
                    return Sample([], 0.0)
                with explained(f"scan table {table}"):
                    found = await wire.scan(
                        scan_request(
                            table,
                            segment=segment,
                            total_segments=segments,
                            consistent_read=False,
                            start=None,
                            limit=min(limit, wire.page_limit(consistent_read=False) or limit),
                        )
                    )
            items = [msgspec.json.decode(item, type=dict[str, Any]) for item in found.items]
            return Sample(items, found.consumed_units)

        pages = await asyncio.gather(*map(page, chosen))
        await wire.pace.admit(0.0)  # the scan begins without debts
    return Sample([item for page in pages for item in page.items], sum(page.consumed_rcu for page in pages))
