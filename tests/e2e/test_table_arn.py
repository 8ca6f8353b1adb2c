"""TABLE as an ARN: everything goes to that table, and nothing to one of the caller's own with the same name."""

import json
import signal
from collections.abc import Callable, Iterator

import pytest

from e2e.conftest import Mover
from e2e.test_resume import interrupt
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, REGION, SOURCE
from support.fingerprints import assert_same_tables
from support.resource_policies import TablesOfOthers, tables_of_others
from support.services import Endpoint
from support.tables import create_table, fill, scan
from support.varied import varied_items

OTHER = "333333333333"


@pytest.fixture
def proxy(aws: Endpoint) -> Iterator[TablesOfOthers]:
    with tables_of_others(aws) as running:
        yield running


@pytest.fixture
def name(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> str:
    """A table of this name in three accounts; that of OTHER alone has items."""
    name = unique_name()
    for account in (SOURCE, DESTINATION, OTHER):
        create_table(accounts.dynamodb(aws, account), name)
    fill(accounts.dynamodb(aws, OTHER), name, varied_items(300))
    return name


def arn_of(name: str) -> str:
    return f"arn:aws:dynamodb:{REGION}:{OTHER}:table/{name}"


def test_a_table_of_another_account_is_exported(
    proxy: TablesOfOthers,
    aws: Endpoint,
    bucket: str,
    accounts: Accounts,
    name: str,
    unique_name: Callable[[], str],
) -> None:
    """The caller has an empty table of the same name; a resume finds the right one again, also without TABLE."""
    mover = Mover(proxy.url, aws, bucket)
    words = ("ddb-export", arn_of(name), f"s3://{bucket}", "--segments", 24, "--max-rcu", 4)
    process = commands.start(*words, endpoint=proxy.url, s3_endpoint=aws)
    s3 = accounts.s3(aws, DESTINATION)

    def exports() -> list[str]:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return [f"s3://{bucket}/{key.partition('segments/')[0]}" for key in keys if "/segments/" in key]

    code, errors, _ = interrupt(process, signal.SIGTERM, lambda: bool(exports()))
    assert code == 143, errors
    assert {arn_of(name)} == {table for _, table in proxy.named}
    result = mover.export("--resume", exports()[0]).json()
    assert (result["status"], result["items"]) == ("complete", 300)
    assert {"DescribeTable"} == {operation for operation, table in proxy.named if table == name}
    manifest = s3.get_object(
        Bucket=bucket, Key=exports()[0].removeprefix(f"s3://{bucket}/") + "manifest.json"
    )
    settings = json.load(manifest["Body"])["settings"]
    assert settings["scalable_targets"]["unknown"] == "autoscaling is set in the table's own account"
    copy = unique_name()
    create_table(accounts.dynamodb(aws, DESTINATION), copy)
    Mover(aws, aws, bucket).load(exports()[0], copy)
    assert_same_tables((accounts.dynamodb(aws, OTHER), name), (accounts.dynamodb(aws, DESTINATION), copy))


def test_a_table_of_another_account_is_loaded(
    proxy: TablesOfOthers,
    aws: Endpoint,
    bucket: str,
    accounts: Accounts,
    name: str,
    unique_name: Callable[[], str],
) -> None:
    """Emptiness, backups, items and state are those of the ARN's table; the caller's own of the same name stays empty."""
    source = unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), source)
    fill(accounts.dynamodb(aws, SOURCE), source, varied_items(50))
    export = Mover(aws, aws, bucket).exported(source)
    mover = Mover(proxy.url, aws, bucket)
    proxy.named.clear()
    refused = mover.load(export, arn_of(name), check=False)
    assert (refused.exit_code, "--on-existing overwrite" in refused.stderr) == (1, True)
    for words in (("--on-existing", "skip"), ("--restart", "--on-existing", "overwrite")):
        loaded = mover.load(export, arn_of(name), *words).json()
        assert (loaded["table"], loaded["items_written"] + loaded["items_skipped"]) == (arn_of(name), 50)
    assert {arn_of(name)} == {table for _, table in proxy.named}
    operations = {"DescribeTable", "Scan", "DescribeContinuousBackups", "PutItem", "BatchWriteItem"}
    assert operations <= {operation for operation, _ in proxy.named}
    assert [] == list(scan(accounts.dynamodb(aws, DESTINATION), name))
    status = mover.load(export, arn_of(name), "--status").json()
    assert (status["status"], status["table"]) == ("complete", arn_of(name))


def test_an_endpoint_that_answers_with_another_table_is_refused(
    ddb_local: Endpoint, aws: Endpoint, bucket: str, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """DynamoDB Local takes any account's ARN for the caller's own table."""
    source, destination = unique_name(), unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), source)
    export = Mover(aws, aws, bucket).exported(source)
    create_table(accounts.dynamodb(ddb_local, DESTINATION), destination)
    refused = Mover(ddb_local, aws, bucket).load(export, arn_of(destination), check=False)
    assert refused.exit_code == 1
    assert (
        f"DescribeTable returned arn:aws:dynamodb:ddblocal:000000000000:table/{destination}" in refused.stderr
    )
