"""What a refusal means: who lacks which action on what, and which policy has to grant it."""

from __future__ import annotations

import re
from typing import Final

# AWS's message names everything:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
_NAMED: Final = re.compile(
    r"User: (?P<principal>\S+) is not authorized to perform: (?P<action>[\w-]+:\w+)"
    r'(?: on resource: "?(?P<resource>[^\s"]+)"?)?(?: (?:because|with) (?P<reason>.*))?'
)
# S3 often says no more than 403, and some operations need another action than their name:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
_S3_ACTIONS: Final = {
    "HeadObject": "s3:GetObject",
    "GetObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
    "GetBucketOwnershipControls": "s3:GetBucketOwnershipControls",
    "AssumeRole": "sts:AssumeRole",
}
_OWNERS: Final = {
    "s3": "the bucket's policy (bucket_policy of ddb-policy)",
    "kms": "the key's policy (kms_key_statement of ddb-policy)",
    "sts": "the role's trust policy (source_trust or destination_trust of ddb-policy)",
}
_IDENTITY: Final = "the identity policy of {who} (source_policy or destination_policy of ddb-policy)"


def denied_action(message: str, operation: str) -> str:
    """The action that was refused, such as `dynamodb:Scan`; empty where nothing tells."""
    named = _NAMED.search(message)
    return named["action"] if named else _S3_ACTIONS.get(operation, operation)


def denied_remedy(message: str, operation: str) -> str:
    """Which action is missing on what, and the policy to change."""
    action = denied_action(message, operation)
    named = _NAMED.search(message)
    resource = f" on {named['resource']}" if named and named["resource"] else ""
    needed = f"The action {action} is not allowed{resource}. " if action else ""
    who = named["principal"] if named else "the caller"
    return needed + _policy(action, who, (named["reason"] or "") if named else "")


def _policy(action: str, who: str, reason: str) -> str:
    identity, owner = _IDENTITY.format(who=who), _OWNERS.get(action.partition(":")[0])
    if "explicit deny" in reason:
        return f"A policy denies it: {reason}. Look there, and in {identity}."
    if "identity-based" in reason or owner is None:
        return f"Allow it in {identity}."
    if "resource-based" in reason:
        return f"Allow it in {owner}."
    return f"Both sides must allow it: {identity}, and, where the accounts differ, {owner}."
