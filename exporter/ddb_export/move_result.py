"""The result of a move's exports: of all tables, as `--json` prints it, and for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from ddb_export.result import ExportResult
from ddb_shared.command.move import COMPLETE, FAILED
from ddb_shared.errors import EXIT_FAILED, TransferError
from ddb_shared.format.moves import MovedTable
from ddb_shared.report.move_page import MoveReport
from ddb_shared.text import duration_text, size_text


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
    changes: int | msgspec.UnsetType = msgspec.UNSET
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
        report = self.report(resume)
        lines = [report.table_text(), report.summary]
        if report.problems:
            lines += [f"{table} failed: {error}" for table, error in report.problems]
            lines += ["Finish the move with:", f"  {resume}"]
        return "\n".join(lines)

    def report(self, command: str) -> MoveReport:
        """The same for the page."""
        failed = [one for one in self.exports if one.status != COMPLETE]
        return MoveReport(
            action="Export",
            move=self.move,
            summary=f"{len(self.exports) - len(failed):,} of {len(self.exports):,} tables exported.",
            is_good=not failed,
            head=_HEAD,
            rows=[_row(one) for one in self.exports],
            problems=[(one.table, one.error or one.status) for one in failed],
            command=command,
        )


def moved_export(moved: MovedTable, outcome: ExportResult | TransferError) -> MovedExport:
    """What has become of one table."""
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
        changes=outcome.changes,
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
