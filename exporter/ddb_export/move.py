"""`ddb-export TABLE… s3://BUCKET[/PREFIX]`: several tables, each an ordinary export, tied together by the file of a move."""

from __future__ import annotations

import fnmatch
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any, Final

import msgspec

import ddb_shared
from ddb_export.dry_run import plan_export
from ddb_export.options import (
    MoveOptions,
    NewExport,
    NewMove,
    RequestedFormat,
    ResumedExport,
    ResumedMove,
    is_pattern,
)
from ddb_export.preflight import place_checks, table_checks, with_acl
from ddb_export.result import ExportResult
from ddb_export.run import run_export
from ddb_shared.aws.clients import Aws
from ddb_shared.command.move import COMPLETE, FAILED, INCOMPLETE, MovePlan, run_each
from ddb_shared.command.preflight import bucket_checks, require, run_checks
from ddb_shared.errors import EXIT_FAILED, TableError, TransferError, UsageError, map_errors
from ddb_shared.format import manifest as manifests
from ddb_shared.format import moves
from ddb_shared.format.moves import FORMAT, Move, MovedTable, MoveFormat
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.lease import hold
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.base import Storage
from ddb_shared.storage.bucket import parse_bucket_url
from ddb_shared.storage.location import open_storage
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table, describe, find
from ddb_shared.text import columns_text, duration_text, size_text
from ddb_shared.times import now_text

_READERS: Final = 8
# The parameters that `--resume MOVE` replaces: the move knows its tables and the format of its exports.
_REPLACED_BY_RESUME: Final = frozenset({"words", "resume", *MoveFormat.__struct_fields__})


class MovedExport(msgspec.Struct, frozen=True, kw_only=True):
    """One table of a move; what is unknown of one that failed is null."""

    table: str
    export: str
    status: str
    items: int | None = None
    bytes: int | None = None
    shards: int | None = None
    seconds: float | None = None
    consumed_rcu: float | None = None
    throttled: int | None = None
    error: str | None = None
    remedy: str | None = None


class MoveResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `ddb-export --json` prints of several tables: all of the move, also those that an earlier run has exported."""

    status: str
    move: str
    exports: list[MovedExport]

    @property
    def exit_code(self) -> int:
        """0 only if every table is exported."""
        return 0 if self.status == COMPLETE else EXIT_FAILED

    def text(self, resume: str) -> str:
        """One table of all tables for people, and how to finish what failed: with the command `resume`."""
        failed = [one for one in self.exports if one.status != COMPLETE]
        lines = [
            columns_text(_HEAD, [_row(one) for one in self.exports]),
            f"{len(self.exports) - len(failed):,} of {len(self.exports):,} tables exported.",
        ]
        if failed:
            lines += [f"{one.table} failed: {one.error}" for one in failed]
            lines += ["Finish the move with:", f"  {resume}"]
        return "\n".join(lines)


def find_tables(aws: Aws, given: Sequence[str]) -> list[Table]:
    """The tables that are named or match, each once, in the order given, and within a pattern by name.

    Raises TableError for a table that does not exist, a pattern that matches none, and two tables of the same name.
    """
    own = _list_tables(aws) if any(map(is_pattern, given)) else []
    matched = {word: fnmatch.filter(own, word) for word in given if is_pattern(word)}
    idle = [word for word, names in matched.items() if not names]
    if idle:
        raise TableError(
            f"No table matches {', '.join(map(repr, idle))} among the {len(own):,} tables of this account in {aws.region}.",
            "Check the pattern (upper and lower case differ), the account (--profile, --role-arn) and --region.",
        )
    addresses = dict.fromkeys(name for word in given for name in sorted(matched.get(word, [word])))
    by_arn: dict[str, Table] = {}  # one that is named and matches as well is exported once
    for table in _describe_all(aws, list(addresses)):
        by_arn.setdefault(table.arn, table)
    names = Counter(table.name for table in by_arn.values())
    twice = [arn for arn, table in by_arn.items() if names[table.name] > 1]
    if twice:
        raise TableError(
            f"Several tables have the same name: {', '.join(twice)}.",
            "A move knows its tables by their names: export one of them by a command of its own.",
        )
    return list(by_arn.values())


def _describe_all(aws: Aws, addresses: Sequence[str]) -> list[Table]:
    """Raises TableError with all that do not exist."""
    with ThreadPoolExecutor(_READERS) as pool:
        found = dict(
            zip(addresses, pool.map(lambda address: find(aws.dynamodb, address), addresses), strict=True)
        )
    absent = [address for address, table in found.items() if table is None]
    if absent:
        what = "These tables do not exist" if len(absent) > 1 else "This table does not exist"
        raise TableError(
            f"{what} in {aws.region} in this account: {', '.join(absent)}. Nothing was exported.",
            "Check the names, the account (--profile, --role-arn) and --region.",
        )
    return [table for table in found.values() if table is not None]


def _list_tables(aws: Aws) -> list[str]:
    with map_errors("list the tables"):
        pages = aws.dynamodb.get_paginator("list_tables").paginate()
        return [name for page in pages for name in page["TableNames"]]


def plan_move(options: NewMove, aws: Aws) -> MovePlan:
    """The plans of all tables; raises TransferError where no table is found."""
    tables = find_tables(aws, options.tables)
    plans = [plan_export(_new_export(options, table.address), aws) for table in tables]
    command = options.common.invocation.line(without={"dry_run"})
    return MovePlan.of([table.name for table in tables], plans, command)


def run_move(options: MoveOptions, aws: Aws, stop: Stop) -> tuple[MoveResult, str]:
    """Exports every table that is not yet exported; also returns the command line that resumes the move."""
    root, move, url = _start(options, aws) if isinstance(options, NewMove) else _reopen(options, aws)
    resume = options.common.invocation.line("--resume", url, without=_REPLACED_BY_RESUME)
    stop.explain(f"Finish the move with:\n  {resume}", saved=True)

    activity = f"The move {url} is already being exported"
    with hold(_lease_folder(options, aws, root, move), Stop(), activity=activity) as lease:

        def export(index: int, part: Stop) -> ExportResult:
            lease.check()  # its loss interrupts no export, which has a lease of its own
            moved = move.exports[index]
            result = run_export(_options_of(options, aws, root, move, moved), aws, part)
            announce(
                f"Exported {result.items:,} items of {moved.table} in {duration_text(result.seconds)}.",
                event="result",
            )
            return result

        outcomes = run_each([one.table for one in move.exports], export, stop)
    exports = [_moved(*pair) for pair in zip(move.exports, outcomes, strict=True)]
    failed = any(one.status != COMPLETE for one in exports)
    return MoveResult(status=INCOMPLETE if failed else COMPLETE, move=url, exports=exports), resume


def _lease_folder(options: MoveOptions, aws: Aws, root: S3Storage, move: Move) -> Storage:
    """Where a run of the move keeps others out, as the storage of its lease."""
    _, aws = with_acl(options, aws)
    return open_storage(aws.lease_s3, moves.own_folder_of(root, move.move_id).url)


def _start(options: NewMove, aws: Aws) -> tuple[S3Storage, Move, str]:
    """A new move: all tables are found and checked before its file is written, and that before the first export."""
    _, aws = with_acl(options, aws)
    root = S3Storage(aws.s3, *parse_bucket_url(options.destination))
    exports = root.below(manifests.EXPORTS)
    require(bucket_checks(aws, exports))
    tables = find_tables(aws, options.tables)
    announce(f"{len(tables):,} tables to export: {', '.join(table.name for table in tables)}.")
    require(place_checks(aws, exports))
    _check_tables(options, aws, tables)
    move = Move(
        format=FORMAT,
        move_id=manifests.new_export_id(time.time()),
        tool_version=ddb_shared.__version__,
        started_at=now_text(),
        given=list(options.tables),
        options=_stored(options.requested),
        exports=[
            MovedTable(
                table=table.name,
                table_arn=table.arn,
                address=table.address,
                export=moves.folder_of(root, manifests.new_export_id(time.time())).url,
            )
            for table in tables
        ],
    )
    return root, move, moves.write(root, move)


def _check_tables(options: NewMove, aws: Aws, tables: Sequence[Table]) -> None:
    """Raises TableError with everything that forbids the export of any table."""

    def failures(table: Table) -> list[str]:
        results = run_checks(table_checks(_new_export(options, table.address), aws, table))
        return [f"  {table.name}: {check.found}" for check in results if check.ok is False]

    with ThreadPoolExecutor(_READERS) as pool:
        failed = [line for lines in pool.map(failures, tables) for line in lines]
    if failed:
        raise TableError(
            "Nothing was exported, since some tables cannot be:\n" + "\n".join(failed),
            "Correct that, or name the other tables alone.",
        )


def _reopen(options: ResumedMove, aws: Aws) -> tuple[S3Storage, Move, str]:
    root = moves.root_of(aws.s3, options.move)
    require(bucket_checks(aws, root.below(manifests.EXPORTS)))
    move = moves.read(root, options.move)
    asked, stored = _given(options.requested), _given(move.options)
    if asked and asked != {name: stored.get(name) for name in asked}:
        raise UsageError(
            f"The move was started with {_options_text(stored)}, not with {_options_text(asked)}.",
            "Leave the options of the format out: a resumed move keeps those it was started with.",
        )
    return root, move, options.move


def _options_of(
    options: MoveOptions, aws: Aws, root: S3Storage, move: Move, moved: MovedTable
) -> NewExport | ResumedExport:
    """The options of one table's export: a new one, unless an earlier run has started or even completed it."""
    folder = S3Storage(aws.s3, *parse_bucket_url(moved.export))
    if any(folder.read(name, max_bytes=1) is not None for name in (manifests.STARTED, manifests.MANIFEST)):
        return ResumedExport(
            common=options.common, export=moved.export, max_rcu=options.max_rcu, acl_mode=options.acl_mode
        )
    _refuse_another_table(aws, moved)
    new = NewMove(
        common=options.common,
        tables=(),
        destination=root.url,
        requested=RequestedFormat(**_given(move.options)),
        max_rcu=options.max_rcu,
        acl_mode=options.acl_mode,
    )
    return replace(_new_export(new, moved.address), export_id=manifests.id_in(moved.export))


def _refuse_another_table(aws: Aws, moved: MovedTable) -> None:
    """Raises TableError if the name means a table of another account or Region than the move's."""
    found = describe(aws.dynamodb, moved.address)
    if found.arn != moved.table_arn:
        raise TableError(
            f"The move is of {moved.table_arn}, but with these credentials and this Region {moved.table} is {found.arn}.",
            "Use the account (--profile, --role-arn) and the --region with which the move was started.",
        )


def _new_export(options: NewMove, address: str) -> NewExport:
    return NewExport(
        common=options.common,
        table=address,
        destination=options.destination,
        requested=options.requested,
        max_rcu=options.max_rcu,
        acl_mode=options.acl_mode,
    )


def _stored(requested: RequestedFormat) -> MoveFormat:
    return MoveFormat(**asdict(requested))


def _given(options: RequestedFormat | MoveFormat) -> dict[str, Any]:
    """The options that were given."""
    members = asdict(options) if isinstance(options, RequestedFormat) else msgspec.structs.asdict(options)
    return {name: value for name, value in members.items() if value is not None}


def _options_text(given: dict[str, Any]) -> str:
    return ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in given.items()) or "defaults"


def _moved(moved: MovedTable, outcome: ExportResult | TransferError) -> MovedExport:
    if isinstance(outcome, TransferError):
        return MovedExport(
            table=moved.table,
            export=moved.export,
            status=FAILED,
            error=outcome.message,
            remedy=outcome.remedy,
        )
    return MovedExport(
        table=moved.table,
        export=moved.export,
        status=outcome.status,
        items=outcome.items,
        bytes=outcome.bytes,
        shards=outcome.shards,
        seconds=outcome.seconds,
        consumed_rcu=outcome.consumed_rcu,
        throttled=outcome.throttled,
    )


_HEAD: Final = ("STATUS", "TABLE", "ITEMS", "SIZE", "TIME", "EXPORT")


def _row(one: MovedExport) -> Sequence[str]:
    return (
        one.status,
        one.table,
        "-" if one.items is None else f"{one.items:,}",
        "-" if one.bytes is None else size_text(one.bytes),
        "-" if one.seconds is None else duration_text(one.seconds),
        one.export,
    )
