"""`ddb-import MOVE`: every table of a move, each an ordinary import with a state of its own.

They are loaded in turn. With --follow, each table's changes are applied from then on, those of all tables at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import msgspec

from ddb_import.dry_run import plan_import
from ddb_import.move_follow import refuse_without_capture, wait_for_export
from ddb_import.move_tables import Pair, SelectedMove, refuse_sources, require_export
from ddb_import.options import ImportOptions
from ddb_import.result import DEFINED, ImportResult
from ddb_import.run import run_import
from ddb_import.verify.result import Verdict, VerifyResult
from ddb_import.verify_after import LoadVerification
from ddb_shared.aws.clients import Aws
from ddb_shared.command.move import COMPLETE, FAILED, INCOMPLETE, MovePlan, for_each_table, worst
from ddb_shared.command.plan import DryRunPlan
from ddb_shared.command.tables import Turn, run_each
from ddb_shared.errors import EXIT_FAILED, TransferError
from ddb_shared.report.move_page import MoveReport, publish_move
from ddb_shared.runtime.stop import Stop
from ddb_shared.text import duration_text


class MovedImport(msgspec.Struct, frozen=True, kw_only=True):
    """One table: `source` is its name at the source. `result` is that of a single import, null of a table that failed."""

    source: str
    table: str
    export: str
    status: str
    exit: int
    result: ImportResult | None = None
    error: str | None = None
    remedy: str | None = None


class MoveImportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `ddb-import MOVE --json` prints; `status` is `defined` after --definition-only."""

    status: str
    move: str
    tables: list[MovedImport]

    @property
    def exit_code(self) -> int:
        """The worst of all tables."""
        return worst(one.exit for one in self.tables)

    def text(self, command: str) -> str:
        """One table of all tables for people; what failed is tried again by the command."""
        report = self.report(command)
        lines = [report.table_text(), report.summary, *(line for _, line in report.problems)]
        if any(one.status == FAILED for one in self.tables):
            lines += ["Continue with the same command:", f"  {command}"]
        return "\n".join(lines)

    def report(self, command: str) -> MoveReport:
        """The same for the page."""
        done = sum(one.exit == 0 for one in self.tables)
        defined = any(one.status == DEFINED for one in self.tables)
        return MoveReport(
            action="Import",
            move=self.move,
            summary=f"{done:,} of {len(self.tables):,} tables {'are ready; nothing was loaded' if defined else 'complete'}.",
            is_good=self.exit_code == 0,
            head=_HEAD,
            rows=[_row(one) for one in self.tables],
            problems=[(one.table, line) for one in self.tables for line in _remarks(one)],
            command=command,
        )


def import_move(options: ImportOptions, selected: SelectedMove, aws: Aws, stop: Stop) -> MoveImportResult:
    """Loads every table, or what an earlier run left of it. `options` are those of each import but for export and table."""
    if options.follow:
        refuse_without_capture(selected)
    refuse_sources(aws, selected)
    stop.explain(f"Resume with:\n  {options.common.invocation.line()}", saved=True)

    at_once = options.common.tables_at_once
    copy = options.common.report
    options = replace(options, common=for_each_table(options.common, options.max_wcu))

    def load(index: int, part: Stop, turn: Turn) -> tuple[ImportResult, TransferError | None]:
        pair = selected.pairs[index]
        if options.follow:
            wait_for_export(aws, selected, pair, options.common.progress, part)
            turn.take()
        require_export(aws, selected, pair)
        own = _options_of(options, pair)
        verification = LoadVerification(own, aws, part)

        def verify() -> VerifyResult:
            turn.take()
            return verification()

        result = run_import(own, aws, part, verify=verify if own.verify else None, on_base=turn.give_up)
        part.check()
        return result, verification.error

    outcomes = run_each(
        selected.names,
        load,
        stop,
        at_once=at_once,
        begins_at_once=range(len(selected.names)) if options.follow else (),
        names_tables=options.follow or at_once > 1,
    )
    tables = [_moved(*both) for both in zip(selected.pairs, outcomes, strict=True)]
    found = MoveImportResult(status=_overall(tables), move=selected.url, tables=tables)
    publish_move(found.report(options.common.invocation.line()), None, copy=copy)
    return found


def _overall(tables: Sequence[MovedImport]) -> str:
    if any(one.exit for one in tables):
        return INCOMPLETE
    return DEFINED if any(one.status == DEFINED for one in tables) else COMPLETE


def plan_move(options: ImportOptions, selected: SelectedMove, aws: Aws) -> MovePlan:
    """The plans of all tables."""
    refuse_sources(aws, selected)
    command = options.common.invocation.line(without={"dry_run"})

    def plan(index: int) -> DryRunPlan:
        require_export(aws, selected, selected.pairs[index])
        return plan_import(_options_of(options, selected.pairs[index]), aws)

    return MovePlan.of([pair.target for pair in selected.pairs], plan, command)


def _options_of(options: ImportOptions, pair: Pair) -> ImportOptions:
    return replace(options, exports=(pair.export,), table=pair.target)


def _moved(pair: Pair, outcome: tuple[ImportResult, TransferError | None] | TransferError) -> MovedImport:
    if isinstance(outcome, TransferError):
        return MovedImport(
            source=pair.source,
            table=pair.target,
            export=pair.export,
            status=FAILED,
            exit=EXIT_FAILED,
            error=outcome.message,
            remedy=outcome.remedy,
        )
    result, unverified = outcome
    verification = result.verification
    unproven = verification and verification.verdict is not Verdict.IDENTICAL
    return MovedImport(
        source=pair.source,
        table=pair.target,
        export=pair.export,
        status=verification.verdict.value if verification and unproven else result.status,
        exit=EXIT_FAILED if unverified else result.exit_code,
        result=result,
        error=unverified.message if unverified else None,
        remedy=unverified.remedy if unverified else None,
    )


_HEAD: Final = ("STATUS", "TABLE", "FROM", "ITEMS", "CHANGES", "REJECTED", "TIME")


def _row(one: MovedImport) -> Sequence[str]:
    result = one.result
    if result is None:
        return one.status, one.table, one.source, "-", "-", "-", "-"
    items = result.items_written + result.items_resumed + result.items_skipped
    return (
        one.status,
        one.table,
        one.source,
        f"{items:,}",
        "-" if result.changes_applied is None else f"{result.changes_applied:,}",
        f"{result.items_rejected:,}",
        duration_text(result.seconds),
    )


def _remarks(one: MovedImport) -> list[str]:
    """What the user should know of a table beside its row."""
    result = one.result
    if result is None:
        return [f"{one.table} failed: {one.error}"]
    lines = [f"{one.table}: rejected items and reasons: {result.rejects}"] if result.rejects else []
    lines += [f"{one.table} differs from the source: {difference}" for difference in result.drift]
    if result.verification and one.exit:
        lines.append(f"{one.table}: {result.verification.text()}")
    return lines
