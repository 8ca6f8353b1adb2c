"""`ddb-export --dry-run`: the checks and the plan of a new export."""

from __future__ import annotations

import shlex
from typing import Final

from ddb_export.columns import written
from ddb_export.options import ExportOptions
from ddb_export.plan import choose_segments
from ddb_export.preflight import checks, with_acl
from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws
from ddb_shared.bucket import parse_bucket_url
from ddb_shared.errors import UsageError
from ddb_shared.plan import Plan, cost_of, read_units, seconds_for
from ddb_shared.preflight import Check, bucket_checks, run_checks, status_of
from ddb_shared.start import outlived
from ddb_shared.storage import S3Folder
from ddb_shared.table import Table, describe


def plan_export(options: ExportOptions, aws: Aws) -> Plan:
    """The plan; raises TransferError where the table can't even be described."""
    if options.table is None or options.destination is None:
        raise UsageError(
            "TABLE and s3://BUCKET[/PREFIX] are needed.", "A resumed export has no plan to make."
        )
    _, aws = with_acl(options, aws)
    table = describe(aws.dynamodb, options.table)
    exports = S3Folder(aws.s3, *parse_bucket_url(options.destination)).below(manifests.EXPORTS)
    made = run_checks({**bucket_checks(aws, exports), **checks(options, aws, table, exports)})
    return _plan(options, table, aws, made, exports)


def _plan(options: ExportOptions, table: Table, aws: Aws, made: list[Check], exports: S3Folder) -> Plan:
    segments = options.segments or choose_segments(table)
    units = max(read_units(table.size_bytes, consistent=bool(options.consistent_read)), segments * 0.5)
    cost, note = cost_of(
        units, table.region, on_demand=table.on_demand, kind="Read", table_class=table.table_class
    )
    cap = options.max_rcu.units(table.definition, "Read") if options.max_rcu else None
    seconds = seconds_for(units, cap, table, kind="Read")
    return Plan(
        status=status_of(made),
        checks=made,
        creates=[f"{exports.url}<export-id>/"],
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
        ("--max-rcu", options.max_rcu),
        ("--shard-size", options.shard_size),
        ("--acl", options.acl_mode if options.acl_mode != "auto" else None),
    ):
        words += [option, str(value)] if value is not None else []
    return shlex.join([*words, "--consistent-read"] if options.consistent_read else words)
