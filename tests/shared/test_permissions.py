"""A refusal names who lacks which action on what, and the policy that has to grant it."""

import pytest

from ddb_shared import permissions
from ddb_shared.aws import Aws, AwsOptions
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
    remedy = denied_remedy(message, operation)
    assert [part for part in parts if part not in remedy] == [], remedy


SCAN = f"{SAID}dynamodb:Scan on resource: {TABLE} because no identity-based policy allows the dynamodb:Scan action"
BOTH = {Side.SOURCE: ("arn:aws:iam::111111111111:role/ddb-exporter",), Side.DESTINATION: ()}


@pytest.mark.parametrize(
    ("acting", "message", "named"),
    [
        ({Side.SOURCE: ()}, SCAN, {"source_policy"}),
        ({Side.DESTINATION: ()}, SCAN, {"destination_policy"}),
        (BOTH, SCAN, {"source_policy"}),
        (BOTH, SCAN.replace("ddb-exporter", "another"), {"source_policy", "destination_policy"}),
        ({}, SCAN, {"source_policy", "destination_policy"}),
        ({Side.SOURCE: ()}, "Access Denied", {"source_policy", "bucket_policy"}),
        ({Side.DESTINATION: ()}, f"{SAID}sts:AssumeRole on resource: arn:r", {"destination_trust"}),
    ],
)
def test_the_documents_of_the_side_that_acts(
    monkeypatch: pytest.MonkeyPatch, acting: dict[Side, tuple[str, ...]], message: str, named: set[str]
) -> None:
    """A process that acts for both sides tells them by the role that was refused, where it can."""
    monkeypatch.setattr(permissions, "_acting", acting)
    remedy = denied_remedy(message, "PutObject")
    documents = {f"{side}_{kind}" for side in Side for kind in ("policy", "trust")} | {"bucket_policy"}
    assert {name for name in documents if name in remedy} == named


def test_each_identity_says_for_which_side_it_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every process, since workers build their own; the roles for S3 are the side's as well."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setattr(permissions, "_acting", {})
    Aws(AwsOptions(region="eu-west-1", side=Side.SOURCE, s3_role_arns=("arn:aws:iam::1:role/s3",)))
    assert permissions._acting == {Side.SOURCE: ("arn:aws:iam::1:role/s3",)}
