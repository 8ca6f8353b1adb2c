"""The report of a move: one table of all tables. Each table has a report of its own beside its state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddb_shared.report.page import Page, Table, publish
from ddb_shared.storage.base import Storage
from ddb_shared.text import columns_text
from ddb_shared.times import now_text


@dataclass(frozen=True, kw_only=True)
class MoveReport:
    """What a command has done with the tables of a move; `problems` are by table. `command` is the command line."""

    action: str
    move: str
    summary: str
    is_good: bool
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    problems: Sequence[tuple[str, str]]
    command: str

    def table_text(self) -> str:
        """The table for people, as it is printed."""
        return columns_text(self.head, self.rows)


def publish_move(report: MoveReport, storage: Storage | None, *, copy: Path | None) -> None:
    """Writes the page to the storage and to `copy`, as far as these are given; see publish."""
    publish(lambda: _page(report), storage, copy=copy)


def _page(report: MoveReport) -> Page:
    problems = [Table(title="Problems", head=("Table", "What"), rows=report.problems)]
    return Page(
        title=f"{report.action} of {len(report.rows):,} tables",
        verdict=report.summary,
        kind="good" if report.is_good else "bad",
        facts=[("Move", report.move), ("As of", now_text())],
        parts=[
            Table(title="Tables", head=[name.capitalize() for name in report.head], rows=report.rows),
            *(problems if report.problems else []),
        ],
        commands=[("Command", report.command)],
    )
