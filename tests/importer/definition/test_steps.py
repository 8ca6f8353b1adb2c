"""What is set after the load: the calls for what no local server knows, and patience with a busy table."""

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from ddb_import.definition.drift import drift, missing
from ddb_import.definition.steps import APPLIED, STEPS, Target, retry_while_busy
from ddb_import.definition.table_spec import spec_of
from ddb_shared.table.settings import Clients, Setting

ARN = "arn:aws:dynamodb:eu-west-1:222222222222:table/Copy"
KEY = {
    "TableName": "Orders",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
}


def client(service: str) -> Any:
    return boto3.client(
        service,
        region_name="eu-west-1",
        aws_access_key_id="222222222222",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def stubs() -> Iterator[tuple[Target, Stubber, Stubber, list[float]]]:
    """A target whose services answer only what a test expects, and the waits that it took."""
    dynamodb, autoscaling = client("dynamodb"), client("application-autoscaling")
    waits: list[float] = []
    target = Target(
        clients=Clients(dynamodb, autoscaling),
        table="Copy",
        name="Copy",
        arn=ARN,
        billing_mode="PROVISIONED",
        stopped=lambda: False,
        sleep=waits.append,
    )
    with Stubber(dynamodb) as tables, Stubber(autoscaling) as scaling:
        yield target, tables, scaling, waits
        tables.assert_no_pending_responses()
        scaling.assert_no_pending_responses()


def test_autoscaling_is_set_for_the_table_s_new_name(
    stubs: tuple[Target, Stubber, Stubber, list[float]],
) -> None:
    """Targets and policies of an index follow it; ARNs, alarms and the role of the source are left behind."""
    target, _, scaling, _ = stubs
    resource = {
        "ServiceNamespace": "dynamodb",
        "ResourceId": "table/Orders/index/by-date",
        "ScalableDimension": "dynamodb:index:WriteCapacityUnits",
    }
    tracking = {
        "TargetValue": 70.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "DynamoDBWriteCapacityUtilization"},
    }
    kind = {"PolicyType": "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration": tracking}
    settings = {
        "scalable_targets": Setting([{**resource, "MinCapacity": 5, "MaxCapacity": 9, "RoleARN": "arn:1"}]),
        "scaling_policies": Setting(
            [{**resource, **kind, "PolicyName": "p", "PolicyARN": "arn:2", "Alarms": []}]
        ),
    }
    values = spec_of(KEY, settings).values
    renamed = resource | {"ResourceId": "table/Copy/index/by-date"}
    scaling.add_response("register_scalable_target", {}, {**renamed, "MinCapacity": 5, "MaxCapacity": 9})
    scaling.add_response("put_scaling_policy", {"PolicyARN": "arn:3"}, {**renamed, **kind, "PolicyName": "p"})
    for step in ("scalable_target", "scaling_policy"):
        STEPS[step](target, {name: value for name, value in values.items() if name.startswith(step)})


def test_a_scheduled_action_keeps_its_start_and_end(
    stubs: tuple[Target, Stubber, Stubber, list[float]],
) -> None:
    """Without them it would run at once, or for ever. One whose end has passed is reported and left out."""
    target, _, scaling, _ = stubs
    dimension = {"ServiceNamespace": "dynamodb", "ScalableDimension": "dynamodb:table:ReadCapacityUnits"}
    common = {**dimension, "Schedule": "cron(0 8 * * ? *)", "ScalableTargetAction": {"MinCapacity": 9}}
    past, future = "2020-01-01T00:00:00.000Z", "2990-01-01T00:00:00.000Z"
    times = {
        "waiting": {"StartTime": future, "EndTime": future},
        "running": {"StartTime": past, "EndTime": future},
        "over": {"StartTime": past, "EndTime": past},
    }
    actions = [
        {**common, **moments, "ResourceId": "table/Orders", "ScheduledActionName": name, "CreationTime": past}
        for name, moments in times.items()
    ]
    desired = spec_of(KEY, {"scheduled_actions": Setting(actions)})
    resource = {"ResourceId": "table/Copy"}
    for name, kept in (("waiting", times["waiting"]), ("running", {"EndTime": future})):
        expected = {**common, **resource, "ScheduledActionName": name, **kept}
        scaling.add_response("put_scheduled_action", {}, expected)
    nothing = spec_of(KEY, {"scheduled_actions": Setting([])})
    STEPS["scheduled_action"](target, missing(desired, nothing, "scheduled_action"))
    (left,) = [str(one) for one in drift(desired, nothing, applied=APPLIED) if "expired" in one.setting]
    assert left.startswith("expired_scheduled_action:dynamodb:table:ReadCapacityUnits over: source {")
    assert left.endswith("not copied: its end has passed")


def test_vector_indexes_are_made_after_the_load(stubs: tuple[Target, Stubber, Stubber, list[float]]) -> None:
    """A vector of a wrong length would make a write fail."""
    target, tables, _, _ = stubs
    index = {
        "IndexName": "near",
        "VectorAttribute": {"AttributeName": "v"},
        "SearchSchema": [{"AttributeName": "pk", "SearchSchemaElementType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
        "Dimensions": 3,
        "DistanceFunction": "COSINE",
    }
    values = spec_of(
        {**KEY, "VectorIndexes": [{**index, "IndexStatus": "ACTIVE", "ItemCount": 1}]}, {}
    ).values
    tables.add_response(
        "update_table",
        {},
        {
            "TableName": "Copy",
            "AttributeDefinitions": KEY["AttributeDefinitions"],
            "VectorIndexUpdates": [{"Create": index}],
        },
    )
    tables.add_response("describe_table", {"Table": {"TableStatus": "ACTIVE"}}, {"TableName": "Copy"})
    STEPS["vector_index"](target, {"vector_index:near": values["vector_index:near"]})


def test_a_busy_table_is_waited_for(stubs: tuple[Target, Stubber, Stubber, list[float]]) -> None:
    """AWS changes one thing of a table at a time, and backups cannot be switched on at once."""
    target, tables, _, waits = stubs
    for code in ("ContinuousBackupsUnavailableException", "ResourceInUseException"):
        tables.add_client_error("update_continuous_backups", code)
    tables.add_response("update_continuous_backups", {})
    STEPS["point_in_time_recovery"](target, {"point_in_time_recovery": 7})
    assert waits == [2.0, 2.0]


def test_any_other_refusal_is_an_error_at_once(stubs: tuple[Target, Stubber, Stubber, list[float]]) -> None:
    """Nothing is tried again that cannot change."""
    target, tables, _, waits = stubs
    tables.add_client_error("tag_resource", "AccessDeniedException", "no")
    call: Callable[..., Any] = target.dynamodb.tag_resource
    with pytest.raises(ClientError):
        retry_while_busy(target, call, ResourceArn=ARN, Tags=[])
    assert waits == []
