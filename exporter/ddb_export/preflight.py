"""What an export checks before its first write, in order."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from ddb_export.options import ExportOptions
from ddb_shared.aws import Aws
from ddb_shared.bucket import object_ownership, parse_bucket_url
from ddb_shared.cap import pace_check
from ddb_shared.preflight import Checks, check_backups, check_encryption, check_probe, check_table
from ddb_shared.storage import S3Folder
from ddb_shared.table import Table

_LOG: Final = logging.getLogger(__name__)


def checks(options: ExportOptions, aws: Aws, table: Table, place: S3Folder) -> Checks:
    """What is checked of an export of `table` into or below `place`, once the bucket is known to be the right one."""
    return {
        "table": lambda: check_table(table),
        **pace_check(options.max_rcu, table.definition, "Read"),
        "point-in-time recovery": lambda: check_backups(aws, table, "a scan does not need it"),
        "object ownership": lambda: str(object_ownership(aws.s3, place.bucket)),
        "write and read": lambda: check_probe(place),
        "encryption": lambda: check_encryption(place, aws.options.kms_key_id),
    }


def with_acl(options: ExportOptions, aws: Aws) -> tuple[ExportOptions, Aws]:
    """The same with the ACL that the objects need, if any; the probe carries it as everything does."""
    acl, url = options.acl_mode, options.resume or options.destination
    if acl == "auto" and url:
        ownership = object_ownership(aws.s3, parse_bucket_url(url)[0])
        if ownership.unknown:
            _LOG.warning("The bucket's object ownership is %s", ownership)
        acl = ownership.acl or "none"
    if acl in {"auto", "none"}:
        return options, aws
    chosen = replace(options.common.aws, acl=acl)
    return replace(options, common=replace(options.common, aws=chosen)), Aws(chosen, aws.login)
