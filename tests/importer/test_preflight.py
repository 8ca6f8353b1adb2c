"""What can be refused is refused before the first write."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.stub import Stubber

from ddb_import.preflight import check_emptiness, check_shards, check_table, interleave
from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws, AwsOptions
from ddb_shared.errors import ShardError, TableError
from ddb_shared.manifest import Manifest, Shard
from ddb_shared.table import Table, from_description
from support.memory import MemoryFolder

DATA = Path(__file__).parents[1] / "data"


def export() -> tuple[MemoryFolder, Manifest]:
    folder = MemoryFolder.of(DATA / "ddb-transfer-1", "AWSDynamoDB/01732350000000-0badcafe")
    return folder, manifests.read(folder)


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
    with pytest.raises(TableError, match="another key schema") as caught:
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


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ({"Count": 0}, "the table is empty"),
        ({"Count": 1}, "holds items already"),
        ({"Count": 0, "LastEvaluatedKey": {"id": {"S": "a"}}}, "holds items already"),
    ],
)
def test_a_look_tells_whether_the_table_is_empty(
    monkeypatch: pytest.MonkeyPatch, page: dict[str, Any], said: str
) -> None:
    """A page that is empty and has a next one is of a table that is not."""
    aws = stubbed(monkeypatch)
    with Stubber(aws.hasty_dynamodb) as stub:
        stub.add_response("scan", page)
        assert said in check_emptiness(aws, table())


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_a_look_that_is_refused_stops_nothing(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """What DescribeTable says is given, with its age."""
    aws = stubbed(monkeypatch)
    with Stubber(aws.hasty_dynamodb) as stub:
        for _ in range(2):
            stub.add_client_error("scan", code)
        assert "about 3 items, by DescribeTable's count" in check_emptiness(aws, table())


def stubbed(monkeypatch: pytest.MonkeyPatch) -> Aws:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    return Aws(AwsOptions(region="eu-west-1"))


def test_a_missing_shard_is_named() -> None:
    """Before a single item is written."""
    folder, manifest = export()
    del folder.files["data/0001-000000.json.gz"]
    with pytest.raises(ShardError, match=r"data/0001-000000\.json\.gz is missing"):
        check_shards(folder, manifest)


def test_a_shard_of_another_size_is_named() -> None:
    """With both sizes."""
    folder, manifest = export()
    folder.files["data/0000-000000.json.gz"] += b"x"
    with pytest.raises(ShardError, match=r"0000-000000\.json\.gz has 117 bytes instead of 116"):
        check_shards(folder, manifest)


def test_shards_with_another_etag_are_to_be_proven() -> None:
    """A copy has another ETag; so has one that was altered to the same length. Only its checksum tells."""
    folder, manifest = export()
    tags = {entry.name: entry.etag.strip('"') for entry in folder.list("data/")}
    first, second = manifest.shards
    kept = msgspec.structs.replace(first, etag=tags["data/" + first.name])
    unknown = msgspec.structs.replace(second, etag="")
    assert {second.name} == check_shards(folder, msgspec.structs.replace(manifest, shards=[kept, second]))
    assert {second.name} == check_shards(folder, msgspec.structs.replace(manifest, shards=[kept, unknown]))


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
