"""What ends the captures of a move that follows its tables: --finish, one cut-over for all of them, --cancel and --unblock."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final, TypeVar

import msgspec

from ddb_export.capture import gate
from ddb_export.capture.gate import Gate
from ddb_export.capture.result import CancelResult, FinishResult, UnblockResult, denied
from ddb_shared.aws.clients import Aws
from ddb_shared.command.invocation import Invocation
from ddb_shared.command.move import FAILED, INCOMPLETE
from ddb_shared.command.preflight import bucket_checks, require
from ddb_shared.errors import EXIT_FAILED, ExportError, StateError, TransferError, map_error
from ddb_shared.format import changes as log
from ddb_shared.format import manifest as manifests
from ddb_shared.format import moves
from ddb_shared.format.moves import Move, MovedTable
from ddb_shared.runtime.events import about, announce
from ddb_shared.runtime.stop import Stop
from ddb_shared.text import columns_text

EndResult = FinishResult | CancelResult | UnblockResult
Result = TypeVar("Result")


class MovedEnd(msgspec.Struct, frozen=True, kw_only=True):
    """One table: `result` is that of the same command for its export, null where that failed."""

    table: str
    export: str
    status: str
    result: EndResult | None = None
    error: str | None = None
    remedy: str | None = None


class MoveEnd(msgspec.Struct, frozen=True, kw_only=True):
    """What --finish, --cancel and --unblock of a move print with --json: `status` is that of all tables, or `incomplete`."""

    status: str
    move: str
    exports: list[MovedEnd]

    @property
    def exit_code(self) -> int:
        """0 only if it is done for every table."""
        return EXIT_FAILED if self.status == INCOMPLETE else 0

    def text(self, caller: Invocation) -> str:
        """One table of all tables for people, what failed, and what the caller does next."""
        failed = [one for one in self.exports if one.error is not None]
        finished = [one.result for one in self.exports if isinstance(one.result, FinishResult)]
        lines = [columns_text(_HEAD, [_row(one) for one in self.exports])]
        lines += [f"{one.table} failed: {one.error}\n{one.remedy}".rstrip() for one in failed]
        if failed:
            others = "" if len(failed) == len(self.exports) else "The other tables are done. "
            lines.append(f"{others}Run the same command again once that is corrected:\n  {caller.line()}")
        lines += dict.fromkeys(result.explains for result in finished)
        if finished and not failed:
            lines.append(
                f"An import with --follow ends once it has applied all changes. Then compare: ddb-verify {self.move}"
            )
        blocked = [
            one.table
            for one in self.exports
            if isinstance(one.result, FinishResult | CancelResult) and one.result.writes_blocked
        ]
        if blocked:
            lines.append(denied(self.move, caller, ", ".join(blocked)))
        return "\n".join(lines)


_BLOCKED: Final = "tables that it has blocked"
_HEAD: Final = ("STATUS", "TABLE", "CHANGES", "PROOF", "EXPORT")


def _row(one: MovedEnd) -> Sequence[str]:
    result = one.result if isinstance(one.result, FinishResult) else None
    return (
        one.status,
        one.table,
        f"{result.changes:,}" if result else "-",
        result.proof if result else "-",
        one.export,
    )


def finish_move(aws: Aws, url: str, stop: Stop, *, block_writes: bool, caller: Invocation) -> MoveEnd:
    """Closes the captures of all tables once nothing arrives for any of them.

    Raises StateError, with every stream untouched, where one base is unfinished or one table is still written to.
    """
    move = _following(aws, url)
    stop.explain("Nothing is finished yet; the streams are untouched.", saved=True)
    with ExitStack() as stack:

        def open_gate(moved: MovedTable) -> Gate:
            _require_begun(aws, moved, url, caller)
            found = Gate(aws, moved.export, stop.part(), caller)
            found.check(block_writes=block_writes)
            return found

        gates = _all_or_none(move, open_gate, stop, url)
        for one in gates.values():
            stack.enter_context(one)
        blocked = f"\n{denied(url, caller, _BLOCKED)}" if block_writes else ""
        stop.explain(f"Nothing is finished yet; the streams are untouched.{blocked}", saved=True)
        waiting = move.exports
        while waiting:
            _all_or_none(
                msgspec.structs.replace(move, exports=waiting),
                lambda moved: gates[moved.table].wait_for_silence(block_writes=block_writes),
                stop,
                url,
                remedy=blocked.strip(),
            )
            # one table may have been written to while another one became silent
            waiting = [moved for moved in move.exports if not gates[moved.table].is_silent()]
        announce(f"All {len(move.exports):,} tables are silent: closing their captures.")
        stop.explain(
            f"The streams' changes are kept for 24 hours: run the same command again before.{blocked}",
            saved=True,
        )
        return _end(url, move, "closed", lambda moved: gates[moved.table].close(), stop)


def cancel_move(aws: Aws, url: str, stop: Stop) -> MoveEnd:
    """Gives up following every table. One whose export has not begun will not begin either."""
    move = _following(aws, url)

    def cancel(moved: MovedTable) -> CancelResult:
        folder = manifests.export_storage(aws.s3, moved.export)
        # first: an export that begins at this moment looks for it once its stream is declared
        gate.close_cancelled(folder)
        if log.read_stream(folder) is not None:
            return gate.cancel(aws, moved.export, stop.part())
        return CancelResult(export=moved.export, stream_disabled=False, writes_blocked=False, seconds=0.0)

    return _end(url, move, "cancelled", cancel, stop)


def unblock_move(aws: Aws, url: str, stop: Stop) -> MoveEnd:
    """Restores the resource policies of all tables."""
    move = _following(aws, url)

    def unblock(moved: MovedTable) -> UnblockResult:
        if log.read_stream(manifests.export_storage(aws.s3, moved.export)) is None:
            return UnblockResult(status="not blocked", export=moved.export, table=moved.table)
        return gate.unblock_writes(aws, moved.export)

    return _end(url, move, "unblocked", unblock, stop)


def _following(aws: Aws, url: str) -> Move:
    """The move; raises ExportError where it does not follow its tables."""
    root = moves.root_of(aws.s3, url)
    require(bucket_checks(aws, root.below(manifests.EXPORTS)))
    move = moves.read(root, url)
    if not move.follow:
        raise ExportError(
            f"The move {url} does not follow its tables: it was begun without --follow.",
            "There is nothing to finish; it is complete once all of its exports are.",
        )
    return move


def _require_begun(aws: Aws, moved: MovedTable, url: str, caller: Invocation) -> None:
    if log.read_stream(manifests.export_storage(aws.s3, moved.export)) is None:
        raise ExportError(
            f"The export of {moved.table} has not begun.",
            f"Wait for it, or resume the move with: {caller.next('--resume', url)}",
        )


def _of_each(
    move: Move, work: Callable[[MovedTable], Result], stop: Stop
) -> dict[str, Result | TransferError]:
    """What the work returns for each table, by name, or the error that ended it; raises Interrupted after a signal."""

    def guarded(moved: MovedTable) -> Result | TransferError:
        with about(moved.table):
            try:
                return work(moved)
            except TransferError as error:
                return error
            except Exception as error:  # noqa: BLE001 - the results of the other tables are not lost for it
                return _told(error, moved.table)

    with ThreadPoolExecutor(len(move.exports)) as pool:
        outcomes = list(pool.map(guarded, move.exports))
    stop.check()
    return dict(zip([moved.table for moved in move.exports], outcomes, strict=True))


def _told(error: Exception, table: str) -> TransferError:
    """A foreign error as one of this package; that of a bug is told with its traceback."""
    mapped = map_error(error, f"end the capture of {table}")
    if mapped is not None:
        return mapped
    bug = TransferError(
        f"{type(error).__name__}: {error}",
        "This is a bug in ddb-transfer; please report it with the traceback.",
    )
    announce(
        f"Error: {bug.message}\n{''.join(traceback.format_exception(error))}",
        event="table_failed",
        level=logging.ERROR,
        error=bug.message,
        remedy=bug.remedy,
    )
    return bug


def _all_or_none(
    move: Move, work: Callable[[MovedTable], Result], stop: Stop, url: str, *, remedy: str = ""
) -> dict[str, Result]:
    """What the work returns for each table; raises StateError with everything that forbids to continue."""
    outcomes = _of_each(move, work, stop)
    failed = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, TransferError)}
    if failed:
        remedies = [*dict.fromkeys(error.remedy for error in failed.values() if error.remedy), remedy]
        raise StateError(
            f"No table of the move {url} was finished, since some cannot be:\n"
            + "\n".join(f"  {name}: {error.message}" for name, error in failed.items()),
            "\n".join(filter(None, remedies)),
        )
    return {name: outcome for name, outcome in outcomes.items() if not isinstance(outcome, TransferError)}


def _end(url: str, move: Move, done: str, work: Callable[[MovedTable], EndResult], stop: Stop) -> MoveEnd:
    """Ends each table; one that fails stops no other."""
    outcomes = _of_each(move, work, stop)
    exports = [_moved(moved, outcomes[moved.table]) for moved in move.exports]
    failed = any(one.error is not None for one in exports)
    return MoveEnd(status=INCOMPLETE if failed else done, move=url, exports=exports)


def _moved(moved: MovedTable, outcome: EndResult | TransferError) -> MovedEnd:
    if isinstance(outcome, TransferError):
        return MovedEnd(
            table=moved.table,
            export=moved.export,
            status=FAILED,
            error=outcome.message,
            remedy=outcome.remedy,
        )
    return MovedEnd(table=moved.table, export=moved.export, status=outcome.status, result=outcome)
