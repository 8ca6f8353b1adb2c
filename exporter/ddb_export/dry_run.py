"""`ddb-export --dry-run`: the checks and the plan of a new export."""

from __future__ import annotations

import shlex
from typing import Final

from ddb_export.columns import written
from ddb_export.options import ExportOptions
from ddb_export.plan import choose_segments
from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws
from ddb_shared.definition import Clients, read_settings
from ddb_shared.errors import UsageError
from ddb_shared.plan import Plan, cost_of, probe, read_units, run_checks, seconds_for, status_of
from ddb_shared.start import outlived
from ddb_shared.storage import S3Folder, check_bucket, needed_acl, parse_bucket_url
from ddb_shared.table import Table, describe, require_readable


def plan_export(options: ExportOptions, aws: Aws) -> Plan:
    """The plan; raises TransferError where the table can't even be described."""
    if options.table is None or options.destination is None:
        raise UsageError(
            "TABLE and s3://BUCKET[/PREFIX] are needed.", "A resumed export has no plan to make."
        )
    bucket, prefix = parse_bucket_url(options.destination)
    place = f"{prefix}/{manifests.EXPORTS}" if prefix else manifests.EXPORTS
    table = describe(aws.dynamodb, options.table)
    checks = run_checks(
        {
            "identity": aws.identity,
            "table": lambda: _check_table(table),
            "point-in-time recovery": lambda: _check_backups(aws, table),
            "bucket": lambda: _check_bucket(aws, bucket, place, table.region),
            "object ownership": lambda: f"ACL {needed_acl(aws.s3, bucket) or 'not needed'}",
            "write and read": lambda: probe(S3Folder(aws.s3, bucket, place)),
        }
    )
    segments = options.segments or choose_segments(table)
    units = max(read_units(table.size_bytes, consistent=bool(options.consistent_read)), segments * 0.5)
    cost, note = cost_of(units, table.region, on_demand=table.on_demand, kind="Read")
    seconds = seconds_for(units, options.max_rcu, table, kind="Read")
    return Plan(
        status=status_of(checks),
        checks=checks,
        creates=[f"s3://{bucket}/{place}<export-id>/"],
        items=table.item_count,
        bytes=table.size_bytes,
        parts=segments,
        units=units,
        seconds=seconds,
        cost_usd=cost,
        notes=[_COUNTED, note, *outlived(aws, seconds)],
        command=export_command(options),
    )


_COUNTED: Final = "Items and bytes are DynamoDB's own numbers, up to six hours old; parts are scan segments."


def export_command(options: ExportOptions) -> str:
    """The command line that runs the plan."""
    words = ["ddb-export", options.table or "", options.destination or "", *options.common.arguments]
    for option, value in (
        ("--format", options.format),
        ("--columns", written(options.columns) if options.columns else None),
        ("--compression", options.compression),
        ("--segments", options.segments),
        ("--max-rcu", f"{options.max_rcu:g}" if options.max_rcu else None),
        ("--shard-size", options.shard_size),
        ("--acl", options.acl_mode if options.acl_mode != "auto" else None),
    ):
        words += [option, str(value)] if value is not None else []
    return shlex.join([*words, "--consistent-read"] if options.consistent_read else words)


def _check_table(table: Table) -> str:
    require_readable(table)
    return f"{table.arn} is {table.status}; {table.describe_key()}"


def _check_backups(aws: Aws, table: Table) -> str:
    setting = read_settings(Clients(aws.dynamodb, aws.autoscaling), table)["point_in_time_recovery"]
    if setting.unknown:
        return f"unknown: {setting.unknown}"
    return f"{(setting.value or {}).get('PointInTimeRecoveryStatus', 'unknown')}; a scan does not need it"


def _check_bucket(aws: Aws, bucket: str, place: str, region: str) -> str:
    found = check_bucket(aws.s3, bucket, place)
    owner = aws.options.bucket_owner
    whose = f"owned by {owner}" if owner else "its owner is not checked: give --bucket-owner"
    far = f", another region than the table's {region}" if found and found != region else ""
    return f"{bucket} in {found or 'an unknown region'}{far}; {whose}"
