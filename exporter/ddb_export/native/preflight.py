"""What a native export checks before it asks AWS for anything, in order."""

from __future__ import annotations

from botocore.exceptions import ClientError

from ddb_export.native.backups import require_backups
from ddb_export.options import PitrOptions
from ddb_shared.aws.clients import Aws
from ddb_shared.command.identity import identify
from ddb_shared.command.preflight import Checks, Unchecked, check_encryption, check_probe, check_table
from ddb_shared.errors import DENIED_CODES, BucketError, map_errors
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table


def native_checks(pitr: PitrOptions, aws: Aws, table: Table, exports: S3Storage) -> Checks:
    """What is checked of an export of `table` into the folder `exports`, once the bucket is known to be the right one."""
    moment = pitr.export_time if pitr.since is None else None
    return {
        "table": lambda: check_table(table),
        "point-in-time recovery": lambda: require_backups(aws, table, moment=moment),
        "owner for DynamoDB": lambda: _check_owner(aws, exports),
        "write and read": lambda: check_probe(exports),
        "encryption": lambda: check_encryption(exports, aws.options.kms_key_id),
    }


def _check_owner(aws: Aws, exports: S3Storage) -> str:
    """DynamoDB takes the bucket to be the caller's own unless it is told otherwise."""
    if aws.options.bucket_owner:
        return f"DynamoDB is told that the bucket is owned by {aws.options.bucket_owner}"
    account = identify(aws).account
    if not account:
        return Unchecked("the caller's account is unknown, so it may not be the bucket's owner")
    with map_errors(f"use bucket {exports.bucket}"):
        try:
            aws.s3.list_objects_v2(
                Bucket=exports.bucket, Prefix=exports.prefix, MaxKeys=1, ExpectedBucketOwner=account
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in DENIED_CODES:
                raise
            raise BucketError(
                f"Bucket {exports.bucket} is not owned by the caller's account {account}, and DynamoDB has to be told whose it is.",
                "Give --bucket-owner ACCOUNT.",
            ) from error
    return f"the bucket is owned by the caller's account {account}"
