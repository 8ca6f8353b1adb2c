"""A Parquet export is a table for whoever reads Parquet, and moves between accounts as exactly as JSON lines."""

import base64
import hashlib
import json
import re
import signal
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2e.conftest import Mover
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, REGION, SECRET, SOURCE
from support.fingerprints import assert_same_tables
from support.items import conformance_items
from support.services import Endpoint
from support.tables import KeySpec, assert_same_items, by_key, create_table, fill, read_all, scan
from support.varied import varied_items

PARQUET = ("--format", "parquet")
KEYS = {
    "string-number": KeySpec(),
    "binary": KeySpec(hash_type="B", range_name=""),
    "number-string": KeySpec(hash_type="N", range_type="S"),
}
ATHENA = {
    "STRING": "string",
    "INT64": "bigint",
    "DOUBLE": "double",
    "BOOL": "boolean",
    "BINARY": "binary",
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())
def test_every_type_arrives(
    mover: Mover, accounts: Accounts, unique_name: Callable[[], str], key: KeySpec
) -> None:
    """Each item of the conformance set is equal in the destination, whatever its columns show of it."""
    items = conformance_items(key)
    source, destination = unique_name(), unique_name()
    create_table(accounts.dynamodb(mover.engine, SOURCE), source, key)
    create_table(accounts.dynamodb(mover.engine, DESTINATION), destination, key)
    fill(accounts.dynamodb(mover.engine, SOURCE), source, items)
    result = mover.load(mover.exported(source, *PARQUET), destination).json()
    assert (result["status"], result["items_written"], result["items_rejected"]) == (
        "complete",
        len(items),
        0,
    )
    assert_same_items(by_key(items, key), read_all(accounts.dynamodb(mover.engine, DESTINATION), destination))


def orders(count: int) -> list[dict[str, Any]]:
    """Items with what makes a query wrong: NULL and absent, numbers that do not fit, names that clash."""
    items = list(varied_items(count))
    for number, item in enumerate(items):
        item |= {
            "Note": {"S": "other case"},
            "item": {"S": "not the item"},
            "ship-to": {"S": f"ward {number % 7}"},
        }
        if number % 5 == 0:
            item["discount"] = {"NULL": True}
        elif number % 5 != 1:
            item["discount"] = {"N": str(number % 50)}
    items[-1]["discount"] = {"N": "9999999999999999999999"}
    return items


class Shop:
    """A table on MiniStack and its Parquet export, also copied to the disk."""

    def __init__(self, mover: Mover, accounts: Accounts, name: str, path: Path) -> None:
        self.client, self.s3 = accounts.dynamodb(mover.aws, SOURCE), accounts.s3(mover.aws, DESTINATION)
        self.mover, self.name, self.path = mover, name, path
        create_table(self.client, name)
        fill(self.client, name, orders(2_000))
        self.export = mover.exported(name, *PARQUET, "--segments", 6, "--shard-size", "30kB")
        self.prefix = self.export.removeprefix(f"s3://{mover.bucket}/")
        for key in self.keys("data/"):
            self.s3.download_file(mover.bucket, key, str(path / Path(key).name))

    def keys(self, below: str) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=self.mover.bucket, Prefix=self.prefix + below)
        return [entry["Key"] for entry in listed["Contents"]]

    def manifest(self) -> dict[str, Any]:
        body = self.s3.get_object(Bucket=self.mover.bucket, Key=self.prefix + "manifest.json")["Body"]
        return json.loads(body.read())  # type: ignore[no-any-return]

    def items(self) -> list[Any]:
        return list(scan(self.client, self.name))


@pytest.fixture
def shop(aws_mover: Mover, accounts: Accounts, unique_name: Callable[[], str], tmp_path: Path) -> Shop:
    return Shop(aws_mover, accounts, unique_name(), tmp_path)


def test_duckdb_agrees_with_boto3(shop: Shop) -> None:
    """Through the view that --ddl prints: counts, exact sums, groups, NULL against absent, filters on the key."""
    view = commands.run("ddb-export", "--ddl", "duckdb", shop.export, endpoint=shop.mover.aws).stdout
    # DuckDB reads S3 by an extension that it downloads; the tests stay on this machine
    database = duckdb.connect()
    database.execute(view.replace(f"{shop.export}data/", f"{shop.path}/"))

    def ask(query: str) -> Any:
        return database.execute(
            query.replace("$T", f'"{re.sub("[^A-Za-z0-9_]", "_", shop.name)}"')
        ).fetchall()

    items = shop.items()
    totals = [Decimal(item["total"]["N"]) for item in items]
    states = Counter(item["state"]["S"] for item in items)
    discounts = Counter(next(iter(item["discount"])) if "discount" in item else "absent" for item in items)
    assert ask("SELECT count(*), sum(total), max(total) FROM $T") == [(2_000, sum(totals), max(totals))]
    assert dict(ask("SELECT state, count(*) FROM $T GROUP BY state")) == states
    assert ask("SELECT count(discount), count(*) FROM $T") == [(discounts["N"] - 1, 2_000)]
    # what the column can't show, the item tells
    assert ask("SELECT count(*) FROM $T WHERE (item->'$.discount.NULL') IS NOT NULL") == [
        (discounts["NULL"],)
    ]
    assert ask("SELECT count(*) FROM $T WHERE (item->'$.discount') IS NULL") == [(discounts["absent"],)]
    assert ask(
        "SELECT item->>'$.discount.N' FROM $T WHERE discount IS NULL AND (item->'$.discount.N') IS NOT NULL"
    ) == [("9999999999999999999999",)]
    assert ask("SELECT count(*) FROM $T WHERE sk BETWEEN 100 AND 199 AND ship_to = 'ward 3'") == [
        (sum(100 <= int(i["sk"]["N"]) < 200 and i["ship-to"]["S"] == "ward 3" for i in items),)
    ]
    assert ask("SELECT sum(len(tags)), sum(octet_length(digest)) FROM $T") == [
        (sum(len(item["tags"]["SS"]) for item in items), sum(len(item["digest"]["B"]) for item in items))
    ]


def test_polars_agrees_with_boto3_on_s3(shop: Shop) -> None:
    """By its own S3 client: counts, sums, groups, binary, sets."""
    frame = pl.scan_parquet(
        f"{shop.export}data/*.parquet",
        storage_options={
            "aws_access_key_id": DESTINATION,
            "aws_secret_access_key": SECRET,
            "aws_region": REGION,
            "aws_endpoint_url": shop.mover.aws if isinstance(shop.mover.aws, str) else shop.mover.aws.url,
            "aws_allow_http": "true",
        },
    )
    items = shop.items()
    found = frame.select(
        pl.len(), pl.col("total").sum(), pl.col("discount").null_count().alias("nulls")
    ).collect()
    total = sum(Decimal(item["total"]["N"]) for item in items)
    fitting = [item for item in items if len(item.get("discount", {}).get("N", "x" * 20)) < 20]
    assert found.rows() == [(2_000, total, 2_000 - len(fitting))]
    groups = frame.group_by("state").len().collect().rows()
    assert dict(groups) == Counter(item["state"]["S"] for item in items)
    rows = {row["sk"]: row for row in frame.collect().to_dicts()}
    for item in items:
        row = rows[int(item["sk"]["N"])]
        assert (row["digest"], row["active"]) == (item["digest"]["B"], item["active"]["BOOL"])
        assert set(row["tags"]) == set(item["tags"]["SS"])
        assert json.loads(row["item"]).keys() == item.keys()


def test_the_manifest_and_the_files_tell_the_columns(shop: Shop) -> None:
    """Names that clash are recorded; AWS's manifests, which know no Parquet, are not there."""
    manifest = shop.manifest()
    columns = {
        column["attribute"]: (column["name"], column["type"]) for column in manifest["options"]["columns"]
    }
    assert (manifest["options"]["format"], manifest["options"]["compression"]) == ("parquet", "zstd")
    assert columns["item"] == ("item_2", "string")
    assert {columns["note"][0], columns["Note"][0]} == {"Note", "note_2"}
    assert columns["ship-to"] == ("ship_to", "string")
    assert columns["total"] == ("total", "decimal(38,2)")
    assert not any("manifest-" in key for key in shop.keys(""))
    for file in shop.path.glob("*.parquet"):
        said = pq.read_metadata(file).metadata
        assert json.loads(said[b"ddb-transfer.columns"]) == manifest["options"]["columns"]
        assert json.loads(said[b"ddb-transfer.key_schema"]) == manifest["table"]["KeySchema"]
        assert said[b"ddb-transfer.table"].decode() == manifest["source"]["table_arn"]
        assert said[b"ddb-transfer.format"] == b"ddb-transfer/1"


def test_athena_s_statement_has_the_types_of_the_files(shop: Shop) -> None:
    """Each column of the statement, in order, against the Parquet schema."""
    printed = commands.run(
        "ddb-export", "--ddl", "athena", shop.export, "--json", endpoint=shop.mover.aws
    ).json()
    statement = printed["statement"]
    schema = pq.read_schema(next(shop.path.glob("*.parquet")))
    expected = [(field.name.lower(), athena_type(field.type)) for field in schema]
    assert re.findall(r"^  `(\w+)` (\S+?),?$", statement, re.MULTILINE) == expected
    assert f"LOCATION '{shop.export}data/'" in statement
    assert statement.startswith("CREATE EXTERNAL TABLE `")


def athena_type(kind: pa.DataType) -> str:
    """https://docs.aws.amazon.com/athena/latest/ug/data-types.html"""
    if pa.types.is_list(kind):
        return f"array<{athena_type(kind.value_type)}>"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return ATHENA[str(kind).upper()]


def test_ddl_is_for_parquet(
    aws_mover: Mover, aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """An export of JSON lines has no columns; a table's name is no export."""
    source = unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), source)
    export = aws_mover.exported(source)
    refused = commands.run("ddb-export", "--ddl", "duckdb", export, endpoint=aws, check=False)
    assert (refused.exit_code, "--format parquet" in refused.stderr) == (2, True)
    assert commands.run("ddb-export", "--ddl", "duckdb", endpoint=aws, check=False).exit_code == 2


def test_chosen_columns(shop: Shop) -> None:
    """The keys and what was asked for; without Parquet there is nothing to ask for."""
    export = shop.mover.exported(
        shop.name, *PARQUET, "--columns", "total:double,tags:list<string>", "--compression", "gzip"
    )
    key = next(
        iter(
            shop.s3.list_objects_v2(
                Bucket=shop.mover.bucket, Prefix=export[len(f"s3://{shop.mover.bucket}/") :] + "data/"
            )["Contents"]
        )
    )
    shop.s3.download_file(shop.mover.bucket, key["Key"], str(shop.path / "chosen"))
    schema = pq.read_schema(shop.path / "chosen")
    assert schema.names == ["pk", "sk", "total", "tags", "item"]
    assert schema.field("total").type == pa.float64()
    for words in (("--columns", "total:double"), (*PARQUET, "--columns", "total")):
        refused = shop.mover.export(shop.name, f"s3://{shop.mover.bucket}", *words, check=False)
        assert (refused.exit_code, "--columns" in refused.stderr) == (2, True)


def test_columns_that_nothing_fills_are_warned_about(shop: Shop) -> None:
    """A misspelt name would give a column of nulls; the plan says so as the run does, and refuses what the run refuses."""
    place = f"s3://{shop.mover.bucket}"
    words = (*PARQUET, "--columns", "totl:double,total:double")
    for more in (("--dry-run",), ()):
        found = shop.mover.export(shop.name, place, *words, *more)
        assert "have these --columns" in found.stderr or "has these --columns" in found.stderr
        assert ": totl:double." in found.stderr
        refused = shop.mover.export(shop.name, place, "--columns", "total:double", *more, check=False)
        assert (refused.exit_code, "--columns requires --format parquet" in refused.stderr) == (2, True)


def test_an_interrupted_export_keeps_its_columns(shop: Shop) -> None:
    """A resumed export asks no new sample, refuses other columns, and its files have one schema."""
    arguments = (shop.name, f"s3://{shop.mover.bucket}/cut", *PARQUET, "--segments", 24, "--max-rcu", 6)

    def started() -> list[str]:
        listed = shop.s3.list_objects_v2(Bucket=shop.mover.bucket, Prefix="cut/").get("Contents", ())
        return [entry["Key"] for entry in listed if "/segments/" in entry["Key"]]

    with commands.start(
        "ddb-export", *arguments, "--json", account=SOURCE, endpoint=shop.mover.aws
    ) as process:
        while not started() and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    export = f"s3://{shop.mover.bucket}/{started()[0].partition('segments/')[0]}"
    refused = shop.mover.export("--resume", export, "--columns", "state:binary", check=False)
    assert (refused.exit_code, "--columns is state:binary" in refused.stderr) == (2, True)
    assert shop.mover.export("--resume", export).json()["items"] == 2_000
    keys = shop.s3.list_objects_v2(
        Bucket=shop.mover.bucket, Prefix=export[len(f"s3://{shop.mover.bucket}/") :] + "data/"
    )
    schemas = set()
    for entry in keys["Contents"]:
        shop.s3.download_file(shop.mover.bucket, entry["Key"], str(shop.path / "one"))
        schemas.add(str(pq.read_schema(shop.path / "one")))
    assert len(schemas) == 1


def test_an_interrupted_import_goes_on(
    shop: Shop, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """Confirmed items are not written twice; the end is exact, and ddb-verify says so."""
    destination = unique_name()
    client = accounts.dynamodb(shop.mover.aws, DESTINATION)
    create_table(client, destination)
    words = (shop.export, destination, "--max-wcu", 400, "--json")
    with commands.start("ddb-import", *words, account=DESTINATION, endpoint=shop.mover.aws) as process:
        while (
            client.describe_table(TableName=destination)["Table"]["ItemCount"] < 300
            and process.poll() is None
        ):
            pass
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    result = shop.mover.load(shop.export, destination).json()
    assert result["items_resumed"] > 0
    assert result["items_written"] + result["items_resumed"] == 2_000
    assert_same_tables((shop.client, shop.name), (client, destination))
    verified = commands.run(
        "ddb-verify", shop.export, destination, "--json", account=DESTINATION, endpoint=shop.mover.aws
    ).json()
    assert verified["verdict"] == "identical"


def test_refused_items_lie_in_the_rejects(
    shop: Shop, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """An index of the destination wants another type of one attribute: those items are rejects, as they were."""
    destination = unique_name()
    client = accounts.dynamodb(shop.mover.aws, DESTINATION)
    create_table(client, destination)
    largest = max(shop.manifest()["shards"], key=lambda shard: shard["items"])
    file = shop.path / Path(largest["key"]).name
    lines = pq.read_table(file)["item"].to_pylist()
    bad = json.loads(lines[3])
    bad["sk"] = {"S": "not a number"}
    replaced = [*lines[:3], json.dumps(bad), *lines[4:]]
    table = pq.read_table(file)
    pq.write_table(table.set_column(table.num_columns - 1, "item", pa.array(replaced)), file)
    _put_with_its_record(shop, file, largest)
    result = shop.mover.load(shop.export, destination, check=False)
    assert (result.exit_code, result.json()["items_rejected"]) == (3, 1)
    storage = result.json()["rejects"].removeprefix(f"s3://{shop.mover.bucket}/")
    (key,) = [
        e["Key"]
        for e in shop.s3.list_objects_v2(Bucket=shop.mover.bucket, Prefix=storage)["Contents"]
        if e["Size"]
    ]
    reject = json.loads(shop.s3.get_object(Bucket=shop.mover.bucket, Key=key)["Body"].read())
    assert (reject["Item"], reject["line"]) == (bad, 4)


def _put_with_its_record(shop: Shop, file: Path, shard: dict[str, Any]) -> None:
    """Someone changed a shard and the manifest with it, as only the owner of the bucket can."""
    data, manifest = file.read_bytes(), shop.manifest()
    record = next(one for one in manifest["shards"] if one["key"] == shard["key"])
    record |= {
        "stored_bytes": len(data),
        "md5": base64.b64encode(hashlib.md5(data).digest()).decode(),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    shop.s3.put_object(Bucket=shop.mover.bucket, Key=shard["key"], Body=data)
    shop.s3.put_object(
        Bucket=shop.mover.bucket, Key=f"{shop.prefix}manifest.json", Body=json.dumps(manifest).encode()
    )


@pytest.mark.parametrize("place", [0.5, 0.99])
def test_an_altered_shard_is_refused_before_a_write(
    shop: Shop, accounts: Accounts, unique_name: Callable[[], str], place: float
) -> None:
    """One byte, in an item or in the footer: exit code 1, and the shard is named."""
    destination = unique_name()
    create_table(accounts.dynamodb(shop.mover.aws, DESTINATION), destination)
    key = shop.keys("data/")[0]
    data = bytearray(shop.s3.get_object(Bucket=shop.mover.bucket, Key=key)["Body"].read())
    data[int(len(data) * place)] ^= 1
    shop.s3.put_object(Bucket=shop.mover.bucket, Key=key, Body=bytes(data))
    refused = shop.mover.load(shop.export, destination, check=False)
    assert refused.exit_code == 1
    assert Path(key).name in refused.stderr
    assert "sha256 differs from the manifest" in refused.stderr
    assert "Traceback" not in refused.stderr
