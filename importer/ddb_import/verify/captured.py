"""Which changes of an export count when it is compared, and what earlier verifications have shown of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ddb_import.apply.log_reader import cancelled
from ddb_import.apply.state import read_apply
from ddb_import.state import ImportPlan, is_plan_of, read_plan
from ddb_import.verify.earlier import Verified, read_verified, verified_of
from ddb_import.verify.last_changes import LogRange
from ddb_import.verify.options import VerifyOptions
from ddb_shared.errors import ExportError, StateError
from ddb_shared.format import changes as log
from ddb_shared.format.changes import Closed
from ddb_shared.format.manifest import Manifest
from ddb_shared.runtime.events import announce, warn
from ddb_shared.storage.base import Storage
from ddb_shared.table.description import Table

# The run of an import without a plan: another tool has loaded the table, or its state is elsewhere.
NO_RUN: Final = 0


@dataclass(frozen=True, kw_only=True)
class Captured:
    """The changes in `records` of the log, which count as the export's: all, or with `so_far` those that were applied at the start.

    `applied` is up to which record they are applied to the table, None if unknown. `closed` says what is proved where the log is
    closed. `verified` is what earlier verifications have shown.
    """

    export: Storage
    records: LogRange
    applied: int | None
    closed: Closed | None
    verified: Verified
    so_far: bool = False

    @property
    def is_applied(self) -> bool:
        """Whether all of them are known to be applied."""
        return self.applied is not None and self.applied >= self.records.last

    @property
    def verified_until(self) -> int | None:
        """The record up to which the table is known to be equal; None where nothing is known."""
        number = self.verified.log_number
        return None if number is None or number > self.records.last else number


def find_captured(
    options: VerifyOptions, export: Storage, state: Storage, manifest: Manifest, table: Table
) -> Captured | None:
    """The changes that count; None where the export has none. Raises what forbids to compare with them, or without them."""
    stream = log.read_stream(export)
    if stream is None:
        if options.so_far:
            raise ExportError(
                f"--so-far: the export {export.url} does not follow its table.", "Leave --so-far out."
            )
        return None
    plan = read_plan(state)
    applied = read_apply(state, plan.run).applied if plan else None
    if options.base_only:
        _check_base_only(options, export, applied)
        return None
    if stream.changes_only:
        raise ExportError(
            f"{export.url} holds changes and no base: there are no items to compare with.",
            "Compare both tables once the writers have stopped: ddb-verify --tables SOURCE DEST.",
        )
    closed = log.read_closed(export)
    if closed is not None and closed.cancelled:
        raise cancelled(export)
    verified = read_verified(state, verified_of(export.url, manifest, table, plan.run if plan else NO_RUN))
    if options.so_far and (closed is None or (applied or 0) < closed.last_number):
        number = _applied_so_far(export, state, plan, table, applied)
        records = LogRange.of(export, 0, number)
        return Captured(
            export=export, records=records, applied=number, closed=None, verified=verified, so_far=True
        )
    if closed is None:
        raise ExportError(
            f"The export {export.url} follows its table, and its capture is not closed: there may be more changes.",
            "Close it with ddb-export --finish EXPORT once the writers have stopped. Before that, --so-far compares with the changes "
            "that are applied by now, and --base-only with the base alone.",
        )
    records = LogRange(0, closed.last_number, closed.changes)
    captured = Captured(export=export, records=records, applied=applied, closed=closed, verified=verified)
    if options.repair is not None and not captured.is_applied:
        raise StateError(
            f"--repair: records applied to the table are {'unknown' if applied is None else f'{applied:,}'} of "
            f"{closed.last_number:,} in the change log, and an import that applies the others overwrites what is repaired.",
            "Let ddb-import EXPORT TABLE end first (with --state, give the same one here).",
        )
    return captured


def newest_record(export: Storage) -> int:
    """The number of the newest record of the log."""
    newest = log.latest(export)
    return newest.number if newest else 0


def is_same_run(captured: Captured, state: Storage) -> bool:
    """Whether the table was not loaded again since the comparison began."""
    plan = read_plan(state)
    return (plan.run if plan else NO_RUN) == captured.verified.run


def _applied_so_far(
    export: Storage, state: Storage, plan: ImportPlan | None, table: Table, applied: int | None
) -> int:
    """Up to which record the changes are in the table; raises StateError where the base is not."""
    if plan is None or applied is None or not is_plan_of(plan, table):
        raise StateError(
            f"--so-far: no import of {export.url} into {table.arn} has its state in {state.url}.",
            "Start it with ddb-import EXPORT TABLE --follow (with --state, give the same one here).",
        )
    if not plan.completed_at:
        raise StateError(
            f"--so-far: the import into {table.arn} has not loaded the whole base yet.",
            "Run the command again once ddb-import --status EXPORT TABLE says that changes are applied.",
        )
    announce(
        f"The export is compared with the changes up to record {applied:,} of its log, which are applied. Items that later records "
        "change are left to the next verification."
    )
    return applied


def _check_base_only(options: VerifyOptions, export: Storage, applied: int | None) -> None:
    """Raises StateError where the table has changes that the base does not hold: they would be differences, and a repair would undo them."""
    if options.repair is not None or applied:
        raise StateError(
            f"--base-only: the export {export.url} has captured changes. Those that are applied differ from the base, and a repair "
            "would undo them.",
            "Leave --base-only out, and --repair where the changes are not applied yet.",
        )
    warn(f"The export {export.url} has captured changes: the table is compared with its base alone.")
