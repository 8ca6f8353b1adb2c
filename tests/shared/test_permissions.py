"""A refusal names who lacks which action on what, and the policy that has to grant it."""

import pytest
from botocore.stub import Stubber

from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.errors import AccessError, map_errors
from ddb_shared.permissions import Side, denied_remedy

ROLE = "arn:aws:sts::111111111111:assumed-role/ddb-exporter/x"
TABLE = "arn:aws:dynamodb:eu-west-1:111111111111:table/Orders"
SAID = f"User: {ROLE} is not authorized to perform: "


@pytest.mark.parametrize(
    ("message", "operation", "parts"),
    [
        (
            f"{SAID}dynamodb:Scan on resource: {TABLE} because no identity-based policy allows the dynamodb:Scan action",
            "",
            ["dynamodb:Scan", TABLE, f"identity policy of {ROLE}"],
        ),
        (
            f'{SAID}s3:PutObject on resource: "arn:aws:s3:::b/k" because no resource-based policy allows the action',
            "PutObject",
            ["s3:PutObject", "arn:aws:s3:::b/k", "bucket_policy"],
        ),
        (
            f"{SAID}kms:GenerateDataKey on this resource because the resource does not exist in this Region",
            "PutObject",
            ["kms:GenerateDataKey", "kms_key_statement"],
        ),
        (
            f"{SAID}dynamodb:Scan on resource: {TABLE} with an explicit deny in a service control policy",
            "",
            ["explicit deny in a service control policy"],
        ),
        ("Access Denied", "UploadPart", ["s3:PutObject", "Both sides", "bucket_policy"]),
        ("Forbidden", "HeadObject", ["s3:GetObject"]),
        ("Access Denied", "ListMultipartUploads", ["s3:ListBucketMultipartUploads"]),
        (f"{SAID}sts:AssumeRole on resource: arn:r", "AssumeRole", ["sts:AssumeRole", "trust policy"]),
    ],
)
def test_what_is_missing_and_where(message: str, operation: str, parts: list[str]) -> None:
    """With AWS's full message, and with S3's bare one."""
    remedy = denied_remedy(message, operation, None)
    assert [part for part in parts if part not in remedy] == [], remedy


def test_a_bare_refusal_names_who_and_what_is_known() -> None:
    """S3 says neither the principal nor the resource; what AWS does say comes first."""
    named = {"caller": ROLE, "resource": "arn:aws:s3:::b/k"}
    remedy = denied_remedy("Access Denied", "PutObject", Side.SOURCE, **named)
    assert remedy.startswith("The action s3:PutObject (and with an ACL")
    assert "is not allowed on arn:aws:s3:::b/k. " in remedy
    assert f"the identity policy of {ROLE} (source_policy of ddb-policy)" in remedy
    message = f"{SAID}kms:Decrypt on resource: arn:k because no"
    assert "is not allowed on arn:k. " in denied_remedy(message, "GetObject", None, **named)


def test_a_refusal_of_s3_names_the_caller_and_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is another one than the table's where S3 has an identity of its own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    aws = Aws(AwsOptions(region="eu-west-1", side=Side.SOURCE, caller="arn:table", s3_caller="arn:bucket"))
    with Stubber(aws.s3) as stub:
        stub.add_client_error("put_object", "AccessDenied", "Access Denied")
        with pytest.raises(AccessError) as caught, map_errors("write s3://b/k"):
            aws.s3.put_object(Bucket="b", Key="k", Body=b"")
    assert "on arn:aws:s3:::b/k. " in caught.value.remedy
    assert "the identity policy of arn:bucket (source_policy" in caught.value.remedy


SCAN = f"{SAID}dynamodb:Scan on resource: {TABLE} because no identity-based policy allows the dynamodb:Scan action"


@pytest.mark.parametrize(
    ("side", "message", "named"),
    [
        (Side.SOURCE, SCAN, {"source_policy"}),
        (Side.DESTINATION, SCAN, {"destination_policy"}),
        (None, SCAN, {"source_policy", "destination_policy"}),
        (Side.SOURCE, "Access Denied", {"source_policy", "bucket_policy"}),
        (Side.DESTINATION, f"{SAID}sts:AssumeRole on resource: arn:r", {"destination_trust"}),
    ],
)
def test_the_documents_of_the_side_that_called(side: Side | None, message: str, named: set[str]) -> None:
    """Where the side is unknown, both sides' documents are named."""
    remedy = denied_remedy(message, "PutObject", side)
    documents = {f"{side}_{kind}" for side in Side for kind in ("policy", "trust")} | {"bucket_policy"}
    assert {name for name in documents if name in remedy} == named


@pytest.mark.parametrize("side", list(Side))
def test_an_error_carries_the_side_that_called(monkeypatch: pytest.MonkeyPatch, side: Side) -> None:
    """Two identities in one process are told apart, as `ddb-verify --tables` needs it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    client = Aws(AwsOptions(region="eu-west-1", side=side)).dynamodb
    Aws(AwsOptions(region="eu-west-1", side=next(other for other in Side if other is not side)))
    with Stubber(client) as stub:
        stub.add_client_error("describe_table", "AccessDeniedException", SCAN)
        with pytest.raises(AccessError, match=f"{side}_policy of ddb-policy"), map_errors("describe table T"):
            client.describe_table(TableName="T")
