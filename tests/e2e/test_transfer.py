"""A table moves between two accounts, and every item of every type is there afterwards."""

import base64
import gzip
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from e2e.conftest import Mover, open_bucket
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.fingerprints import assert_same_tables
from support.items import conformance_items
from support.services import Endpoint
from support.tables import KeySpec, assert_same_items, by_key, create_table, fill, read_all
from support.varied import varied_items

KEYS = {
    "string": KeySpec(range_name=""),
    "number": KeySpec(hash_type="N", range_name=""),
    "binary": KeySpec(hash_type="B", range_name=""),
    "string-number": KeySpec(),
    "number-binary": KeySpec(hash_type="N", range_type="B"),
    "binary-string": KeySpec(hash_type="B", range_type="S"),
}


@pytest.fixture
def tables(
    mover: Mover, accounts: Accounts, unique_name: Callable[[], str]
) -> Callable[..., tuple[str, str]]:
    """Makes a source table with items and an empty destination table; returns their names."""

    def make(items: Any, key: KeySpec) -> tuple[str, str]:
        source, destination = unique_name(), unique_name()
        create_table(accounts.dynamodb(mover.engine, SOURCE), source, key)
        create_table(accounts.dynamodb(mover.engine, DESTINATION), destination, key)
        fill(accounts.dynamodb(mover.engine, SOURCE), source, items)
        return source, destination

    return make


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())
def test_every_type_arrives(
    mover: Mover, accounts: Accounts, tables: Callable[..., tuple[str, str]], key: KeySpec
) -> None:
    """Each item of the conformance set is equal in the destination, for every kind of key."""
    items = conformance_items(key)
    source, destination = tables(items, key)
    result = mover.load(mover.exported(source), destination).json()
    assert (result["status"], result["items_written"], result["items_rejected"]) == (
        "complete",
        len(items),
        0,
    )
    actual = read_all(accounts.dynamodb(mover.engine, DESTINATION), destination)
    assert_same_items(by_key(items, key), actual)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_many_items_in_many_shards(
    mover: Mover, accounts: Accounts, tables: Callable[..., tuple[str, str]], compression: str
) -> None:
    """Shards roll by size; the export's numbers and the import's agree with the table's."""
    source, destination = tables(varied_items(3_000), KeySpec())
    options = ("--compression", compression, "--segments", 3, "--shard-size", "20kB", "--consistent-read")
    export = mover.export(source, f"s3://{mover.bucket}", *options).json()
    assert (export["status"], export["items"]) == ("complete", 3_000)
    assert export["shards"] >= 3
    result = mover.load(export["manifest"], destination, "--processes", 1).json()
    assert (result["items_written"], result["shards_done"]) == (3_000, export["shards"])
    assert result["shards_total"] == export["shards"]
    assert_same_tables(
        (accounts.dynamodb(mover.engine, SOURCE), source),
        (accounts.dynamodb(mover.engine, DESTINATION), destination),
    )


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_names_of_key_attributes_may_have_any_character(
    aws_mover: Mover, aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str], form: str
) -> None:
    """Quotes, backslashes, spaces and control characters: export, both ways of writing, and verification."""
    key, name = KeySpec('a"b\\', "S", "so\tr t", "N"), unique_name()
    ours, theirs = accounts.dynamodb(aws, SOURCE), accounts.dynamodb(aws, DESTINATION)
    for client in (ours, theirs):
        create_table(client, name, key)
    items = [{key.hash_name: {"S": f"\x1b[31m{n}"}, key.range_name: {"N": str(n)}} for n in range(40)]
    fill(ours, name, items)
    export = aws_mover.exported(name, "--format", form)
    assert aws_mover.load(export, name).json()["items_written"] == 40
    again = aws_mover.load(export, name, "--restart", "--on-existing", "skip").json()
    assert again["items_skipped"] == 40
    assert_same_tables((ours, name), (theirs, name))
    theirs.delete_item(TableName=name, Key=items[7])
    found = aws_mover._run("ddb-verify", DESTINATION, export, name, check=False)
    assert (found.exit_code, found.json()["missing"]) == (4, 1)
    assert "\x1b" not in found.stderr


def test_an_empty_table_is_an_export(mover: Mover, tables: Callable[..., tuple[str, str]]) -> None:
    """No items are no shards, and a manifest."""
    source, destination = tables([], KeySpec())
    result = mover.load(mover.exported(source), destination).json()
    assert (result["items_written"], result["shards_total"]) == (0, 0)


@pytest.mark.parametrize(("options", "segments"), [((), 1), (("--processes", "2"), 16)])
def test_the_layout_is_aws_s_own(
    aws_mover: Mover,
    aws: Endpoint,
    accounts: Accounts,
    unique_name: Callable[[], str],
    options: tuple[str, ...],
    segments: int,
) -> None:
    """Nothing but what the layout names; AWS's manifests describe the shards with their true checksums."""
    source = unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), source)
    fill(accounts.dynamodb(aws, SOURCE), source, varied_items(500))
    export = aws_mover.exported(source, *options)
    s3, prefix = accounts.s3(aws, DESTINATION), export.removeprefix(f"s3://{aws_mover.bucket}/")
    listed = s3.list_objects_v2(Bucket=aws_mover.bucket)["Contents"]
    objects = {
        entry["Key"].removeprefix(prefix): s3.get_object(Bucket=aws_mover.bucket, Key=entry["Key"])[
            "Body"
        ].read()
        for entry in listed
    }
    assert (
        objects.pop("moves/AWSDynamoDB/probe.json") == b"{}\n"
    )  # the only one outside of the export's folder
    manifest = json.loads(objects["manifest.json"])
    files = [json.loads(line) for line in objects["manifest-files.json"].splitlines()]
    summary = json.loads(objects["manifest-summary.json"])

    plain = {name for name in objects if "/" not in name}
    assert plain == {
        "_started",
        "manifest.json",
        "manifest-summary.json",
        "manifest-summary.md5",
        "manifest-files.json",
        "manifest-files.md5",
        "running.json",
        "report.html",
        "lease.json",
    }
    assert {name for name in objects if name.startswith("segments/")} == {
        f"segments/{segment:04d}.json" for segment in range(segments)
    }
    data = {name for name in objects if name.startswith("data/")}
    assert data == {shard["key"].removeprefix(prefix) for shard in manifest["shards"]}
    assert data == {entry["dataFileS3Key"].removeprefix(prefix) for entry in files}
    others = {name for name in objects if name.startswith(("segments/", "runs/"))}
    assert data | plain | others == set(objects)

    for entry, shard in zip(files, manifest["shards"], strict=True):
        stored = objects[entry["dataFileS3Key"].removeprefix(prefix)]
        lines = gzip.decompress(stored).splitlines()
        assert all(list(json.loads(line)) == ["Item"] for line in lines)
        assert (entry["itemCount"], shard["items"], shard["stored_bytes"]) == (
            len(lines),
            len(lines),
            len(stored),
        )
        assert entry["md5Checksum"] == shard["md5"] == _md5(stored)
        assert shard["sha256"] == hashlib.sha256(stored).hexdigest()
        assert entry["etag"] == hashlib.md5(stored).hexdigest()  # a small shard is stored in one request
    assert objects["manifest-files.md5"].decode() == _md5(objects["manifest-files.json"])
    assert objects["manifest-summary.md5"].decode() == _md5(objects["manifest-summary.json"])
    assert summary["itemCount"] == manifest["items"] == sum(entry["itemCount"] for entry in files) == 500
    assert summary["manifestFilesS3Key"] == prefix + "manifest-files.json"
    assert manifest["format"] == "ddb-transfer/1"
    assert manifest["table"]["KeySchema"][0]["AttributeName"] == "pk"


def test_ministack_s_import_table_reads_our_shards(
    aws_mover: Mover, aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """The data folder alone is what AWS's native import takes."""
    source, native = unique_name(), unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), source)
    fill(accounts.dynamodb(aws, SOURCE), source, varied_items(200))
    export = aws_mover.exported(source)
    definition = accounts.dynamodb(aws, SOURCE).describe_table(TableName=source)["Table"]
    destination = accounts.dynamodb(aws, DESTINATION)
    started = destination.import_table(
        S3BucketSource={
            "S3Bucket": aws_mover.bucket,
            "S3KeyPrefix": export.removeprefix(f"s3://{aws_mover.bucket}/") + "data/",
        },
        InputFormat="DYNAMODB_JSON",
        InputCompressionType="GZIP",
        TableCreationParameters={
            "TableName": native,
            "KeySchema": definition["KeySchema"],
            "AttributeDefinitions": definition["AttributeDefinitions"],
            "BillingMode": "PAY_PER_REQUEST",
        },
    )["ImportTableDescription"]
    for _ in range(100):
        done = destination.describe_import(ImportArn=started["ImportArn"])["ImportTableDescription"]
        if done["ImportStatus"] != "IN_PROGRESS":
            break
        time.sleep(0.1)
    assert (done["ImportStatus"], done["ImportedItemCount"]) == ("COMPLETED", 200)
    assert_same_tables((accounts.dynamodb(aws, SOURCE), source), (destination, native))


def test_a_bucket_of_another_account_needs_its_policy(
    aws: Endpoint, closed_bucket: str, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """Refused without the policy, with a message that says which side has to allow it; allowed with it."""
    source = unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), source)
    mover = Mover(aws, aws, closed_bucket)
    refused = mover.export(source, f"s3://{closed_bucket}", check=False)
    assert refused.exit_code == 1
    assert f"Access denied to bucket {closed_bucket}" in refused.stderr
    assert "bucket's policy" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "Contents" not in accounts.s3(aws, DESTINATION).list_objects_v2(Bucket=closed_bucket)

    open_bucket(accounts.s3(aws, DESTINATION), closed_bucket)
    assert mover.export(source, f"s3://{closed_bucket}").json()["status"] == "complete"


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()
