"""A refusal names who lacks which action on what, and the policy that has to grant it."""

import pytest

from ddb_shared.permissions import denied_remedy

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
