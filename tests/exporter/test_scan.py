"""The worker of an export against a DynamoDB that fails on purpose and a real S3."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ddb_export.encoding import Encoding
from ddb_export.scan import ScanTask, scan_segments
from ddb_shared.aws.clients import AwsOptions
from ddb_shared.errors import AccessError
from ddb_shared.format import checkpoint as checkpoints
from ddb_shared.format.checkpoint import SegmentCheckpoint
from ddb_shared.format.compression import decompress
from ddb_shared.format.manifest import DATA
from ddb_shared.storage.s3 import S3Storage
from support.accounts import Accounts
from support.channel import MemoryChannel
from support.environment import REGION, SECRET, SOURCE
from support.fake_dynamodb import FakeServer, Fault, FaultKind, FaultPlan, fake_dynamodb
from support.memory import data_of
from support.services import Endpoint
from support.tables import create_table

TABLE = "source"
SEGMENTS = 4
ITEMS = {
    f"p{number}": {
        "pk": {"S": f"p{number}"},
        "sk": {"N": str(number)},
        "fill": {"S": random.Random(number).randbytes(1_500).hex()},
    }
    for number in range(2_000)
}


@pytest.fixture(scope="module")
def fake(accounts: Accounts) -> Iterator[FakeServer]:
    with fake_dynamodb() as server:
        create_table(accounts.dynamodb(server.url, SOURCE), TABLE)
        server.load(SOURCE, TABLE, ITEMS.values())
        yield server


@pytest.fixture
def storage(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> S3Storage:
    name, client = unique_name(), accounts.s3(aws, SOURCE)
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return S3Storage(client, name, "AWSDynamoDB/01715685260608-c488b4e1")


@pytest.fixture
def task(
    fake: FakeServer, aws: Endpoint, storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ScanTask]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SOURCE)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    yield ScanTask(
        aws=AwsOptions(region=REGION, endpoint_url=fake.url, s3_endpoint_url=aws.url),
        table=TABLE,
        bucket=storage.bucket,
        prefix=storage.prefix,
        total_segments=SEGMENTS,
        consistent_read=False,
        encoding=Encoding(compression="gzip"),
        shard_size=1,
        max_rcu=None,
    )
    fake.change(FaultPlan())


def states(storage: S3Storage) -> list[SegmentCheckpoint]:
    names = [entry.name for entry in storage.list(checkpoints.SEGMENTS)]
    loaded = [checkpoints.load(storage, name, SegmentCheckpoint) for name in names]
    return [state for state in loaded if state is not None]


def exported(storage: S3Storage) -> list[dict[str, Any]]:
    """The items of all shards that checkpoints name."""
    items = []
    for shard in (shard for state in states(storage) for shard in state.shards):
        stored = data_of(storage, DATA + shard.name)
        lines = b"".join(decompress(shard.name, [stored], 1 << 20)).splitlines()
        assert shard.items == len(lines)
        items += [json.loads(line)["Item"] for line in lines]
    return items


def assert_complete(storage: S3Storage) -> None:
    items = exported(storage)
    assert len(ITEMS) == len(items)
    assert {item["pk"]["S"]: item for item in items} == ITEMS
    assert all(state.done and state.last_key is None for state in states(storage))


def test_what_an_empty_table_costs_is_reported(
    task: ScanTask, fake: FakeServer, accounts: Accounts, storage: S3Storage
) -> None:
    """Its pages have no items, and yet consume units and are throttled."""
    create_table(accounts.dynamodb(fake.url, SOURCE), "empty")
    fake.change(FaultPlan(faults=(Fault(kind=FaultKind.THROTTLE, operations=("Scan",), times=3),)))
    channel = MemoryChannel(range(SEGMENTS))
    throttled = scan_segments(replace(task, table="empty"), channel)
    reported = Counter[str]()
    for event in channel.events:
        reported.update(dict(event.reasons))
    assert (sum(throttled.values()), throttled) == (3, reported)
    units = sum(event.units for event in channel.events)
    assert units == sum(state.consumed_rcu for state in states(storage)) > 0


def test_every_item_is_exported_once(task: ScanTask, storage: S3Storage) -> None:
    """Over several pages and shards, with the progress adding up and nothing throttled."""
    channel = MemoryChannel(range(SEGMENTS))
    assert scan_segments(task, channel) == {}
    assert_complete(storage)
    assert {state.segment: state for state in states(storage)} == channel.settled
    shards = sum(len(state.shards) for state in states(storage))
    assert shards > SEGMENTS
    assert (len(ITEMS), shards) == (channel.items, sum(event.shards for event in channel.events))
    units = sum(event.units for event in channel.events)
    assert units == sum(state.consumed_rcu for state in states(storage)) > 0


def test_a_stopped_scan_is_finished_by_the_next_one(task: ScanTask, storage: S3Storage) -> None:
    """Each run continues after the last complete shard; no item is missing or double."""
    for _ in range(20):
        channel = MemoryChannel(range(SEGMENTS), stop_after=1)
        scan_segments(task, channel)
        if not channel.stopping():
            break
    scan_segments(task, MemoryChannel(range(SEGMENTS)))
    assert_complete(storage)


def test_a_segment_that_is_asked_back_is_continued_by_somebody_else(
    task: ScanTask, storage: S3Storage
) -> None:
    """Its shard ends early and is saved; nothing is read twice."""
    relieved = MemoryChannel(range(SEGMENTS), may_keep=0)
    scan_segments(task, relieved)
    assert sorted([*relieved.settled, *relieved.returned]) == list(range(SEGMENTS))
    assert relieved.returned
    scan_segments(task, MemoryChannel(relieved.returned))
    assert_complete(storage)


def test_a_finished_export_reads_nothing_again(task: ScanTask, storage: S3Storage, fake: FakeServer) -> None:
    """Checkpoints that say done cost no read capacity."""
    scan_segments(task, MemoryChannel(range(SEGMENTS)))
    fake.reset()
    scan_segments(task, MemoryChannel(range(SEGMENTS)))
    assert "Scan" not in fake.stats().calls
    assert_complete(storage)


@pytest.mark.parametrize(
    "kind", [FaultKind.THROTTLE, FaultKind.TRUNCATED, FaultKind.RESET_DURING, FaultKind.INTERNAL_ERROR]
)
def test_faults_cost_retries_and_no_items(
    task: ScanTask, storage: S3Storage, fake: FakeServer, kind: FaultKind
) -> None:
    """Throttling is returned by reason; the rest is fixed below."""
    fake.change(FaultPlan(faults=(Fault(kind=kind, operations=("Scan",), at=(0, 2, 5)),)))
    throttled = scan_segments(task, MemoryChannel(range(SEGMENTS)))
    assert_complete(storage)
    expected = {"TableReadKeyRangeThroughputExceeded": 3} if kind is FaultKind.THROTTLE else {}
    assert expected == throttled


def test_an_error_ends_all_segments_and_keeps_what_is_done(
    task: ScanTask, storage: S3Storage, fake: FakeServer
) -> None:
    """The message names the table and the missing action; nothing unfinished stays in the bucket."""
    fake.change(FaultPlan(faults=(Fault(kind=FaultKind.ACCESS_DENIED, operations=("Scan",), after=6),)))
    with pytest.raises(AccessError, match=f"Could not scan table {TABLE}: AccessDenied") as caught:
        scan_segments(task, MemoryChannel(range(SEGMENTS)))
    assert "dynamodb:Scan" in caught.value.remedy
    assert storage.abort_uploads() == 0
    fake.change(FaultPlan())
    scan_segments(task, MemoryChannel(range(SEGMENTS)))
    assert_complete(storage)


def test_a_segment_without_items_has_no_shard(task: ScanTask, storage: S3Storage) -> None:
    """It is done all the same."""
    scan_segments(replace(task, total_segments=9_999), MemoryChannel(range(5_000, 5_003)))
    assert [True] * 3 == [state.done for state in states(storage)]
    assert sum(len(state.shards) for state in states(storage)) == len(list(storage.list(DATA)))
