"""The command `ddb-export`."""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import dataclass, replace
from typing import Any

import click

from ddb_export.columns import format_columns, parse_columns
from ddb_export.ddl import Dialect, statement_for
from ddb_export.encoding import DEFAULT_COMPRESSIONS
from ddb_export.follow_options import FollowOptions, follow_options, refuse_with_follow, run_action
from ddb_export.format_options import MAX_SHARD_BYTES, refuse_bad_combinations, refuse_scan_options
from ddb_export.native.options import pitr_options, refuse_bad_pitr
from ddb_export.options import (
    ExportOptions,
    Method,
    MoveOptions,
    NewExport,
    NewMove,
    PitrOptions,
    RequestedFormat,
    ResumedExport,
    ResumedMove,
    is_pattern,
    names_several,
)
from ddb_export.result import ExportResult, NativeExportResult
from ddb_shared.command.control import change_of, control_options, print_applied
from ddb_shared.command.groups import Command
from ddb_shared.command.identity import open_session
from ddb_shared.command.main import run
from ddb_shared.command.move import refuse_for_move, refuse_for_one
from ddb_shared.command.options import Common, common_options
from ddb_shared.command.output import print_result
from ddb_shared.command.values import TABLE, TABLE_PATTERN, ByteSize, Capacity
from ddb_shared.errors import EXIT_CODES, UsageError
from ddb_shared.format import manifest as manifests
from ddb_shared.format.compression import SUFFIXES
from ddb_shared.permissions import Side
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.stop import stop_on_signals
from ddb_shared.storage.bucket import FULL_CONTROL, parse_bucket_url
from ddb_shared.table.capacity import Cap
from ddb_shared.text import count_text, printable

EPILOG = f"""\
Examples:

\b
  ddb-export Orders s3://shared-bucket/moves
  ddb-export Orders s3://shared-bucket --max-rcu 500 --consistent-read
  ddb-export Orders s3://shared-bucket --bucket-owner 222222222222 --role-arn arn:aws:iam::111111111111:role/exporter
  ddb-export --resume s3://shared-bucket/moves/AWSDynamoDB/01715685260608-c488b4e1/
  ddb-export Orders s3://shared-bucket --format parquet
  ddb-export Orders s3://shared-bucket --follow
  ddb-export --finish s3://shared-bucket/AWSDynamoDB/01715685260608-c488b4e1/ --block-writes
  ddb-export 'prod*' Orders s3://shared-bucket
  ddb-export --resume s3://shared-bucket/moves/01715685260608-c488b4e1.json
  ddb-export --finish s3://shared-bucket/moves/01715685260608-c488b4e1.json
  ddb-export --list s3://shared-bucket/moves
  ddb-export --control s3://shared-bucket/moves/AWSDynamoDB/01715685260608-c488b4e1/ --max-rcu 200
  ddb-export Orders s3://shared-bucket --method pitr --bucket-owner 222222222222
  ddb-export --ddl athena s3://shared-bucket/AWSDynamoDB/01715685260608-c488b4e1/

{EXIT_CODES}"""


@dataclass(frozen=True)
class Columns:
    """The value of --columns: types by attribute."""

    types: dict[str, str]

    def __str__(self) -> str:
        return format_columns(self.types)


class ColumnTypes(click.ParamType[Columns]):
    """`name:type,…`."""

    name = "columns"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Columns:  # noqa: ARG002
        """Parses the value; raises UsageError."""
        return value if isinstance(value, Columns) else Columns(parse_columns(value))


@click.command("ddb-export", cls=Command, epilog=EPILOG)
@click.argument("words", metavar="[TABLE... s3://BUCKET[/PREFIX]]", nargs=-1)
@click.option(
    "--resume",
    metavar="EXPORT|MOVE",
    help="Finish the interrupted export at this location, or the unfinished tables of a move.",
)
@click.option(
    "--method",
    type=click.Choice([method.value for method in Method]),
    default=Method.SCAN.value,
    show_default=True,
    callback=lambda _, __, value: Method(value),
    help="scan reads the table; pitr has DynamoDB export it from its point-in-time recovery, which consumes no read capacity and "
    "takes ten minutes or more whatever the size; auto chooses pitr if a scan would take longer. --dry-run compares them.",
)
@click.option(
    "--format",
    type=click.Choice(list(DEFAULT_COMPRESSIONS)),
    help="jsonl is the format of AWS's own exports; parquet can also be queried with Athena, DuckDB, Spark and others. Both are "
    "imported without loss.  [default: jsonl]",
)
@click.option(
    "--columns",
    metavar="NAME:TYPE,…",
    type=ColumnTypes(),
    help="With --format parquet: the attributes to show as typed columns in addition to the keys. Types are string, int64, "
    "double, decimal(38,S), binary, bool, and list<…> for sets.  [default: frequent attributes of a sample]",
)
@click.option(
    "--compression",
    type=click.Choice(list(SUFFIXES)),
    help="Compression of the shards.  [default: gzip; zstd with --format parquet]",
)
@click.option(
    "--segments",
    type=click.IntRange(1, 9999),
    metavar="N",
    help="Number of scan segments.  [default: one per 64 MiB of the table, 16 to 1,024; 1 for a table of up to 1 MiB]",
)
@click.option(
    "--consistent-read",
    is_flag=True,
    default=None,
    help="Use strongly consistent reads, which consume twice the capacity.",
)
@click.option(
    "--max-rcu",
    type=Capacity(),
    metavar="N|N%",
    help="Maximum read capacity units per second of all processes together, or a percentage of the provisioned capacity, such "
    "as 50%. At most one process is used for each 1,000 units.",
)
@click.option(
    "--shard-size",
    type=ByteSize(maximum=MAX_SHARD_BYTES),
    metavar="BYTES",
    help="Start a new shard at this compressed size.  [default: 64MiB]",
)
@click.option(
    "--acl",
    "acl_mode",
    type=click.Choice(["auto", "none", FULL_CONTROL]),
    default="auto",
    show_default=True,
    help="ACL of the objects; auto sends bucket-owner-full-control if the bucket's Object Ownership setting requires it.",
)
@click.option(
    "--kms-key-id",
    metavar="ARN",
    help="ARN of the KMS key to encrypt the objects with (SSE-KMS).  [default: the bucket's default encryption]",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check everything and print the plan: size, capacity, duration, cost, and the command that runs it.",
)
@click.option(
    "--ddl",
    type=click.Choice([dialect.value for dialect in Dialect]),
    help="Export nothing; print the SQL statement with which Athena or DuckDB reads a Parquet export. Give the export instead of "
    "TABLE.",
)
@click.option(
    "--list",
    "listed",
    metavar="s3://BUCKET[/PREFIX]",
    help="List the exports and moves below this prefix with their state, and change nothing.",
)
@click.option(
    "--control",
    "controlled",
    metavar="EXPORT",
    help="Change the rate of the running export at this location: give --max-rcu, --pause or --continue.",
)
@pitr_options
@control_options
@follow_options
@click.version_option(package_name="ddb-transfer")
@common_options
def command(
    *,
    common: Common,
    words: tuple[str, ...],
    resume: str | None,
    method: Method,
    pitr: PitrOptions,
    format: str | None,  # noqa: A002 - the option's name
    columns: Columns | None,
    compression: str | None,
    segments: int | None,
    consistent_read: bool | None,
    max_rcu: Cap | None,
    shard_size: int | None,
    acl_mode: str,
    dry_run: bool,
    ddl: str | None,
    listed: str | None,
    controlled: str | None,
    pause: bool,
    proceed: bool,
    follow: FollowOptions,
) -> None:
    """Export TABLE into a new folder below s3://BUCKET[/PREFIX] and print its location.

    TABLE is a name or an ARN. Several tables, or patterns such as 'prod*' (quoted), make a move: each table is exported into
    its own folder, one after another or several at once (--tables-at-once), and the location printed is that of a file that
    lists the exports. ddb-import and ddb-verify accept it like an export. With --follow, the changes of all tables are
    captured until one --finish.

    The table is scanned in parallel; its items are written as compressed JSON lines in the format of AWS's own exports, or
    as Parquet. The export is complete once its manifest is written; until then it can be finished with --resume.
    """
    _refuse_short_key(common.aws.kms_key_id)
    change = change_of(max_rcu, pause=pause, proceed=proceed, controlled=controlled is not None)
    if listed is not None:
        _print_listing(common, listed)
        return
    if controlled is not None:
        common, aws = open_session(common, Side.SOURCE)
        print_applied(manifests.export_storage(aws.s3, controlled), change, as_json=common.as_json)
        return
    if follow.is_action:
        run_action(common, follow)
        return
    if ddl is not None:
        _print_statement(common, words, Dialect(ddl))
        return
    requested = RequestedFormat(
        format=format,
        columns=columns.types if columns else None,
        compression=compression,
        segments=segments,
        consistent_read=consistent_read or (True if follow.follow else None),
        shard_size=shard_size,
    )
    options = _options(
        common=common,
        words=words,
        resume=resume,
        requested=requested,
        max_rcu=max_rcu,
        acl_mode=acl_mode,
        method=method,
        pitr=pitr,
        follow=follow,
    )
    _run(options, dry_run=dry_run)


def _run(options: ExportOptions | MoveOptions, *, dry_run: bool) -> None:
    """Plans or exports, one table or several."""
    if isinstance(options, NewMove | ResumedMove):
        _move(options, dry_run=dry_run)
        return
    if dry_run:
        _print_plan(options)
        return
    from ddb_export.methods import run_by_method

    common, aws = open_session(options.common, Side.SOURCE)
    location = Location(as_json=common.as_json)
    with stop_on_signals() as stop:
        for result in run_by_method(replace(options, common=common), aws, stop, location.show):
            print_result(
                result, location.text(result.export), summary=_summary(result), as_json=common.as_json
            )


def _options(
    *,
    common: Common,
    words: tuple[str, ...],
    resume: str | None,
    requested: RequestedFormat,
    max_rcu: Cap | None,
    acl_mode: str,
    method: Method,
    pitr: PitrOptions,
    follow: FollowOptions,
) -> ExportOptions | MoveOptions:
    """The options of a new or a resumed export or move; raises UsageError before the first call to AWS."""
    if names_several(words[:-1]) if resume is None else manifests.is_move(resume):
        refuse_for_move(
            [
                ("--changes-only", follow.changes_only),
                (f"--method {method.value}", method is not Method.SCAN),
                ("--metrics", (follow.follow or common.tables_at_once > 1) and common.progress.metrics),
            ],
            "ddb-export TABLE s3://BUCKET[/PREFIX]",
        )
    else:
        refuse_for_one(common)
    refuse_bad_combinations(requested, resumed=resume is not None)
    refuse_bad_pitr(pitr, is_native=method is not Method.SCAN and resume is None)
    refuse_with_follow(follow, requested, method, resumed=resume is not None)
    if method is Method.PITR:
        refuse_scan_options(requested, max_rcu, acl_mode)
    if resume is not None:
        if len(words) > 1:
            raise UsageError(
                "--resume finishes an export at its location and takes no destination.",
                "Run: ddb-export --resume EXPORT",
            )
        parse_bucket_url(resume)
        if manifests.is_move(resume):
            return _resumed_move(
                words,
                ResumedMove(
                    common=common, move=resume, requested=requested, max_rcu=max_rcu, acl_mode=acl_mode
                ),
            )
        return ResumedExport(
            common=common,
            export=resume,
            table=TABLE.convert(words[0], None, None) if words else None,
            requested=requested,
            max_rcu=max_rcu,
            acl_mode=acl_mode,
        )
    tables, destination = _tables_and_destination(words)
    if names_several(tables):
        return NewMove(
            common=common,
            tables=tables,
            destination=destination,
            follow=follow.follow,
            requested=requested,
            max_rcu=max_rcu,
            acl_mode=acl_mode,
        )
    (table,) = tables
    return NewExport(
        common=common,
        table=table,
        destination=destination,
        requested=requested,
        max_rcu=max_rcu,
        acl_mode=acl_mode,
        method=method,
        pitr=pitr,
        follow=follow.follow,
        changes_only=follow.changes_only,
    )


def _tables_and_destination(words: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The last argument is the destination, those before it are tables; patterns are checked like names."""
    if len(words) < 2:  # noqa: PLR2004 - a table and the destination
        raise UsageError(
            "TABLE and s3://BUCKET[/PREFIX] are required.", "Or finish an export with --resume EXPORT."
        )
    *tables, destination = words
    parse_bucket_url(destination)
    for table in tables:
        if table.startswith("arn:") and is_pattern(table):
            raise UsageError(
                f"{table!r} is an ARN with a wildcard.",
                "Patterns match the names of the tables of your own account and region: give the pattern of the name alone, or "
                "the full ARN of each table.",
            )
        (TABLE_PATTERN if is_pattern(table) else TABLE).convert(table, None, None)
    return tuple(tables), destination


def _resumed_move(words: tuple[str, ...], options: ResumedMove) -> ResumedMove:
    """The options, unless there is more on the command line than they take."""
    if words:
        raise UsageError(
            "--resume MOVE finishes all tables of a move and takes no other argument.",
            f"Run: ddb-export --resume {options.move}",
        )
    return options


def _move(options: MoveOptions, *, dry_run: bool) -> None:
    """Exports several tables, or plans that, and exits with the worst code of all."""
    if dry_run and isinstance(options, ResumedMove):
        raise UsageError("--dry-run applies to new exports only.", "Omit --dry-run or --resume.")
    from ddb_export.move import plan_move, run_move

    common, aws = open_session(options.common, Side.SOURCE)
    options = replace(options, common=common)
    if dry_run and isinstance(options, NewMove):
        plan = plan_move(options, aws)
        print_result(plan, plan.text(), as_json=common.as_json)
        sys.exit(plan.exit_code)
    location = Location(as_json=common.as_json)
    with stop_on_signals() as stop:
        result, resume = run_move(options, aws, stop, location.show)
    print_result(result, location.text(result.move), summary=result.text(resume), as_json=common.as_json)
    sys.exit(result.exit_code)


def _refuse_short_key(key: str | None) -> None:
    if key and not key.startswith("arn:"):
        raise UsageError(
            f"--kms-key-id {key!r} is not an ARN.",
            "S3 resolves ids and aliases in the account of the caller; use arn:aws:kms:REGION:ACCOUNT:key/ID.",
        )


def _print_plan(options: ExportOptions) -> None:
    """Prints the plan and exits with its exit code."""
    if isinstance(options, ResumedExport):
        raise UsageError("--dry-run applies to new exports only.", "Omit --dry-run or --resume.")
    from ddb_export.dry_run import plan_export

    common, aws = open_session(options.common, Side.SOURCE)
    plan = plan_export(replace(options, common=common), aws)
    print_result(plan, plan.text(), as_json=common.as_json)
    sys.exit(plan.exit_code)


def _print_statement(common: Common, words: tuple[str, ...], dialect: Dialect) -> None:
    if len(words) != 1:
        raise UsageError("--ddl needs an export.", f"Run: ddb-export --ddl {dialect} EXPORT")
    (export,) = words
    common, aws = open_session(common, None)
    statement = statement_for(aws, export, dialect)
    print_result(statement, statement.statement, as_json=common.as_json)


def _print_listing(common: Common, url: str) -> None:
    from ddb_export.listing import list_exports

    common, aws = open_session(common, None)
    listing = list_exports(aws, url)
    print_result(listing, listing.text(dt.datetime.now(dt.UTC)), as_json=common.as_json)


class Location:
    """The export's URL on stdout: of one that follows as soon as the capture has begun, and of any only once."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._shown = False

    def show(self, url: str) -> None:
        """Prints it now; as an event, if stdout is for the result in JSON."""
        if self._as_json:
            announce(f"Location: {url}", event="location", location=url)
        else:
            click.echo(printable(url))
            sys.stdout.flush()
            self._shown = True

    def text(self, url: str) -> str:
        """What is left to print at the end."""
        return "" if self._shown else url


def _summary(result: ExportResult) -> str:
    if isinstance(result, NativeExportResult):
        what = f"changed items, {result.window[0]} to {result.window[1]}" if result.window else "items"
        return (
            f"DynamoDB exported {result.items:,} {what}, in {result.shards:,} files, {result.seconds:,.1f} s."
        )
    changes = f" {result.changes:,} changes captured." if isinstance(result.changes, int) else ""
    return (
        f"Exported {count_text(result.items, 'item')} in {count_text(result.shards, 'shard')}, {result.seconds:,.1f} s, "
        f"{result.consumed_rcu:,.1f} RCU, {result.throttled:,} times throttled.{changes}"
    )


def main() -> None:
    """Entry point of the console script."""
    run(command)


if __name__ == "__main__":
    main()
