"""The actions that no local server refuses: our code calls what needs them, and AWS's refusal names action and policy."""

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from ddb_import.definition.steps import STEPS, Target
from ddb_shared import permissions
from ddb_shared.aws import Aws, AwsOptions
from ddb_shared.definition import Clients, read_setting
from ddb_shared.errors import AccessError, explained
from ddb_shared.permissions import Side
from ddb_shared.storage import S3Folder
from ddb_shared.table import from_description
from support.unprovable import UNPROVABLE

ROLES = {
    Side.SOURCE: "arn:aws:iam::111111111111:role/ddb-exporter",
    Side.DESTINATION: "arn:aws:iam::222222222222:role/ddb-importer",
}
SESSIONS = {
    Side.SOURCE: "arn:aws:sts::111111111111:assumed-role/ddb-exporter/x",
    Side.DESTINATION: "arn:aws:sts::222222222222:assumed-role/ddb-importer/x",
}
TABLE = from_description(
    {
        "TableName": "Orders",
        "TableArn": "arn:aws:dynamodb:eu-west-1:111111111111:table/Orders",
        "TableStatus": "ACTIVE",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    }
)
READS = {
    "DescribeScalableTargets": ("scalable_targets", "describe_scalable_targets"),
    "DescribeScalingPolicies": ("scaling_policies", "describe_scaling_policies"),
    "DescribeScheduledActions": ("scheduled_actions", "describe_scheduled_actions"),
}
# the setting, what calls need beside the resource, and the operation that AWS refuses
_DIMENSION = {"resource": "", "ScalableDimension": "dynamodb:table:WriteCapacityUnits"}
WRITES: dict[str, tuple[str, dict[str, Any], str]] = {
    "RegisterScalableTarget": ("scalable_target", _DIMENSION, "register_scalable_target"),
    "CreateServiceLinkedRole": ("scalable_target", _DIMENSION, "register_scalable_target"),
    "PutScalingPolicy": ("scaling_policy", _DIMENSION | {"PolicyName": "p"}, "put_scaling_policy"),
    "PutScheduledAction": (
        "scheduled_action",
        _DIMENSION | {"ScheduledActionName": "a"},
        "put_scheduled_action",
    ),
}


@pytest.fixture(autouse=True)
def both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process acts for both sides, as `ddb-verify --tables` does: the refused role tells which."""
    monkeypatch.setattr(permissions, "_acting", {side: (role,) for side, role in ROLES.items()})


@pytest.fixture
def scaling() -> Iterator[tuple[Any, Stubber]]:
    """Application Auto Scaling, which answers what a test says."""
    client = boto3.client(
        "application-autoscaling",
        region_name="eu-west-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with Stubber(client) as stub:
        yield client, stub
        stub.assert_no_pending_responses()


def refusal(document: str, action: str) -> str:
    """AWS's words: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html."""
    side = Side.DESTINATION if document.startswith("destination") else Side.SOURCE
    kind = (
        "identity-based" if document.endswith("_policy") and document != "bucket_policy" else "resource-based"
    )
    return (
        f"User: {SESSIONS[side]} is not authorized to perform: {action} on resource: arn:aws:some:thing "
        f"because no {kind} policy allows the {action} action"
    )


def cases(*prefixes: str) -> list[tuple[str, str]]:
    return [case for case in UNPROVABLE if case[1].startswith(prefixes)]


TABLE_KEYS = [
    case for case in cases("kms:") if case[1] not in {"kms:*", "kms:Decrypt", "kms:GenerateDataKey"}
]


def test_each_has_its_test() -> None:
    """Whatever is said to be beyond the local servers is tested below; the owner's own rights need no call."""
    own = ("kms_key_statement", "kms:*")
    assert {*cases("application-autoscaling:", "iam:", "kms:", "s3:PutObjectAcl")} == UNPROVABLE.keys()
    assert own in UNPROVABLE


@pytest.mark.parametrize(("document", "action"), cases("application-autoscaling:Describe"))
def test_scaling_that_may_not_be_read_is_unknown(
    scaling: tuple[Any, Stubber], document: str, action: str
) -> None:
    """With the action that is missing."""
    client, stub = scaling
    setting, operation = READS[action.partition(":")[2]]
    stub.add_client_error(operation, "AccessDeniedException", refusal(document, action))
    found = read_setting(Clients(None, client), TABLE, setting)
    assert found.unknown.startswith(f"the permission {action} is missing")


@pytest.mark.parametrize(
    ("document", "action"),
    [case for case in cases("application-autoscaling:", "iam:") if "Describe" not in case[1]],
)
def test_scaling_that_may_not_be_set_is_refused(
    scaling: tuple[Any, Stubber], document: str, action: str
) -> None:
    """With action, principal, resource and policy."""
    client, stub = scaling
    kind, value, operation = WRITES[action.partition(":")[2]]
    stub.add_client_error(operation, "AccessDeniedException", refusal(document, action))
    target = Target(
        clients=Clients(None, client),
        table="Copy",
        arn=TABLE.arn,
        billing_mode="PROVISIONED",
        stopped=lambda: True,
    )
    with pytest.raises(AccessError) as caught, explained("set autoscaling"):
        STEPS[kind](target, {kind: value})
    assert_names(caught.value, document, action)


@pytest.mark.parametrize(
    ("document", "action"),
    [case for case in cases("kms:", "s3:PutObjectAcl") if case not in TABLE_KEYS and case[1] != "kms:*"],
)
def test_keys_and_acls_of_objects(monkeypatch: pytest.MonkeyPatch, document: str, action: str) -> None:
    """What is written carries ACL and key; S3's refusal names the action, and the message the policy of the right side."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    key = "arn:aws:kms:eu-west-1:222222222222:key/1234"
    options = AwsOptions(region="eu-west-1", acl="bucket-owner-full-control", kms_key_id=key)
    client = Aws(options).s3
    sent: list[dict[str, Any]] = []

    def refuse(params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        sent.append(params["headers"])
        error = {"Code": "AccessDenied", "Message": refusal(document, action)}
        response = type("R", (), {"status_code": 403, "headers": {}})()
        return response, {"Error": error, "ResponseMetadata": {"HTTPHeaders": {}, "HTTPStatusCode": 403}}

    client.meta.events.register("before-call.s3", refuse)
    folder = S3Folder(client, "bucket", "p")
    call: Callable[[], Any] = (
        (lambda: folder.read("a")) if action == "kms:Decrypt" else (lambda: folder.write("a", b"x"))
    )
    with pytest.raises(AccessError) as caught:
        call()
    client.close()
    assert_names(caught.value, document, action)
    if action != "kms:Decrypt":
        assert sent[0]["x-amz-acl"] == "bucket-owner-full-control"
        assert sent[0]["x-amz-server-side-encryption-aws-kms-key-id"] == key


@pytest.mark.parametrize(("document", "action"), TABLE_KEYS)
def test_the_key_of_a_table(document: str, action: str) -> None:
    """DynamoDB uses it for the caller when the table is made with it, and passes the refusal on."""
    client = boto3.client(
        "dynamodb", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    concrete = action.replace("*", "From" if "ReEncrypt" in action else "WithoutPlaintext")
    with Stubber(client) as stub:
        stub.add_client_error("create_table", "AccessDeniedException", refusal(document, concrete))
        with pytest.raises(AccessError) as caught, explained("create table Copy"):
            client.create_table(TableName="Copy")
    assert_names(caught.value, document, concrete)


def assert_names(error: AccessError, document: str, action: str) -> None:
    assert f"The action {action} is not allowed on arn:aws:some:thing." in error.remedy
    others = {name for name, _ in UNPROVABLE} - {document}
    assert document in error.remedy
    assert not [name for name in others if name in error.remedy], error.remedy
    if document.endswith("_policy") and document != "bucket_policy":
        side = Side(document.removesuffix("_policy"))
        assert SESSIONS[side] in error.remedy
