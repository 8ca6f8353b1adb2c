"""`ddb-import --status MOVE`: where the imports of all tables of a move stand, from what is stored alone."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from ddb_import.move_tables import NotExportedError, Pair, SelectedMove, require_export
from ddb_import.status import COMPLETE, INTERRUPTED, NOT_STARTED, RUNNING, ImportStatus, import_status
from ddb_shared.aws.clients import Aws
from ddb_shared.errors import TransferError
from ddb_shared.text import columns_text

# Of a table whose export cannot be imported yet.
NOT_EXPORTED: Final = "not exported"
UNKNOWN: Final = "unknown"
_READERS: Final = 8


class MovedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One table: `import` is what `--status` prints of a single import, null where there is none to tell of."""

    source: str
    table: str
    export: str
    status: str
    import_: ImportStatus | None = msgspec.field(default=None, name="import")
    problem: str | None = None


class MoveStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What `ddb-import MOVE --status --json` prints: `status` is complete only if every table is."""

    status: str
    move: str
    tables: list[MovedStatus]

    def text(self, command: str) -> str:
        """One table of all tables for people, and what to run next: the command, unless that of the whole move is known."""
        done = sum(one.status == COMPLETE for one in self.tables)
        lines = [
            columns_text(_HEAD, [_row(one) for one in self.tables]),
            f"{done:,} of {len(self.tables):,} tables complete.",
        ]
        lines += [f"{one.table}: {one.problem}" for one in self.tables if one.problem]
        if self.status in {INTERRUPTED, NOT_STARTED}:
            known = [one.import_.command for one in self.tables if one.status == INTERRUPTED and one.import_]
            whole = (one for one in known if one and self._is_of_all_tables(one))
            lines.append(f"next: {next(whole, command)}")
        return "\n".join(lines)

    def _is_of_all_tables(self, command: str) -> bool:
        """Whether it imports the move: a table may have been imported alone meanwhile, or with others."""
        words = shlex.split(command)
        return self.move in words and "--only" not in words


def move_status(
    aws: Aws, selected: SelectedMove, state: str | None, *, access: Sequence[str] = ()
) -> MoveStatus:
    """Where all tables stand; `access` as for the status of one."""
    with ThreadPoolExecutor(_READERS) as pool:
        tables = list(pool.map(lambda pair: _status_of(aws, selected, pair, state, access), selected.pairs))
    return MoveStatus(status=_overall({one.status for one in tables}), move=selected.url, tables=tables)


def _status_of(
    aws: Aws, selected: SelectedMove, pair: Pair, state: str | None, access: Sequence[str]
) -> MovedStatus:
    status, found, problem = UNKNOWN, None, None
    try:
        require_export(aws, selected, pair)
        found = import_status(aws, pair.export, pair.target, state, access=access)
        status = found.status
    except TransferError as error:
        status = NOT_EXPORTED if isinstance(error, NotExportedError) else UNKNOWN
        problem = str(error)
    return MovedStatus(
        source=pair.source,
        table=pair.target,
        export=pair.export,
        status=status,
        import_=found,
        problem=problem,
    )


def _overall(found: set[str]) -> str:
    """Of the whole move, by those of its tables."""
    if len(found) == 1:
        (only,) = found
        return only
    return RUNNING if RUNNING in found else INTERRUPTED


_HEAD: Final = ("STATUS", "TABLE", "FROM", "ITEMS", "OF", "CHANGES", "OF", "REJECTED")


def _row(one: MovedStatus) -> Sequence[str]:
    found = one.import_
    counts = (
        (found.items_done, found.items_total, found.changes_applied, found.changes, found.items_rejected)
        if found
        else (None,) * 5
    )
    return (
        one.status,
        found.table if found else one.table,  # the ARN once it is known
        one.source,
        *("-" if count is None else f"{count:,}" for count in counts),
    )
