"""The policy documents, from names alone: nothing here asks AWS.

The bucket lies in the destination account. The exporter's role pushes into it, so both its own policy and the bucket's
must allow that; the importer's role reads in its own account, where its own policy is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ddb_shared.bucket import FULL_CONTROL
from ddb_shared.manifest import EXPORTS
from ddb_shared.policy.actions import (
    COMPARE,
    CREATE,
    CREATE_ENCRYPTED,
    LOAD,
    LOOK_AT_BUCKET,
    READ_ENCRYPTED,
    READ_SCALING,
    READ_SETTINGS,
    READ_TABLE,
    SET_SCALING,
    SKIP_EXISTING,
    VERIFY,
    WRITE_OBJECTS,
)

Document = dict[str, Any]

# An interrupted export is resumed within a week, or not at all; until then its parts cost storage that nobody sees.
ABORT_UPLOADS_DAYS: Final = 7
# Long enough to verify and to repeat an import; a copy of a table should not be forgotten in a bucket for ever.
EXPIRE_EXPORTS_DAYS: Final = 90

_SCALING_ROLE: Final = "dynamodb.application-autoscaling.amazonaws.com"


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the policies are about. Roles are ARNs; `prefix` is without slashes at its ends."""

    source_account: str
    source_role: str
    destination_account: str
    destination_role: str
    bucket: str
    prefix: str
    table: str
    destination_table: str
    region: str
    kms_key_arn: str | None
    table_kms_key_arn: str | None
    destination_table_kms_key_arn: str | None
    external_id: str | None

    @property
    def partition(self) -> str:
        """`aws`, or the one of China or the US government."""
        return self.source_role.split(":")[1]

    @property
    def bucket_arn(self) -> str:
        """The bucket, which its policy and the identities' must name alike."""
        return f"arn:{self.partition}:s3:::{self.bucket}"

    @property
    def exports(self) -> str:
        """The key prefix below which every export lies."""
        return f"{self.prefix}/{EXPORTS}" if self.prefix else EXPORTS

    def table_arns(self, account: str, table: str) -> list[str]:
        """The table with its indexes and streams."""
        arn = f"arn:{self.partition}:dynamodb:{self.region}:{account}:table/{table}"
        return [arn, f"{arn}/index/*", f"{arn}/stream/*"]


def documents(names: Names) -> dict[str, Document | None]:
    """Every document by its name; `kms_key_statement` is None where no key is named."""
    return {
        "bucket_policy": bucket_policy(names),
        "source_policy": source_policy(names),
        "destination_policy": destination_policy(names),
        "source_trust": trust_policy(names, names.source_account),
        "destination_trust": trust_policy(names, names.destination_account),
        "kms_key_statement": kms_key_policy(names) if names.kms_key_arn else None,
        "lifecycle": lifecycle(names),
    }


def bucket_policy(names: Names) -> Document:
    """What the bucket's owner grants to the exporter's role of the other account.

    The role is named by a condition: S3 refuses a principal that does not exist yet, and binds one that exists to its
    hidden id, so that a role that was made anew would be locked out. The source account's root user, who could assume
    the role anyway, is let in as well.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html#principal-roles
    """
    root = f"arn:{names.partition}:iam::{names.source_account}:root"
    callers = {"ArnEquals": {"aws:PrincipalArn": [names.source_role, root]}}
    return _document(*(_grant(root, callers, statement) for statement in _push(names)))


def source_policy(names: Names) -> Document:
    """The identity policy of the exporter's role."""
    arns = names.table_arns(names.source_account, names.table)
    return _document(
        _allow("ReadTable", (*READ_TABLE, *COMPARE), arns[:1]),
        _allow("ReadTableSettings", READ_SETTINGS, arns),
        _allow("ReadAutoscaling", READ_SCALING, ["*"]),
        *_push(names),
        *_use_key(names, ("kms:GenerateDataKey", "kms:Decrypt")),
        *_use_table_key(names, names.table_kms_key_arn, READ_ENCRYPTED),
    )


def destination_policy(names: Names) -> Document:
    """The identity policy of the importer's role: read the export, keep the state beside it, load, create, verify."""
    arns = names.table_arns(names.destination_account, names.destination_table)
    exports = f"{names.bucket_arn}/{names.exports}*"
    return _document(
        _allow("ReadExport", ["s3:GetObject"], [exports]),
        _allow("KeepImportState", ["s3:PutObject"], [f"{exports}/import/*"]),
        _list_bucket(names),
        _allow("LoadTable", (*LOAD, *SKIP_EXISTING), arns[:1]),
        _allow("VerifyTable", VERIFY, arns[:1]),
        _allow("CreateTable", (*CREATE, *READ_SETTINGS), arns),
        _allow("ReadAutoscaling", READ_SCALING, ["*"]),
        _allow("SetAutoscaling", SET_SCALING, ["*"])
        | {"Condition": {"StringEquals": {"application-autoscaling:service-namespace": "dynamodb"}}},
        _allow(
            "MakeAutoscalingRole",
            ["iam:CreateServiceLinkedRole"],
            [
                f"arn:{names.partition}:iam::{names.destination_account}:role/aws-service-role/{_SCALING_ROLE}/*"
            ],
        )
        | {"Condition": {"StringEquals": {"iam:AWSServiceName": _SCALING_ROLE}}},
        *_use_key(names, ("kms:Decrypt", "kms:GenerateDataKey")),
        *_use_table_key(names, names.destination_table_kms_key_arn, CREATE_ENCRYPTED),
    )


def trust_policy(names: Names, account: str) -> Document:
    """Who may assume a role: principals of its own account that are allowed to, with the external id if there is one."""
    condition = (
        {"Condition": {"StringEquals": {"sts:ExternalId": names.external_id}}} if names.external_id else {}
    )
    return _document(
        {
            "Sid": "Assume",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{names.partition}:iam::{account}:root"},
            "Action": "sts:AssumeRole",
            **condition,
        }
    )


def kms_key_policy(names: Names) -> Document:
    """The policy of the bucket's key: its account keeps its rights, both roles may use it through S3.

    Without the first statement AWS refuses the policy, as nobody could change it any more.
    https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """
    owner = (names.kms_key_arn or "").split(":")[4]
    root = f"arn:{names.partition}:iam::{owner}:root"
    via = {"Condition": {"StringEquals": {"kms:ViaService": f"s3.{names.region}.amazonaws.com"}}}
    return _document(
        {
            "Sid": "KeepOwner",
            "Effect": "Allow",
            "Principal": {"AWS": root},
            "Action": "kms:*",
            "Resource": "*",
        },
        {
            "Sid": "UseThroughS3",
            "Effect": "Allow",
            "Principal": {"AWS": [names.source_role, names.destination_role]},
            "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
            "Resource": "*",
            **via,
        },
    )


def lifecycle(names: Names) -> Document:
    """The bucket's lifecycle rules, as PutBucketLifecycleConfiguration takes them."""
    where = {"Status": "Enabled", "Filter": {"Prefix": names.exports}}
    abort = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_UPLOADS_DAYS}}
    return {
        "Rules": [
            {"ID": "ddb-transfer-abort-uploads", **where, **abort},
            {"ID": "ddb-transfer-expire-exports", **where, "Expiration": {"Days": EXPIRE_EXPORTS_DAYS}},
        ]
    }


def _push(names: Names) -> list[Document]:
    """What the exporter does with the bucket. It reads back what it wrote, and never deletes."""
    objects = [f"{names.bucket_arn}/{names.exports}*"]
    own_acl = {"Condition": {"StringEquals": {"s3:x-amz-acl": FULL_CONTROL}}}
    return [
        _allow("WriteExports", WRITE_OBJECTS, objects),
        _allow("GiveToBucketOwner", ["s3:PutObjectAcl"], objects) | own_acl,
        _list_bucket(names),
        # these actions know no condition on the prefix
        _allow("LookAtBucket", LOOK_AT_BUCKET, [names.bucket_arn]),
    ]


def _list_bucket(names: Names) -> Document:
    statement = _allow("ListExports", ["s3:ListBucket"], [names.bucket_arn])
    return statement | {"Condition": {"StringLike": {"s3:prefix": f"{names.exports}*"}}}


def _use_key(names: Names, actions: Sequence[str]) -> list[Document]:
    return [_allow("UseBucketKey", actions, [names.kms_key_arn])] if names.kms_key_arn else []


def _use_table_key(names: Names, key: str | None, actions: Sequence[str]) -> list[Document]:
    """What DynamoDB does with a table's own key for the caller; the key's policy must let its account decide."""
    via = {"Condition": {"StringEquals": {"kms:ViaService": f"dynamodb.{names.region}.amazonaws.com"}}}
    return [_allow("UseTableKey", actions, [key]) | via] if key else []


def _allow(sid: str, actions: Sequence[str], resources: Sequence[str]) -> Document:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


def _grant(account: str, callers: Document, statement: Document) -> Document:
    """The statement of an identity policy as one of the bucket's policy."""
    condition = {"Condition": callers | statement.get("Condition", {})}
    return {**statement, "Principal": {"AWS": account}, **condition}


def _document(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}
