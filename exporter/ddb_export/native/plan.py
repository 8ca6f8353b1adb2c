"""`ddb-export --method pitr --dry-run`: the checks and the plan of an export by DynamoDB itself."""

from __future__ import annotations

from typing import Final

from ddb_export.native.preflight import native_checks
from ddb_export.options import NewExport
from ddb_shared.aws.clients import Aws
from ddb_shared.command.identity import expiry_warnings
from ddb_shared.command.plan import DryRunPlan
from ddb_shared.command.preflight import bucket_checks, run_checks, status_of
from ddb_shared.command.prices import Cost, native_prices, total_usd
from ddb_shared.command.routes import NATIVE_SECONDS, native_seconds, product
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table

_GB: Final = 1024**3


def plan_native_export(options: NewExport, aws: Aws, table: Table, exports: S3Storage) -> DryRunPlan:
    """The plan of an export into the folder `exports`."""
    results = run_checks({**bucket_checks(aws, exports), **native_checks(options.pitr, aws, table, exports)})
    prices, gigabytes = native_prices(aws, table.region), table.size_bytes / _GB
    incremental = options.pitr.since is not None
    costs = [
        Cost(
            what="Export by DynamoDB", quantity=gigabytes, unit="GB", usd=product(prices.export_gb, gigabytes)
        )
    ]
    if incremental:
        costs = [Cost(what="Incremental export by DynamoDB", quantity=0.0, unit="GB", usd=None)]
    return DryRunPlan(
        status=status_of(results),
        checks=results,
        creates=[f"{exports.url}<export-id>/"],
        items=table.item_count,
        bytes=table.size_bytes,
        parts=0,
        units=0.0,
        seconds=NATIVE_SECONDS if incremental else native_seconds(table.size_bytes, 1),
        cost_usd=total_usd(costs),
        costs=costs,
        prices=prices.source,
        notes=[
            _DURATION,
            *([_INCREMENT] if incremental else []),
            *(f"Warning: {text}" for text in expiry_warnings(aws, NATIVE_SECONDS)),
        ],
        command=options.common.invocation.line(without={"dry_run"}),
    )


_DURATION: Final = (
    "The duration is an estimate: ten minutes, the least that was measured, and the size at 10 TB a day, as DynamoDB fills new replicas. It tells "
    "no progress, and uses no read capacity. Items and size are its own numbers, up to six hours old."
)
_INCREMENT: Final = (
    "An increment is charged by the changes that DynamoDB has to read, which is not known beforehand."
)
