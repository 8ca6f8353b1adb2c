"""`ddb-export TABLE… s3://BUCKET[/PREFIX]`: several tables, each an ordinary export, tied together by the file of a move."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any, Final

import msgspec

import ddb_shared
from ddb_export.dry_run import plan_export
from ddb_export.move_result import MoveResult, moved_export
from ddb_export.move_tables import READERS, find_tables
from ddb_export.options import (
    MoveOptions,
    NewExport,
    NewMove,
    RequestedFormat,
    ResumedExport,
    ResumedMove,
)
from ddb_export.preflight import place_checks, table_checks, with_acl
from ddb_export.result import ExportResult
from ddb_export.run import run_export
from ddb_shared.aws.clients import Aws
from ddb_shared.command.invocation import Invocation
from ddb_shared.command.move import COMPLETE, INCOMPLETE, MovePlan, for_each_table, refuse_for_move
from ddb_shared.command.plan import DryRunPlan
from ddb_shared.command.preflight import bucket_checks, require, run_checks
from ddb_shared.command.tables import Turn, run_each
from ddb_shared.errors import StateError, TableError, UsageError
from ddb_shared.format import changes as log
from ddb_shared.format import manifest as manifests
from ddb_shared.format import moves
from ddb_shared.format.moves import FOLLOW_FORMAT, FORMAT, Move, MovedTable, MoveFormat
from ddb_shared.report.move_page import publish_move
from ddb_shared.runtime.events import about, announce, warn
from ddb_shared.runtime.lease import LeaseLostError, hold
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.base import Storage
from ddb_shared.storage.bucket import parse_bucket_url
from ddb_shared.storage.location import open_storage
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table, describe
from ddb_shared.text import duration_text
from ddb_shared.times import now_text

# The parameters that `--resume MOVE` replaces: the move knows its tables and the format of its exports.
_REPLACED_BY_RESUME: Final = frozenset({"words", "resume", "follow", *MoveFormat.__struct_fields__})


def plan_move(options: NewMove, aws: Aws) -> MovePlan:
    """The plans of all tables; raises TransferError where no table is found."""
    tables = find_tables(aws, options.tables)
    command = options.common.invocation.line(without={"dry_run"})

    def plan(index: int) -> DryRunPlan:
        return plan_export(_new_export(options, tables[index].address), aws)

    return MovePlan.of([table.name for table in tables], plan, command)


def run_move(
    options: MoveOptions, aws: Aws, stop: Stop, on_begun: Callable[[str], None] = lambda _: None
) -> tuple[MoveResult, str]:
    """Exports every table that is not yet exported; also returns the command line that resumes the move.

    A move that follows its tables scans them in turn, and runs until the changes of all are closed. `on_begun` gets its URL before
    the first capture begins. A resumed one first continues every capture that had begun: a stream keeps changes for 24 hours, and the
    scans before a table's turn may take longer.
    """
    root, move, url = _start(options, aws) if isinstance(options, NewMove) else _reopen(options, aws)
    resume = options.common.invocation.line("--resume", url, without=_REPLACED_BY_RESUME)
    remedy = f"Finish the move with:\n  {resume}"
    if move.follow:
        remedy = f"Within 24 hours, before the streams forget what was not captured:\n  {resume}"
        on_begun(url)
    stop.explain(remedy, saved=True)

    at_once = options.common.tables_at_once
    copy = options.common.report
    options = replace(options, common=for_each_table(options.common, options.max_rcu))
    bases = _Bases(url, len(move.exports), options.common.invocation)
    activity = f"The move {url} is already being exported"
    leases = _lease_folder(options, aws, root, move)
    with hold(leases, Stop(), activity=activity, on_lost=_tell_lost) as lease:

        def export(index: int, part: Stop, turn: Turn) -> ExportResult:
            moved = move.exports[index]
            if lease.is_lost:  # which interrupts no export: each has a lease of its own
                raise StateError("Not begun, since the lease of the move was lost.", remedy)

            def next_table(*_: object) -> None:
                bases.add(moved.table)
                turn.give_up()

            own = _options_of(options, aws, root, move, moved)
            result = run_export(own, aws, part, on_base=next_table, before_scan=turn.take)
            announce(
                f"Exported {result.items:,} items of {moved.table} in {duration_text(result.seconds)}.",
                event="result",
            )
            return result

        outcomes = run_each(
            [one.table for one in move.exports],
            export,
            stop,
            at_once=at_once,
            begins_at_once=_captured(aws, move) if move.follow and isinstance(options, ResumedMove) else (),
            names_tables=move.follow or at_once > 1,
        )
    exports = [moved_export(*pair) for pair in zip(move.exports, outcomes, strict=True)]
    failed = any(one.status != COMPLETE for one in exports)
    found = MoveResult(status=INCOMPLETE if failed else COMPLETE, move=url, exports=exports)
    report = found.report(options.common.invocation.line())
    publish_move(report, moves.own_folder_of(root, move.move_id), copy=copy)
    return found, resume


def _tell_lost(error: LeaseLostError) -> None:
    warn(
        f"{error.message}\nTables that are being exported continue; no other one begins. Another run may have taken over."
    )


class _Bases:
    """Counts the tables whose base is complete, and says what to do once that is so of all."""

    def __init__(self, url: str, tables: int, caller: Invocation) -> None:
        self._url = url
        self._caller = caller
        self._tables = tables
        self._lock = threading.Lock()
        self._complete: set[str] = set()

    def add(self, table: str) -> None:
        """The base of this table is complete, its changes are being captured."""
        with self._lock:
            self._complete.add(table)
            complete = len(self._complete)
        announce("The base is complete.")
        if complete == self._tables:
            with about(""):
                announce(
                    f"All bases are complete. Load them and apply the changes with: ddb-import {self._url} --follow\n"
                    f"When the writers have stopped: {self._caller.next('--finish', self._url)}"
                )


def _captured(aws: Aws, move: Move) -> set[int]:
    """The tables, by their indexes, whose capture an earlier run may have begun."""

    def is_begun(moved: MovedTable) -> bool:
        return _has_begun(manifests.export_storage(aws.s3, moved.export))

    with ThreadPoolExecutor(READERS) as pool:
        return {index for index, begun in enumerate(pool.map(is_begun, move.exports)) if begun}


def _has_begun(folder: Storage) -> bool:
    """Whether an earlier run has started the export in this folder, or even completed it."""
    return any(folder.read(name, max_bytes=1) is not None for name in (manifests.STARTED, manifests.MANIFEST))


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
        format=FOLLOW_FORMAT if options.follow else FORMAT,
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
        follow=options.follow,
    )
    return root, move, moves.write(root, move)


def _check_tables(options: NewMove, aws: Aws, tables: Sequence[Table]) -> None:
    """Raises TableError with everything that forbids the export of any table."""

    def failures(table: Table) -> list[str]:
        results = run_checks(table_checks(_new_export(options, table.address), aws, table))
        return [f"  {table.name}: {check.found}" for check in results if check.ok is False]

    with ThreadPoolExecutor(READERS) as pool:
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
    refuse_for_move(
        [("--metrics", move.follow and options.common.progress.metrics)], "ddb-export --resume EXPORT"
    )
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
    """The options of one table's export: a new one, unless an earlier run has begun it."""
    folder = manifests.export_storage(aws.s3, moved.export)
    _refuse_cancelled(folder)
    if _has_begun(folder):
        return ResumedExport(
            common=options.common, export=moved.export, max_rcu=options.max_rcu, acl_mode=options.acl_mode
        )
    _refuse_another_table(aws, moved)
    new = NewMove(
        common=options.common,
        tables=(),
        destination=root.url,
        follow=move.follow,
        requested=RequestedFormat(**_given(move.options)),
        max_rcu=options.max_rcu,
        acl_mode=options.acl_mode,
    )
    return replace(_new_export(new, moved.address), export_id=manifests.id_in(moved.export))


def _refuse_cancelled(folder: S3Storage) -> None:
    """Raises StateError where following this table was given up: without the changes, its base is a copy of no moment."""
    closed = log.read_closed(folder)
    if closed is not None and closed.cancelled:
        raise StateError(
            f"Following the table was cancelled at {closed.closed_at} (--cancel).", "Start a new move."
        )


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
        follow=options.follow,
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
