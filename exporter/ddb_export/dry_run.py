"""`ddb-export --dry-run`: the checks and the plan of a new export."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import msgspec

from ddb_export.format_options import DEFAULT_SHARD_BYTES, check_columns
from ddb_export.native.plan import plan_native_export
from ddb_export.options import Method, NewExport
from ddb_export.preflight import checks, with_acl
from ddb_export.routes import choose_method, routes_for
from ddb_shared.aws.clients import Aws
from ddb_shared.command.identity import expiry_warnings
from ddb_shared.command.plan import DryRunPlan, read_units, seconds_for
from ddb_shared.command.preflight import Check, bucket_checks, run_checks, status_of
from ddb_shared.command.prices import capacity_cost, price_list, s3_costs, total_usd
from ddb_shared.format import manifest as manifests
from ddb_shared.storage.bucket import parse_bucket_url
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.storage.upload import PART_BYTES
from ddb_shared.table.description import Table, describe
from ddb_shared.table.segments import PAGE_BYTES, choose_segments


def plan_export(options: NewExport, aws: Aws) -> DryRunPlan:
    """The plan; raises TransferError if the table cannot be described."""
    table = describe(aws.dynamodb, options.table)
    exports = S3Storage(aws.s3, *parse_bucket_url(options.destination)).below(manifests.EXPORTS)
    notes = []
    if options.method is Method.AUTO:
        method, why = choose_method(options, aws, table)
        options, notes = replace(options, method=method), [f"Method {method.value}: {why}."]
    if options.method is Method.PITR:
        plan = plan_native_export(options, aws, table, exports)
    else:
        plan = _plan_scan(options, aws, table, exports)
    return msgspec.structs.replace(
        plan, notes=[*notes, *plan.notes], routes=routes_for(options, aws, table, exports)
    )


def _plan_scan(options: NewExport, aws: Aws, table: Table, exports: S3Storage) -> DryRunPlan:
    _, aws = with_acl(options, aws)
    exports = S3Storage(aws.s3, exports.bucket, exports.prefix)
    results = run_checks(
        {
            **bucket_checks(aws, exports),
            **checks(options, aws, table, exports),
            **check_columns(options.requested, options.max_rcu, table, aws),
        }
    )
    return _plan(options, table, aws, results, exports)


def _plan(options: NewExport, table: Table, aws: Aws, results: list[Check], exports: S3Storage) -> DryRunPlan:
    segments = options.requested.segments or choose_segments(
        table, fits_page=options.common.chooses_processes and table.size_bytes <= PAGE_BYTES
    )
    units = max(
        read_units(table.size_bytes, consistent=bool(options.requested.consistent_read)), segments * 0.5
    )
    prices = price_list(aws, table.region, table.table_class)
    costs = [
        capacity_cost(prices, "Read", units, on_demand=table.on_demand),
        *s3_costs(prices, puts=_puts(table, segments), stored_gb=table.size_bytes / 1e9),
    ]
    cap = options.max_rcu.units(table.definition, "Read") if options.max_rcu else None
    seconds = seconds_for(units, cap, table, kind="Read")
    return DryRunPlan(
        status=status_of(results),
        checks=results,
        creates=[f"{exports.url}<export-id>/"],
        items=table.item_count,
        bytes=table.size_bytes,
        parts=segments,
        units=units,
        seconds=seconds,
        cost_usd=total_usd(costs),
        costs=costs,
        prices=prices.source,
        notes=[
            _COUNTING_NOTE,
            *(f"Warning: {text}" for text in expiry_warnings(aws, math.inf if options.follow else seconds)),
        ],
        command=options.common.invocation.line(without={"dry_run"}),
    )


_COUNTING_NOTE: Final = (
    "Items and size are DynamoDB's own numbers, up to six hours old; parts are scan segments. Uploads and storage are counted as "
    "if nothing were compressed."
)


def _puts(table: Table, segments: int) -> int:
    """Uploads of parts, the beginning and the end of each shard's upload, and its checkpoint; at most."""
    shards = table.size_bytes // DEFAULT_SHARD_BYTES + segments
    return table.size_bytes // PART_BYTES + 3 * shards
