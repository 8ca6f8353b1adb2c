"""`--engine bulk`: DynamoDB loads the export into a table that exists, with the write capacity that the job is given."""

from __future__ import annotations

from typing import Any, Final

from ddb_import.native.jobs import BulkPutJob
from ddb_import.native.record import open_plan
from ddb_import.native.run import JobRunner, is_expired
from ddb_import.native.source import read_source, verify_copies
from ddb_import.options import Engine, ImportOptions
from ddb_import.prepare import ExportLoad
from ddb_import.state import NativeJob
from ddb_shared.aws.clients import Aws
from ddb_shared.errors import TableError, UsageError
from ddb_shared.runtime.lease import LeaseGuard
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table

# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_StartBulkPutItems.html
MIN_WRITE_UNITS: Final = 1_024


def load_in_bulk(
    load: ExportLoad,
    table: Table,
    options: ImportOptions,
    aws: Aws,
    stop: Stop,
    *,
    guard: LeaseGuard,
    max_wcu: float | None,
) -> NativeJob:
    """Loads one full export under a lease; returns its job, with what it has loaded."""
    given = load.given
    owner = aws.options.owner_of(given.folder.bucket)
    source = read_source(given.folder, given.manifest, Engine.BULK, aws.region, owner)
    check_table_for_bulk(table)
    units = max_units(max_wcu)
    report = report_place(load, aws)
    verify_copies(given.folder, given.manifest, load.files.unverified)
    plan = open_plan(load.storage, given.manifest, options, table_arn=table.arn, table_id=table.id)
    resume = options.common.invocation.line(without={"restart", "dry_run"})

    def open_job(job: NativeJob) -> BulkPutJob:
        return BulkPutJob(
            aws.dynamodb,
            source,
            table=table.address,
            report=report | {"S3KeyPrefix": f"{report['S3KeyPrefix']}{job.token}/"},
            max_units=units,
            token=job.token,
            arn=job.arn,
            again=resume,
            is_expired=is_expired(job),
        )

    runner = JobRunner(options.common.progress, stop, resume, options.common.invocation.line(), guard)
    return runner.run(plan, open_job)


def check_table_for_bulk(table: Table) -> str:
    """What DynamoDB demands of the table; raises TableError."""
    if table.definition.get("Replicas"):
        raise TableError(
            f"Table {table.name} is a global table, which StartBulkPutItems does not load.",
            "Use --engine batch-write.",
        )
    indexes = table.definition.get("GlobalSecondaryIndexes", ())
    making = [index["IndexName"] for index in indexes if index.get("IndexStatus", "ACTIVE") == "CREATING"]
    if making:
        raise TableError(
            f"Index {making[0]} of table {table.name} is being created, and StartBulkPutItems does not load meanwhile.",
            "Wait until it is ACTIVE, then run the command again.",
        )
    return f"{table.name} can be loaded by StartBulkPutItems"


def max_units(max_wcu: float | None) -> int | None:
    """The cap as the job takes it; raises UsageError where it is too low."""
    if max_wcu is not None and max_wcu < MIN_WRITE_UNITS:
        raise UsageError(
            f"--engine bulk takes a cap of {MIN_WRITE_UNITS:,} write units per second or more, and --max-wcu is {max_wcu:,.10g}.",
            "Raise --max-wcu, leave it out, or use --engine batch-write.",
        )
    return None if max_wcu is None else int(max_wcu)


def report_place(load: ExportLoad, aws: Aws) -> dict[str, Any]:
    """Where DynamoDB reports what it refuses: beside the state, which has to be in a bucket; raises UsageError."""
    storage = load.storage
    if not isinstance(storage, S3Storage):
        raise UsageError(
            "--engine bulk has DynamoDB report what it refuses beside the state, and --state is a local folder.",
            "Give --state s3://…, or leave it out.",
        )
    owner = aws.options.owner_of(storage.bucket)
    place = {"S3Bucket": storage.bucket, "S3KeyPrefix": storage.key("bulk/")}
    return place | ({"S3BucketOwner": owner} if owner else {})
