"""The command `ddb-verify`."""

from __future__ import annotations

import dataclasses
import sys

import click

from ddb_import.move_tables import Selection, move_options, refuse_with_table, select_tables
from ddb_import.verify.options import MAX_DIFFERENCES, Repair, SourceTable, VerifyOptions
from ddb_import.verify.result import incomplete
from ddb_shared.command.groups import Command
from ddb_shared.command.identity import open_session
from ddb_shared.command.main import run
from ddb_shared.command.move import refuse_for_move, refuse_for_one
from ddb_shared.command.options import Common, common_options, state_owner_option
from ddb_shared.command.output import print_result
from ddb_shared.command.values import REGION, TABLE, Capacity, Location
from ddb_shared.errors import EXIT_CODES, INTERRUPTED, TransferError, UsageError
from ddb_shared.format import manifest as manifests
from ddb_shared.permissions import Side
from ddb_shared.runtime.stop import stop_on_signals
from ddb_shared.storage.bucket import bucket_besides
from ddb_shared.table.capacity import Cap
from ddb_shared.times import now_text

EPILOG = f"""\
Examples:

\b
  ddb-verify s3://shared-bucket/moves/AWSDynamoDB/01715685260608-c488b4e1/ Orders
  ddb-verify s3://…/01715685260608-c488b4e1/ Orders --max-rcu 500 --json
  ddb-verify s3://…/01715685260608-c488b4e1/ Orders --sample 1
  ddb-verify s3://…/01715685260608-c488b4e1/ Orders --so-far
  ddb-verify s3://…/01715685260608-c488b4e1/ Orders --repair --delete-extra
  ddb-verify s3://shared-bucket/moves/01715685260608-c488b4e1.json --rename 'prod*=new*'
  ddb-verify --tables Orders OrdersCopy --source-profile old-account

{EXIT_CODES.replace(INTERRUPTED, "interrupted; a verification keeps no state, the command to run again is printed")}"""


@click.command("ddb-verify", cls=Command, epilog=EPILOG)
@click.argument("export", metavar="[EXPORT|MOVE]", required=False)
@click.argument("table", metavar="[TABLE]", required=False)
@move_options
@click.option(
    "--tables", "source_table", metavar="SOURCE", help="Compare this table with TABLE, instead of an export."
)
@click.option(
    "--source-region", type=REGION, metavar="REGION", help="Region of the SOURCE table, if different."
)
@click.option("--source-profile", metavar="NAME", help="Profile for the SOURCE table, if different.")
@click.option(
    "--source-role-arn",
    "source_role_arns",
    multiple=True,
    metavar="ARN",
    help="Role to assume for the SOURCE table.",
)
@click.option(
    "--max-rcu",
    type=Capacity(),
    metavar="N|N%",
    help="Maximum read capacity units per second for each table, or a percentage of the provisioned capacity, such as 50%.",
)
@click.option(
    "--sample",
    type=click.FloatRange(0, 100, min_open=True),
    metavar="PERCENT",
    help="Compare only a sample of the items: a quick check that does not prove equality and cannot find extra items.",
)
@click.option(
    "--max-differences",
    type=click.IntRange(1, 1_000_000),
    default=MAX_DIFFERENCES,
    show_default=True,
    metavar="N",
    help="How many differences to name in the report, and to repair; further ones are only counted. Each takes 3 KB of memory in "
    "every process.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Write missing and different items again, after a confirmation, where the table still holds what was reported.",
)
@click.option("--delete-extra", is_flag=True, help="With --repair: delete items that are not in the export.")
@click.option("--yes", is_flag=True, help="With --repair: do not ask for confirmation.")
@click.option(
    "--max-wcu",
    type=Capacity(),
    metavar="N|N%",
    help="With --repair: maximum write units per second, or a percentage of the provisioned capacity.",
)
@click.option(
    "--base-only",
    is_flag=True,
    help="Compare with the base of an export that follows its table, without the changes, which have not been applied to TABLE.",
)
@click.option(
    "--so-far",
    is_flag=True,
    help="Before ddb-export --finish: compare with the changes applied so far, while ddb-import --follow applies more. Items found "
    "equal are not compared again at the cut-over unless they change.",
)
@click.option(
    "--full",
    is_flag=True,
    help="Compare all items, including those that a verification with --so-far found equal and that have not changed since.",
)
@click.option(
    "--state",
    type=Location(),
    metavar="URL",
    help="Where to store the report: another bucket (s3://…) or a local folder.  [default: with the import's state; with "
    "--tables, the current folder]",
)
@state_owner_option
@click.version_option(package_name="ddb-transfer")
@common_options
def command(
    *,
    common: Common,
    export: str | None,
    table: str | None,
    selection: Selection,
    source_table: str | None,
    source_region: str | None,
    source_profile: str | None,
    source_role_arns: tuple[str, ...],
    max_rcu: Cap | None,
    sample: float | None,
    max_differences: int,
    repair: bool,
    delete_extra: bool,
    yes: bool,
    max_wcu: Cap | None,
    base_only: bool,
    so_far: bool,
    full: bool,
    state: str | None,
) -> None:
    """Prove that TABLE contains exactly the items of EXPORT, or with --tables those of the table SOURCE.

    If the export followed its table, its items are those of the base with every captured change, once ddb-export --finish has
    closed the capture; before that, --so-far compares what has been applied so far. For a MOVE, every table is compared with
    its export.

    Both sides are read once, in parallel. If they differ, a second pass finds which items differ, and a third finds their
    keys. Each is read again consistently and then named in a report. Only the verdict `identical`, exit code 0, is a pass.
    """
    source = _source(source_table, source_region, source_profile, source_role_arns)
    if source is not None:
        export, table = _second_table(export, table)
        for option, is_given in (("--base-only", base_only), ("--so-far", so_far), ("--full", full)):
            if is_given:
                raise UsageError(
                    f"{option} is about an export, and --tables compares tables.", "Omit one of them."
                )
    if so_far and (base_only or repair or sample is not None):
        raise UsageError(
            "--so-far cannot be given with --base-only, --repair or --sample.",
            "Omit --so-far, or the other option.",
        )
    refuse_with_table([word for word in (export, table) if word], "ddb-verify")
    is_move = export is not None and manifests.is_move(export)
    if not is_move:
        selection.refuse()
        refuse_for_one(common)
    if table is None and not is_move:
        raise UsageError(
            "EXPORT and TABLE are required, or --tables SOURCE DEST.", "See ddb-verify --help for examples."
        )
    options = VerifyOptions(
        common=common,
        export=export,
        table=table or "",
        source=source,
        max_rcu=max_rcu,
        max_wcu=max_wcu,
        sample=sample,
        max_differences=max_differences,
        base_only=base_only,
        so_far=so_far,
        full=full,
        state=state,
        repair=_repair(repair=repair, delete_extra=delete_extra, yes=yes, max_wcu=max_wcu, sample=sample),
    )
    if is_move:
        _verify_move(options, selection)
    else:
        for name in (options.table, *([source.table] if source else [])):
            TABLE.convert(name, None, None)
        _verify(options)


def _verify_move(options: VerifyOptions, selection: Selection) -> None:
    """Compares all tables of a move, and exits with the worst code of all."""
    refuse_for_move(
        [
            ("--repair", options.repair),
            ("--base-only", options.base_only),
            ("--metrics", options.common.tables_at_once > 1 and options.common.progress.metrics),
        ],
        "ddb-verify EXPORT TABLE",
    )
    from ddb_import.verify.move import verify_move

    common, aws = open_session(
        options.common, Side.DESTINATION, state_bucket=bucket_besides(options.state, options.export)
    )
    selected = select_tables(aws, options.export or "", selection)
    with stop_on_signals() as stop:
        result = verify_move(dataclasses.replace(options, common=common), selected, aws, stop)
    print_result(result, result.text(), as_json=common.as_json)
    sys.exit(result.exit_code)


def _verify(options: VerifyOptions) -> None:
    """Compares one table, and exits with the code of the verdict."""
    from ddb_import.verify.run import run_verify

    common = options.common
    with stop_on_signals() as stop:
        try:
            common, aws = open_session(
                common, Side.DESTINATION, state_bucket=bucket_besides(options.state, options.export)
            )
            options = dataclasses.replace(options, common=common)
            result = run_verify(options, aws, stop, ask=ask)
        except UsageError:
            raise
        except TransferError as error:
            failed = incomplete(error, options.source_name, options.table, now_text())
            print_result(failed, failed.text(), as_json=common.as_json)
            raise
    print_result(result, result.text(), as_json=common.as_json)
    sys.exit(result.exit_code)


def ask(question: str) -> bool:
    """Asks the user on stderr, since stdout is for the result."""
    return click.confirm(question, err=True)


def _second_table(export: str | None, table: str | None) -> tuple[None, str | None]:
    """With --tables SOURCE, the one argument is the table to compare with."""
    if table is not None and export is not None:
        raise UsageError("--tables takes two tables.", "Run: ddb-verify --tables SOURCE DEST")
    return None, table or export


def _repair(
    *, repair: bool, delete_extra: bool, yes: bool, max_wcu: Cap | None, sample: float | None
) -> Repair | None:
    """What to repair; raises UsageError if options of --repair are given without it."""
    if not repair:
        if delete_extra or yes or max_wcu:
            raise UsageError("--delete-extra, --yes and --max-wcu require --repair.", "Add --repair.")
        return None
    if sample is not None:
        raise UsageError("--repair needs a comparison of all items.", "Omit --sample.")
    if not yes and not sys.stdin.isatty():
        raise UsageError("--repair needs confirmation; no terminal is attached.", "Pass --yes to confirm.")
    return Repair(delete_extra=delete_extra, confirmed=yes)


def _source(
    table: str | None, region: str | None, profile: str | None, role_arns: tuple[str, ...]
) -> SourceTable | None:
    if table is not None:
        return SourceTable(table=table, region=region, profile=profile, role_arns=role_arns)
    if region or profile or role_arns:
        raise UsageError(
            "The --source options require --tables.",
            "Omit them, or compare tables with --tables SOURCE DEST.",
        )
    return None


def main() -> None:
    """Entry point of the console script."""
    run(command)


if __name__ == "__main__":
    main()
