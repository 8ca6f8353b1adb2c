"""The section `followed_changes`: how long a change takes from the source table to the destination, at a steady rate.

A writer puts items of their own keys into a table of the tests' fake, at so many a second. The capture and the follower, as they are,
carry them over the stub's S3 into another table of the fake, all in this process. The time of a change begins before its put is
sent, and ends when the follower has the confirmation of its own write.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

from bench.rows import Row
from bench.shapes import item
from ddb_export.capture.capture import Capture
from ddb_export.capture.stream import declare, ensure
from ddb_import.apply import follow
from ddb_import.apply.book import Book
from ddb_import.apply.follow import FollowTask, follow_changes
from ddb_import.apply.order import Write
from ddb_import.batch_write import Outcome
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.format import changes as log
from ddb_shared.format.changes import DISABLED, FinishRequest
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table, describe
from support.accounts import Accounts
from support.channel import MemoryChannel
from support.environment import REGION, SECRET, SOURCE
from support.fake_dynamodb import FaultPlan, StreamPlan, fake_dynamodb
from support.tables import create_table

SHAPE: Final = "typical"
BUCKET: Final = "following"
SHARDS: Final = 4
RATE: Final = 1_000
SECONDS: Final = 30.0
BATCH: Final = 25
THREADS: Final = 4
WITHIN_SECONDS: Final = 3.0
_PUT_AT: Final = re.compile(rb'"put_at":\s*\{"N":\s*"([0-9.]+)"')


class TimedBook(Book):
    """Notes how old each change is when its write is confirmed."""

    ages: Final[list[float]] = []

    def settle(self, batch: Sequence[Write], outcome: Outcome) -> None:
        """See Book."""
        now = time.time()
        for write in batch:
            put_at = _PUT_AT.search(write.request)
            assert put_at is not None, write.request
            self.ages.append(now - float(put_at[1]))
        super().settle(batch, outcome)


@dataclass
class Writer:
    """Puts `changes` items at RATE; `seconds` is what that took."""

    client: Any
    table: str
    changes: int
    seconds: float = 0.0

    def run(self) -> None:
        """Each batch at its time, or at once where that has passed."""
        rng = random.Random(1)
        shapes = [item(SHAPE, number, rng) for number in range(1_000)]
        began = time.monotonic()
        with ThreadPoolExecutor(THREADS) as pool:
            puts = []
            for first in range(0, self.changes, BATCH):
                time.sleep(max(began + first / RATE - time.monotonic(), 0.0))
                numbers = range(first, min(first + BATCH, self.changes))
                puts.append(
                    pool.submit(self._put, [(number, shapes[number % len(shapes)]) for number in numbers])
                )
        for put in puts:
            put.result()
        self.seconds = time.monotonic() - began

    def _put(self, items: Sequence[tuple[int, dict[str, Any]]]) -> None:
        put_at = {"put_at": {"N": repr(time.time())}}
        puts = [
            {"PutRequest": {"Item": shape | {"sk": {"N": str(number)}} | put_at}} for number, shape in items
        ]
        answer = self.client.batch_write_item(RequestItems={self.table: puts})
        assert not answer["UnprocessedItems"]


def measure(s3_url: str, *, seconds: float = SECONDS) -> list[Row]:
    """One row; its note has the share that took less than WITHIN_SECONDS, the median and the 99th percentile."""
    changes = int(RATE * seconds)
    plan = FaultPlan(streams=StreamPlan(shards=SHARDS))
    with _identity(), fake_dynamodb(plan) as fake, closing(Accounts()) as accounts:
        client = accounts.dynamodb(fake.url, SOURCE)
        for name in ("followed", "copy"):
            create_table(client, name)
        options = AwsOptions(region=REGION, endpoint_url=fake.url, s3_endpoint_url=s3_url)
        writer = Writer(client, "followed", changes)
        ages = sorted(_follow(options, writer))
    assert len(ages) == changes, f"{len(ages)} of {changes} changes"
    within = sum(age <= WITHIN_SECONDS for age in ages) / changes
    median, most = ages[len(ages) // 2], ages[int(len(ages) * 0.99)]
    return [
        Row(
            section="followed_changes",
            contestant=f"{RATE:,} changes a second",
            direction="follow",
            shape=SHAPE,
            items=changes,
            runs=1,
            wall_seconds=writer.seconds,
            note=f"{changes / writer.seconds:,.0f} changes/s; {within:.1%} applied within {WITHIN_SECONDS:.0f} s; "
            f"median {median:.2f} s, 99% {most:.2f} s, slowest {ages[-1]:.2f} s",
        )
    ]


@contextmanager
def _identity() -> Iterator[None]:
    names = {"AWS_ACCESS_KEY_ID": SOURCE, "AWS_SECRET_ACCESS_KEY": SECRET, "NO_PROXY": "127.0.0.1"}
    with mock.patch.dict(os.environ, names | {"AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"}):
        yield


def _follow(options: AwsOptions, writer: Writer) -> list[float]:
    """Captures and applies what is written, until all of it is; returns the ages."""
    aws, TimedBook.ages[:] = Aws(options), []
    table, copy = (describe(aws.dynamodb, name) for name in (writer.table, "copy"))
    storage = S3Storage(aws.s3, BUCKET, "export/")
    declare(storage, table, changes_only=False)
    record = ensure(storage, aws, table.name, Stop())
    capture = Capture(storage, record, table.name, aws, Stop(), tell=print)
    capture.start()
    with mock.patch.object(follow, "Book", TimedBook):
        follower = threading.Thread(
            target=follow_changes, args=(_task(options, storage, copy), MemoryChannel())
        )
        follower.start()
        writer.run()
        log.write_new(storage, log.FINISH, FinishRequest(requested_at="now", by="bench", proof=DISABLED))
        writer.client.update_table(TableName=table.name, StreamSpecification={"StreamEnabled": False})
        capture.wait()
        capture.check()
        follower.join()
    return TimedBook.ages


def _task(options: AwsOptions, storage: S3Storage, table: Table) -> FollowTask:
    return FollowTask(
        aws=options,
        table=table.name,
        key=table.key,
        bucket=storage.bucket,
        prefix=storage.prefix,
        state_url=f"s3://{BUCKET}/state/",
        max_wcu=None,
        run=1,
    )
