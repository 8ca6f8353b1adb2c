"""Checks before the first write of a command, each a small named function, run in order.

A check returns what it found, or raises a TransferError with a remedy. A run stops at the first one that fails, with
nothing written but the probe; `--dry-run` runs them all and shows each result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ddb_shared.aws.clients import Aws
from ddb_shared.errors import BucketError, TransferError
from ddb_shared.permissions import Side
from ddb_shared.runtime.events import warn
from ddb_shared.storage.base import PROBE, Storage
from ddb_shared.storage.bucket import check_bucket
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.capacity import OPTIONS, Cap, units_at
from ddb_shared.table.description import Table, require_readable
from ddb_shared.table.settings import Clients, read_setting


class Unchecked(str):
    """The result of a check that could not be made: neither a pass nor a failure."""

    __slots__ = ()


Checks = Mapping[str, Callable[[], str]]

_LOG: Final = logging.getLogger(__name__)


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one check; `ok` is None if it could not be made."""

    name: str
    ok: bool | None
    found: str


def require(checks: Checks) -> None:
    """Runs the checks in order; raises the TransferError of the first one that fails."""
    for name, check in checks.items():
        _LOG.info("check %s: %s", name, check())


def run_checks(checks: Checks) -> list[Check]:
    """Runs all checks in order; one that raises a TransferError has failed."""
    done = []
    for name, check in checks.items():
        try:
            found = check()
            done.append(Check(name=name, ok=None if isinstance(found, Unchecked) else True, found=str(found)))
        except TransferError as error:
            done.append(Check(name=name, ok=False, found=str(error)))
    return done


def status_of(checks: Sequence[Check]) -> str:
    """`planned`, or `refused` if a check failed."""
    return "planned" if all(check.ok is not False for check in checks) else "refused"


def bucket_checks(aws: Aws, storage: S3Storage) -> Checks:
    """The caller, and whether the bucket is the intended one; `storage` is the folder to use."""
    return {
        "identity": aws.identity,
        "bucket owner": lambda: check_owner(aws, storage),
        "region": lambda: check_region(aws, storage),
    }


def check_owner(aws: Aws, storage: S3Storage) -> str:
    """The bucket exists, may be listed, and belongs to the expected account."""
    bucket, owner = storage.bucket, aws.options.owner_of(storage.bucket)
    check_bucket(aws.s3, bucket, storage.prefix, owner)
    if owner:
        return f"{bucket} is owned by {owner}"
    option = "--state-owner" if bucket == aws.options.state_bucket else "--bucket-owner"
    off = (
        f"the bucket owner check is off for {bucket}: {_why_owner_unknown(aws)}. Use {option} ACCOUNT, so that a bucket "
        "of another account is not used by mistake"
    )
    warn(f"{off}.")
    return Unchecked(off)


def _why_owner_unknown(aws: Aws) -> str:
    if aws.side is Side.SOURCE:
        return "the source side does not know the account of the destination"
    if aws.s3_session is not aws.session:
        return "S3 and the table are used with different identities"
    return "the caller's account is unknown"


def check_region(aws: Aws, storage: S3Storage) -> str:
    """The region of the bucket; another one than the table's is allowed but costs data transfer."""
    bucket = storage.bucket
    found = check_bucket(aws.s3, bucket, storage.prefix, aws.options.owner_of(bucket))
    if not found:
        return Unchecked(f"the service does not report the region of {bucket}")
    far = f"the table in {aws.region}: data transfer between regions is charged"
    return f"{bucket} is in {found}, {'like the table' if found == aws.region else far}"


def check_table(table: Table) -> str:
    """The table's items can be read and written."""
    require_readable(table)
    return f"{table.arn} is {table.status}; {table.describe_key()}"


def check_backups(aws: Aws, table: Table, meaning: str) -> str:
    """Whether the table has point-in-time recovery, and what that means for the run."""
    setting = read_setting(Clients(aws.dynamodb, aws.autoscaling), table, "point_in_time_recovery")
    if setting.unknown:
        return Unchecked(f"unknown: {setting.unknown}")
    return f"{(setting.value or {}).get('PointInTimeRecoveryStatus', 'DISABLED')}; {meaning}"


def rate_check(cap: Cap | None, definition: Mapping[str, Any], kind: str, *, whose: str = "") -> Checks:
    """The check that the cap applies to this table."""

    def check() -> str:
        units = units_at(cap, definition, kind)
        if units is None:
            return f"unlimited (adaptive); set a cap with {OPTIONS[kind]}"
        return f"at most {units:,.10g} {kind.lower()} units per second"

    return {f"{whose}{kind.lower()} rate": check}


def check_probe(storage: Storage) -> str:
    """A small file can be written and read."""
    return f"{storage.probe()} written and read"


def check_encryption(storage: Storage, key: str | None) -> str:
    """How the probe was encrypted, and so all other objects will be; `key` is the requested KMS key."""
    stored = storage.read(PROBE)
    found = stored.encryption if stored else ""
    if key and ":key/" in key and not found.endswith(key):
        raise BucketError(
            f"Objects below {storage.url} are encrypted with {found or 'an unknown method'} instead of {key}.",
            "Check whether the storage supports SSE-KMS, or omit --kms-key-id to use the bucket's default encryption.",
        )
    return found or Unchecked("not reported by S3")
