"""The command `ddb-verify`."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import click

import ddb_shared
from ddb_import.verify.options import Repair, Source, VerifyOptions
from ddb_import.verify.result import incomplete
from ddb_import.verify.run import run_verify
from ddb_shared.bucket import bucket_besides
from ddb_shared.errors import EXIT_CODES, TransferError, UsageError
from ddb_shared.options import Capacity, Common, common_options, print_result, run, state_owner_option
from ddb_shared.permissions import Side
from ddb_shared.start import log_in
from ddb_shared.times import now_text
from ddb_shared.workers import stop_on_signals

EPILOG = f"""\
Examples:

\b
  ddb-verify s3://shared-bucket/moves/AWSDynamoDB/01715685260608-c488b4e1/ Orders
  ddb-verify s3://…/01715685260608-c488b4e1/ Orders --max-rcu 500 --json
  ddb-verify s3://…/01715685260608-c488b4e1/ Orders --sample 1
  ddb-verify s3://…/01715685260608-c488b4e1/ Orders --repair --delete-extra
  ddb-verify --tables Orders OrdersCopy --source-profile old-account

{EXIT_CODES}"""


@click.command("ddb-verify", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("export", metavar="[EXPORT]", required=False)
@click.argument("table", metavar="TABLE", required=False)
@click.option(
    "--tables", "source_table", metavar="SOURCE", help="Compare this table with TABLE, instead of an export."
)
@click.option("--source-region", metavar="REGION", help="Region of the SOURCE table, if another.")
@click.option("--source-profile", metavar="NAME", help="Profile that reads the SOURCE table, if another.")
@click.option(
    "--source-role-arn",
    "source_role_arns",
    multiple=True,
    metavar="ARN",
    help="Role that reads the SOURCE table.",
)
@click.option(
    "--max-rcu",
    type=Capacity(),
    metavar="N|N%",
    help="Read capacity units per second, for each table, or a part of the provisioned ones, such as 50%.",
)
@click.option(
    "--sample",
    type=click.FloatRange(0, 100, min_open=True),
    metavar="PERCENT",
    help="A quick look at a part of the items, which proves nothing and sees no extra items.",
)
@click.option("--repair", is_flag=True, help="Write missing and different items again, after a confirmation.")
@click.option("--delete-extra", is_flag=True, help="With --repair: delete the items that the export lacks.")
@click.option("--yes", is_flag=True, help="With --repair: do not ask.")
@click.option(
    "--max-wcu",
    type=Capacity(),
    metavar="N|N%",
    help="With --repair: write units per second, or a part of the provisioned ones.",
)
@click.option(
    "--state",
    metavar="URL",
    help="Keep the report here, in another bucket (s3://…) or a local folder.  [default: beside the import's state; "
    "with --tables, the current folder]",
)
@state_owner_option
@click.version_option(ddb_shared.__version__)
@common_options
def command(common: Common, **given: Any) -> None:
    """Prove that TABLE holds exactly what EXPORT holds; or with --tables, what the table SOURCE holds.

    Both sides are read once, in parallel. Where they differ, each item is named in a report, after it was read again
    consistently. Only the verdict `identical`, exit code 0, is a pass.
    """
    options = _parse(common, given)
    with stop_on_signals() as stop:
        try:
            common, aws = log_in(
                common, Side.DESTINATION, state_bucket=bucket_besides(options.state, options.export)
            )
            options = dataclasses.replace(options, common=common)
            result = run_verify(options, aws, stop, ask=ask)
        except UsageError:
            raise
        except TransferError as error:
            failed = incomplete(error, options.left, options.table, now_text())
            print_result(failed, failed.text(), as_json=common.as_json)
            raise
    print_result(result, result.text(), as_json=common.as_json)
    sys.exit(result.exit_code)


def ask(question: str) -> bool:
    """Puts a question on stderr, since stdout holds the result."""
    return click.confirm(question, err=True)


def _parse(common: Common, given: dict[str, Any]) -> VerifyOptions:
    """The options, if they go together."""
    repair, source = _repair(given), _source(given)
    if source is not None and given["table"] is None:
        given["table"], given["export"] = given["export"], None
    elif source is not None and given["export"] is not None:
        raise UsageError("--tables takes two tables.", "Write: ddb-verify --tables SOURCE DEST")
    if given["table"] is None:
        raise UsageError(
            "EXPORT and TABLE are needed, or --tables SOURCE DEST.", "See ddb-verify --help for examples."
        )
    return VerifyOptions(common=common, repair=repair, source=source, **given)


def _repair(given: dict[str, Any]) -> Repair | None:
    """Takes what concerns a repair out of `given`, but for its rate."""
    mend, delete_extra, yes = (given.pop(name) for name in ("repair", "delete_extra", "yes"))
    if not mend:
        if delete_extra or yes or given["max_wcu"]:
            raise UsageError(
                "--delete-extra, --yes and --max-wcu belong to --repair.", "Give --repair as well."
            )
        return None
    if given["sample"] is not None:
        raise UsageError("--repair needs a report of all items.", "Leave --sample out.")
    if not yes and not sys.stdin.isatty():
        raise UsageError("--repair has nobody to ask: there is no terminal.", "Give --yes.")
    return Repair(delete_extra=delete_extra, confirmed=yes)


def _source(given: dict[str, Any]) -> Source | None:
    """Takes what concerns the source table out of `given`."""
    table = given.pop("source_table")
    other = {name: given.pop(f"source_{name}") for name in ("region", "profile", "role_arns")}
    if table is None and any(other.values()):
        raise UsageError("The --source options belong to --tables.", "Leave them out.")
    return Source(table=table, **other) if table is not None else None


def main() -> None:
    """Entry point of the console script."""
    run(command)


if __name__ == "__main__":
    main()
