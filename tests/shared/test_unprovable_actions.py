"""The actions that no local server refuses: our code calls what needs them, and AWS's refusal names action and policy."""

import signal
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from ddb_import.definition.steps import STEPS, Target
from ddb_import.native.jobs import BulkPutJob, ImportTableJob
from ddb_import.native.source import Source
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.command.prices import price_list
from ddb_shared.errors import AccessError, map_errors, note_side
from ddb_shared.permissions import Side
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import from_description
from ddb_shared.table.settings import Clients, read_setting
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


def side_of(document: str) -> Side:
    """Whose identity calls where this document is at fault."""
    return Side.DESTINATION if document.startswith("destination") else Side.SOURCE


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
    side = side_of(document)
    kind = (
        "identity-based" if document.endswith("_policy") and document != "bucket_policy" else "resource-based"
    )
    return (
        f"User: {SESSIONS[side]} is not authorized to perform: {action} on resource: arn:aws:some:thing "
        f"because no {kind} policy allows the {action} action"
    )


CANCEL = "dynamodb:CancelBulkOperation"


def cases(*prefixes: str) -> list[tuple[str, str]]:
    return [case for case in UNPROVABLE if case[1].startswith(prefixes)]


TABLE_KEYS = [
    case for case in cases("kms:") if case[1] not in {"kms:*", "kms:Decrypt", "kms:GenerateDataKey"}
]


def test_each_has_its_test() -> None:
    """Whatever is said to be beyond the local servers is tested below; the owner's own rights need no call."""
    own = ("kms_key_statement", "kms:*")
    own_tests = ("application-autoscaling:", "iam:", "kms:", "logs:", "pricing:", "s3:PutObjectAcl", CANCEL)
    assert {*cases(*own_tests)} == UNPROVABLE.keys()
    assert own in UNPROVABLE


@pytest.mark.parametrize(("document", "action"), cases("pricing:"))
def test_prices_that_may_not_be_read_are_those_of_the_package(
    document: str, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which say so, with the action that is missing."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "S")
    aws = Aws(AwsOptions(region="us-east-1"))
    with Stubber(aws.pricing) as stub:
        stub.add_client_error("get_products", "AccessDeniedException", refusal(document, action))
        prices = price_list(aws, "us-east-1")
    assert prices.read_unit == 0.125e-6
    assert action in prices.source


@pytest.fixture
def dynamodb() -> Iterator[tuple[Any, Stubber]]:
    """DynamoDB, which answers what a test says."""
    client = boto3.client(
        "dynamodb", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    with Stubber(client) as stub:
        yield client, stub
        stub.assert_no_pending_responses()


SOURCE = Source(
    bucket="b", prefix="data/", owner=None, input_format="DYNAMODB_JSON", compression="GZIP", items=1, objects=1, stored_bytes=1
)  # fmt: skip


@pytest.mark.parametrize(("document", "action"), cases("logs:"))
def test_what_an_import_may_not_log_is_refused(
    dynamodb: tuple[Any, Stubber], document: str, action: str
) -> None:
    """DynamoDB logs with the caller's permissions, and refuses an import without them."""
    client, stub = dynamodb
    stub.add_client_error("import_table", "AccessDeniedException", refusal(document, action))
    key = [{"AttributeName": "pk", "KeyType": "HASH"}]
    parameters = {"TableName": "Copy", "AttributeDefinitions": [], "KeySchema": key}
    job = ImportTableJob(
        client, SOURCE, parameters, table_arn=TABLE.arn, token="t", arn="", again="", is_new=True
    )
    with pytest.raises(AccessError) as caught:
        job.start()
    assert action in str(caught.value)


@pytest.mark.parametrize(("document", "action"), cases(CANCEL))
def test_a_bulk_put_that_may_not_be_cancelled_goes_on(
    dynamodb: tuple[Any, Stubber], document: str, action: str
) -> None:
    """The interruption says so, and which action is missing."""
    client, stub = dynamodb
    stub.add_client_error("cancel_bulk_operation", "AccessDeniedException", refusal(document, action))
    job = BulkPutJob(
        client, SOURCE, table="Copy", report={}, max_units=None, token="t", arn=TABLE.arn, again="x"
    )
    told = job.interrupt(signal.SIGINT)
    assert action in told
    assert "continues" in told


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
        name="Copy",
        arn=TABLE.arn,
        billing_mode="PROVISIONED",
        stopped=lambda: True,
    )
    with pytest.raises(AccessError) as caught, map_errors("set autoscaling"), note_side(side_of(document)):
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
    options = AwsOptions(
        region="eu-west-1", side=side_of(document), acl="bucket-owner-full-control", kms_key_id=key
    )
    client = Aws(options).s3
    sent: list[dict[str, Any]] = []

    def refuse(params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        sent.append(params["headers"])
        error = {"Code": "AccessDenied", "Message": refusal(document, action)}
        response = type("R", (), {"status_code": 403, "headers": {}})()
        return response, {"Error": error, "ResponseMetadata": {"HTTPHeaders": {}, "HTTPStatusCode": 403}}

    client.meta.events.register("before-call.s3", refuse)
    storage = S3Storage(client, "bucket", "p")
    call: Callable[[], Any] = (
        (lambda: storage.read("a")) if action == "kms:Decrypt" else (lambda: storage.write("a", b"x"))
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
        with (
            pytest.raises(AccessError) as caught,
            map_errors("create table Copy"),
            note_side(side_of(document)),
        ):
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
