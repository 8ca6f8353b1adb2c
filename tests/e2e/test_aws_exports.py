"""Exports that AWS itself wrote are imported and verified as exactly as ours: JSON lines and Ion, wherever they were copied."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import Mover
from support.accounts import Accounts
from support.aws_exports import AwsExportFiles, Form, full_export
from support.environment import DESTINATION
from support.items import conformance_items
from support.memory import MemoryFolder
from support.services import Endpoint
from support.tables import SIMPLE_KEY, assert_same_items, by_key, create_table, read_all
from support.varied import varied_items

GENUINE = Path(__file__).parents[1] / "data" / "aws-export"
ION = Form(output_format="ION")


@pytest.fixture
def s3(aws: Endpoint, accounts: Accounts) -> Any:
    return accounts.s3(aws, DESTINATION)


def run(mover: Mover, command: str, *arguments: object, **options: Any) -> Any:
    return mover._run(command, DESTINATION, *arguments, **options)


@pytest.mark.parametrize("form", [Form(), ION, Form(compression="zstd")], ids=["json", "ion", "zstd"])
def test_an_export_of_every_type_arrives(
    mover: Mover, accounts: Accounts, s3: Any, unique_name: Callable[[], str], form: Form
) -> None:
    """Into a table made from --key alone; the verification passes; the same command again loads nothing."""
    table, items = unique_name(), conformance_items()
    export = full_export(items, "dynamodb-export/", form=form).put(s3, mover.bucket)
    words = (export, table, "--create-table", "--key", "pk:S,sk:N", "--verify")
    result = mover.load(*words).json()
    assert (result["status"], result["items_written"], result["items_rejected"]) == (
        "complete",
        len(items),
        0,
    )
    assert (result["shards_done"], result["shards_total"]) == (4, 4)
    assert result["verification"]["verdict"] == "identical"
    client = accounts.dynamodb(mover.engine, DESTINATION)
    assert_same_items(by_key(items), read_all(client, table))
    again = mover.load(*words).json()
    assert (again["items_written"], again["items_resumed"]) == (0, len(items))
    verdict = run(mover, "ddb-verify", export + "manifest-summary.json", table).json()
    assert verdict["verdict"] == "identical"


def copied(export: AwsExportFiles, folder: str) -> AwsExportFiles:
    """The files of an export moved to a folder of any name, as `aws s3 cp --recursive` does."""
    return replace(
        export, files={folder + key.removeprefix(export.folder): data for key, data in export.files.items()}
    )


@pytest.mark.parametrize("folder", ["backups/orders/", "other/AWSDynamoDB/01715685260608-c488b4e1/"])
@pytest.mark.parametrize("form", [Form(), ION], ids=["json", "ion"])
def test_a_copy_is_imported_where_it_is(
    aws_mover: Mover, accounts: Accounts, s3: Any, unique_name: Callable[[], str], folder: str, form: Form
) -> None:
    """Keys in the manifests are those of the first place; checksums are of the bytes, so copies are proven too."""
    table, items = unique_name(), list(varied_items(60))
    copied(full_export(items, "dynamodb-export/", form=form), folder).put(s3, aws_mover.bucket)
    create_table(accounts.dynamodb(aws_mover.aws, DESTINATION), table)
    assert aws_mover.load(f"s3://{aws_mover.bucket}/{folder}", table).json()["items_written"] == 60
    assert_same_items(by_key(items), read_all(accounts.dynamodb(aws_mover.aws, DESTINATION), table))


def test_the_genuine_sample_is_imported(
    aws_mover: Mover, accounts: Accounts, s3: Any, unique_name: Callable[[], str]
) -> None:
    """In AWS's own bytes, copied into another bucket below another prefix."""
    folder = MemoryFolder.of(GENUINE, "kept/AWSDynamoDB/01715685260608-c488b4e1")
    for name, data in folder.files.items():
        s3.put_object(Bucket=aws_mover.bucket, Key=folder.prefix + name, Body=data)
    table = unique_name()
    words = (f"s3://{aws_mover.bucket}/{folder.prefix}", table, "--create-table", "--key", "id:S")
    assert aws_mover.load(*words, "--verify").json()["items_written"] == 3
    found = read_all(accounts.dynamodb(aws_mover.aws, DESTINATION), table)
    assert len(found) == 3


def test_what_dynamodb_refuses_is_kept_with_its_reason(
    aws_mover: Mover, accounts: Accounts, s3: Any, unique_name: Callable[[], str]
) -> None:
    """An item without the key: exit 3, and the item in DynamoDB JSON, so that it can be corrected."""
    table = unique_name()
    export = full_export(
        [{"pk": {"S": "a"}}, {"other": {"S": "b"}}, {"pk": {"S": "c"}, "x": {"N": "7"}}], form=ION
    )
    create_table(accounts.dynamodb(aws_mover.aws, DESTINATION), table, SIMPLE_KEY)
    result = aws_mover.load(export.put(s3, aws_mover.bucket), table, check=False)
    assert (result.exit_code, result.json()["items_rejected"], result.json()["items_written"]) == (3, 1, 2)
    prefix = result.json()["rejects"].removeprefix(f"s3://{aws_mover.bucket}/")
    listed = s3.list_objects_v2(Bucket=aws_mover.bucket, Prefix=prefix)["Contents"]
    (key,) = [entry["Key"] for entry in listed if entry["Size"]]
    (reject,) = s3.get_object(Bucket=aws_mover.bucket, Key=key)["Body"].read().splitlines()
    assert json.loads(reject)["Item"] == {"other": {"S": "b"}}


def test_an_altered_file_is_found_before_anything_is_written(
    aws_mover: Mover, accounts: Accounts, s3: Any, unique_name: Callable[[], str]
) -> None:
    """AWS's manifests tell no size, so the checksum does; the table stays empty."""
    table = unique_name()
    items = list(varied_items(21))
    export, other = full_export(items[:20], files=1), full_export(items[1:], files=1)
    (key,) = [key for key, data in export.files.items() if "/data/" in key and len(data) > 40]
    export.files[key] = other.files[key]
    create_table(accounts.dynamodb(aws_mover.aws, DESTINATION), table)
    result = aws_mover.load(export.put(s3, aws_mover.bucket), table, check=False)
    assert result.exit_code == 1
    assert "is damaged" in result.stderr
    assert read_all(accounts.dynamodb(aws_mover.aws, DESTINATION), table) == {}


def test_the_key_has_to_be_given_and_has_to_be_missing(
    aws_mover: Mover,
    accounts: Accounts,
    aws: Endpoint,
    s3: Any,
    unique_name: Callable[[], str],
    tmp_path: Path,
) -> None:
    """AWS's exports hold no definition; ours do, and --key is no second opinion. A file is as good."""
    table = unique_name()
    export = full_export([{"pk": {"S": "a"}}]).put(s3, aws_mover.bucket)
    refused = aws_mover.load(export, table, "--create-table", check=False)
    assert refused.exit_code == 1
    assert "--key pk:S,sk:N" in refused.stderr
    source = unique_name()
    create_table(accounts.dynamodb(aws, "111111111111"), source, SIMPLE_KEY)
    ours = aws_mover.exported(source)
    refused = aws_mover.load(ours, table, "--create-table", "--key", "pk:S", check=False)
    assert (refused.exit_code, "holds the table's definition" in refused.stderr) == (2, True)
    file = tmp_path / "table.json"
    definition = accounts.dynamodb(aws, "111111111111").describe_table(TableName=source)["Table"]
    file.write_text(json.dumps({"Table": definition}, default=str))
    result = aws_mover.load(export, table, "--create-table", "--definition", file).json()
    assert result["items_written"] == 1
