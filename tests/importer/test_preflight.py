"""What can be refused is refused before the first write."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ddb_import import preflight
from ddb_import.preflight import (
    check_emptiness,
    check_not_source,
    check_shards,
    check_table,
    holds_items,
    interleave,
)
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.dynamodb.client import Client
from ddb_shared.dynamodb.messages import ScanPage
from ddb_shared.errors import ShardError, TableError
from ddb_shared.format import manifest as manifests
from ddb_shared.format.manifest import Manifest, Shard, Source
from ddb_shared.table.description import Table, from_description
from support.accounts import Accounts
from support.environment import REGION, SECRET, SOURCE
from support.fake_dynamodb import FakeServer, Fault, FaultKind, FaultPlan, fake_dynamodb
from support.memory import MemoryFolder
from support.tables import create_table

DATA = Path(__file__).parents[1] / "data"


def export() -> tuple[MemoryFolder, Manifest]:
    storage = MemoryFolder.of(DATA / "ddb-transfer-1", "AWSDynamoDB/01732350000000-0badcafe")
    return storage, manifests.read(storage)


def table(**changes: Any) -> Table:
    return from_description(export()[1].table | changes)


def with_key(name: str, kind: str) -> dict[str, Any]:
    return {
        "KeySchema": [{"AttributeName": name, "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind}],
    }


def test_a_table_with_the_same_key_passes() -> None:
    """ACTIVE, and while an index is added, which says UPDATING."""
    check_table(export()[1], table())
    check_table(export()[1], table(TableStatus="UPDATING"))


@pytest.mark.parametrize("key", [with_key("other", "S"), with_key("id", "N")])
def test_another_key_is_refused(key: dict[str, Any]) -> None:
    """Both keys are shown, with their types."""
    with pytest.raises(TableError, match="The key schema of table") as caught:
        check_table(export()[1], table(**key))
    assert "partition key id (S) in the export" in caught.value.message


@pytest.mark.parametrize(
    "status", ["CREATING", "DELETING", "ARCHIVED", "INACCESSIBLE_ENCRYPTION_CREDENTIALS"]
)
def test_a_table_that_takes_no_writes_is_refused(status: str) -> None:
    """Its status is named."""
    with pytest.raises(TableError, match=status):
        check_table(export()[1], table(TableStatus=status))


def test_an_export_of_aws_has_no_key_to_compare() -> None:
    """Its manifest does not tell; the service refuses wrong items one by one."""
    _, manifest = export()
    check_table(msgspec.structs.replace(manifest, table={}), table(**with_key("other", "N")))


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """A DynamoDB of its own, with the table that is looked at."""
    with fake_dynamodb() as server:
        accounts = Accounts()
        create_table(accounts.dynamodb(server.url), table().name)
        yield server
        accounts.close()


def reader(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """Access to the tables of the fake."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SOURCE)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return Aws(AwsOptions(region=REGION, endpoint_url=fake.url))


def test_a_look_tells_whether_the_table_is_empty(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty table needs no consent; one that holds an item does, and the message names both options."""
    aws = reader(fake, monkeypatch)
    assert "the table is empty" == check_emptiness(aws, table(), may_hold_items=False)
    fake.load(SOURCE, table().name, [{"pk": {"S": "a"}, "sk": {"N": "1"}}])
    assert "already contains items" in check_emptiness(aws, table(), may_hold_items=True)
    with pytest.raises(TableError, match="already contains items") as caught:
        check_emptiness(aws, table(), may_hold_items=False)
    assert "--on-existing overwrite" in caught.value.remedy
    assert "--on-existing skip" in caught.value.remedy


def test_an_empty_page_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """DynamoDB may answer with no item and a key to continue from; the item is on a later page."""
    pages = [
        ScanPage(last_evaluated_key={"id": {"S": "a"}}),
        ScanPage(items=[msgspec.Raw(b'{"id":{"S":"b"}}')], count=1),
    ]

    async def answer(self: Client, request: bytes) -> ScanPage:  # noqa: ARG001
        return pages.pop(0)

    monkeypatch.setattr(Client, "scan", answer)
    assert holds_items(stubbed(monkeypatch), table())
    pages[:] = [ScanPage(last_evaluated_key={"id": {"S": "a"}}), ScanPage()]
    assert not holds_items(stubbed(monkeypatch), table())


@pytest.mark.parametrize(
    "kind", [FaultKind.THROTTLE, FaultKind.SKEWED, FaultKind.RESET_BEFORE, FaultKind.INTERNAL_ERROR]
)
def test_a_look_is_repeated(fake: FakeServer, monkeypatch: pytest.MonkeyPatch, kind: FaultKind) -> None:
    """A busy table, a wrong clock and a broken connection do not make an empty table look like a full one."""
    fake.change(FaultPlan(faults=(Fault(kind=kind, at=(0, 1)),)))
    assert holds_items(reader(fake, monkeypatch), table()) is False
    assert 3 == fake.stats().calls["Scan"]


@pytest.mark.parametrize("kind", [FaultKind.ACCESS_DENIED, FaultKind.THROTTLE])
def test_a_table_that_cannot_be_read_needs_consent(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, kind: FaultKind
) -> None:
    """It may hold items; with the user's word the load goes ahead. A table that is too busy is given up after a while."""
    monkeypatch.setattr(preflight, "LOOK_SECONDS", 0.3)
    fake.change(FaultPlan(faults=(Fault(kind=kind),)))
    aws = reader(fake, monkeypatch)
    assert "it may contain items" in check_emptiness(aws, table(), may_hold_items=True)
    with pytest.raises(TableError, match="it may contain items"):
        check_emptiness(aws, table(), may_hold_items=False)


def test_an_import_into_the_exported_table_is_refused() -> None:
    """The same ARN and the same id; a recreated table is another one."""
    own = table()
    source = Source(
        table_name=own.name, table_arn=own.arn, table_id=own.id, account=own.account, region=own.region
    )
    with pytest.raises(TableError, match="is the exported table itself"):
        check_not_source(msgspec.structs.replace(export()[1], source=source), own)
    recreated = msgspec.structs.replace(source, table_id="earlier")
    assert (
        check_not_source(msgspec.structs.replace(export()[1], source=recreated), own)
        == "not the exported table"
    )


def stubbed(monkeypatch: pytest.MonkeyPatch) -> Aws:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    return Aws(AwsOptions(region="eu-west-1"))


def test_a_missing_shard_is_named() -> None:
    """Before a single item is written."""
    storage, manifest = export()
    del storage.files["data/0001-000000.json.gz"]
    with pytest.raises(ShardError, match=r"data/0001-000000\.json\.gz is missing"):
        check_shards(storage, manifest)


def test_a_shard_of_another_size_is_named() -> None:
    """With both sizes."""
    storage, manifest = export()
    storage.files["data/0000-000000.json.gz"] += b"x"
    with pytest.raises(ShardError, match=r"0000-000000\.json\.gz has 117 bytes, expected 116"):
        check_shards(storage, manifest)


def test_shards_with_another_etag_are_to_be_proven() -> None:
    """A copy has another ETag; so has one that was altered to the same length. Only its checksum tells."""
    storage, manifest = export()
    tags = {entry.name: entry.etag.strip('"') for entry in storage.list("data/")}
    first, second = manifest.shards
    kept = msgspec.structs.replace(first, etag=tags["data/" + first.name])
    unknown = msgspec.structs.replace(second, etag="")
    assert {second.name} == check_shards(
        storage, msgspec.structs.replace(manifest, shards=[kept, second])
    ).unverified
    assert {second.name} == check_shards(
        storage, msgspec.structs.replace(manifest, shards=[kept, unknown])
    ).unverified


def test_neighbours_are_of_different_segments() -> None:
    """Shards of one segment are one hash range, and would heat one partition of the table."""
    names = [f"{segment:04d}-{sequence:06d}.json.gz" for segment in range(8) for sequence in range(5)]
    shards = [
        Shard(key=f"data/{name}", segment=int(name[:4]), items=1, bytes=1, stored_bytes=1, md5="")
        for name in names
    ]
    order = interleave(shards)
    assert sorted(names) == sorted(shard.name for shard in order)
    windows = [[shard.segment for shard in order[start : start + 8]] for start in range(0, 40, 8)]
    assert [list(range(8))] * 5 == windows
