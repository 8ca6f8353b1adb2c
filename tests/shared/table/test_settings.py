"""A table's settings are read whole, and what cannot be read is unknown, not absent."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from ddb_shared.errors import AccessError
from ddb_shared.table.description import Table, describe, from_description
from ddb_shared.table.settings import (
    AUTOSCALING,
    READS,
    Clients,
    Setting,
    read_setting,
    read_settings,
    unknown_settings,
)
from support.accounts import Accounts
from support.environment import SOURCE
from support.services import Endpoint
from support.tables import create_table

TABLE = from_description(
    {
        "TableName": "Orders",
        "TableArn": "arn:aws:dynamodb:eu-west-1:111111111111:table/Orders",
        "TableStatus": "ACTIVE",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "GlobalSecondaryIndexes": [{"IndexName": "by-date"}],
    }
)


def stubbed(service: str) -> tuple[Any, Stubber]:
    client = boto3.client(
        service,
        region_name="eu-west-1",
        aws_access_key_id=SOURCE,
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )
    return client, Stubber(client)


@pytest.fixture
def read_real(
    engine: Endpoint, accounts: Accounts, unique_name: Callable[[], str]
) -> Callable[..., tuple[Table, dict[str, Setting]]]:
    client = accounts.dynamodb(engine, SOURCE)

    def read(prepare: Callable[[Any, str], None], **settings: Any) -> tuple[Table, dict[str, Setting]]:
        name = unique_name()
        create_table(client, name, **settings)
        prepare(client, name)
        table = describe(client, name)
        clients = Clients(client, accounts.client("application-autoscaling", engine, SOURCE))
        return table, read_settings(clients, table)

    return read


def test_time_to_live_is_read_and_services_lack_others(
    engine: Endpoint, read_real: Callable[..., tuple[Table, dict[str, Setting]]]
) -> None:
    """Every setting is there, each with a value or with the reason why it is unknown."""

    def set_ttl(client: Any, name: str) -> None:
        client.update_time_to_live(
            TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
        )

    _, settings = read_real(set_ttl)
    assert list(READS) == list(settings)
    assert settings["time_to_live"].value["AttributeName"] == "expires"
    unknown = unknown_settings(settings)
    assert "DescribeScalableTargets" in unknown["scalable_targets"]
    if engine.name == "dynamodb-local":
        assert "ListTagsOfResource" in unknown["tags"]
    else:
        assert {"scalable_targets", "scaling_policies", "scheduled_actions"} == unknown.keys()


def test_tags_policies_and_backups(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> None:
    """What MiniStack knows comes as AWS returns it; times become text."""
    name, client = unique_name(), accounts.dynamodb(aws, SOURCE)
    create_table(client, name, Tags=[{"Key": "team", "Value": "blue"}])
    arn = client.describe_table(TableName=name)["Table"]["TableArn"]
    client.put_resource_policy(ResourceArn=arn, Policy='{"Version":"2012-10-17","Statement":[]}')
    client.update_continuous_backups(
        TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    settings = read_settings(
        Clients(client, accounts.client("application-autoscaling", aws, SOURCE)), describe(client, name)
    )
    assert settings["tags"] == Setting([{"Key": "team", "Value": "blue"}])
    assert settings["resource_policy"] == Setting({"Version": "2012-10-17", "Statement": []})
    assert settings["stream_policy"] == Setting(None)
    backups = settings["point_in_time_recovery"].value
    assert backups["PointInTimeRecoveryStatus"] == "ENABLED"
    assert dt.datetime.fromisoformat(backups["EarliestRestorableDateTime"])


def test_a_denied_setting_is_unknown() -> None:
    """The reason names the permission that is missing."""
    client, stub = stubbed("dynamodb")
    for _ in range(20):
        stub.add_client_error("describe_time_to_live", "AccessDeniedException", "no")
    with stub:
        setting = read_setting(Clients(client, None), TABLE, "time_to_live")
    assert setting == Setting(unknown="the permission DescribeTimeToLive is missing: no")


def test_bad_credentials_end_the_run() -> None:
    """Nothing could be read with them, so nothing is recorded as unknown."""
    client, stub = stubbed("dynamodb")
    stub.add_client_error("describe_time_to_live", "ExpiredTokenException", "old")

    with stub, pytest.raises(AccessError):
        read_setting(Clients(client, None), TABLE, "time_to_live")


@pytest.mark.parametrize("account", ["222222222222", ""])
def test_autoscaling_is_not_read_of_the_callers_own_table_in_place_of_anothers(account: str) -> None:
    """It takes names alone: of an ARN of another account, or where the caller's is unknown, nothing is asked."""
    another = replace(TABLE, address=TABLE.arn)
    client, stub = stubbed("application-autoscaling")
    clients = Clients(None, client, lambda: account)
    with stub:  # which fails on any call
        settings = {name: read_setting(clients, another, name) for name in AUTOSCALING}
    assert {Setting(unknown="autoscaling is set in the table's own account")} == set(settings.values())
    assert AUTOSCALING < READS.keys()


def test_autoscaling_is_read_for_the_caller_s_table_by_its_arn() -> None:
    """In the caller's own account an ARN is another way to write the name."""
    own = replace(TABLE, address=TABLE.arn)
    client, stub = stubbed("application-autoscaling")
    stub.add_response("describe_scalable_targets", {"ScalableTargets": []})
    with stub:
        found = read_setting(Clients(None, client, lambda: TABLE.account), own, "scalable_targets")
    assert found == Setting([])


def test_autoscaling_is_read_for_the_table_and_its_indexes() -> None:
    """Targets in one call, policies for each resource."""
    client, stub = stubbed("application-autoscaling")
    target = {
        "ServiceNamespace": "dynamodb",
        "ResourceId": "table/Orders",
        "ScalableDimension": "dynamodb:table:WriteCapacityUnits",
        "MinCapacity": 5,
        "MaxCapacity": 50,
        "RoleARN": "arn:aws:iam::111111111111:role/aws-service-role/x",
        "CreationTime": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    }
    resources = ["table/Orders", "table/Orders/index/by-date"]
    stub.add_response(
        "describe_scalable_targets",
        {"ScalableTargets": [target]},
        {"ServiceNamespace": "dynamodb", "ResourceIds": resources},
    )
    for resource in resources:
        stub.add_response(
            "describe_scaling_policies",
            {"ScalingPolicies": []},
            {"ServiceNamespace": "dynamodb", "ResourceId": resource},
        )
    with stub:
        clients = Clients(None, client)
        assert [target] == READS["scalable_targets"](clients, TABLE)
        assert [] == READS["scaling_policies"](clients, TABLE)
        stub.assert_no_pending_responses()
