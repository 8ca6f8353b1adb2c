"""What every command checks before its first write: small named checks, in order.

A check is a function that says what it found, or raises a TransferError that says what to do. A run stops at the first
one that fails, with nothing written but the probe; `--dry-run` makes them all and shows each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from ddb_shared.aws import Aws
from ddb_shared.bucket import check_bucket
from ddb_shared.definition import Clients, read_setting
from ddb_shared.errors import BucketError, TransferError
from ddb_shared.folder import PROBE, Folder
from ddb_shared.storage import S3Folder
from ddb_shared.table import Table, require_readable

Checks = Mapping[str, Callable[[], str]]

_LOG: Final = logging.getLogger(__name__)


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at before anything is done."""

    name: str
    ok: bool
    found: str


def require(checks: Checks) -> None:
    """Makes every check, in order; raises the TransferError of the first one that fails."""
    for name, check in checks.items():
        _LOG.info("check %s: %s", name, check())


def run_checks(checks: Checks) -> list[Check]:
    """Makes every check, in order; one that raises a TransferError has failed."""
    done = []
    for name, check in checks.items():
        try:
            done.append(Check(name=name, ok=True, found=check()))
        except TransferError as error:
            done.append(Check(name=name, ok=False, found=str(error)))
    return done


def status_of(checks: Sequence[Check]) -> str:
    """`planned`, or `refused` where a check failed."""
    return "planned" if all(check.ok for check in checks) else "refused"


def bucket_checks(aws: Aws, place: S3Folder) -> Checks:
    """Who calls, and whether the bucket is the one that is meant; `place` is what is used of it."""
    return {
        "identity": aws.identity,
        "bucket owner": lambda: check_owner(aws, place),
        "region": lambda: check_region(aws, place),
    }


def check_owner(aws: Aws, place: S3Folder) -> str:
    """The bucket is there, may be listed, and is the expected account's."""
    bucket, owner = place.bucket, aws.options.owner_of(place.bucket)
    check_bucket(aws.s3, bucket, place.prefix, owner)
    return f"{bucket} is owned by {owner}" if owner else f"not checked for {bucket}: give --bucket-owner"


def check_region(aws: Aws, place: S3Folder) -> str:
    """Where the bucket is; another region than the table's costs transfer, and is no error."""
    bucket = place.bucket
    found = check_bucket(aws.s3, bucket, place.prefix, aws.options.owner_of(bucket))
    if not found:
        return f"the service does not tell the region of {bucket}"
    far = f"another region than the table's {aws.region}, which costs transfer"
    return f"{bucket} is in {found}, {'as the table is' if found == aws.region else far}"


def check_table(table: Table) -> str:
    """Its items can be read and written now."""
    require_readable(table)
    return f"{table.arn} is {table.status}; {table.describe_key()}"


def check_backups(aws: Aws, table: Table, meaning: str) -> str:
    """Whether the table has point-in-time recovery, and what that means for the run."""
    setting = read_setting(Clients(aws.dynamodb, aws.autoscaling), table, "point_in_time_recovery")
    if setting.unknown:
        return f"unknown: {setting.unknown}"
    return f"{(setting.value or {}).get('PointInTimeRecoveryStatus', 'DISABLED')}; {meaning}"


def check_probe(folder: Folder) -> str:
    """A small file can be written and read."""
    return f"{folder.probe()} written and read"


def check_encryption(folder: Folder, key: str | None) -> str:
    """How the probe was encrypted, which is how everything else will be; `key` is the KMS key that was asked for."""
    stored = folder.read(PROBE)
    found = stored.encryption if stored else ""
    if key and ":key/" in key and not found.endswith(key):
        raise BucketError(
            f"Objects below {folder.url} are encrypted with {found or 'nothing that S3 names'} instead of {key}.",
            "Does the place understand SSE-KMS? Leave --kms-key-id out to take the bucket's own encryption.",
        )
    return found or "S3 names none"
