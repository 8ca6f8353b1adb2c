"""What a refusal means: who lacks which action on what, and which policy has to grant it."""

from __future__ import annotations

import enum
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
# What S3 answers 403 for as well, without saying so.
_ALSO: Final = {
    "s3:PutObject": "with an ACL s3:PutObjectAcl, with a KMS key kms:GenerateDataKey and kms:Decrypt",
    "s3:GetObject": "with a KMS key kms:Decrypt",
}
_OWNERS: Final = {
    "s3": "the bucket's policy (bucket_policy of ddb-policy)",
    "kms": "the key's policy (kms_key_statement of ddb-policy)",
}
_IDENTITY: Final = "the identity policy of {who} ({policy} of ddb-policy)"
_BARE_WHO: Final = "the caller, whom the first line of this run names"


class Side(enum.StrEnum):
    """On which side of a move an identity acts; ddb-policy prints the policies of both."""

    SOURCE = "source"
    DESTINATION = "destination"


# For which sides this process acts, each with its roles: `Aws` says so, since only who calls can tell whose policy lacks
# something. One side, but for `ddb-verify --tables`, which reads both tables.
_acting: dict[Side, tuple[str, ...]] = {}


def act_for(side: Side, role_arns: tuple[str, ...]) -> None:
    """From now on this process acts for this side too, by these roles."""
    _acting[side] = role_arns


def sides_of(principal: str) -> list[Side]:
    """The sides for which a principal may have called: the one whose role it is, or else all that this process acts for."""
    session = principal.partition(":assumed-role/")[2].partition("/")[0]
    by_role = [
        side for side, roles in _acting.items() if session in {role.rpartition("/")[2] for role in roles}
    ]
    return (by_role if session else []) or list(_acting) or list(Side)


def denied_action(message: str, operation: str) -> str:
    """The action that was refused, such as `dynamodb:Scan`; empty where nothing tells."""
    named = _NAMED.search(message)
    return named["action"] if named else _S3_ACTIONS.get(operation, operation)


def denied_remedy(message: str, operation: str) -> str:
    """Which action is missing on what, and the policy to change."""
    action = denied_action(message, operation)
    named = _NAMED.search(message)
    if named is None:
        also = f" (and {_ALSO[action]})" if action in _ALSO else ""
        needed = f"The action {action}{also} is not allowed. " if action else ""
        return needed + _policy(action, _BARE_WHO, "")
    resource = f" on {named['resource']}" if named["resource"] else ""
    return f"The action {action} is not allowed{resource}. " + _policy(
        action, named["principal"], named["reason"] or ""
    )


def _policy(action: str, who: str, reason: str) -> str:
    service, sides = action.partition(":")[0], sides_of(who)
    identity = _IDENTITY.format(who=who, policy=" or ".join(f"{side}_policy" for side in sides))
    owner = _OWNERS.get(service)
    if "explicit deny" in reason:
        return f"A policy denies it: {reason}. Look there, and in {identity}."
    if service == "sts":  # who assumes a role is the user's own, of whom ddb-policy knows nothing
        trust = " or ".join(f"{side}_trust" for side in sides)
        return f"Allow it in the role's trust policy ({trust} of ddb-policy), and in the identity policy of {who}."
    if owner is None or "identity-based" in reason:
        return f"Allow it in {identity}."
    if "resource-based" in reason:
        return f"Allow it in {owner}."
    return f"Both sides must allow it: {identity}, and, where the accounts differ, {owner}."
