"""The command `ddb-import`."""

from __future__ import annotations

import sys
from typing import Any

import click

import ddb_shared
from ddb_import.options import ImportOptions, OnExisting
from ddb_import.run import ImportResult, run_import
from ddb_shared.aws import Aws
from ddb_shared.errors import EXIT_CODES
from ddb_shared.options import Capacity, Common, common_options, print_result, run
from ddb_shared.workers import stop_on_signals

EPILOG = f"""\
Examples:

\b
  ddb-import s3://shared-bucket/moves/AWSDynamoDB/01715685260608-c488b4e1/ Orders
  ddb-import s3://…/01715685260608-c488b4e1/ Orders --max-wcu 2000
  ddb-import s3://…/01715685260608-c488b4e1/ Orders --on-existing skip --state ./orders-import
  ddb-import s3://…/01715685260608-c488b4e1/ Orders --from-rejects

{EXIT_CODES}"""


@click.command("ddb-import", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("export", metavar="EXPORT")
@click.argument("table")
@click.option(
    "--on-existing",
    type=click.Choice([choice.value for choice in OnExisting]),
    default=OnExisting.OVERWRITE.value,
    show_default=True,
    callback=lambda _, __, value: OnExisting(value),
    help="What to do with an item whose key the table has already: overwrite puts 25 items a request; skip puts one "
    "item a request, on the condition that there is none, and pays a write unit also for those that it skips.",
)
@click.option(
    "--max-wcu", type=Capacity(), metavar="N", help="Write capacity units per second, over all processes."
)
@click.option(
    "--state",
    metavar="URL",
    help="Keep the import's state here, in another bucket (s3://…) or a local folder, where the export's bucket may "
    "only be read.",
)
@click.option("--restart", is_flag=True, help="Throw the saved state away and load everything again.")
@click.option(
    "--from-rejects",
    is_flag=True,
    help="Load the rejects of an earlier run again, after their lines were mended.",
)
@click.version_option(ddb_shared.__version__)
@common_options
def command(common: Common, **given: Any) -> None:
    """Load EXPORT (the folder that ddb-export printed, or a manifest in it) into TABLE.

    Every shard is checked against the manifest, every item is written until DynamoDB confirms it. Interrupted, the same
    command again goes on where it was.
    """
    options = ImportOptions(common=common, **given)
    with stop_on_signals() as stop:
        result = run_import(options, Aws(common.aws), stop)
    print_result(result, _text(result), as_json=common.as_json)
    sys.exit(result.exit_code)


def _text(result: ImportResult) -> str:
    rejects = f"\nThe rejected items and their reasons: {result.rejects}" if result.rejects else ""
    return (
        f"Imported into {result.table}: {result.items_written:,} items written, {result.items_skipped:,} skipped, "
        f"{result.items_rejected:,} rejected; {result.shards_done:,} of {result.shards_total:,} shards, "
        f"{result.seconds:,.1f} s, {result.consumed_wcu:,.1f} WCU, {result.throttled:,} times throttled.{rejects}"
    )


def main() -> None:
    """Entry point of the console script."""
    run(command)


if __name__ == "__main__":
    main()
