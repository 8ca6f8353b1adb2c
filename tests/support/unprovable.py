"""Actions of ddb-policy that no local server can refuse, each with the reason; tests/shared/test_unprovable_actions.py has their tests."""

_NO_SCALING = "MiniStack has no Application Auto Scaling"
_NO_ENCRYPTION = "MiniStack encrypts nothing, so it asks for no permission on a key"
_NO_PRICES = "MiniStack has no Price List API"
_NO_ACL_ACTION = "MiniStack takes s3:PutObject for an object with an ACL"
_BY_SERVICE = "AWS asks for it when RegisterScalableTarget is the account's first; MiniStack has no Application Auto Scaling"

_NO_BULK = "MiniStack knows no bulk put, so none ever runs that could be cancelled"
_NO_LOGS = "MiniStack's import logs with no permission of the caller"

_SCALING = "application-autoscaling:"
_READS = ["DescribeScalableTargets", "DescribeScalingPolicies", "DescribeScheduledActions"]
_WRITES = ["RegisterScalableTarget", "PutScalingPolicy", "PutScheduledAction"]

UNPROVABLE: dict[tuple[str, str], str] = {
    **{("source_policy", _SCALING + name): _NO_SCALING for name in _READS},
    **{("destination_policy", _SCALING + name): _NO_SCALING for name in _READS + _WRITES},
    **{(document, "pricing:GetProducts"): _NO_PRICES for document in ("source_policy", "destination_policy")},
    ("destination_policy", "iam:CreateServiceLinkedRole"): _BY_SERVICE,
    ("source_policy", "s3:PutObjectAcl"): _NO_ACL_ACTION,
    ("bucket_policy", "s3:PutObjectAcl"): _NO_ACL_ACTION,
    **{
        (document, action): _NO_ENCRYPTION
        for document in ("source_policy", "destination_policy", "kms_key_statement")
        for action in ("kms:GenerateDataKey", "kms:Decrypt")
    },
    **{
        ("destination_policy", f"kms:{name}"): _NO_ENCRYPTION
        for name in ("CreateGrant", "DescribeKey", "Encrypt", "GenerateDataKey*", "ReEncrypt*")
    },
    ("destination_policy", "dynamodb:CancelBulkOperation"): _NO_BULK,
    **{
        ("destination_policy", f"logs:{name}"): _NO_LOGS
        for name in (
            "CreateLogGroup",
            "CreateLogStream",
            "DescribeLogGroups",
            "DescribeLogStreams",
            "PutLogEvents",
            "PutRetentionPolicy",
        )
    },
    ("kms_key_statement", "kms:*"): "what AWS demands of every key policy: its owner can change it",
}
"""By document and action."""
