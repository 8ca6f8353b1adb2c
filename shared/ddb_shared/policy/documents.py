"""The policy documents, built from names without calls to AWS.

The bucket belongs to the destination account. The exporter's role writes to it, which both its own policy and the bucket
policy must allow; the importer's role reads in its own account, where its own policy is enough. Both policies deny the
exporter's role to write import state: a forged checkpoint would make an import skip items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ddb_shared.format.manifest import EXPORTS, PITR
from ddb_shared.format.moves import MOVES
from ddb_shared.policy.actions import (
    BLOCK_WRITES,
    BULK_PUT,
    COMPARE,
    CREATE,
    CREATE_ENCRYPTED,
    ENABLE_BACKUPS,
    EXPORT_NATIVELY,
    FIND_BULK,
    FIND_EXPORT,
    FIND_IMPORT,
    FIND_TABLES,
    FOLLOW_BULK,
    FOLLOW_EXPORT,
    FOLLOW_IMPORT,
    IMPORT_TABLE,
    INSPECT_BUCKET,
    LOAD,
    LOG_IMPORT,
    READ_ENCRYPTED,
    READ_PRICES,
    READ_SCALING,
    READ_SETTINGS,
    READ_STREAM,
    READ_TABLE,
    REPAIR,
    SET_SCALING,
    SKIP_EXISTING,
    SWITCH_STREAM,
    VERIFY,
    WRITE_IMPORT_STATE,
    WRITE_OBJECTS,
)
from ddb_shared.storage.bucket import FULL_CONTROL

Document = dict[str, Any]

BATCH_WRITE_ENGINE: Final = "batch-write"
IMPORT_TABLE_ENGINE: Final = "import-table"
BULK_ENGINE: Final = "bulk"

# An interrupted export is resumed within a week or not at all; meanwhile its upload parts are charged.
ABORT_UPLOADS_DAYS: Final = 7
# Long enough to verify and to repeat an import; a forgotten copy of a table should not stay in a bucket for ever.
EXPIRE_EXPORTS_DAYS: Final = 90

# Services whose service-linked role DynamoDB creates when a setting first needs it:
# https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-service-linked-roles.html and
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/using-service-linked-roles.html
_SERVICE_ROLES: Final = {
    "CreateAutoscalingRole": "dynamodb.application-autoscaling.amazonaws.com",
    "CreateInsightsRole": "contributorinsights.dynamodb.amazonaws.com",
}


@dataclass(frozen=True, kw_only=True)
class Names:
    """The names in the policies. Roles are ARNs; `prefix` has no leading or trailing slash; tables may be patterns."""

    source_account: str
    source_role: str
    destination_account: str
    destination_role: str
    bucket: str
    prefix: str
    tables: tuple[str, ...]
    destination_tables: tuple[str, ...]
    region: str
    kms_key_arn: str | None
    table_kms_key_arn: str | None
    destination_table_kms_key_arn: str | None
    external_id: str | None
    methods: frozenset[str] = frozenset()
    follow: bool = False
    engines: frozenset[str] = frozenset()

    @property
    def partition(self) -> str:
        """`aws`, or the partition of China or the US government."""
        return self.source_role.split(":")[1]

    @property
    def bucket_arn(self) -> str:
        """The ARN of the bucket."""
        return f"arn:{self.partition}:s3:::{self.bucket}"

    @property
    def exports(self) -> str:
        """The key prefix of every export."""
        return f"{self.prefix}/{EXPORTS}" if self.prefix else EXPORTS

    @property
    def records(self) -> str:
        """The key prefix of what tables have had of AWS's exports."""
        return f"{self.prefix}/import/" if self.prefix else "import/"

    @property
    def moves(self) -> str:
        """The key prefix of the files that tie the exports of several tables together.

        Their ids begin with a zero; exports may be stored below another prefix that ends in `moves`, which is not meant.
        """
        return f"{self.prefix}/{MOVES}0" if self.prefix else f"{MOVES}0"

    def table_arns(self, account: str, tables: Sequence[str]) -> list[str]:
        """The tables alone."""
        return [f"arn:{self.partition}:dynamodb:{self.region}:{account}:table/{table}" for table in tables]


def _with_parts(arns: Sequence[str]) -> list[str]:
    """The tables with their indexes and streams."""
    return [part for arn in arns for part in (arn, f"{arn}/index/*", f"{arn}/stream/*")]


def documents(names: Names) -> dict[str, Document | None]:
    """Every document by its name; `kms_key_statement` is None without a key."""
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
    """The bucket policy, which grants access to the exporter's role of the other account.

    The role is in a condition: S3 rejects principals that do not exist yet, and binds existing ones to their internal id,
    so that a recreated role would have no access. The source account's root user has access as well; it could assume the
    role anyway.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html#principal-roles
    """
    root = f"arn:{names.partition}:iam::{names.source_account}:root"
    callers = {"ArnEquals": {"aws:PrincipalArn": [names.source_role, root]}}
    return _document(*(_grant(root, callers, statement) for statement in _push(names)))


def source_policy(names: Names) -> Document:
    """The identity policy of the exporter's role."""
    arns = names.table_arns(names.source_account, names.tables)
    return _document(
        _allow("ReadTable", (*READ_TABLE, *COMPARE), arns),
        _allow("ReadTableSettings", READ_SETTINGS, _with_parts(arns)),
        *_find_tables(names),
        _allow("ReadAutoscaling", READ_SCALING, ["*"]),
        *_export_natively(names, arns),
        *_follow(names, arns),
        *_push(names),
        *_use_key(names, ("kms:GenerateDataKey", "kms:Decrypt")),
        *_use_table_key(names.table_kms_key_arn, READ_ENCRYPTED),
        _allow("ReadPrices", READ_PRICES, ["*"]),
    )


def destination_policy(names: Names) -> Document:
    """The identity policy of the importer's role: read the export, store state with it, load, create, verify."""
    arns = names.table_arns(names.destination_account, names.destination_tables)
    exports, records = f"{names.bucket_arn}/{names.exports}*", f"{names.bucket_arn}/{names.records}*"
    return _document(
        _allow("ReadExport", ["s3:GetObject"], [exports, records, f"{names.bucket_arn}/{names.moves}*"]),
        _allow("KeepImportState", ["s3:PutObject"], [f"{exports}/import/*", records]),
        _list_bucket(names),
        *_import_natively(names, arns),
        _allow("LoadTable", (*LOAD, *SKIP_EXISTING), arns),
        _allow("VerifyTable", (*VERIFY, *REPAIR), arns),
        _allow("CreateTable", (*CREATE, *READ_SETTINGS), _with_parts(arns)),
        _allow("ReadAutoscaling", READ_SCALING, ["*"]),
        _allow("SetAutoscaling", SET_SCALING, ["*"])
        | {"Condition": {"StringEquals": {"application-autoscaling:service-namespace": "dynamodb"}}},
        *(_create_service_role(names, sid, service) for sid, service in _SERVICE_ROLES.items()),
        *_use_key(names, ("kms:Decrypt", "kms:GenerateDataKey")),
        *_use_table_key(names.destination_table_kms_key_arn, CREATE_ENCRYPTED),
        _allow("ReadPrices", READ_PRICES, ["*"]),
    )


def trust_policy(names: Names, account: str) -> Document:
    """The trust policy of a role: principals of its own account may assume it, with the external id if there is one."""
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
    """The policy of the bucket's key: its account keeps full access, both roles may use it through S3.

    AWS rejects a policy without the first statement, since nobody could change it any more.
    https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """
    owner = (names.kms_key_arn or "").split(":")[4]
    root = f"arn:{names.partition}:iam::{owner}:root"
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
            **_via("s3", names.kms_key_arn or ""),
        },
    )


def lifecycle(names: Names) -> Document:
    """The bucket's lifecycle rules for PutBucketLifecycleConfiguration."""
    where = {"Status": "Enabled", "Filter": {"Prefix": names.exports}}
    abort = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_UPLOADS_DAYS}}
    return {
        "Rules": [
            {"ID": "ddb-transfer-abort-uploads", **where, **abort},
            {"ID": "ddb-transfer-expire-exports", **where, "Expiration": {"Days": EXPIRE_EXPORTS_DAYS}},
        ]
    }


def _push(names: Names) -> list[Document]:
    """The exporter's access to the bucket. It reads back what it wrote, never deletes, and has no access to import state."""
    objects = [f"{names.bucket_arn}/{names.exports}*", f"{names.bucket_arn}/{names.moves}*"]
    # which ACL DynamoDB's own exports carry is not documented
    own_acl = {} if PITR in names.methods else {"Condition": {"StringEquals": {"s3:x-amz-acl": FULL_CONTROL}}}
    return [
        _allow("WriteExports", WRITE_OBJECTS, objects),
        _allow("GiveToBucketOwner", ["s3:PutObjectAcl"], objects) | own_acl,
        _list_bucket(names),
        # these actions do not support a condition on the prefix
        _allow("InspectBucket", INSPECT_BUCKET, [names.bucket_arn]),
        *_keep_import_state(names),
    ]


def _find_tables(names: Names) -> list[Document]:
    """What a pattern in the place of TABLE calls; ListTables has no resource of its own."""
    return [_allow("FindTables", FIND_TABLES, ["*"])] if any(map(is_pattern, names.tables)) else []


def is_pattern(name: str) -> bool:
    """Whether a table is given by a pattern, whose wildcards IAM knows as well."""
    return "*" in name or "?" in name


def _export_natively(names: Names, tables: Sequence[str]) -> list[Document]:
    """What `ddb-export --method pitr` calls; ListExports has no resource of its own."""
    if PITR not in names.methods:
        return []
    return [
        _allow("ExportTable", EXPORT_NATIVELY, tables),
        _allow("FollowExport", FOLLOW_EXPORT, [f"{table}/export/*" for table in tables]),
        _allow("FindExport", FIND_EXPORT, ["*"]),
        _allow("EnableBackups", ENABLE_BACKUPS, tables),
    ]


def _follow(names: Names, tables: Sequence[str]) -> list[Document]:
    """What `ddb-export --follow`, `--finish`, `--unblock` and `--cancel` call."""
    if not names.follow:
        return []
    return [
        _allow("ReadStream", READ_STREAM, [f"{table}/stream/*" for table in tables]),
        _allow("SwitchStream", SWITCH_STREAM, tables),
        _allow("BlockWrites", BLOCK_WRITES, tables),
    ]


def _import_natively(names: Names, tables: Sequence[str]) -> list[Document]:
    """What `ddb-import --engine import-table` and `--engine bulk` call; lists have no resource of their own."""
    logs = f"arn:{names.partition}:logs:{names.region}:{names.destination_account}:log-group:/aws-dynamodb/*"
    by_engine = {
        IMPORT_TABLE_ENGINE: [
            _allow("ImportTable", IMPORT_TABLE, tables),
            _allow("FollowImport", FOLLOW_IMPORT, [f"{table}/import/*" for table in tables]),
            _allow("FindImport", FIND_IMPORT, ["*"]),
            _allow("LogImport", LOG_IMPORT, [logs]),
        ],
        BULK_ENGINE: [
            _allow("BulkPut", BULK_PUT, tables),
            _allow(
                "FollowBulkPut", FOLLOW_BULK, [part for table in tables for part in (table, f"{table}/*")]
            ),
            _allow("FindBulkPut", FIND_BULK, ["*"]),
        ],
    }
    return [statement for engine in by_engine if engine in names.engines for statement in by_engine[engine]]


def _keep_import_state(names: Names) -> list[Document]:
    """Denies the exporter's role to write import state, unless the importer uses the same role."""
    if names.source_role == names.destination_role:
        return []
    state = [f"{names.bucket_arn}/{names.exports}*/import/*", f"{names.bucket_arn}/{names.records}*"]
    return [_allow("KeepImportStateSafe", WRITE_IMPORT_STATE, state) | {"Effect": "Deny"}]


def _create_service_role(names: Names, sid: str, service: str) -> Document:
    """Allows the creation of a service-linked role in the destination account."""
    role = f"arn:{names.partition}:iam::{names.destination_account}:role/aws-service-role/{service}/*"
    statement = _allow(sid, ["iam:CreateServiceLinkedRole"], [role])
    return statement | {"Condition": {"StringEquals": {"iam:AWSServiceName": service}}}


def _list_bucket(names: Names) -> Document:
    statement = _allow("ListExports", ["s3:ListBucket"], [names.bucket_arn])
    prefixes = [f"{names.exports}*", f"{names.moves}*"]
    return statement | {"Condition": {"StringLike": {"s3:prefix": prefixes}}}


def _use_key(names: Names, actions: Sequence[str]) -> list[Document]:
    return [_allow("UseBucketKey", actions, [names.kms_key_arn])] if names.kms_key_arn else []


def _use_table_key(key: str | None, actions: Sequence[str]) -> list[Document]:
    """The use of a table's key by DynamoDB for the caller; the key policy must delegate to IAM policies."""
    return [_allow("UseTableKey", actions, [key]) | _via("dynamodb", key)] if key else []


def _via(service: str, key: str) -> Document:
    """The condition that a key is used through a service, always in the key's own region.

    https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
    """
    _, partition, _, region, *_ = key.split(":")
    suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    return {"Condition": {"StringEquals": {"kms:ViaService": f"{service}.{region}.{suffix}"}}}


def _allow(sid: str, actions: Sequence[str], resources: Sequence[str]) -> Document:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


def _grant(account: str, callers: Document, statement: Document) -> Document:
    """A statement of an identity policy as a statement of the bucket policy."""
    condition = {"Condition": callers | statement.get("Condition", {})}
    return {**statement, "Principal": {"AWS": account}, **condition}


def _document(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}
