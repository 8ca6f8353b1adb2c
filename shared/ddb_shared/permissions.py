"""What an AccessDenied error means: which principal lacks which action on which resource, and which policy must grant it."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import Final

# AWS's message names everything:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
_ACCESS_DENIED: Final = re.compile(
    r"User: (?P<principal>\S+) is not authorized to perform: (?P<action>[\w-]+:\w+)"
    r'(?: on resource: "?(?P<resource>[^\s"]+)"?)?(?: (?:because|with) (?P<reason>.*))?'
)
# S3 often returns a bare 403, and some operations need an action with another name:
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
# Further permissions whose absence S3 reports as the same 403.
_RELATED_ACTIONS: Final = {
    "s3:PutObject": "with an ACL s3:PutObjectAcl, with a KMS key kms:GenerateDataKey and kms:Decrypt",
    "s3:GetObject": "with a KMS key kms:Decrypt",
}
_RESOURCE_POLICIES: Final = {
    "s3": "the bucket's policy (bucket_policy of ddb-policy)",
    "kms": "the key's policy (kms_key_statement of ddb-policy)",
}
_IDENTITY_POLICY: Final = "the identity policy of {who} ({policy} of ddb-policy)"
_UNNAMED_CALLER: Final = "the caller shown in the first line of the output"


class Side(enum.StrEnum):
    """The side of a move that an identity belongs to; ddb-policy prints the policies of both."""

    SOURCE = "source"
    DESTINATION = "destination"


def documents_of(sides: Sequence[Side], kind: str) -> str:
    """The documents of ddb-policy that may have to change, such as `source_policy or destination_policy`."""
    return " or ".join(f"{side}_{kind}" for side in sides)


def denied_action(message: str, operation: str) -> str:
    """The denied action, such as `dynamodb:Scan`; empty if unknown."""
    found = _ACCESS_DENIED.search(message)
    return found["action"] if found else _S3_ACTIONS.get(operation, operation)


def denied_remedy(
    message: str, operation: str, side: Side | None, *, caller: str = "", resource: str = ""
) -> str:
    """The missing action with its resource, and the policy to change; `side` is the side of the caller, None if unknown.

    `caller` and `resource` are named where the message does not say them, as those of S3.
    """
    action, sides = denied_action(message, operation), [side] if side else list(Side)
    found = _ACCESS_DENIED.search(message)
    if found is None:
        related = f" (and {_RELATED_ACTIONS[action]})" if action in _RELATED_ACTIONS else ""
        where = f" on {resource}" if resource else ""
        needed = f"The action {action}{related} is not allowed{where}. " if action else ""
        return needed + _policy(action, caller or _UNNAMED_CALLER, "", sides)
    resource = found["resource"] or resource
    where = f" on {resource}" if resource else ""
    return f"The action {action} is not allowed{where}. " + _policy(
        action, found["principal"], found["reason"] or "", sides
    )


def _policy(action: str, who: str, reason: str, sides: Sequence[Side]) -> str:
    service = action.partition(":")[0]
    identity = _IDENTITY_POLICY.format(who=who, policy=documents_of(sides, "policy"))
    owner = _RESOURCE_POLICIES.get(service)
    if "explicit deny" in reason:
        return f"A policy denies it: {reason}. Check that policy, and {identity}."
    if service == "sts":  # ddb-policy does not print the policy of the principal that assumes the role
        trust = documents_of(sides, "trust")
        return f"Allow it in the role's trust policy ({trust} of ddb-policy), and in the identity policy of {who}."
    if owner is None or "identity-based" in reason:
        return f"Allow it in {identity}."
    if "resource-based" in reason:
        return f"Allow it in {owner}."
    return f"Both sides must allow it: {identity}, and, where the accounts differ, {owner}."
