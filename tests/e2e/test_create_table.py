"""`ddb-import --create-table` makes the table as it was, continues with one that fits, and refuses one that does not."""

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from e2e.conftest import Mover
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.fingerprints import assert_same_tables
from support.services import Endpoint
from support.tables import KeySpec, create_table, fill, scan
from support.varied import varied_items

INDEX = {
    "IndexName": "by-name",
    "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "ALL"},
}
DEFINITIONS = [
    {"AttributeName": "pk", "AttributeType": "S"},
    {"AttributeName": "sk", "AttributeType": "N"},
    {"AttributeName": "name", "AttributeType": "S"},
]


@pytest.fixture
def source(engine: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> str:
    """A table with an index, a stream, time to live and deletion protection; on MiniStack also tags and a policy."""
    client, name = accounts.dynamodb(engine, SOURCE), unique_name()
    create_table(
        client,
        name,
        AttributeDefinitions=DEFINITIONS,
        GlobalSecondaryIndexes=[INDEX],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        DeletionProtectionEnabled=True,
    )
    client.update_time_to_live(
        TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )
    if engine.name == "ministack":
        arn = client.describe_table(TableName=name)["Table"]["TableArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{SOURCE}:root"},
            "Action": "dynamodb:GetItem",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        client.put_resource_policy(ResourceArn=arn, Policy=policy)
        client.tag_resource(ResourceArn=arn, Tags=[{"Key": "team", "Value": "blue"}])
        client.update_continuous_backups(
            TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )
    items = [item for item in varied_items(200) if "name" not in item]
    fill(client, name, items)
    return name


def settings_of(client: Any, name: str, engine: Endpoint) -> dict[str, Any]:
    """What of a table must be the same on both sides."""
    table = client.describe_table(TableName=name)["Table"]
    live = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    settings = {
        "keys": table["KeySchema"],
        "stream": table["StreamSpecification"],
        "protected": table["DeletionProtectionEnabled"],
        "indexes": [(index["IndexName"], index["KeySchema"]) for index in table["GlobalSecondaryIndexes"]],
        "ttl": live["AttributeName"],
    }
    if engine.name == "ministack":
        settings["tags"] = client.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"]
        backups = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        settings["backups"] = backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
    return settings


@pytest.mark.parametrize("indexes", ["with-table", "after-load"])
def test_the_table_is_as_it_was(
    mover: Mover,
    engine: Endpoint,
    accounts: Accounts,
    unique_name: Callable[[], str],
    source: str,
    indexes: str,
) -> None:
    """Items and settings; the policy in the destination's terms, shown before it was set."""
    name = unique_name()
    options = ("--create-table", "--with-resource-policy", "--indexes", indexes)
    result = mover.load(mover.exported(source), name, *options)
    ours, theirs = accounts.dynamodb(engine, SOURCE), accounts.dynamodb(engine, DESTINATION)
    assert settings_of(ours, source, engine) == settings_of(theirs, name, engine)
    assert_same_tables((ours, source), (theirs, name))
    assert all("could not be read" in difference["note"] for difference in result.json()["drift"])
    if engine.name == "ministack":
        arn = theirs.describe_table(TableName=name)["Table"]["TableArn"]
        policy = json.loads(theirs.get_resource_policy(ResourceArn=arn)["Policy"])
        assert policy["Statement"][0]["Resource"] == arn
        assert policy["Statement"][0]["Principal"]["AWS"] == f"arn:aws:iam::{DESTINATION}:root"
        assert f"arn:aws:iam::{SOURCE}:root -> arn:aws:iam::{DESTINATION}:root" in result.stderr


def test_a_policy_is_shown_and_not_set_unless_asked_for(
    aws_mover: Mover, aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """Whoever can write the manifest would grant access to the destination's table with it."""
    name, copy = unique_name(), unique_name()
    ours, theirs = accounts.dynamodb(aws, SOURCE), accounts.dynamodb(aws, DESTINATION)
    create_table(ours, name)
    arn = ours.describe_table(TableName=name)["Table"]["TableArn"]
    principals = {"AWS": ["arn:aws:iam::999999999999:root", f"arn:aws:iam::{SOURCE}:role/app"]}
    statement = {"Effect": "Allow", "Principal": principals, "Action": "dynamodb:*", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    ours.put_resource_policy(ResourceArn=arn, Policy=policy)
    export = aws_mover.exported(name)
    warning = f"it names principals outside of the accounts {SOURCE} and {DESTINATION}:\n  arn:aws:iam::999999999999:root\n"
    planned = aws_mover.load(export, copy, "--create-table", "--dry-run").json()
    assert any("principals outside" in note and '"dynamodb:*"' in note for note in planned["notes"])
    loaded = aws_mover.load(export, copy, "--create-table")
    assert warning in loaded.stderr
    assert '"Action": "dynamodb:*"' in loaded.stderr
    drift = {one["setting"]: one["note"] for one in loaded.json()["drift"]}
    assert drift["resource_policy"] == "not set; --with-resource-policy sets it"
    copied = theirs.describe_table(TableName=copy)["Table"]["TableArn"]
    with pytest.raises(theirs.exceptions.PolicyNotFoundException):
        theirs.get_resource_policy(ResourceArn=copied)
    assert warning in aws_mover.load(export, copy, "--create-table", "--with-resource-policy").stderr
    assert "999999999999" in theirs.get_resource_policy(ResourceArn=copied)["Policy"]


def test_definition_only_and_then_the_load(
    mover: Mover, engine: Endpoint, accounts: Accounts, unique_name: Callable[[], str], source: str
) -> None:
    """The first run makes an empty table without time to live; the second one continues with it."""
    name, export = unique_name(), mover.exported(source)
    client = accounts.dynamodb(engine, DESTINATION)
    first = mover.load(export, name, "--create-table", "--definition-only").json()
    assert (first["status"], first["items_written"]) == ("defined", 0)
    assert "set after the load" in {difference["note"] for difference in first["drift"]}
    assert [] == list(scan(client, name))
    live = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert live["TimeToLiveStatus"] == "DISABLED"
    assert mover.load(export, name, "--create-table").json()["status"] == "complete"
    assert settings_of(accounts.dynamodb(engine, SOURCE), source, engine) == settings_of(client, name, engine)
    again = mover.load(export, name, "--create-table").json()
    assert (again["items_written"], again["status"]) == (0, "complete")


def test_a_table_of_other_keys_is_refused_and_left(
    mover: Mover, engine: Endpoint, accounts: Accounts, unique_name: Callable[[], str], source: str
) -> None:
    """The drift report says what differs; nothing is dropped."""
    name, client = unique_name(), accounts.dynamodb(engine, DESTINATION)
    create_table(client, name, KeySpec(hash_name="other"))
    before = client.describe_table(TableName=name)["Table"]
    result = mover.load(mover.exported(source), name, "--create-table", check=False)
    assert result.exit_code == 1
    assert 'key: source [["pk", "S", "HASH"]' in result.stderr
    assert "never deletes or replaces a table" in result.stderr
    assert before == client.describe_table(TableName=name)["Table"]


def test_options_of_create_table_need_it(mover: Mover, bucket: str) -> None:
    """An option that would be without effect is a mistake."""
    export = f"s3://{bucket}/AWSDynamoDB/01715685260608-c488b4e1/"
    result = mover.load(export, "any-table", "--billing-mode", "provisioned", check=False)
    assert result.exit_code == 2
    assert "--billing-mode requires --create-table" in result.stderr


@pytest.mark.parametrize(
    ("option", "readings"), [("--dry-run", 1), ("--definition-only", 1), ("--indexes=with-table", 3)]
)
def test_settings_are_not_read_more_often_than_they_can_change(
    aws_mover: Mover,
    accounts: Accounts,
    aws: Endpoint,
    unique_name: Callable[[], str],
    option: str,
    readings: int,
) -> None:
    """Once for the report; with a load once more before the last settings are applied, and once afterwards."""
    source, copy = unique_name(), unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), source)
    create_table(accounts.dynamodb(aws, DESTINATION), copy)
    export = aws_mover.exported(source)
    result = aws_mover.load(export, copy, "--create-table", option, "--log-level", "debug")
    calls = Counter(
        re.findall(r"DEBUG .*?\b(DescribeTimeToLive|ListTagsOfResource|CreateTable)\b", result.stderr)
    )
    assert calls == {"DescribeTimeToLive": readings, "ListTagsOfResource": readings}


def test_time_to_live_is_set_only_once_the_comparison_has_passed(
    mover: Mover, engine: Endpoint, accounts: Accounts, source: str, unique_name: Callable[[], str]
) -> None:
    """It would delete what is compared: a table that differs gets none, and the same command sets it once it is equal."""
    client, copy, export = accounts.dynamodb(engine, DESTINATION), unique_name(), mover.exported(source)
    create_table(client, copy)
    extra = {"pk": {"S": "not of the export"}, "sk": {"N": "1"}}
    client.put_item(TableName=copy, Item=extra)

    def live() -> str | None:
        found = client.describe_time_to_live(TableName=copy)["TimeToLiveDescription"]
        return found.get("AttributeName") if found["TimeToLiveStatus"] != "DISABLED" else None

    words = (export, copy, "--create-table", "--verify")
    differs = mover.load(*words, "--on-existing", "overwrite", check=False)
    assert (differs.exit_code, differs.json()["verification"]["extra"], live()) == (4, 1, None)
    client.delete_item(TableName=copy, Key=extra)
    equal = mover.load(*words).json()
    assert (equal["verification"]["verdict"], live()) == ("identical", "expires")
