"""Bad input gets a clear message and the right exit code, and nothing is half-done."""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import Mover
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.services import Endpoint
from support.tables import KeySpec, create_table, fill, scan
from support.varied import varied_items


@pytest.fixture
def source(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> str:
    """A table of 100 items in the source account."""
    name = unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), name)
    fill(accounts.dynamodb(aws, SOURCE), name, varied_items(100))
    return name


@pytest.fixture
def destination(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> str:
    """An empty table in the destination account."""
    name = unique_name()
    create_table(accounts.dynamodb(aws, DESTINATION), name)
    return name


class Damager:
    """Changes the objects of an export."""

    def __init__(self, s3: Any, bucket: str, export: str) -> None:
        self._s3 = s3
        self.bucket = bucket
        self.prefix = export.removeprefix(f"s3://{bucket}/")

    def read(self, name: str) -> bytes:
        return bytes(self._s3.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"].read())

    def write(self, name: str, data: bytes) -> None:
        self._s3.put_object(Bucket=self.bucket, Key=self.prefix + name, Body=data)

    def delete(self, name: str) -> None:
        self._s3.delete_object(Bucket=self.bucket, Key=self.prefix + name)

    def change_manifest(self, change: Callable[[dict[str, Any]], None]) -> None:
        manifest = json.loads(self.read("manifest.json"))
        change(manifest)
        self.write("manifest.json", json.dumps(manifest).encode())

    def a_shard(self) -> str:
        """The name of a shard that has items."""
        shards = json.loads(self.read("manifest.json"))["shards"]
        key = next(shard["key"] for shard in shards if shard["items"])
        return str(key.removeprefix(self.prefix))

    def names(self) -> set[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        return {
            entry["Key"].removeprefix(self.prefix) for page in pages for entry in page.get("Contents", ())
        }


@pytest.fixture
def export(aws_mover: Mover, aws: Endpoint, accounts: Accounts, source: str) -> Damager:
    """A complete export of `source`."""
    return Damager(accounts.s3(aws, DESTINATION), aws_mover.bucket, aws_mover.exported(source))


def refused(result: commands.Result, exit_code: int, *texts: str) -> None:
    """The command failed as expected: its code, its words, and no traceback."""
    assert result.exit_code == exit_code, str(result)
    assert "Traceback" not in result.stderr
    for text in texts:
        assert text in result.stderr, str(result)
    if "--json" not in result.command:
        assert result.stdout == ""
        return
    failure = result.json()
    assert list(failure) == ["status", "error", "remedy", "exit"]
    assert (failure["status"], failure["exit"]) == ("failed", exit_code)
    assert failure["error"] in result.stderr


def location(export: Damager) -> str:
    return f"s3://{export.bucket}/{export.prefix}"


def test_a_source_table_that_does_not_exist(aws_mover: Mover) -> None:
    """Says which table, and where it was looked for."""
    result = aws_mover.export("no-such-table", f"s3://{aws_mover.bucket}", check=False)
    refused(result, 1, "Table no-such-table does not exist in region eu-west-1")


def test_a_bucket_that_does_not_exist(aws_mover: Mover, source: str) -> None:
    """It is not created: a name that anyone can take is not to be trusted."""
    result = aws_mover.export(source, "s3://no-such-bucket-anywhere", check=False)
    refused(result, 1, "Bucket no-such-bucket-anywhere does not exist", "never creates buckets")


@pytest.mark.parametrize("url", ["bucket/prefix", "s3://", "http://bucket/x", "s3://bad_bucket?x"])
def test_a_destination_that_is_no_bucket(aws_mover: Mover, source: str, url: str) -> None:
    """A usage error that shows the right form."""
    refused(aws_mover.export(source, url, check=False), 2, "s3://BUCKET[/PREFIX]")


def test_missing_arguments(aws_mover: Mover) -> None:
    """A usage error names what is needed."""
    refused(aws_mover.export(check=False), 2, "TABLE and s3://BUCKET[/PREFIX] are required")


def test_missing_credentials(aws: Endpoint) -> None:
    """Says how to give them."""
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    result = commands.run("ddb-export", "some-table", "s3://bucket", endpoint=aws, check=False, env=nobody)
    refused(result, 1, "credentials", "--profile")


def test_an_endpoint_where_nobody_listens() -> None:
    """Fails with the address, not with a traceback."""
    result = commands.run(
        "ddb-export", "some-table", "s3://bucket", endpoint="http://127.0.0.1:9", check=False
    )
    refused(result, 1, "http://127.0.0.1:9", "--endpoint-url")


def test_an_export_that_is_not_there(aws_mover: Mover, destination: str) -> None:
    """A folder without an export is named."""
    result = aws_mover.load(f"s3://{aws_mover.bucket}/elsewhere/", destination, check=False)
    refused(result, 1, "No export found at")


def test_an_unfinished_export(aws_mover: Mover, export: Damager, destination: str) -> None:
    """Without its manifest an export does not exist; the message says how to finish it."""
    for name in ("manifest.json", "manifest-summary.json", "manifest-files.json"):
        export.delete(name)
    result = aws_mover.load(location(export), destination, check=False)
    refused(result, 1, "unfinished", f"ddb-export --resume {location(export)}")


def test_an_unknown_format_version(aws_mover: Mover, export: Damager, destination: str) -> None:
    """A reader refuses what it does not know."""
    export.change_manifest(lambda manifest: manifest.update(format="ddb-transfer/99"))
    result = aws_mover.load(location(export), destination, check=False)
    refused(result, 1, "ddb-transfer/99", "Use the version of ddb-transfer that created the export")


def test_a_damaged_manifest(aws_mover: Mover, export: Damager, destination: str) -> None:
    """Half a manifest is no manifest."""
    export.write("manifest.json", export.read("manifest.json")[:-100])
    refused(aws_mover.load(location(export), destination, check=False), 1, "manifest.json is damaged")


@pytest.mark.parametrize(
    "key", ["secret/data.json.gz", "../../x.json.gz", "{prefix}../x.gz", "{prefix}import/x"]
)
def test_a_manifest_that_names_a_key_outside_its_folder(
    aws_mover: Mover, export: Damager, destination: str, key: str
) -> None:
    """It is refused, and nothing is read or written."""

    def point_elsewhere(manifest: dict[str, Any]) -> None:
        manifest["shards"][0]["key"] = key.format(prefix=export.prefix)

    export.change_manifest(point_elsewhere)
    result = aws_mover.load(location(export), destination, check=False)
    refused(result, 1, "outside the export's own folder")
    assert not any(name.startswith("import/") for name in export.names())


def _truncate(export: Damager, shard: str) -> None:
    export.write(shard, export.read(shard)[:-20])


def _alter(export: Damager, shard: str) -> None:
    lines = gzip.decompress(export.read(shard)).splitlines(keepends=True)
    forged = gzip.compress(b"".join(lines).replace(b"paid", b"PAID").replace(b"sent", b"SENT"))
    original = export.read(shard)
    export.write(shard, (forged + original)[: len(original)])


def _delete(export: Damager, shard: str) -> None:
    export.delete(shard)


@pytest.mark.parametrize("damage", [_truncate, _alter, _delete])
def test_a_shard_that_is_not_what_the_manifest_says(
    aws_mover: Mover,
    aws: Endpoint,
    accounts: Accounts,
    export: Damager,
    destination: str,
    damage: Callable[[Damager, str], None],
) -> None:
    """A missing, truncated or altered shard is named; none of its items is written."""
    shard = export.a_shard()
    count = len(gzip.decompress(export.read(shard)).splitlines())
    damage(export, shard)
    result = aws_mover.load(location(export), destination, check=False)
    refused(result, 1, shard.removeprefix("data/"), "Restore the object")
    written = sum(1 for _ in scan(accounts.dynamodb(aws, DESTINATION), destination))
    assert written <= 100 - count


def test_a_destination_with_another_key_schema(
    aws_mover: Mover, aws: Endpoint, accounts: Accounts, export: Damager, unique_name: Callable[[], str]
) -> None:
    """Both key schemas are shown; nothing is written, not even a plan."""
    other = unique_name()
    create_table(accounts.dynamodb(aws, DESTINATION), other, KeySpec(range_name=""))
    result = aws_mover.load(location(export), other, check=False)
    refused(result, 1, "The key schema of table", "partition key pk (S), sort key sk (N) in the export")
    assert not any(name.startswith("import/") for name in export.names())


def test_a_destination_table_that_does_not_exist(aws_mover: Mover, export: Damager) -> None:
    """Says which table and region."""
    result = aws_mover.load(location(export), "no-such-table", check=False)
    refused(result, 1, "Table no-such-table does not exist")


def test_lines_that_are_no_items_are_rejected(
    aws_mover: Mover, aws: Endpoint, accounts: Accounts, export: Damager, destination: str, tmp_path: Path
) -> None:
    """They are kept with shard, line and reason, on the screen and in the report; the others are written; the exit code says so."""
    shard = export.a_shard()
    lines = gzip.decompress(export.read(shard)).splitlines()
    forged = b'{"Item":{"pk":{"S":"x"},"sk":{"N":"1"}}},{"DeleteRequest":{"Key":{"pk":{"S":"x"}}}}'
    bad = [b"no json", b'{"NoItem":{}}', forged, b'{"Item":{"pk":{"S":"no sort key"}}}']
    _replace_shard(export, shard, [*lines, *bad])

    page = tmp_path / "report.html"
    result = aws_mover.load(location(export), destination, "--report", page, check=False)
    assert result.exit_code == 3, str(result)
    assert "Rejected, by reason:\n       3  " in result.stderr
    (stored,) = [name for name in export.names() if name.endswith(f".{destination}/report.html")]
    assert export.read(stored) == page.read_bytes()
    assert all(title in page.read_text() for title in ("Rejects by reason", "Cost at list price"))
    outcome = result.json()
    assert (outcome["status"], outcome["items_written"], outcome["items_rejected"]) == ("rejects", 100, 4)
    rejects = [json.loads(line) for line in export.read(_rejects_file(export)).splitlines()]
    assert [reject["line"] for reject in rejects] == [len(lines) + number for number in (1, 2, 3, 4)]
    assert {reject["shard"] for reject in rejects} == {shard.removeprefix("data/")}
    assert rejects[0]["error"]["code"] == "NotAnItem"
    assert rejects[3]["Item"] == {"pk": {"S": "no sort key"}}
    assert rejects[3]["error"]["code"] == "ValidationException"
    assert outcome["rejects"] == location(export) + _rejects_file(export).rpartition("/")[0] + "/"

    again = aws_mover.load(location(export), destination, check=False)
    assert (again.exit_code, again.json()["items_resumed"]) == (3, 100)
    assert sum(1 for _ in scan(accounts.dynamodb(aws, DESTINATION), destination)) == 100


def test_a_table_that_does_not_fit_ends_the_import_early(
    aws: Endpoint, ddb_local: Endpoint, bucket: str, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """Most items are rejected: what is confirmed is saved, the reason is named, and the same command may allow more."""
    source, destination = unique_name(), unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), source)
    items = [{"pk": {"S": str(n)}, "sk": {"N": "1"}, "at": {"N": str(n)}} for n in range(3_000)]
    fill(accounts.dynamodb(aws, SOURCE), source, items)
    attributes = {"pk": "S", "sk": "N", "at": "S"}  # where the items have a number
    create_table(
        accounts.dynamodb(ddb_local, DESTINATION),
        destination,
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in attributes.items()],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-at",
                "KeySchema": [{"AttributeName": "at", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    export = Mover(aws, aws, bucket).exported(source)
    mover = Mover(ddb_local, aws, bucket)
    slowly = ("--max-wcu", "500")
    ended = mover.load(export, destination, *slowly, check=False)
    refused(
        ended, 1, "items were rejected, which is more than --max-rejects 10% allows. Most often: Validation"
    )
    assert "--max-rejects N or P% allows more" in ended.stderr
    assert f"ddb-import {export} {destination}" in ended.stderr
    some = mover.load(export, destination, "--max-rejects", "100%", check=False)
    assert (some.exit_code, some.json()["items_rejected"]) == (3, 3_000), some


def test_mended_rejects_are_loaded(
    aws_mover: Mover, aws: Endpoint, accounts: Accounts, export: Damager, destination: str
) -> None:
    """`--from-rejects` writes what was fixed and keeps what is still refused."""
    shard = export.a_shard()
    lines = gzip.decompress(export.read(shard)).splitlines()
    _replace_shard(export, shard, [*lines, b'{"Item":{"pk":{"S":"fixed"}}}', b"no json"])
    none_yet = aws_mover.load("--from-rejects", location(export), destination, check=False)
    assert (none_yet.exit_code, "There are no rejects" in none_yet.stderr) == (1, True), none_yet
    assert aws_mover.load(location(export), destination, check=False).exit_code == 3

    name = _rejects_file(export)
    broken, text = export.read(name).splitlines()
    reject = json.loads(broken)
    reject["Item"]["sk"] = {"N": "7"}
    export.write(name, json.dumps(reject).encode() + b"\n" + text + b"\n")
    result = aws_mover.load("--from-rejects", location(export), destination, check=False)
    assert (result.exit_code, result.json()["items_written"], result.json()["items_rejected"]) == (3, 1, 1)
    assert [json.loads(line)["Text"] for line in export.read(name).splitlines()] == ["no json"]
    found = accounts.dynamodb(aws, DESTINATION).get_item(
        TableName=destination, Key={"pk": {"S": "fixed"}, "sk": {"N": "7"}}
    )
    assert "Item" in found


def test_a_later_line_of_the_same_key_wins(
    aws_mover: Mover, aws: Endpoint, accounts: Accounts, export: Damager, destination: str
) -> None:
    """Foreign exports may have duplicates within a batch; 1 and 1.0 are the same number."""
    shard = export.a_shard()
    lines = gzip.decompress(export.read(shard)).splitlines()
    first = b'{"Item":{"pk":{"S":"twice"},"sk":{"N":"1"},"v":{"S":"first"}}}'
    last = b'{"Item":{"pk":{"S":"twice"},"sk":{"N":"1.0"},"v":{"S":"last"}}}'
    _replace_shard(export, shard, [first, last, *lines])
    result = aws_mover.load(location(export), destination).json()
    assert (result["items_written"], result["items_skipped"]) == (101, 1)
    found = accounts.dynamodb(aws, DESTINATION).get_item(
        TableName=destination, Key={"pk": {"S": "twice"}, "sk": {"N": "1"}}
    )
    assert found["Item"]["v"] == {"S": "last"}


def _rejects_file(export: Damager) -> str:
    return next(name for name in export.names() if "/rejects/" in name)


def _replace_shard(export: Damager, shard: str, lines: list[bytes]) -> None:
    """Another shard in its place, with a manifest that agrees: what a foreign tool might have made."""
    data = gzip.compress(b"\n".join(lines) + b"\n")

    def describe(manifest: dict[str, Any]) -> None:
        entry = next(entry for entry in manifest["shards"] if entry["key"].endswith(shard))
        manifest["items"] += len(lines) - entry["items"]
        entry.update(items=len(lines), stored_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        entry.update(md5=base64.b64encode(hashlib.md5(data).digest()).decode(), etag="")

    export.write(shard, data)
    export.change_manifest(describe)


def test_an_import_into_a_missing_table_names_the_way_out(aws_mover: Mover, export: Damager) -> None:
    """--create-table creates it."""
    refused(aws_mover.load(location(export), "no-such-table", check=False), 1, "use --create-table")


def test_a_foreign_file_among_the_shards(
    aws_mover: Mover, export: Damager, aws: Endpoint, accounts: Accounts
) -> None:
    """Spark leaves `_SUCCESS` behind: a resume says so, and the export is finished without it."""
    s3 = accounts.s3(aws, DESTINATION)
    for name in ("manifest.json", "manifest-files.json", "manifest-summary.json"):
        s3.delete_object(Bucket=export.bucket, Key=export.prefix + name)
    s3.put_object(Bucket=export.bucket, Key=f"{export.prefix}data/_SUCCESS", Body=b"")
    result = aws_mover.export("--resume", location(export))
    assert result.json()["status"] == "complete"
    assert "data/_SUCCESS is not a file of this export" in result.stderr


def test_a_resume_of_a_complete_export(aws_mover: Mover, export: Damager) -> None:
    """Exits 0, says since when, and prints the same result."""
    result = aws_mover.export("--resume", location(export))
    assert (result.json()["status"], result.json()["export"]) == ("complete", location(export))
    assert "was completed at" in result.stderr


def test_stdout_of_an_export_is_its_location(aws: Endpoint, bucket: str, source: str) -> None:
    """One line, so that `E=$(ddb-export …)` works; the summary goes to stderr."""
    result = commands.run("ddb-export", source, f"s3://{bucket}/moves", endpoint=aws)
    assert re.fullmatch(rf"s3://{bucket}/moves/AWSDynamoDB/\d{{14}}-[0-9a-f]{{8}}/\n", result.stdout)
    assert "Exported " in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--endpoint-url", "127.0.0.1:8000"),
        ("--endpoint-url", "http://127.0.0.1:x"),
        ("--endpoint-url", "http://"),
        ("--s3-endpoint-url", "http://a b"),
        ("--region", "eu west"),
        ("--region", "eu-west"),
        ("--bucket-owner", "22222222222"),
        ("--bucket-owner", "\uff12\uff12\uff12\uff12\uff12\uff12\uff12\uff12\uff12\uff12\uff12\uff12"),
    ],
)
@pytest.mark.parametrize("command", ["ddb-export", "ddb-import", "ddb-verify"])
def test_values_are_checked_where_they_are_given(command: str, words: tuple[str, ...]) -> None:
    """A bad endpoint, Region or account is a usage error that names the option."""
    arguments = ("Orders", "s3://bucket") if command == "ddb-export" else ("s3://bucket/x", "Orders")
    result = commands.run(command, *arguments, *words, "--json", check=False)
    refused(result, 2, words[0])


@pytest.mark.parametrize(
    "words",
    [
        ("no", "s3://bucket"),
        ("a/b", "s3://bucket"),
        ("Orders", "s3://ab"),
        ("Orders", "s3://buc..ket"),
        ("Orders", "s3://10.0.0.1/x"),
        ("Orders", "s3://bucket/*"),
        ("Orders", "s3://bucket", "--shard-size", "0"),
        ("Orders", "s3://bucket", "--shard-size", "²"),
        ("Orders", "s3://bucket", "--shard-size", "100GB"),
    ],
)
def test_names_and_sizes_of_an_export_are_checked(words: tuple[str, ...]) -> None:
    """Before anything is asked of AWS."""
    refused(commands.run("ddb-export", *words, "--json", check=False), 2)


def test_a_failure_of_ddb_policy_is_json_too() -> None:
    """All four commands print it, usage errors of the command line included."""
    refused(commands.run("ddb-policy", "--json", check=False), 2, "--bucket")
