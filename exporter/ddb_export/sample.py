"""Reads the first items of segments across the table before an export starts."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from ddb_shared.aws.clients import Aws
from ddb_shared.dynamodb.client import open_client
from ddb_shared.dynamodb.scan import SegmentScan
from ddb_shared.runtime.cap_share import CapShare
from ddb_shared.runtime.loop import run_loop, shared_rate_limiter
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.runner import SMALL_BYTES, Channel, Serial, ignore
from ddb_shared.runtime.stop import Stop
from ddb_shared.table.description import Table
from ddb_shared.table.segments import MIN_SEGMENTS

# Among 2,000 items, an attribute of one item in a hundred occurs 20 times; with 500 bytes each they cost 125 read units.
SAMPLE_ITEMS: Final = 2_000
# Pages of at most 1 MB: 64 MB and 8,192 read units for a table of the largest items.
MAX_SEGMENTS: Final = 64
_CONCURRENCY: Final = 8
# What one unit of an eventually consistent Scan reads.
_UNIT_BYTES: Final = 8 * 1024


def is_small(aws: Aws, table: Table, max_bytes: int = SMALL_BYTES) -> bool:
    """Whether the table has at most `max_bytes`; by default, what one core scans faster than worker processes start.

    DescribeTable's size is up to six hours old, so one page of a sixteenth of the table must confirm it, which costs up to
    128 read units if the table is larger.
    """
    if table.size_bytes > max_bytes:
        return False
    try:
        page = aws.best_effort_dynamodb.scan(
            TableName=table.address,
            Select="COUNT",
            Segment=0,
            TotalSegments=MIN_SEGMENTS,
            ReturnConsumedCapacity="TOTAL",
        )
    except (ClientError, BotoCoreError):  # a busy table, or no permission: the scan itself reports it
        return False
    units = page.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)
    return "LastEvaluatedKey" not in page and units * _UNIT_BYTES * MIN_SEGMENTS <= max_bytes


class Sample(msgspec.Struct, frozen=True):
    """Items as DynamoDB JSON, and the read capacity units consumed."""

    items: list[dict[str, Any]]
    consumed_rcu: float


def take_sample(
    aws: Aws,
    table: str,
    segments: int,
    max_rcu: float | None,
    stop: Stop,
    *,
    share: CapShare | None = None,
) -> Sample:
    """The first items of up to MAX_SEGMENTS segments, under the cap that is shared with others; raises Interrupted after a signal."""

    def take(_: None, channel: Channel) -> Sample:
        return run_loop(_take(aws, table, segments, max_rcu, channel), threads=1)

    return Serial(share).alone(take, None, ignore, stop)


async def _take(aws: Aws, table: str, segments: int, max_rcu: float | None, channel: Channel) -> Sample:
    chosen = range(0, segments, -(-segments // MAX_SEGMENTS))
    limit = -(-SAMPLE_ITEMS // len(chosen))
    limit_open = asyncio.Semaphore(_CONCURRENCY)
    async with (
        shared_rate_limiter(max_rcu, channel) as rate_limiter,
        open_client(aws, _CONCURRENCY, rate_limiter) as client,
    ):

        async def page(segment: int) -> Sample:
            async with limit_open:
                if channel.stopping():
                    return Sample([], 0.0)
                scan = SegmentScan(
                    client=client,
                    table=table,
                    segment=segment,
                    total_segments=segments,
                    consistent_read=False,
                )
                found = await scan.page(None, limit)
            channel.report(ProgressEvent(units=found.consumed_units))
            items = [msgspec.json.decode(item, type=dict[str, Any]) for item in found.items]
            return Sample(items, found.consumed_units)

        pages = await asyncio.gather(*map(page, chosen))
        await client.rate_limiter.acquire(0.0)  # so that the scan starts without a deficit
    return Sample([item for page in pages for item in page.items], sum(page.consumed_rcu for page in pages))
