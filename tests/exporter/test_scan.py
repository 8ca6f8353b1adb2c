"""The worker of an export against a DynamoDB that fails on purpose and a real S3."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ddb_export.encoding import Encoding
from ddb_export.scan import ScanTask, scan_segments
from ddb_shared import checkpoint as checkpoints
from ddb_shared.aws import AwsOptions
from ddb_shared.checkpoint import SegmentCheckpoint
from ddb_shared.compression import decompress
from ddb_shared.errors import AccessError
from ddb_shared.manifest import DATA
from ddb_shared.storage import S3Folder
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
def folder(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> S3Folder:
    name, client = unique_name(), accounts.s3(aws, SOURCE)
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return S3Folder(client, name, "AWSDynamoDB/01715685260608-c488b4e1")


@pytest.fixture
def task(
    fake: FakeServer, aws: Endpoint, folder: S3Folder, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ScanTask]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SOURCE)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    yield ScanTask(
        aws=AwsOptions(region=REGION, endpoint_url=fake.url, s3_endpoint_url=aws.url),
        table=TABLE,
        bucket=folder.bucket,
        prefix=folder.prefix,
        segments=tuple(range(SEGMENTS)),
        total_segments=SEGMENTS,
        consistent_read=False,
        encoding=Encoding(compression="gzip"),
        shard_size=1,
        max_rcu=None,
    )
    fake.change(FaultPlan())


def states(folder: S3Folder) -> list[SegmentCheckpoint]:
    names = [entry.name for entry in folder.list(checkpoints.SEGMENTS)]
    loaded = [checkpoints.load(folder, name, SegmentCheckpoint) for name in names]
    return [state for state in loaded if state is not None]


def exported(folder: S3Folder) -> list[dict[str, Any]]:
    """The items of all shards that checkpoints name."""
    items = []
    for shard in (shard for state in states(folder) for shard in state.shards):
        stored = data_of(folder, DATA + shard.name)
        lines = b"".join(decompress(shard.name, [stored], 1 << 20)).splitlines()
        assert shard.items == len(lines)
        items += [json.loads(line)["Item"] for line in lines]
    return items


def assert_complete(folder: S3Folder) -> None:
    items = exported(folder)
    assert len(ITEMS) == len(items)
    assert {item["pk"]["S"]: item for item in items} == ITEMS
    assert all(state.done and state.last_key is None for state in states(folder))


def test_every_item_is_exported_once(task: ScanTask, folder: S3Folder) -> None:
    """Over several pages and shards, with the progress adding up and nothing throttled."""
    channel = MemoryChannel()
    assert scan_segments(task, channel) == {}
    assert_complete(folder)
    shards = sum(len(state.shards) for state in states(folder))
    assert shards > SEGMENTS
    assert (len(ITEMS), shards) == (channel.items, sum(tick.shards for tick in channel.ticks))
    units = sum(tick.units for tick in channel.ticks)
    assert units == sum(state.consumed_rcu for state in states(folder)) > 0


def test_a_stopped_scan_is_finished_by_the_next_one(task: ScanTask, folder: S3Folder) -> None:
    """Each run goes on after the last complete shard; no item is missing or double."""
    for _ in range(20):
        channel = MemoryChannel(stop_after=1)
        scan_segments(task, channel)
        if not channel.stopping():
            break
    scan_segments(task, MemoryChannel())
    assert_complete(folder)


def test_a_finished_export_reads_nothing_again(task: ScanTask, folder: S3Folder, fake: FakeServer) -> None:
    """Checkpoints that say done cost no read capacity."""
    scan_segments(task, MemoryChannel())
    fake.reset()
    scan_segments(task, MemoryChannel())
    assert "Scan" not in fake.stats().calls
    assert_complete(folder)


@pytest.mark.parametrize(
    "kind", [FaultKind.THROTTLE, FaultKind.TRUNCATED, FaultKind.RESET_DURING, FaultKind.INTERNAL_ERROR]
)
def test_faults_cost_retries_and_no_items(
    task: ScanTask, folder: S3Folder, fake: FakeServer, kind: FaultKind
) -> None:
    """Throttling is returned by reason; the rest is mended below."""
    fake.change(FaultPlan(faults=(Fault(kind=kind, operations=("Scan",), at=(0, 2, 5)),)))
    throttled = scan_segments(task, MemoryChannel())
    assert_complete(folder)
    expected = {"TableReadKeyRangeThroughputExceeded": 3} if kind is FaultKind.THROTTLE else {}
    assert expected == throttled


def test_an_error_ends_all_segments_and_keeps_what_is_done(
    task: ScanTask, folder: S3Folder, fake: FakeServer
) -> None:
    """The message names the table and the missing action; nothing unfinished stays in the bucket."""
    fake.change(FaultPlan(faults=(Fault(kind=FaultKind.ACCESS_DENIED, operations=("Scan",), after=6),)))
    with pytest.raises(AccessError, match=f"Could not scan table {TABLE}: AccessDenied") as caught:
        scan_segments(task, MemoryChannel())
    assert "dynamodb:Scan" in caught.value.remedy
    assert folder.abort_uploads() == 0
    fake.change(FaultPlan())
    scan_segments(task, MemoryChannel())
    assert_complete(folder)


def test_a_segment_without_items_has_no_shard(task: ScanTask, folder: S3Folder) -> None:
    """It is done all the same."""
    many = replace(task, segments=tuple(range(5_000, 5_003)), total_segments=9_999)
    scan_segments(many, MemoryChannel())
    assert [True] * 3 == [state.done for state in states(folder)]
    assert sum(len(state.shards) for state in states(folder)) == len(list(folder.list(DATA)))
