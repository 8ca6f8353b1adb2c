"""The command `ddb-import`."""

from __future__ import annotations

import sys
from typing import Any, Final

import click
import msgspec

import ddb_shared
from ddb_import.definition.create import CreateOptions, Indexes, parse_kms_pair
from ddb_import.definition.create_request import NEW_TABLE_WRITE_UNITS
from ddb_import.definition.form import ON_DEMAND, PROVISIONED
from ddb_import.dry_run import plan_import
from ddb_import.options import ImportOptions, OnExisting
from ddb_import.run import ImportResult, run_import
from ddb_import.verify.after_import import verify_import
from ddb_shared.bucket import bucket_besides
from ddb_shared.errors import EXIT_CODES, UsageError
from ddb_shared.options import Capacity, Common, common_options, print_result, run, state_owner_option
from ddb_shared.permissions import Side
from ddb_shared.start import log_in
from ddb_shared.workers import stop_on_signals

EPILOG = f"""\
Examples:

\b
  ddb-import s3://shared-bucket/moves/AWSDynamoDB/01715685260608-c488b4e1/ Orders
  ddb-import s3://…/01715685260608-c488b4e1/ Orders --create-table --map-kms KEY=arn:aws:kms:eu-west-1:…:key/…
  ddb-import s3://…/01715685260608-c488b4e1/ Orders --max-wcu 2000
  ddb-import s3://…/01715685260608-c488b4e1/ Orders --on-existing skip --state ./orders-import
  ddb-import s3://…/01715685260608-c488b4e1/ Orders --from-rejects

{EXIT_CODES}"""


_BILLING_MODES: Final = {"pay-per-request": ON_DEMAND, "provisioned": PROVISIONED}
_CREATE: Final = {
    "billing_mode": "--billing-mode",
    "warm_write_units": "--warm-write-units",
    "kms_keys": "--map-kms",
    "indexes": "--indexes",
    "definition_only": "--definition-only",
}


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
    "--max-wcu",
    type=Capacity(),
    metavar="N|N%",
    help="Write capacity units per second over all processes, those of the indexes included, or a part of the provisioned "
    "ones, such as 50%. There is one process for each 1,000 of them at the most.",
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
@click.option(
    "--create-table",
    is_flag=True,
    help="Make the table as the export describes it, or go on with one that has the same keys; the report says where "
    "it differs. Indexes come with the table; streams, tags, backups, autoscaling, time to live, policies and "
    "deletion protection are set after the load.",
)
@click.option(
    "--billing-mode",
    type=click.Choice(list(_BILLING_MODES)),
    help="With --create-table: the billing mode.  [default: the source's]",
)
@click.option(
    "--warm-write-units",
    type=click.IntRange(min=NEW_TABLE_WRITE_UNITS),  # CreateTable refuses less
    metavar="N",
    help="With --create-table: warm the table and its global indexes to N write units a second, so that a new "
    "on-demand table takes full speed at once. AWS charges once for it, for each unit above what the table has "
    "anyway (4,000), and it cannot be lowered again: https://aws.amazon.com/dynamodb/pricing/.",
)
@click.option(
    "--map-kms",
    "kms_keys",
    multiple=True,
    metavar="SOURCE=DEST",
    help="With --create-table: the destination's key for a table that is encrypted with the key SOURCE; "
    "alias/aws/dynamodb is AWS's own.",
)
@click.option(
    "--indexes",
    type=click.Choice([choice.value for choice in Indexes]),
    help="With --create-table: make the global indexes with the table, or once its items are loaded.  "
    "[default: with-table]",
)
@click.option("--definition-only", is_flag=True, help="With --create-table: stop before the load.")
@click.option(
    "--verify", is_flag=True, help="Compare the table with the export after the load, as ddb-verify does."
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check everything and print the plan: size, capacity, duration, cost, and the command that runs it.",
)
@state_owner_option
@click.version_option(ddb_shared.__version__)
@common_options
def command(common: Common, **given: Any) -> None:
    """Load EXPORT (the folder that ddb-export printed, or a manifest in it) into TABLE.

    Every shard is checked against the manifest, every item is written until DynamoDB confirms it. Interrupted, the same
    command again goes on where it was.
    """
    create = _create_options(given)
    if create and create.definition_only and given["verify"]:
        raise UsageError("--definition-only loads nothing that --verify could compare.", "Leave one out.")
    common, aws = log_in(
        common, Side.DESTINATION, state_bucket=bucket_besides(given["state"], given["export"])
    )
    dry_run = given.pop("dry_run")
    options = ImportOptions(common=common, create=create, **given)
    if dry_run:
        plan = plan_import(options, aws)
        print_result(plan, plan.text(), as_json=common.as_json)
        sys.exit(plan.exit_code)
    with stop_on_signals() as stop:
        result = run_import(options, aws, stop)
        checked = verify_import(options, aws, stop) if options.verify else None
    if checked:
        result = msgspec.structs.replace(result, verification=checked.result)
    print_result(result, _text(result), as_json=common.as_json)
    if checked and checked.error:
        raise checked.error
    sys.exit(result.exit_code)


def _create_options(given: dict[str, Any]) -> CreateOptions | None:
    """Takes the options of --create-table out of `given`; raises UsageError where they stand without it."""
    taken = {name: given.pop(name) for name in _CREATE}
    if given.pop("create_table"):
        return CreateOptions(
            billing_mode=_BILLING_MODES.get(taken["billing_mode"]),
            warm_write_units=taken["warm_write_units"],
            kms_keys=tuple(map(parse_kms_pair, taken["kms_keys"])),
            indexes=Indexes(taken["indexes"] or Indexes.WITH_TABLE),
            definition_only=taken["definition_only"],
        )
    alone = [_CREATE[name] for name, value in taken.items() if value]
    if alone:
        raise UsageError(f"{alone[0]} is an option of --create-table.", "Give --create-table as well.")
    return None


def _text(result: ImportResult) -> str:
    rejects = f"\nThe rejected items and their reasons: {result.rejects}" if result.rejects else ""
    if result.status == "defined":
        return f"Table {result.table} is ready for the load; nothing was loaded."
    drift = "".join(f"\n  {difference}" for difference in result.drift)
    drift = f"\nThe table differs from the source:{drift}" if drift else ""
    return (
        f"Imported into {result.table}: {result.items_written:,} items written, {result.items_skipped:,} skipped, "
        f"{result.items_rejected:,} rejected; {result.shards_done:,} of {result.shards_total:,} shards, "
        f"{result.seconds:,.1f} s, {result.consumed_wcu:,.1f} WCU, {result.throttled:,} times throttled.{rejects}{drift}"
        + (f"\n{result.verification.text()}" if result.verification else "")
    )


def main() -> None:
    """Entry point of the console script."""
    run(command)


if __name__ == "__main__":
    main()
