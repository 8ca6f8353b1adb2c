"""The checks of an export before its first write."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final, TypeVar

from ddb_export.capture.stream import check_stream
from ddb_export.options import ExportOptions, NewExport, NewMove, ResumedExport, ResumedMove
from ddb_shared.aws.clients import Aws, connect
from ddb_shared.command.preflight import (
    Checks,
    Unchecked,
    check_backups,
    check_encryption,
    check_probe,
    check_table,
    rate_check,
)
from ddb_shared.storage.bucket import object_ownership, parse_bucket_url
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table

_LOG: Final = logging.getLogger(__name__)


def checks(options: ExportOptions, aws: Aws, table: Table, storage: S3Storage) -> Checks:
    """The checks of an export of `table` into or below `storage`, after those of the bucket."""
    return {**table_checks(options, aws, table), **place_checks(aws, storage)}


def table_checks(options: ExportOptions, aws: Aws, table: Table) -> Checks:
    """Those of the table alone."""
    return {
        "table": lambda: check_table(table),
        **rate_check(options.max_rcu, table.definition, "Read"),
        "point-in-time recovery": lambda: check_backups(aws, table, "not needed for a scan"),
        **(
            {"stream": lambda: check_stream(table)}
            if isinstance(options, NewExport) and options.follow
            else {}
        ),
    }


def place_checks(aws: Aws, storage: S3Storage) -> Checks:
    """Those of the place that is written to."""
    return {
        "object ownership": lambda: _check_ownership(aws, storage.bucket),
        "write and read": lambda: check_probe(storage),
        "encryption": lambda: check_encryption(storage, aws.options.kms_key_id),
    }


def _check_ownership(aws: Aws, bucket: str) -> str:
    ownership = object_ownership(aws.s3, bucket)
    return Unchecked(str(ownership)) if ownership.unknown else str(ownership)


Options = TypeVar("Options", bound=NewExport | ResumedExport | NewMove | ResumedMove)


def with_acl(options: Options, aws: Aws) -> tuple[Options, Aws]:
    """The options and clients with the ACL that the objects need, if any; it applies to the probe as well."""
    acl = options.acl_mode
    if acl == "auto":
        ownership = object_ownership(aws.s3, parse_bucket_url(options.url)[0])
        if ownership.unknown:
            _LOG.warning("The bucket's object ownership is %s", ownership)
        acl = ownership.acl or "none"
    if acl == "none":
        return options, aws
    chosen = replace(options.common.aws, acl=acl)
    return replace(options, common=replace(options.common, aws=chosen)), connect(chosen)
