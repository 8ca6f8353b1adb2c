"""The command `ddb-import`."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ddb_import.create_options import create_options
from ddb_import.move_tables import Selection, move_options, refuse_with_table, select_tables
from ddb_import.options import (
    DEFAULT_REJECT_LIMIT,
    MIN_REJECT_SAMPLE,
    Engine,
    ImportOptions,
    OnExisting,
    RejectLimit,
    refuse_engine_options,
)
from ddb_shared.command.control import Change, change_of, control_options, print_applied
from ddb_shared.command.groups import Command
from ddb_shared.command.identity import open_session
from ddb_shared.command.main import run
from ddb_shared.command.move import refuse_for_move, refuse_for_one
from ddb_shared.command.options import Common, common_options, state_owner_option
from ddb_shared.command.output import print_result
from ddb_shared.command.values import TABLE, Capacity, Location
from ddb_shared.errors import EXIT_CODES, StateError, UsageError
from ddb_shared.format import manifest as manifests
from ddb_shared.permissions import Side
from ddb_shared.runtime.stop import stop_on_signals
from ddb_shared.storage.bucket import bucket_besides, parse_bucket_url, refuse_access_point
from ddb_shared.storage.location import is_local
from ddb_shared.table.capacity import Cap

if TYPE_CHECKING:
    from ddb_import.definition.create import CreateOptions
    from ddb_import.result import ImportResult
    from ddb_shared.aws.clients import Aws

EPILOG = f"""\
Examples:

\b
  ddb-import s3://shared-bucket/moves/AWSDynamoDB/01715685260608-c488b4e1/ Orders
  ddb-import s3://…/01715685260608-c488b4e1/ Orders --create-table --map-kms KEY=arn:aws:kms:eu-west-1:…:key/…
  ddb-import s3://…/01715685260608-c488b4e1/ Orders --max-wcu 2000
  ddb-import s3://…/01715685260608-c488b4e1/ Orders --on-existing skip --state ./orders-import
  ddb-import s3://…/01715685260608-c488b4e1/ Orders --from-rejects
  ddb-import s3://…/01715685260608-c488b4e1/ s3://…/01715688860608-0f2a9c1d/ Orders
  ddb-import s3://…/01715685260608-c488b4e1/ Orders --create-table --follow --verify
  ddb-import s3://shared-bucket/moves/01715685260608-c488b4e1.json --create-table --rename 'prod*=new*' --verify
  ddb-import s3://shared-bucket/moves/01715685260608-c488b4e1.json --create-table --follow
  ddb-import s3://…/01715685260608-c488b4e1/ Orders --status
  ddb-import s3://…/01715685260608-c488b4e1/ Orders --control --max-wcu 500

{EXIT_CODES}"""


class RejectLimitType(click.ParamType[RejectLimit]):
    """A number of rejects, or a percentage of the items."""

    name = "limit"
    _FORM: Final = re.compile(r"(\d{1,12})|(\d{1,3}(?:\.\d{1,6})?)%")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> RejectLimit:
        """The limit."""
        if isinstance(value, RejectLimit):
            return value
        found = self._FORM.fullmatch(value)
        if not found or (found[2] and not 0 < float(found[2]) <= 100):  # noqa: PLR2004 - percent
            self.fail(f"{value!r} is neither a number of items nor a percentage of up to 100%.", param, ctx)
        return RejectLimit(float(found[2]), percent=True) if found[2] else RejectLimit(int(found[1]))


@click.command("ddb-import", cls=Command, epilog=EPILOG)
@click.argument("words", metavar="EXPORT... TABLE | MOVE", nargs=-1)
@move_options
@click.option(
    "--on-existing",
    type=click.Choice([choice.value for choice in OnExisting]),
    callback=lambda _, __, value: OnExisting(value) if value else None,
    help="What to do with items whose key already exists in the table; required if the table is not empty. overwrite writes "
    "25 items per request; skip writes one item per request, on the condition that the key does not exist, and also "
    "consumes write units for skipped items.",
)
@click.option(
    "--engine",
    type=click.Choice([engine.value for engine in Engine]),
    default=Engine.BATCH_WRITE.value,
    show_default=True,
    callback=lambda _, __, value: Engine(value),
    help="batch-write writes the items itself. import-table has DynamoDB create the table with its items, which consumes no write "
    "capacity; bulk has DynamoDB load an existing table. auto chooses one of these if batch writes would take longer; "
    "--dry-run compares them.",
)
@click.option(
    "--max-wcu",
    type=Capacity(),
    metavar="N|N%",
    help="Maximum write capacity units per second of all processes together, including those of the indexes, or a percentage "
    "of the provisioned capacity, such as 50%. At most one process is used for each 1,000 units.",
)
@click.option(
    "--max-rejects",
    type=RejectLimitType(),
    default=DEFAULT_REJECT_LIMIT,
    metavar="N|P%",
    help="End the import once DynamoDB has permanently rejected more than N items of this run, or P percent of those processed "
    f"(after the first {MIN_REJECT_SAMPLE:,}).  [default: {DEFAULT_REJECT_LIMIT}]",
)
@click.option(
    "--state",
    type=Location(),
    metavar="URL",
    help="Where to store the state of the import: another bucket (s3://…) or a local folder, if the export's bucket is "
    "read-only.",
)
@click.option("--restart", is_flag=True, help="Discard the saved state and load everything again.")
@click.option(
    "--from-rejects",
    is_flag=True,
    help="Load the corrected rejects of an earlier run.",
)
@click.option(
    "--follow",
    is_flag=True,
    help="Load the base of an export that follows its table, then apply changes as they are captured, until the capture is closed "
    "(ddb-export --finish). May start as soon as the export has begun; fails if no run has exported or captured anything for "
    "ten minutes. Until it ends, items may temporarily revert to older versions, and what others write to TABLE is "
    "overwritten.",
)
@click.option(
    "--base-only",
    is_flag=True,
    help="Load the base of an export that follows its table, without the changes.",
)
@click.option(
    "--rollback-of",
    type=Location(),
    metavar="EXPORT",
    help="For an export of changes only (ddb-export --follow --changes-only): the export of the move that is rolled back. Its "
    "verification proves that TABLE held the items to which the changes apply.  [default: exports beside the changes]",
)
@create_options
@click.option(
    "--verify",
    is_flag=True,
    help="After the load, compare the table with the export, like ddb-verify, before time to live and the other settings of "
    "--create-table are enabled. With --follow: compare with the base and all changes, once the capture is closed and they "
    "are applied; after ddb-verify --so-far, only the items that have changed since.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check everything and print the plan: size, capacity, duration, cost, and the command that runs it.",
)
@click.option(
    "--status",
    is_flag=True,
    help="Print where the import of EXPORT into TABLE stands, from its stored state alone, and change nothing.",
)
@click.option(
    "--control",
    "controlled",
    is_flag=True,
    help="Change the rate of the running import of EXPORT into TABLE: give --max-wcu, --pause or --continue.",
)
@control_options
@state_owner_option
@click.version_option(package_name="ddb-transfer")
@common_options
def command(
    *,
    common: Common,
    words: tuple[str, ...],
    selection: Selection,
    on_existing: OnExisting | None,
    engine: Engine,
    max_wcu: Cap | None,
    max_rejects: RejectLimit,
    state: str | None,
    restart: bool,
    from_rejects: bool,
    follow: bool,
    base_only: bool,
    rollback_of: str | None,
    create: CreateOptions | None,
    verify: bool,
    dry_run: bool,
    status: bool,
    controlled: bool,
    pause: bool,
    proceed: bool,
) -> None:
    """Load EXPORT (the folder that ddb-export printed, or a manifest in it) into TABLE, or every table of MOVE.

    A full export made by AWS may be followed by its incremental exports, in the same command or in later ones. Their changes
    are applied in the order of their windows; a missing window is an error that names it.

    Every shard is checked against the manifest, and every item is retried until DynamoDB confirms it. After an interruption,
    the same command continues where it stopped.
    """
    refuse_with_table(words, "ddb-import")
    is_move = any(map(manifests.is_move, words))
    if not is_move:
        selection.refuse()
        refuse_for_one(common)
    exports, table = (words, "") if is_move else _exports_and_table(words)
    change = change_of(max_wcu, pause=pause, proceed=proceed, controlled=controlled)
    if is_move and status:
        _look_at_move(common, exports[0], selection, state)
        return
    if is_move and controlled:
        raise UsageError(
            f"{exports[0]} is a move of several tables, and --control changes the rate of one import.",
            "Give the export that is being imported, which `ddb-import MOVE --status --json` names: ddb-import EXPORT TABLE --control.",
        )
    if status or controlled:
        _look(common, _only(exports), table, state, change if controlled else None)
        return
    if follow and (base_only or from_rejects):
        raise UsageError("--follow excludes --base-only and --from-rejects.", "Omit one of them.")
    if restart and from_rejects:
        raise UsageError("--restart discards the rejects that --from-rejects loads.", "Omit one of them.")
    if verify and create and create.definition_only:
        raise UsageError("--definition-only loads no items for --verify to compare.", "Omit one of them.")
    options = ImportOptions(
        common=common,
        exports=exports,
        table=table,
        on_existing=on_existing,
        max_wcu=max_wcu,
        max_rejects=max_rejects,
        state=state,
        restart=restart,
        from_rejects=from_rejects,
        create=create,
        verify=verify,
        follow=follow,
        base_only=base_only,
        rollback_of=rollback_of,
        engine=engine,
    )
    refuse_engine_options(options)
    _refuse_state_out_of_reach(common, state)
    _refuse_missing_folder(rollback_of)
    if is_move:
        _refuse_for_move(options)
        _run_move(options, selection, dry_run=dry_run)
    else:
        _run(options, dry_run=dry_run)


def _refuse_missing_folder(rollback_of: str | None) -> None:
    """Raises UsageError for a folder of this machine that is not there: it proves nothing."""
    if rollback_of is not None and is_local(rollback_of) and not Path(rollback_of).is_dir():
        raise UsageError(
            f"--rollback-of {rollback_of!r} is neither an S3 URL nor a folder that exists.",
            "Give the export of the move (s3://…), or the folder with the report of its verification.",
        )


def _refuse_state_out_of_reach(common: Common, state: str | None) -> None:
    """Raises UsageError if the workers of a cluster would look for the state each on a disk of their own."""
    if common.scheduler and state is not None and is_local(state):
        raise UsageError(
            f"--state {state} is a folder of this machine, which the workers of --scheduler cannot see.",
            "Give a bucket: --state s3://BUCKET[/PREFIX].",
        )


def _open(options: ImportOptions) -> tuple[ImportOptions, Aws]:
    """The options with the caller's identity, and the services that it may use."""
    state_bucket = bucket_besides(options.state, options.export)
    common, aws = open_session(options.common, Side.DESTINATION, state_bucket=state_bucket)
    return replace(options, common=common), aws


def _run(options: ImportOptions, *, dry_run: bool) -> None:
    """Plans or imports, and exits with the code of the outcome."""
    from ddb_import.dry_run import plan_import
    from ddb_import.run import run_import
    from ddb_import.verify_after import LoadVerification

    options, aws = _open(options)
    if dry_run:
        plan = plan_import(options, aws)
        print_result(plan, plan.text(), as_json=options.common.as_json)
        sys.exit(plan.exit_code)
    with stop_on_signals() as stop:
        verify = LoadVerification(options, aws, stop) if options.verify else None
        result = run_import(options, aws, stop, verify=verify)
    print_result(result, _text(result), as_json=options.common.as_json)
    if verify and verify.error:
        raise verify.error
    sys.exit(result.exit_code)


def _refuse_for_move(options: ImportOptions) -> None:
    """Raises UsageError for what belongs to the import of one export."""
    refuse_for_move(
        [
            ("--base-only", options.base_only),
            ("--rollback-of", options.rollback_of),
            ("--restart", options.restart),
            ("--from-rejects", options.from_rejects),
            (f"--engine {options.engine.value}", options.engine is not Engine.BATCH_WRITE),
            ("--key or --definition", options.create and options.create.given),
            (
                "--metrics",
                (options.follow or options.common.tables_at_once > 1) and options.common.progress.metrics,
            ),
        ],
        "ddb-import EXPORT TABLE",
    )


def _run_move(options: ImportOptions, selection: Selection, *, dry_run: bool) -> None:
    """Plans or imports all tables of a move, and exits with the worst code of all."""
    from ddb_import.move import import_move, plan_move

    options, aws = _open(options)
    selected = select_tables(aws, options.export, selection)
    if dry_run:
        plan = plan_move(options, selected, aws)
        print_result(plan, plan.text(), as_json=options.common.as_json)
        sys.exit(plan.exit_code)
    with stop_on_signals() as stop:
        result = import_move(options, selected, aws, stop)
    print_result(result, result.text(options.common.invocation.line()), as_json=options.common.as_json)
    sys.exit(result.exit_code)


def _look_at_move(common: Common, move: str, selection: Selection, state: str | None) -> None:
    """Prints where the imports of a move stand."""
    from ddb_import.move_status import move_status

    common, aws = open_session(common, Side.DESTINATION, state_bucket=bucket_besides(state, move))
    access = common.invocation.access("state", "state_owner")
    found = move_status(aws, select_tables(aws, move, selection), state, access=access)
    print_result(found, found.text(common.invocation.line(without={"status"})), as_json=common.as_json)


def _exports_and_table(words: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The last argument is the table, those before it are exports."""
    for word in words:
        refuse_access_point(word)
    exports = tuple(word for word in words if word.startswith("s3://"))
    if not exports:
        raise click.UsageError("Missing argument 'EXPORT'.")
    if len(exports) == len(words):
        raise click.UsageError("Missing argument 'TABLE'.")
    for word in words[: len(words) - 1]:
        parse_bucket_url(word)
    return words[:-1], TABLE.convert(words[-1], None, click.get_current_context())


def _only(exports: tuple[str, ...]) -> str:
    """The one export that --status and --control are about."""
    if len(exports) > 1:
        raise UsageError("--status and --control are about the import of one export.", "Give one EXPORT.")
    return exports[0]


def _look(common: Common, export: str, table: str, state: str | None, change: Change | None) -> None:
    """Prints where an import stands, or changes its rate."""
    from ddb_import.status import find_state, import_status

    common, aws = open_session(common, Side.DESTINATION, state_bucket=bucket_besides(state, export))
    if change is None:
        access = common.invocation.access("state", "state_owner")
        found = import_status(aws, export, table, state, access=access)
        print_result(found, found.text(), as_json=common.as_json)
        return
    storage = find_state(aws, manifests.export_storage(aws.s3, export), table, state)
    if storage is None:
        raise StateError(
            f"No import of {export} into {table} has begun.", "Start it with the rate that you want."
        )
    print_applied(storage, change, as_json=common.as_json)


def _text(result: ImportResult) -> str:
    rejects = f"\nRejected items and reasons: {result.rejects}" if result.rejects else ""
    if result.status == "defined":
        return f"Table {result.table} is ready; nothing was loaded."
    engine = "" if result.job is None else f" by {result.job}"
    drift = "".join(f"\n  {difference}" for difference in result.drift)
    drift = f"\nThe table differs from the source:{drift}" if drift else ""
    return (
        f"Imported into {result.table}{engine}: {result.items_written:,} items written, {result.items_resumed:,} loaded before, "
        f"{result.items_skipped:,} skipped, {_changes(result)}{result.items_rejected:,} rejected; {result.shards_done:,} of {result.shards_total:,} shards, "
        f"{result.seconds:,.1f} s, {result.consumed_wcu:,.1f} WCU, {result.throttled:,} times throttled.{rejects}{drift}"
        + (f"\n{result.cut_over.text()}" if result.cut_over else "")
        + (f"\n{result.verification.text()}" if result.verification else "")
    )


def _changes(result: ImportResult) -> str:
    return "" if result.changes_applied is None else f"{result.changes_applied:,} changes applied, "


def main() -> None:
    """Entry point of the console script."""
    run(command)


if __name__ == "__main__":
    main()
