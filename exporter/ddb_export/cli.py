"""The command `ddb-export`."""

from __future__ import annotations

import sys
from typing import Any

import click

import ddb_shared
from ddb_export.columns import parse_columns
from ddb_export.ddl import Dialect, Statement, statement_for
from ddb_export.dry_run import plan_export
from ddb_export.encoding import DEFAULT_COMPRESSIONS
from ddb_export.options import ExportOptions
from ddb_export.run import ExportResult, run_export
from ddb_shared.aws import Aws
from ddb_shared.bucket import FULL_CONTROL
from ddb_shared.compression import SUFFIXES
from ddb_shared.errors import EXIT_CODES, UsageError
from ddb_shared.options import ByteSize, Capacity, Common, common_options, print_result, run
from ddb_shared.permissions import Side
from ddb_shared.start import log_in
from ddb_shared.workers import stop_on_signals

EPILOG = f"""\
Examples:

\b
  ddb-export Orders s3://shared-bucket/moves
  ddb-export Orders s3://shared-bucket --max-rcu 500 --consistent-read
  ddb-export Orders s3://shared-bucket --bucket-owner 222222222222 --role-arn arn:aws:iam::111111111111:role/exporter
  ddb-export --resume s3://shared-bucket/moves/AWSDynamoDB/01715685260608-c488b4e1/
  ddb-export Orders s3://shared-bucket --format parquet
  ddb-export --ddl athena s3://shared-bucket/AWSDynamoDB/01715685260608-c488b4e1/

{EXIT_CODES}"""


@click.command("ddb-export", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("table", required=False)
@click.argument("destination", metavar="[s3://BUCKET[/PREFIX]]", required=False)
@click.option("--resume", metavar="EXPORT", help="Finish the interrupted export in this folder.")
@click.option(
    "--format",
    type=click.Choice(list(DEFAULT_COMPRESSIONS)),
    help="jsonl is AWS's own export form; parquet is for queries by Athena, DuckDB, Spark and others as well, and is "
    "imported as exactly.  [default: jsonl]",
)
@click.option(
    "--columns",
    metavar="NAME:TYPE,…",
    callback=lambda _, __, text: parse_columns(text) if text else None,
    help="With --format parquet: the attributes to show as typed columns beside the keys. Types are string, int64, "
    "double, decimal(38,S), binary, bool, and list<…> for sets.  [default: the frequent ones of a sample]",
)
@click.option(
    "--compression",
    type=click.Choice(list(SUFFIXES)),
    help="Compression of the shards.  [default: gzip, and zstd with --format parquet]",
)
@click.option(
    "--segments",
    type=click.IntRange(1, 9999),
    metavar="N",
    help="Scan segments.  [default: one per 64 MiB of the table, 16 to 1,024]",
)
@click.option(
    "--consistent-read", is_flag=True, default=None, help="Read consistently, at twice the capacity."
)
@click.option(
    "--max-rcu",
    type=Capacity(),
    metavar="N|N%",
    help="Read capacity units per second over all processes, or a part of the provisioned ones, such as 50%. There is one "
    "process for each 1,000 of them at the most.",
)
@click.option(
    "--shard-size",
    type=ByteSize(),
    metavar="BYTES",
    help="Roll shards at this compressed size.  [default: 64MiB]",
)
@click.option(
    "--acl",
    "acl_mode",
    type=click.Choice(["auto", "none", FULL_CONTROL]),
    default="auto",
    show_default=True,
    help="ACL of the objects; auto sends bucket-owner-full-control where the bucket's ownership setting needs it.",
)
@click.option(
    "--kms-key-id",
    metavar="ARN",
    help="Encrypt the objects with this KMS key (SSE-KMS), named by its ARN.  [default: as the bucket is set up]",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check everything and print the plan: size, capacity, duration, cost, and the command that runs it.",
)
@click.option(
    "--ddl",
    type=click.Choice([dialect.value for dialect in Dialect]),
    help="Export nothing: print the statement with which Athena or DuckDB reads the Parquet export that is given in "
    "TABLE's place.",
)
@click.version_option(ddb_shared.__version__)
@common_options
def command(common: Common, ddl: str | None, **given: Any) -> None:
    """Export TABLE into a new folder below s3://BUCKET[/PREFIX] and print its location.

    The table is scanned in parallel; its items become compressed JSON lines in AWS's own export form,
    or Parquet. The export is
    complete once it has its manifest; until then --resume finishes it.
    """
    if common.aws.kms_key_id and not common.aws.kms_key_id.startswith("arn:"):
        raise UsageError(
            f"--kms-key-id {common.aws.kms_key_id!r} is not an ARN.",
            "S3 looks for an id or an alias in the account of the caller; write arn:aws:kms:REGION:ACCOUNT:key/ID.",
        )
    common, aws = log_in(common, Side.SOURCE)
    if ddl is not None:
        statement = _statement(aws, given, Dialect(ddl))
        print_result(statement, statement.statement, as_json=common.as_json)
        return
    dry_run = given.pop("dry_run")
    options = ExportOptions(common=common, **given)
    if dry_run:
        plan = plan_export(options, aws)
        print_result(plan, plan.text(), as_json=common.as_json)
        sys.exit(plan.exit_code)
    with stop_on_signals() as stop:
        result = run_export(options, aws, stop)
    print_result(result, _text(result), as_json=common.as_json)


def _statement(aws: Aws, given: dict[str, Any], dialect: Dialect) -> Statement:
    if given["table"] is None or given["destination"] is not None:
        raise UsageError("--ddl needs an export.", f"Run: ddb-export --ddl {dialect} EXPORT")
    return statement_for(aws, given["table"], dialect)


def _text(result: ExportResult) -> str:
    return (
        f"Exported {result.items:,} items in {result.shards:,} shards, {result.seconds:,.1f} s, "
        f"{result.consumed_rcu:,.1f} RCU, {result.throttled:,} times throttled.\n{result.export}"
    )


def main() -> None:
    """Entry point of the console script."""
    run(command)


if __name__ == "__main__":
    main()
