"""The command `ddb-export`."""

from __future__ import annotations

from typing import Any

import click

import ddb_shared
from ddb_export.options import ExportOptions
from ddb_export.run import ExportResult, run_export
from ddb_shared.aws import Aws
from ddb_shared.compression import SUFFIXES
from ddb_shared.errors import EXIT_CODES
from ddb_shared.options import ByteSize, Capacity, Common, common_options, print_result, run
from ddb_shared.workers import stop_on_signals

EPILOG = f"""\
Examples:

\b
  ddb-export Orders s3://shared-bucket/moves
  ddb-export Orders s3://shared-bucket --max-rcu 500 --consistent-read
  ddb-export Orders s3://shared-bucket --bucket-owner 222222222222 --role-arn arn:aws:iam::111111111111:role/exporter
  ddb-export --resume s3://shared-bucket/moves/AWSDynamoDB/01715685260608-c488b4e1/

{EXIT_CODES}"""


@click.command("ddb-export", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("table", required=False)
@click.argument("destination", metavar="[s3://BUCKET[/PREFIX]]", required=False)
@click.option("--resume", metavar="EXPORT", help="Finish the interrupted export in this folder.")
@click.option(
    "--compression", type=click.Choice(list(SUFFIXES)), help="Compression of the shards.  [default: gzip]"
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
    "--max-rcu", type=Capacity(), metavar="N", help="Read capacity units per second, over all processes."
)
@click.option(
    "--shard-size",
    type=ByteSize(),
    metavar="BYTES",
    help="Roll shards at this compressed size.  [default: 64MiB]",
)
@click.version_option(ddb_shared.__version__)
@common_options
def command(common: Common, **given: Any) -> None:
    """Export TABLE into a new folder below s3://BUCKET[/PREFIX] and print its location.

    The table is scanned in parallel; its items become compressed JSON lines in AWS's own export form. The export is
    complete once it has its manifest; until then --resume finishes it.
    """
    options = ExportOptions(common=common, **given)
    with stop_on_signals() as stop:
        result = run_export(options, Aws(common.aws), stop)
    print_result(result, _text(result), as_json=common.as_json)


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
