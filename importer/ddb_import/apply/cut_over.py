"""The parent's side of a follow: runs the worker until the log is closed and applied, and reports the cut-over."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import msgspec

from ddb_import.apply.follow import FollowTask, follow_changes
from ddb_import.apply.state import ApplyState, read_apply, read_change_rejects, write_apply
from ddb_import.load import Loaded
from ddb_import.options import RejectLimit
from ddb_import.reject_watch import RejectWatch
from ddb_shared.command.control import Controllable, controlled
from ddb_shared.command.options import Common
from ddb_shared.errors import ExportError, StateError
from ddb_shared.format import changes as log
from ddb_shared.format.changes import Closed
from ddb_shared.runtime.display import display
from ddb_shared.runtime.events import table_in_hand
from ddb_shared.runtime.lease import HeldLease
from ddb_shared.runtime.progress import LOG_SECONDS, QUIET_LOG_SECONDS, Progress
from ddb_shared.runtime.runner import Runner, Serial
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.base import Storage
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.times import now_text


class CutOver(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a follow: all that was captured is in the table.

    Of the `applied` changes, `superseded` were not written themselves, since a later one of the same key was; `expired` are
    deletions by time to live. `lag_seconds` passed between the close of the capture and the last change. `proof` says what makes
    sure that nothing is missing, and `explains` what that covers.
    """

    captured: int
    applied: int
    superseded: int
    expired: int
    rejected: int
    closed_at: str
    applied_at: str
    lag_seconds: float
    proof: str
    explains: str

    def text(self) -> str:
        """The same for people."""
        rejected = f", {self.rejected:,} rejected" if self.rejected else ""
        return "\n".join(
            [
                f"Cut-over: {self.captured:,} changes captured, {self.applied:,} applied{rejected}",
                f"  superseded {self.superseded:,} by later changes of the same items; {self.expired:,} deletions by time to live",
                f"  when       closed at {self.closed_at}, applied at {self.applied_at} ({self.lag_seconds:,.1f} s later)",
                f"  proof      {self.proof}: {self.explains}",
            ]
        )


@dataclass(frozen=True, kw_only=True)
class Following:
    """What a follow needs of its import: `task` is the worker's, `control` how operators change the rate."""

    export: S3Storage
    storage: Storage
    task: FollowTask
    common: Common
    control: Controllable
    stop: Stop
    lease: HeldLease
    max_rejects: RejectLimit

    def run(self) -> tuple[CutOver, Loaded]:
        """Applies what is left; raises Interrupted after a stop, StateError where what was applied is not what was captured."""
        state = read_apply(self.storage, self.task.run)
        progress = Progress(
            "changes",
            None,
            items_name="changes",
            counts_shards=False,
            may_wait=True,
            resumed_items=state.changes_applied + state.rejected,
            units_name="WCU",
            cap=self.task.max_wcu,
            log_seconds=QUIET_LOG_SECONDS if table_in_hand() else LOG_SECONDS,
        )
        rejects = RejectWatch(self.max_rejects, self.stop)
        with (
            display(self.common.progress, progress) as on_event,
            controlled(self.storage, progress, self.control) as rate,
        ):
            watched = rejects.watch(on_event)
            results = self._runner().run(
                follow_changes, [self.task], watched, self.stop, rate, lease=self.lease
            )
        self.stop.check()
        self.lease.check()
        rejects.check(self.storage)
        return self._cut_over(), results[0]

    def _runner(self) -> Runner:
        """Changes of several tables are applied in this process.

        Each follow lasts until the cut-over: on a cluster it would keep a worker from the bases that are left to load, and from the
        other tables' changes, and with --processes there would be as many processes as tables.
        """
        return Serial(self.common.share) if table_in_hand() else self.common.runner(small=True)

    def _cut_over(self) -> CutOver:
        closed, state = log.read_closed(self.export), read_apply(self.storage, self.task.run)
        if closed is None:
            raise ExportError(f"{self.export.url}{log.CLOSED} is gone.", "Restore it from a copy.")
        known = state.changes_applied + state.rejected
        # an older version may have applied a record after the end, which has no changes
        if state.applied < closed.last_number or known != closed.changes:
            raise StateError(
                f"{known:,} changes are applied or rejected, up to record {state.applied}; captured were {closed.changes:,}, up to "
                f"record {closed.last_number}.",
                "Run the same command again.",
            )
        if not state.completed_at:
            state = msgspec.structs.replace(state, completed_at=now_text())
            write_apply(self.storage, state, state.completed_at)
        return cut_over_of(closed, state)


def cut_over_of(closed: Closed, state: ApplyState) -> CutOver:
    """The report."""
    lag = dt.datetime.fromisoformat(state.completed_at) - dt.datetime.fromisoformat(closed.closed_at)
    return CutOver(
        captured=closed.changes,
        applied=state.changes_applied,
        superseded=state.superseded,
        expired=state.expired,
        rejected=state.rejected,
        closed_at=closed.closed_at,
        applied_at=state.completed_at,
        lag_seconds=max(lag.total_seconds(), 0.0),
        proof=closed.proof,
        explains=closed.explains,
    )


def recount_rejects(storage: Storage, run: int) -> None:
    """Counts the rejected changes again, once some of them were loaded."""
    state = read_apply(storage, run)
    left = len(read_change_rejects(storage))
    if state.applied and left != state.rejected:
        applied = state.changes_applied + state.rejected - left
        state = msgspec.structs.replace(state, changes_applied=applied, rejected=left)
        write_apply(storage, state, now_text())
